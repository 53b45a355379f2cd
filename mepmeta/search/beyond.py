"""Minima that lie on the way: where a valley leads that does not lead to the end of the path."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mepmeta.problem import Problem
from mepmeta.search.relaxation import LEVEL, off, relaxed
from mepmeta.search.result import StationaryPoint, extrema, profile_of
from mepmeta.search.spread import places
from mepmeta.search.state import Search

__all__ = ["DOWN", "SAME", "Passage", "dips", "minimum", "passage", "same"]

#: Two states closer than this part of the unit are one.
SAME = 1e-3
#: First step down from a saddle: largest move of a particle, in units of length, or of that of a shorter path.
DOWN = 0.02
#: Iterations of a relaxation.
MOST = 2000
#: A dip of the profile counts when it is as deep as this part of what the path climbs.
DEEP = 3e-3


class Passage(NamedTuple):
    """A saddle, its negative mode, the minima on both sides, and the images from it down to each of them."""

    saddle: StationaryPoint
    mode: np.ndarray
    minima: tuple[StationaryPoint, StationaryPoint]
    ways: tuple[Sequence[np.ndarray], Sequence[np.ndarray]]

    def turned(self) -> "Passage":
        """The same the other way round."""
        return self._replace(minima=self.minima[::-1], ways=self.ways[::-1])


def same(problem: Problem, one: StationaryPoint, other: StationaryPoint) -> bool:
    """Whether two minima are one: as near as their forces allow, or as high where a symmetry moves them."""
    if one.zero_modes and other.zero_modes and abs(one.energy - other.energy) <= LEVEL:
        return True
    distance = problem.distance(one.state, other.state)
    softest = min([v for p in (one, other) for v in p.eigenvalues[p.zero_modes :] if v > 0], default=1.0)
    return distance <= max(SAME, 10 * max(one.residual, other.residual) * np.sqrt(one.state.size) / softest)


def passage(search: Search, saddle: StationaryPoint, mode: np.ndarray) -> Passage | None:
    """The saddle that is held, where its valleys lead from one minimum to another and not between the ends."""
    if search.ends is None:
        return None
    problem, path, minima, ways = search.problem, np.asarray(search.path), [], []
    top = 1 + int(np.argmax(search.held))
    for astray, side, end in zip(search.astray, (path[top::-1], path[top:]), search.ends, strict=True):
        m, way = end, list(side)
        if astray:
            x = astray[-1]
            if len(astray) == 1:
                ahead = np.copysign(1, np.vdot(mode, problem.way(x, side[1])))
                x = off(problem, x, ahead * mode, DOWN * min(1.0, places(problem, path)[-1]))
            m = minimum(search, x)
            if m is None:
                return None
            way = [*astray, m.state]
        minima.append(m)
        ways.append(way)
    one, other = minima
    between = [any(m is end for end in search.ends) for m in minima]
    if all(between) or same(problem, one, other):
        return None
    return Passage(saddle, mode, (one, other), (ways[0], ways[1]))


def dips(search: Search) -> list[StationaryPoint]:
    """The minima that a band which does not converge leads through, its ends left out."""
    found: list[StationaryPoint] = []
    if search.ends is None:
        return found
    profile = profile_of(*search.profile())
    inner = extrema(profile, DEEP * (float(np.max(search.parts.energies)) - float(search.parts.energies[0])))
    for turn in inner:
        if profile.derivative(2)(turn) > 0:
            m = minimum(search, search.at(turn, profile.x))
            if m is not None and not any(m is p for p in (*search.ends, *found)):
                found.append(m)
    return found


def minimum(search: Search, x: np.ndarray) -> StationaryPoint | None:
    """The minimum below a state, one of the ends if it is that; None where there is none to the tolerance."""
    r = relaxed(search.problem, x, None, MOST)
    search.evaluations += r.evaluations
    if not r.converged:
        return None
    m = search.described(r.state, np.nan, r.modes)
    return next((end for end in search.ends if same(search.problem, m, end)), m)
