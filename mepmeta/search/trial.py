"""Looking for the saddle from the highest point of a band, which stays as it is."""

from typing import NamedTuple

import numpy as np

from mepmeta.search.result import StationaryPoint
from mepmeta.search.state import Search

__all__ = ["GLANCE", "OWN", "Trial", "tried"]

#: The saddle is the band's own when it is found within this part of the length of the path from its highest point.
OWN = 0.1
#: A saddle of index one beside one of higher index is within this part of it.
BESIDE = 0.5
#: Gradients of a short climb, beside those of its modes.
GLANCE = 100


class Trial(NamedTuple):
    """What a search from the highest point of the band found, its mode, whether it is far, why it will not do or "".

    And whether a saddle of higher index was left on the way.
    """

    point: StationaryPoint
    mode: np.ndarray
    far: bool
    why: str
    left: bool = False


def tried(search: Search, position: float, s: np.ndarray, tol: float, **limits: float) -> Trial:
    """Look for the saddle from a point of the band; nothing of the band changes.

    ``limits`` are those of :func:`~mepmeta.search.climb.climbed`: with a ``reach`` the saddle is far beyond that.
    """
    x, own = search.at(position, s), limits.get("reach", OWN * s[-1])
    found = search.refined(x, climb=True, tol=tol, **limits)
    if found.ended != "converged":
        point = StationaryPoint(found.state, np.nan, position, found.residual, np.zeros(0), 0, 0)
        if found.ended == "not finite":
            return Trial(point, x, True, "the energy is not finite at the highest point of the path")
        why = f"the force is still {found.residual * search.problem.units[2]:.1e}"
        why += "" if found.ended in ("far", "stuck", "steps") else f", and {found.ended}"
        return Trial(point, x, True, f"the highest point was not refined into a saddle: {why}")
    modes = search.modes(found.state)
    point = search.described(found.state, position, modes)
    far = search.problem.distance(x, found.state) > own
    if point.index > 1 and not far and search.ends is not None and (x := search.aside(point.state)) is not None:
        beside = search.refined(x, climb=True, tol=tol, reach=BESIDE * s[-1], at_most=GLANCE)
        others = search.modes(beside.state) if beside.ended == "converged" else modes
        if others.negative == 1:
            return Trial(search.described(beside.state, position, others), others.vectors[0], False, "", True)
    why = "" if point.index == 1 else f"it has {point.index or 'no'} negative modes"
    return Trial(point, modes.vectors[0], far, why)
