"""Checks at the public boundary: bad input becomes a ``ValueError`` in words. Made in NumPy, they compile nothing.

What an argument is by itself is checked in :mod:`._arguments`, and here what it means.

Shapes and dtypes are checked always. Values are checked when they are known: inside ``jit``, ``vmap`` or
``grad`` they are not, and the check is left to the caller of the outermost transformation.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import (
    MOST,
    check_floats,
    check_function,
    check_number,
    check_numbers,
    known,
    shown,
    whole_numbers,
)
from mepmeta._trace import by_shapes, traced
from mepmeta.geometry import Flat, Geometry

__all__ = [
    "check_batch",
    "check_damping",
    "check_energies",
    "check_energy",
    "check_geometry",
    "check_held",
    "check_moments",
    "check_offset",
    "check_params",
    "check_path",
    "check_positive",
    "check_record",
    "check_shape",
    "check_state",
    "check_temperature",
    "check_untraced",
]

#: What the band asks of a space of states, see :class:`~mepmeta.geometry.Geometry`.
ASKED = [name for name in vars(Geometry) if not name.startswith("_")]


def check_untraced(name: str, *values: Any) -> None:
    """A search decides on numbers, so it cannot be compiled or mapped over as a whole."""
    if not known(*values):
        raise ValueError(
            f"{name} is a search that decides on numbers: it cannot run under jax.jit or vmap. Call it outside, "
            "one problem at a time; the derivative of a barrier by constants of the energy is jax.grad of find_mep(...)"
        )


def check_geometry(geometry: Any) -> None:
    """A geometry can do what is asked of it, and is no class of them."""
    if isinstance(geometry, type) or not all(callable(getattr(geometry, name, None)) for name in ASKED):
        got = f"the class {geometry.__name__}" if isinstance(geometry, type) else shown(geometry)
        raise ValueError(f"geometry must be Flat() or Spheres(), or an object with their methods, got {got}")


def check_state(x: Array, name: str, geometry: Any = Flat(), *, axes: int = 0) -> None:
    """A state is a float array, finite, with at least so many axes, and one of the geometry."""
    check_floats(name, x)
    if jnp.ndim(x) < axes:
        raise ValueError(f"{name} must be an array with one axis or more, its last one the coordinates")
    check_geometry(geometry)
    if known(x):
        geometry.check(np.asarray(x), name)


def check_path(path: Array, geometry: Any) -> None:
    """A path is at least three finite images, neighbours apart."""
    check_floats("path", path)
    check_geometry(geometry)
    if path.ndim < 2 or path.shape[0] < 3:
        raise ValueError(f"a path is an array (P, *shape) of P >= 3 images, got shape {path.shape}")
    if known(path):
        path = np.asarray(path)
        geometry.check(path, "path")
        same = np.all(path[1:] == path[:-1], axis=tuple(range(1, path.ndim)))
        if np.any(same):
            n = int(np.argmax(same))
            raise ValueError(f"images {n} and {n + 1} coincide: a path needs neighbours apart for its tangent")


def check_batch(paths: Array, geometry: Any) -> None:
    """A batch is at least one path, and every one of them is good."""
    check_floats("the batch of paths", paths)
    check_geometry(geometry)
    if paths.ndim < 3 or paths.shape[0] < 1:
        raise ValueError(f"a batch of paths is an array (B, P, *shape), got shape {paths.shape}")
    if known(paths):
        paths = np.asarray(paths)
        geometry.check(paths, "the batch of paths")
        same = np.all(paths[:, 1:] == paths[:, :-1], axis=tuple(range(2, paths.ndim)))
        if np.any(same):
            check_path(paths[np.argmax(np.any(same, axis=1))], geometry)


@by_shapes
def _shape_of(energy: Callable, image: Any) -> Any:
    return jax.eval_shape(energy, image)


def check_energy(
    energy: Callable[[Array], Array], states: Any, geometry: Any = None, *, axes: int = 0
) -> Callable[[Array], Array]:
    """The energy maps a state to a float scalar; returned as the program that it is now, see :mod:`._trace`.

    ``states`` is a state, or an array of them along its first ``axes``. Their shape and dtype count, and where spins
    are held their values, see :class:`~mepmeta.magnets.sites.Pinned`.
    """
    if not callable(energy) or isinstance(energy, type):
        got = f"the class {energy.__name__}" if isinstance(energy, type) else type(energy).__name__
        raise ValueError(f"the energy must be callable, x -> scalar, got {got}")
    check_held(energy, the_state=states)
    if hasattr(energy, "component_first") and isinstance(geometry, Flat):
        raise ValueError("the spins of this energy live on spheres: pass geometry=Spheres()")
    image = jax.ShapeDtypeStruct(states.shape[axes:], states.dtype)
    try:
        energy = traced(energy, image)
        parts = energy.parts if hasattr(energy, "each") else (energy,)  # of a sum, all its parts are energies
        outs = [_shape_of(part, image) for part in parts]
    except Exception as error:  # of whatever kind: it is the function of somebody else
        said = str(error) or type(error).__name__
        raise ValueError(
            f"the energy does not take an image of shape {image.shape}: {said}. "
            "An energy is written with jax.numpy, with jnp.where in place of if"
        ) from error
    for out in outs:
        if getattr(out, "shape", None) != () or out.dtype not in (np.float32, np.float64):
            raise ValueError(f"the energy must map an image of shape {image.shape} to a float scalar, got {out}")
    return energy


def check_record(name: str, f: Callable, states: Any) -> Callable:
    """A function of states whose value is recorded: arrays, or trees of them; returned as it is."""
    check_function(name, f)
    try:
        out = jax.eval_shape(f, jax.ShapeDtypeStruct(states.shape, states.dtype))
    except Exception as error:
        said = str(error) or type(error).__name__
        raise ValueError(f"{name} does not take an array of shape {states.shape}: {said}") from error
    if not jax.tree.leaves(out):
        raise ValueError(f"{name} must return arrays, got {shown(out)}")
    return f


def check_held(energy: Any, **states: Any) -> None:
    """Spins that an energy holds are where it holds them."""
    for name, x in states.items():
        if x is not None and hasattr(energy, "check_held") and known(energy, x):
            energy.check_held(x, name.replace("_", " "))


def check_energies(E: Array, *, distinct: bool = False) -> None:
    """Energies of the images of a path, or of a batch of paths, are finite; with ``distinct``, no three are equal."""
    if not known(E):
        return
    E = np.asarray(E)
    if not np.all(np.isfinite(E)):
        n = np.unravel_index(np.argmin(np.isfinite(E)), E.shape)
        where = f"image {n[-1]}" + (f" of path {n[0]}" if E.ndim > 1 else "")
        raise ValueError(f"the energy of {where} is {E[n]}: energies must be finite on the path")
    left, here, right = E[..., :-2], E[..., 1:-1], E[..., 2:]
    if distinct and np.any((left == here) & (here == right)):
        raise ValueError("three neighbouring images have equal energies: the improved tangent is zero there")


def check_params(params: Any) -> None:
    """Metaparameters are finite real scalars, none negative."""
    if not isinstance(params, tuple) or not {"gamma", "mu", "beta"} <= {*getattr(params, "_fields", ())}:
        raise ValueError(f"params must be NEBParams(gamma, mu, beta), got {shown(params)}")
    for name, value in zip(params._fields, params, strict=True):
        check_number(name, value, "a finite number >= 0", 0)


def check_positive(**lengths: Any) -> None:
    """Lengths are finite numbers above zero."""
    for name, value in lengths.items():
        check_number(name, value, "a positive number", 0, above=True)


def check_shape(shape: Any, axes: int | None = None) -> tuple[int, ...]:
    """The shape of a lattice is a number of cells along each of its axes; returned as plain numbers."""
    cells = None if isinstance(shape, (int, np.integer)) else whole_numbers(shape)
    if cells is None or min(cells) < 1:
        raise ValueError(f"shape must be numbers of cells, one or more positive integers, got {shown(shape)}")
    if axes not in (None, len(cells)):
        raise ValueError(f"this lattice has {axes} axes: its shape must be {axes} numbers of cells, got {cells}")
    if math.prod(cells) > MOST // 3:
        raise ValueError(f"a lattice of {cells} cells is too large: {MOST // 3} spins are the most")
    return cells


def check_offset(offset: Any, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> tuple[int, ...]:
    """The offset of a bond is whole numbers of cells, not all zero, shorter than a lattice that closes on itself."""
    steps = whole_numbers(offset)
    if steps is None or len(steps) != len(shape):
        raise ValueError(f"a bond's offset is {len(shape)} whole numbers on this lattice, got {shown(offset)}")
    offset = steps
    if not any(offset):
        raise ValueError("a bond joins two spins: its offset must not be zero")
    fits = [abs(o) < n for o, n in zip(offset, shape, strict=True)]
    if not all(fit or not wrap for fit, wrap in zip(fits, periodic, strict=True)):
        wanted = tuple(fit and wrap for fit, wrap in zip(fits, periodic, strict=True))
        raise ValueError(
            f"the bond {offset} is outside the lattice of {shape} cells, around a periodic axis: "
            f"with periodic={wanted} there are no such bonds"
        )
    return offset


def check_temperature(temperature: Any, *, zero: bool = False) -> None:
    """A temperature is k_BT, an energy above zero, or at zero where that makes sense; an array is good, too."""
    wanted = f"an energy {'>= 0' if zero else '> 0'}"
    T = check_numbers("the temperature k_BT", temperature, wanted=wanted)
    if not np.all((T > 0) | (zero & (T == 0))):
        raise ValueError(f"the temperature k_BT must be {wanted}, got {shown(temperature)}")


def check_damping(damping: float, *, positive: bool = False) -> None:
    """The damping is a finite number, not negative; with ``positive``, above zero."""
    check_number("the damping", damping, f"a finite number {'> 0' if positive else '>= 0'}", 0, above=positive)
    if known(damping) and not float(damping) < np.finfo(float).max ** 0.5:  # its square is a number, too
        raise ValueError(f"the damping must be a finite number whose square is one, got {shown(damping)}")


def check_moments(moments: Any, live: np.ndarray) -> np.ndarray:
    """Moments are finite numbers above zero, one for each site or one for all; dead sites get that of a live one."""
    m = check_numbers("moments", moments, wanted="finite numbers > 0")
    try:
        m = np.broadcast_to(m, live.shape)
    except ValueError:
        raise ValueError(f"moments must be a number, or an array over the sites {live.shape}, got {m.shape}") from None
    m = np.where(live, m, m[live][0] if live.any() else 1.0)
    if not np.all(m > 0):
        raise ValueError(f"moments must be finite numbers > 0, got {m.min()} to {m.max()}")
    return m
