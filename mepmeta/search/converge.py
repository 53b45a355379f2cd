"""What a search decides: when to look for the saddle, what counts as it, and when the answer is no."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mepmeta.search.beyond import Passage, dips, passage
from mepmeta.search.result import StationaryPoint, highest, profile_of
from mepmeta.search.scout import Scouted, laid
from mepmeta.search.state import COARSE, Search
from mepmeta.search.trial import OWN, tried

__all__ = ["PROMINENCE", "TIGHTER", "Verdict", "converge", "doubt", "enough"]

#: A saddle is first looked for when the residual has come to this, in units of force, and to this part of the largest
#: so far; after a failure, when it has come to the next part of what it was.
FIRST, EASED, AGAIN = 0.03, 0.3, 0.05
#: While the band is under way so many Newton steps may look for it, after those of L-BFGS.
EARLY = 40
#: Images in the valleys of the saddle are found to this part of the tolerance.
TIGHTER = 0.5
#: A path is bent away from what is no saddle of index one this often.
KICKS = 6
#: A path turns back where the cosine between the ways from an image to its two neighbours is larger than this.
BACK = 0.5
#: A maximum or minimum of the profile counts when it stands out by this part of the range of energies.
PROMINENCE = 1e-3
#: What is said of a saddle off which the path was kicked, or a climb began.
LEFT = "a saddle of higher index was left {} times"


class Verdict(NamedTuple):
    """The saddle of the path and its mode, or None and why not; and what was found instead that is to be the path's.

    That is a passage between minima that are not both ends, or minima that the path leads through.
    """

    saddle: StationaryPoint | None
    mode: np.ndarray | None = None
    why: str = ""
    passage: Passage | None = None
    between: Sequence[StationaryPoint] = ()

    @property
    def beyond(self) -> bool:
        """Whether something was found instead."""
        return self.passage is not None or len(self.between) > 0


def converge(search: Search, climb: bool, tol: float, over: Scouted | None = None, only: bool = False) -> Verdict:
    """Converge the band on a saddle with one negative mode: the saddle, or None and why not, as it was measured.

    It may be the one that a path is ``over`` already. Where ``only`` the saddle is wanted, it ends there.
    """
    if only:
        return _decide(search, climb, tol, only) if over is None else Verdict(*over.trial[:2], _left(over.trial.left))
    verdict = None if over is None else _leads(search, over, tol)
    if verdict is None:
        verdict = _decide(search, climb, tol)
    return verdict if verdict.beyond else enough(search, verdict)


def enough(search: Search, verdict: Verdict) -> Verdict:
    """The verdict on a band, if it has images enough."""
    if not (np.isfinite(search.residual) and (off := search.coarseness()) > COARSE):
        return verdict
    search.too_few = True
    why = f"{search.path.shape[0]} images are too few: between two of them the energy is off the profile by {off:.0%} "
    why += "of its range; pass a larger n_images"
    return Verdict(None, why=f"{verdict.why}; {why}" if verdict.why else why)


def _leads(search: Search, over: Scouted, tol: float) -> Verdict | None:
    """Whether the valleys of a saddle lead to the ends; then they are the path, and else nothing has changed."""
    line, (saddle, mode) = search.path, over.trial[:2]
    path, top = laid(search.problem, over, line.shape[0])
    search.take(path)
    search.hold(top)
    if search.follow(mode, tol * TIGHTER) and search.look() <= tol and not doubt(search, saddle):
        return Verdict(saddle, mode, _left(over.trial.left))
    found = passage(search, saddle, mode) if any(search.astray) else None
    search.take(line)
    return None if found is None else Verdict(None, passage=found)


def doubt(search: Search, saddle: StationaryPoint, tops: Sequence[int] | None = None) -> str:
    """What of a converged path speaks against the highest saddle that is held: "back", "higher" or nothing.

    ``tops`` are the images on saddles, where others are held, too.
    """
    for n in 1 + np.flatnonzero(search.held) if tops is None else tops:
        one, other = (np.ravel(search.problem.way(search.image(n), search.image(m))) for m in (n - 1, n + 1))
        if one @ other > BACK * np.linalg.norm(one) * np.linalg.norm(other):
            return "back"
    E = np.asarray(search.parts.energies)
    return "higher" if E[search.top] - saddle.energy > PROMINENCE * (saddle.energy - E[0]) else ""


def _left(times: int) -> str:
    return LEFT.format(int(times)) if times else ""


def _decide(search: Search, climb: bool, tol: float, only: bool = False) -> Verdict:
    """The search itself.

    When to look for the saddle is judged from the band: early, since a band with an image held on its saddle converges
    faster; but what is found counts only if it is stationary, has one negative mode and lies within a distance of
    images from where the band is highest. A failure changes nothing, and the band goes on. Only what is found from a
    converged band is a verdict.
    """
    kicks, left, F = 0, 0, search.problem.units[2]
    next_trial = tol
    if climb:
        search.run(tol, at_most=1)
        next_trial = min(FIRST, EASED * max(FIRST, search.largest))  # at once on a path that is nearly there
    while True:
        arrived = search.run(max(tol, next_trial), at_most=np.inf if search.ends is None else search.rules.patience)
        if not np.isfinite(search.residual):
            return Verdict(None, why=f"the band diverged: {search.lost}")
        if not arrived and (search.too_few or search.steps >= search.max_steps):
            break
        if not arrived and len(between := dips(search)):
            return Verdict(None, between=between)
        late = search.residual <= tol
        profile = profile_of(*search.profile())
        position = highest(profile)
        next_trial = min(AGAIN * search.residual, EASED * search.largest)
        if position in (profile.x[0], profile.x[-1]):
            if not late:
                continue
            why = "the path is highest at an end: no barrier separates the ends, or that end is no minimum"
            return Verdict(None, why=why)
        limits = {} if late else {"reach": OWN * profile.x[-1], "max_steps": EARLY}
        trial = tried(search, position, profile.x, tol, **limits)
        left += trial.left
        if trial.why or (trial.far and not (late and climb)):
            if not late:
                continue
            if kicks == KICKS:
                why = f"{KICKS} kicks led to no saddle with one negative mode; at the highest point, {trial.why}"
                return Verdict(None, why=why)
            kicks += 1
            if trial.point.index > 1 and search.kick(trial.point.state):
                left += 1
            elif trial.point.index == 1:  # a saddle that the path does not lead over
                search.bend(search.top, search.problem.way(search.image(search.top), trial.point.state))
            elif not search.kick(search.image(search.top)):
                if trial.point.index == 0 and np.isfinite(trial.point.energy):
                    return Verdict(None, why="from the highest point of the path all ways lead down: it is no barrier")
                return Verdict(None, why=trial.why)
            search.run(tol, at_most=1)
            next_trial = min(FIRST, EASED * search.largest)
            continue
        saddle = trial.point
        if climb and not only:
            search.adopt(saddle)
            there = search.rules.valleys and search.follow(trial.mode, tol * TIGHTER)
            if any(search.astray) and (found := passage(search, saddle, trial.mode)) is not None:
                return Verdict(None, passage=found)
            if not ((there and search.look() <= tol) or search.run(tol)):
                break
            doubts = doubt(search, saddle)
            if doubts == "back":
                why = "the path turns back at its saddle, which lies beyond an end that is no minimum"
                return Verdict(None, why=why)
            if doubts == "higher" and kicks < KICKS:
                kicks += 1
                search.release()
                continue  # the path has come to lead over a higher one
        return Verdict(saddle, trial.mode, _left(left))
    if search.too_few:
        return Verdict(None)
    if not np.isfinite(search.residual):
        return Verdict(None, why=f"the band diverged: {search.lost}")
    why = f"the residual is {search.residual * F:.1e} after {search.steps} iterations, wanted {tol * F:.1e}"
    return Verdict(None, why=why)
