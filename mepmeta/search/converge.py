"""What a search decides: when to look for the saddle, what counts as it, and when the answer is no."""

import numpy as np

from mepmeta.search.result import StationaryPoint, highest, profile_of
from mepmeta.search.scout import Scouted, laid
from mepmeta.search.state import COARSE, Search
from mepmeta.search.trial import OWN, tried

__all__ = ["PROMINENCE", "converge"]

#: A saddle is first looked for when the residual has come to this, in units of force, and to this part of the largest
#: so far; after a failure, when it has come to the next part of what it was.
FIRST, EASED, AGAIN = 0.03, 0.3, 0.05
#: While the band is under way so many Newton steps may look for it, after those of L-BFGS.
EARLY = 40
#: Images in the valleys of the saddle are found to this part of the tolerance.
TIGHTER = 0.5
#: A path is bent away from what is no saddle of index one this often.
KICKS = 6
#: A maximum or minimum of the profile counts when it stands out by this part of the range of energies.
PROMINENCE = 1e-3


def converge(
    search: Search, climb: bool, tol: float, over: Scouted | None = None
) -> tuple[StationaryPoint | None, str]:
    """Converge the band on a saddle with one negative mode: the saddle, or None and why not, as it was measured.

    It may be the one that a path is ``over`` already.
    """
    if over is not None and _leads(search, over, tol):
        saddle, why = over.trial.point, ""
    else:
        saddle, why = _decide(search, climb, tol)
    if np.isfinite(search.residual) and (off := search.coarseness()) > COARSE:
        saddle, search.too_few = None, True
        n = search.path.shape[0]
        why += "; " if why else ""
        why += f"{n} images are too few: between two of them the energy is off the profile by {off:.0%} of its range; "
        why += "pass a larger n_images"
    return saddle, why


def _leads(search: Search, over: Scouted, tol: float) -> bool:
    """Whether the valleys of a saddle lead to the ends; then they are the path, and else nothing has changed."""
    line = search.path
    path, top = laid(search.problem, over, line.shape[0])
    search.take(path)
    search.hold(top)
    if search.follow(over.trial.mode, tol * TIGHTER) and search.look() <= tol and not _doubt(search, over.trial.point):
        return True
    search.take(line)
    return False


def _doubt(search: Search, saddle: StationaryPoint) -> str:
    """What of a converged path speaks against the saddle that is held: "back", "higher" or nothing."""
    if any(search.turns_back(n) for n in 1 + np.flatnonzero(search.held)):
        return "back"
    E = np.asarray(search.parts.energies)
    return "higher" if E[search.top] - saddle.energy > PROMINENCE * (saddle.energy - E[0]) else ""


def _decide(search: Search, climb: bool, tol: float) -> tuple[StationaryPoint | None, str]:
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
        arrived = search.run(max(tol, next_trial))
        if not np.isfinite(search.residual):
            return None, f"the band diverged: {search.lost}"
        if not arrived:
            break
        late = search.residual <= tol
        profile = profile_of(*search.profile())
        position = highest(profile)
        next_trial = min(AGAIN * search.residual, EASED * search.largest)
        if position in (profile.x[0], profile.x[-1]):
            if not late:
                continue
            return None, "the path is highest at an end: no barrier separates the ends, or that end is no minimum"
        limits = {} if late else {"reach": OWN * profile.x[-1], "max_steps": EARLY}
        trial = tried(search, position, profile.x, tol, **limits)
        if trial.why or (trial.far and not (late and climb)):
            if not late:
                continue
            if kicks == KICKS:
                return None, f"{KICKS} kicks led to no saddle with one negative mode; at the highest point, {trial.why}"
            kicks += 1
            if trial.point.index > 1 and search.kick(trial.point.state):
                left += 1
            elif trial.point.index == 1:  # a saddle that the path does not lead over
                search.bend(search.top, search.problem.way(search.image(search.top), trial.point.state))
            elif not search.kick(search.image(search.top)):
                if trial.point.index == 0 and np.isfinite(trial.point.energy):
                    return None, "from the highest point of the path all ways lead down: it is no barrier"
                return None, trial.why
            search.run(tol, at_most=1)
            next_trial = min(FIRST, EASED * search.largest)
            continue
        saddle = trial.point
        if climb:
            search.adopt(saddle)
            there = search.rules.valleys and search.follow(trial.mode, tol * TIGHTER) and search.look() <= tol
            if not (there or search.run(tol)):
                break
            doubt = _doubt(search, saddle)
            if doubt == "back":
                return None, "the path turns back at its saddle, which lies beyond an end that is no minimum"
            if doubt == "higher" and kicks < KICKS:
                kicks += 1
                search.release()
                continue  # the path has come to lead over a higher one
        return saddle, f"a saddle of higher index was left {left} times" if left else ""
    if search.too_few:
        return None, ""
    if not np.isfinite(search.residual):
        return None, f"the band diverged: {search.lost}"
    return None, f"the residual is {search.residual * F:.1e} after {search.steps} iterations, wanted {tol * F:.1e}"
