"""A search that begins with the path of a problem nearby: the saddle and the images of its neighbour on a map."""

from collections.abc import Sequence

import numpy as np

from mepmeta.problem import Problem
from mepmeta.search.converge import PROMINENCE, TIGHTER, Verdict, doubt, enough
from mepmeta.search.newton import sharper_mode
from mepmeta.search.result import MEP, StationaryPoint, extrema, profile_of
from mepmeta.search.scout import AROUND
from mepmeta.search.state import Rules, Search
from mepmeta.search.valley import valleys

__all__ = ["continued", "leads_on"]

#: Newton steps to the saddle from that of the neighbour, at most.
STEPS = 60
#: The mode that these climb along is sharpened when the state has moved so far, in units of length.
STALE = 0.02


def leads_on(r: MEP) -> bool:
    """Whether neighbours may begin with a result: it goes over one saddle, and no other minimum."""
    return r.converged and len(r.points) == 3


def continued(
    problem: Problem,
    ends: Sequence[StationaryPoint],
    line: np.ndarray,
    rules: Rules,
    max_steps: int,
    near: MEP,
    tol: float,
) -> tuple[Search, Verdict] | None:
    """The band on the path that continues that of a neighbour, and the verdict; None where anything speaks against it.

    Every check of a whole search is made: the saddle is stationary and has one negative mode, the images in its
    valleys, which lead to both ends, have no force across the path, and they are enough. Against it speak, besides, a
    first path that stays below the saddle, and any other minimum or saddle on the path.

    Args:
        problem: the energy in its units.
        ends: its minima.
        line: the first path of a whole search.
        rules, max_steps: those of a whole search.
        near: result of the neighbour, over one saddle.
        tol: residual to reach.
    """
    path, top = np.array(problem.inside(near.path, axis=1)), int(np.argmax(near.energies))
    path[0], path[-1] = (p.state for p in ends)
    band = Search(problem, path, rules, max_steps, None, ends=ends)
    # At the saddle the path leads along the negative mode.
    x, before, after = (problem.inside(y) for y in (near.saddle, near.path[top - 1], near.path[top + 1]))
    h = np.diff(near.position[top - 1 : top + 2])
    mode, reach = h[0] / h[1] * (after - x) + h[1] / h[0] * (x - before), AROUND * near.position[-1] / problem.units[1]
    limits = {"rule": sharper_mode(problem), "mode": mode, "stale": STALE, "reach": reach}
    found = band.refined(x, climb=False, tol=tol, max_steps=STEPS, **limits)
    modes = band.modes(found.state) if found.ended == "converged" else None
    if modes is None or modes.negative != 1:
        return None
    saddle = band.described(np.asarray(found.state), 0.0, modes)
    height = saddle.energy - ends[0].energy
    if saddle.energy - float(np.max(problem.energies(line))) > PROMINENCE * height:
        return None
    path[top] = saddle.state
    path, count, astray = valleys(problem, path, top, modes.vectors[0], tol * TIGHTER, known=True)
    band.evaluations += count
    band.take(path)
    band.hold(top)
    if any(astray) or not band.look() <= tol:
        return None
    turns = extrema(profile_of(*band.profile()), PROMINENCE * np.ptp(np.asarray(band.parts.energies)))
    verdict = enough(band, Verdict(saddle, modes.vectors[0], "it began with the path of a neighbour"))
    return None if doubt(band, saddle) or len(turns) != 1 or verdict.saddle is None else (band, verdict)
