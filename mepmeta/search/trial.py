"""Looking for the saddle from the highest point of a band, which stays as it is."""

from typing import NamedTuple

import numpy as np

from mepmeta.search.result import StationaryPoint
from mepmeta.search.state import Search

__all__ = ["OWN", "Trial", "tried"]

#: The saddle is the band's own when it is found within this part of the length of the path from its highest point.
OWN = 0.1


class Trial(NamedTuple):
    """What a search from the highest point of the band found, its mode, whether it is far, why it will not do or ""."""

    point: StationaryPoint
    mode: np.ndarray
    far: bool
    why: str


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
    why = "" if point.index == 1 else f"it has {point.index or 'no'} negative modes"
    return Trial(point, modes.vectors[0], search.problem.distance(x, found.state) > own, why)
