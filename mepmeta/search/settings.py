"""How to search: the arguments of ``find_mep`` as one record, and their checks."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from mepmeta._arguments import check_answers, check_count, check_number, check_option, known, shown
from mepmeta._checks import (
    check_energy,
    check_held,
    check_params,
    check_path,
    check_positive,
    check_state,
    check_untraced,
)
from mepmeta.force import TANGENTS, Tangent
from mepmeta.geometry import Flat, Geometry
from mepmeta.methods import FIRE
from mepmeta.neb import NEBParams

__all__ = ["FALLBACK", "Settings", "checked"]

#: The method that takes turns with the first one.
FALLBACK = FIRE()


class Settings(NamedTuple):
    """The arguments of :func:`~mepmeta.search.mep.find_mep`."""

    geometry: Geometry = Flat()
    n_images: int | None = None
    path: Array | None = None
    window: float | None = None
    method: Any = None
    fallback: Any = FALLBACK
    patience: int = 200
    params: NEBParams | None = None
    tangent: Tangent | None = None
    climb: bool = True
    relax_endpoints: bool = True
    endpoint_tol: float | None = None
    tol: float | None = None
    max_steps: int = 5000
    progress: bool = True


def _check_own(name: str, method: Any) -> None:
    """The numbers of a method of this package; what is in one of somebody else is unknown."""
    for field in fields(method) if type(method).__module__.startswith("mepmeta.methods.") else ():
        value, what = getattr(method, field.name), f"{field.name} of {name}, {type(method).__name__},"
        if field.name in ("memory", "every"):
            check_count(what, value)
        elif isinstance(value, tuple):  # weights of a network
            if not all(np.all(np.isfinite(w)) for w in value if known(w)):
                raise ValueError(f"{what} must be finite")
        elif not isinstance(field.default, bool):
            check_number(what, value, "a finite number >= 0", 0)
        elif known(value) and np.asarray(value).dtype != bool:
            raise ValueError(f"{what} must be True or False, got {shown(value)}")


def checked(energy: Callable, start: Array, end: Array, how: Settings) -> tuple[Callable, Settings]:
    """The energy as the program that it is now, and the settings with the tangent they mean; or a ``ValueError``."""
    check_untraced("find_mep", start, end, how.path)
    for name, x in {"start": start, "end": end}.items():
        check_state(x, name, how.geometry, axes=1)
    if start.shape != end.shape or start.dtype != end.dtype:
        kinds = f"{start.shape} of {start.dtype} and {end.shape} of {end.dtype}"
        raise ValueError(f"start and end must have one shape and dtype, got {kinds}")
    if np.array_equal(start, end):
        raise ValueError("start and end are the same state: there is no path between them")
    counts = {name: check_count(name, getattr(how, name)) for name in ("max_steps", "patience")}
    how = how._replace(**counts)
    check_answers(climb=how.climb, relax_endpoints=how.relax_endpoints, progress=how.progress)
    for name, way in {"method": how.method, "fallback": how.fallback}.items():
        parts = [hasattr(way, part) for part in ("init", "update", "spacing")]
        if way is not None and (isinstance(way, type) or not all(parts)):
            raise ValueError(f"{name} must be a method such as mepmeta.methods.FIRE(), got {shown(way)}")
        _check_own(name, way)
    if how.path is not None:
        check_path(how.path, how.geometry)
        if how.path.shape[1:] != start.shape or how.path.dtype != start.dtype:
            states, kind = f"{start.shape} of {start.dtype}", f"{how.path.shape} of {how.path.dtype}"
            raise ValueError(f"the path must hold states of shape {states}, got shape {kind}")
    elif how.n_images is not None:
        how = how._replace(n_images=check_count("n_images", how.n_images, 3))
    if how.window is not None:
        check_positive(window=how.window)
        if how.n_images is not None:
            check_count("n_images of a window", how.n_images, 5)
        own = how.method is None and how.params is None and how.tangent in (None, "improved")
        if not (own and how.climb and how.relax_endpoints):
            raise ValueError("a window is laid by the default method, with climb=True and relax_endpoints=True")
    if how.params is not None:
        check_params(how.params)
    tangent = how.tangent
    if tangent is None:
        tangent = "improved" if how.params is None else "smooth"
    check_option("tangent", tangent, TANGENTS)
    if tangent == "smooth" and how.params is None:
        raise ValueError("the smooth tangent needs its smoothness: pass params=NEBParams(gamma, mu, beta)")
    check_positive(**{name: t for name in ("tol", "endpoint_tol") if (t := getattr(how, name)) is not None})
    check_held(energy, start=start, end=end, path=how.path)
    return check_energy(energy, start, how.geometry), how._replace(tangent=tangent)
