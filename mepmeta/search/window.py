r"""A window of a path: images at a prescribed distance on both sides of its saddle, and no more of them.

Where the minima are far away most of a path says nothing about the barrier. The saddle is known from a few images, and
every image of its valleys follows from the one above it (:mod:`~mepmeta.search.valley`), so that they can end anywhere.
A band with loose ends would have to hold these on a level of energy; here no image knows of those below it, and the
last of a side obeys the same rule as all others. What is left to learn is where the valleys lead, and relaxation tells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mepmeta.problem import tolerance
from mepmeta.search.beyond import DOWN, minimum
from mepmeta.search.converge import TIGHTER, Verdict, doubt, enough
from mepmeta.search.descent import descend
from mepmeta.search.relaxation import ENDPOINT_TOL, off
from mepmeta.search.result import StationaryPoint
from mepmeta.search.scout import Scouted, crossed
from mepmeta.search.spread import along, places, spread
from mepmeta.search.state import Search
from mepmeta.search.trial import Trial
from mepmeta.search.valley import below

__all__ = ["Window", "windowed"]

#: Energies that tell whether a way from one minimum to another stays below the saddle.
SAMPLES = 64
#: Of two sides the end's grows first, unless the other is higher by this part of the way down from the saddle.
LEVEL = 1e-6
#: The last step of a side that ends in its minimum is no longer than this part of the others.
LAST = 1.0 + 1e-6
#: Images of a band that goes down until its energies are below the saddle, and its iterations, so often.
IMAGES, STEPS, ROUNDS = 14, 20, 5
#: Gradients that may lead from an end of the window to its minimum.
DESCENT = 500


class Window(NamedTuple):
    """All points of the path of a window, and whether a way from start to end is known that is highest at its saddle.

    Positions beyond its ends are those of a straight way.
    """

    points: Sequence[StationaryPoint]
    whole: bool


class _Side:
    """Images from a saddle down one of its valleys, as far as they are known."""

    def __init__(self, search: Search, rough: Sequence[np.ndarray], ahead: np.ndarray, d: float, tol: float):
        self.search, self.rough, self.ahead, self.d, self.tol = search, rough, ahead, d, tol
        self.way, self.before, self.s = [np.array(rough[0])], None, places(search.problem, rough)
        self.level, self.open, self.ended = search.problem.look(rough[0])[0], True, False
        self.minimum: StationaryPoint | None = None
        self.lowest: StationaryPoint | None = None  # what a descent has come to

    def grow(self) -> None:
        """One image more; of a side that has come to its minimum that is the last one."""
        problem, above = self.search.problem, self.way[-1]
        guess = along(problem, self.rough, self.s, [len(self.way) * self.d])[0]
        others = guess, self.rough[-1]
        found, count = below(problem, self.way, self.d, self.ahead, others, self.tol, self.before)
        _, _, gradient = problem.look(found.state)
        self.search.evaluations += count + 1
        onward = found.energy < self.level and np.vdot(gradient, problem.way(found.state, above)) > 0
        if found.residual <= self.tol and onward:
            self.way.append(found.state)
            self.level, self.before = found.energy, found.march
            return
        self.open = False
        m = self.foot()
        self.ended = m is not None and 0 < problem.distance(above, m.state) <= LAST * self.d
        if self.ended:
            self.way.append(np.asarray(m.state))

    def foot(self) -> StationaryPoint | None:
        """The minimum that the valley leads to, one of the ends if it is that; None where it is too far away."""
        if self.lowest is None:
            problem, x = self.search.problem, self.way[-1]
            if len(self.way) == 1:
                x = off(problem, x, self.ahead, DOWN * min(1.0, self.d))
            wanted = tolerance(None, ENDPOINT_TOL, problem, x.dtype)
            down = descend(problem, x, wanted, DESCENT)
            self.search.evaluations += down.evaluations
            self.lowest = StationaryPoint(down.state, down.energy, np.nan, down.residual, np.zeros(0), 0, 0)
            if down.residual <= wanted:
                self.minimum = minimum(self.search, down.state)
        return self.minimum


def windowed(
    band: Search, verdict: Verdict, over: Scouted | None, length: float, counts: Sequence[int], tol: float
) -> tuple[Search, Verdict, Window] | None:
    """Images around a saddle so far apart that they take up a length; None where its valleys are shorter.

    Half of them on each side, one more where it is higher; what is left over where a valley ends goes to the other.

    Args:
        band: of the whole path, its ends minima; the counts go on in it.
        verdict: the saddle and its mode.
        over: the same with a rough path over it; where there is none, the path of the band is one.
        length: in units of the problem.
        counts: numbers of images to try, until they are enough.
        tol: residual to reach.
    """
    problem, (saddle, mode) = band.problem, verdict[:2]
    over = over or _over(band, verdict)
    if over is None:
        return None
    first = [np.asarray(problem.way(side[0], side[1])) for side in over.sides]
    mode = np.asarray(mode) * np.copysign(1, np.vdot(mode, first[1] - first[0]))
    lowest: list[_Side] = []
    for n in counts:
        sides = [
            _Side(band, side, ahead, length / (n - 1), TIGHTER * tol)
            for side, ahead in zip(over.sides, (-mode, mode), strict=True)
        ]
        while sum(len(side.way) - 1 for side in sides) < n - 1 and (left := [side for side in sides if side.open]):
            *others, side = [side for side in left if len(side.way) <= (n - 1) // 2] or left
            if others and others[0].level - side.level > LEVEL * (saddle.energy - side.level):
                side = others[0]
            side.grow()
        if all(side.ended for side in sides):
            return None
        if min(len(side.way) for side in sides) == 1:
            why = "no image of the window was found on a side of the saddle: it may be too short"
            return band, Verdict(None, why=why), Window((), False)
        lowest = lowest or sides  # more images lead there, too
        feet = [side.foot() for side in lowest]
        if feet[0] is band.ends[1] or feet[1] is band.ends[0]:  # the rough path came from the other side
            sides, lowest = sides[::-1], lowest[::-1]
            over = over._replace(sides=over.sides[::-1])
            mode = -mode
        down, on = (side.way for side in sides)
        part = Search(problem, np.stack([*down[:0:-1], *on]), band.rules, band.max_steps, band.bar, band)
        part.hold(len(down) - 1)
        there = part.look() <= tol or part.run(tol)
        band.count(part)
        found = verdict
        if not there:
            found = Verdict(None, why="the images of the window did not converge")
        elif doubt(part, saddle):
            found = Verdict(None, why="both valleys of the saddle lead the same way")
        found = enough(part, found)
        if not part.too_few:
            break
    if found.saddle is None:
        return part, found, Window((), False)
    window, notes = _told(part, sides, lowest, saddle, band.ends)
    if len(part.path) < n:
        notes.append(f"it has {len(part.path)} images of {n}: beyond them a valley was not found")
    return part, found._replace(why="; ".join(note for note in (found.why, *notes) if note)), window


def _over(band: Search, verdict: Verdict) -> Scouted | None:
    """The path of a band as one over its saddle."""
    path, point = list(np.asarray(band.path)), verdict.saddle
    return crossed(band.problem, path, places(band.problem, path), point.position, Trial(*verdict[:2], False, ""))


def _told(
    part: Search,
    sides: Sequence[_Side],
    lowest: Sequence[_Side],
    saddle: StationaryPoint,
    ends: Sequence[StationaryPoint],
) -> tuple[Window, list[str]]:
    """All points of a window that has converged, and where its valleys lead, in words."""
    problem, s = part.problem, part.profile()[0]
    points, whole, notes = [], True, ["the path is a window around its saddle"]
    feet = [side.foot() for side in lowest]
    between = (feet[0] is not None and feet[0] is feet[1]) or feet[0] is ends[1] or feet[1] is ends[0]
    for k, (name, side, foot, end) in enumerate(zip(("start", "end"), sides, feet, ends, strict=True)):
        x, at = side.way[-1], 0.0
        for p in (end,) if foot is None or foot is end else (foot, end):
            at, x = at + problem.distance(x, p.state), p.state
            points.append(p._replace(position=float(s[-1]) + at if k else 0.0 - at))
        if foot is end:
            continue
        low = foot or lowest[k].lowest
        known = not between and _stays_below(part, side, low.state, end, saddle)
        whole = whole and known
        note = f"the valley towards the {name} " + ("leads to another minimum, " if foot else "goes on far down, at ")
        note += f"{(low.energy - end.energy) * problem.units[0]:+.3g} from it in energy, and "
        notes.append(note + ("a" if known else "no") + " way on from there is known below the saddle")
    if not whole:
        notes.append("a search without window looks for the whole path")
    points.append(saddle._replace(position=float(s[len(sides[0].way) - 1])))
    return Window(sorted(points, key=lambda p: p.position), whole), notes


def _stays_below(part: Search, side: _Side, x: np.ndarray, end: StationaryPoint, saddle: StationaryPoint) -> bool:
    """Whether a way from a state to an end is found on which the energy is below that of a saddle.

    The shortest one, or what is known of the way, or a band that goes down from the lower of the two.
    """
    problem = part.problem

    def highest(way: Sequence[np.ndarray]) -> float:
        part.evaluations += SAMPLES // 2
        top = float(np.max(np.asarray(problem.energies(spread(problem, way, SAMPLES)))))
        return top if np.isfinite(top) else np.inf

    near = 1 + int(np.argmin([problem.distance(x, y) for y in side.rough[1:]]))  # not the saddle itself
    ways = [x, end.state], [x, *side.rough[near:-1], end.state]
    tops = [highest(way) for way in ways]
    if min(tops) < saddle.energy:
        return True
    if not np.isfinite(min(tops)):
        return False
    line = spread(problem, ways[int(np.argmin(tops))], IMAGES)
    band = Search(problem, line, part.rules, part.max_steps, part.bar, part)
    known = False
    for _ in range(ROUNDS):
        band.run(0.0, at_most=STEPS)
        part.count(band)
        known = highest(list(np.asarray(band.path))) < saddle.energy
        band.evaluations = part.evaluations
        if known or band.too_few or not np.isfinite(band.residual) or band.steps >= band.max_steps:
            break
    return known
