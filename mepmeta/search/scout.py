"""A few images first: they find the saddle at a small part of what a whole path costs, or they say nothing.

A band has to be near the minimum energy path only where it is highest. So five images move until they are roughly
there, and a climb begins at their highest point; where it fails, five images about that point see more of it.
"""

from typing import NamedTuple

import numpy as np

from mepmeta.problem import Problem
from mepmeta.search.result import highest, profile_of
from mepmeta.search.spread import along, places, spread
from mepmeta.search.state import Search
from mepmeta.search.trial import GLANCE, Trial, tried

__all__ = ["LEAST", "SCOUTS", "Scouted", "crossed", "laid", "scouted"]

#: Images that scout, and images of a path that is worth it.
SCOUTS, LEAST = 5, 8
#: How often they look, after the first time within so many of their distances on both sides of the highest point; the
#: residual, in units of force, at which they look for the saddle, by what it falls after a failure, and the iterations
#: that they have for it.
LOOKS, WITHIN, ROUGHLY, EASED, SCOUTING = 3, 1.0, 0.03, 0.5, 50
#: The saddle may be off the highest point by the first part of the length of the path; it is not one of the ends, to
#: the second part.
AROUND, APART = 0.2, 1e-3


class Scouted(NamedTuple):
    """A saddle, and a path from the start over it to the end, as two sides that begin at the saddle."""

    trial: Trial
    sides: tuple[list[np.ndarray], list[np.ndarray]]


def scouted(few: Search, line: np.ndarray, tol: float) -> Scouted | None:
    """The saddle that a few images find from a path; None where they find none. ``few`` is their search.

    It is not known yet that its valleys lead to the ends.
    """
    problem, whole = few.problem, list(line)
    s = places(problem, whole)
    first, last, reach, wanted = 0.0, s[-1], AROUND * s[-1], ROUGHLY
    for _ in range(LOOKS):
        few.take(along(problem, whole, s, np.linspace(first, last, SCOUTS)))
        if not few.run(wanted, at_most=SCOUTING):
            break
        left = [x for x, place in zip(whole, s, strict=True) if place < first]
        right = [x for x, place in zip(whole, s, strict=True) if place > last]
        whole = [*left, *np.asarray(few.path), *right]
        s, profile = places(problem, whole), profile_of(*few.profile())
        top, start = highest(profile), s[len(left)]
        if (top == profile.x[0] and not left) or (top == profile.x[-1] and not right):
            break  # at an end of the whole path: it may have no barrier
        trial = tried(few, top, profile.x, tol, reach=reach, at_most=GLANCE)
        if not (trial.why or trial.far):
            return crossed(problem, whole, s, start + top, trial)
        wanted = EASED * min(wanted, few.residual)
        gap = WITHIN * profile.x[-1] / (SCOUTS - 1)
        first, last = max(0.0, start + top - gap), min(s[-1], start + top + gap)
    return None


def crossed(problem: Problem, path: list[np.ndarray], s: np.ndarray, at: float, trial: Trial) -> Scouted | None:
    """The path over a saddle near to a place on it, without images from which it would turn back."""
    saddle = np.asarray(trial.point.state)
    off = problem.distance(along(problem, path, s, [at])[0], saddle)
    left = [x for x, place in zip(path[1:], s[1:], strict=True) if place < at - off]
    right = [x for x, place in zip(path[:-1], s[:-1], strict=True) if place > at + off]
    if min(problem.distance(saddle, end) for end in (path[0], path[-1])) < APART * s[-1]:
        return None
    return Scouted(trial, ([saddle, *left[::-1], path[0]], [saddle, *right, path[-1]]))


def laid(problem: Problem, over: Scouted, n_images: int) -> tuple[np.ndarray, int]:
    """So many images along the path over a saddle, and which of them is the saddle: its valleys have one or more."""
    left, right = (places(problem, side)[-1] for side in over.sides)
    top = int(np.clip(round((n_images - 1) * left / (left + right)), 2, n_images - 3))
    down, on = (spread(problem, side, n + 1) for side, n in zip(over.sides, (top, n_images - 1 - top), strict=True))
    return np.concatenate([down[:0:-1], on]), top
