"""Minimum-mode following: from one minimum up to the saddles around it, when the final state is not known."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta import _compiled
from mepmeta._checks import as_pytree, check_count, check_energy, check_state
from mepmeta.geometry import Flat, Geometry
from mepmeta.hessian import hessian, lowest_eigenpairs
from mepmeta.modes import ZERO, curvature_scale
from mepmeta.newton import newton_step
from mepmeta.relaxation import relax

__all__ = ["NearbySaddle", "find_saddles"]

#: Modes among which the one that is followed is looked for at every step.
CANDIDATES = 8
#: First step off the minimum, and the step down from a saddle: largest move of a particle, in units.
OFF, DOWN = 0.1, 0.05
#: Two states less than this many units apart are one.
SAME = 1e-3


class NearbySaddle(NamedTuple):
    """A saddle that was found from a minimum.

    Args:
        state: the saddle, shape ``shape``.
        energy: its energy.
        barrier: its energy above the minimum.
        eigenvalues: lowest eigenvalues of the Hessian there, exactly one of them negative.
        residual: largest force on a particle.
        other: the minimum on its other side; if it is not connected, that on one of its sides.
        connected: whether its near side leads down to the minimum that the search began at.
        mode: number of the mode of the minimum that was followed up, the softest being 0.
        sign: the direction along that mode.
    """

    state: Array
    energy: float
    barrier: float
    eigenvalues: np.ndarray
    residual: float
    other: Array
    connected: bool
    mode: int
    sign: int


def find_saddles(
    energy: Callable[[Array], Array],
    minimum: Array,
    *,
    geometry: Geometry = Flat(),
    modes: int = 4,
    tol: float = 1e-8,
    max_steps: int = 200,
    progress: bool = True,
) -> tuple[NearbySaddle, ...]:
    r"""The saddles around a minimum that its softest modes lead up to.

    From the minimum the search goes off along one of its modes, in both directions, and then takes Newton steps for
    the energy turned over along the mode v that continues the last one,

    .. math:: \big(P\mathcal H P + |v\cdot\mathcal H v|\,v v^{\mathsf T}\big)\,p
        = -(1 - 2\,v v^{\mathsf T})\,\partial E,\qquad P = 1 - v v^{\mathsf T}

    up along v, down across it, until the force is zero. What is found is kept if exactly one eigenvalue of the Hessian
    is negative there. The states on both sides are relaxed, to see where the saddle leads from and to.

    Nothing makes sure that all saddles are found. A mode of the minimum may lead to a state of higher index, or to no
    stationary state at all, and a saddle may lie where no mode leads to.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        minimum: the state to start from, a minimum.
        geometry: the space of the states.
        modes: how many of its softest modes are followed, each up and down. Zero modes are left out.
        tol: largest force on a particle at a saddle, energy over coordinate (over radian for spins).
        max_steps: Newton steps for each search.
        progress: show a bar.

    Returns:
        The saddles in order of their energies, each once. An interruption (Ctrl-C) returns those found so far.

    Raises:
        ValueError: for a bad state or energy, and for a start that is no minimum.

    Source: :cite:t:`cerjan1981`, :cite:t:`henkelman1999`; for magnets :cite:t:`muller2018`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    >>> found = mm.find_saddles(spin, jnp.array([[1.0, 0.0, 0.0]]), geometry=mm.Spheres(), progress=False)
    >>> [(saddle.sign, round(saddle.barrier, 9), saddle.eigenvalues.round(6).tolist()) for saddle in found]
    [(1, 1.0, [-2.0, 4.0]), (-1, 1.0, [-2.0, 4.0])]
    """
    check_state(minimum, "the minimum")
    geometry.check(np.asarray(minimum), "the minimum")
    check_count("modes", modes)
    check_count("max_steps", max_steps)
    energy, x = as_pytree(energy), jnp.asarray(minimum)
    check_energy(energy, x[None])
    H = hessian(energy, x, geometry=geometry)
    values, vectors = lowest_eigenpairs(H, min(modes + CANDIDATES, H.shape[0]))
    scale, residual = curvature_scale(energy, x, geometry=geometry) or 1.0, float(_compiled.force(energy, x, geometry))
    if values[0] < -ZERO * scale or residual > 1e-5 * scale:
        raise ValueError(
            f"the state is no minimum: its lowest eigenvalue is {values[0]:.3g}, the largest force {residual:.1e}"
        )
    unit = float(geometry.unit(x, x)) or 1.0
    # A relaxed state is off by its force over the softest curvature.
    near = max(SAME * unit, 10 * np.sqrt(H.shape[0]) * tol / min((v for v in values if v > ZERO * scale), default=1.0))
    vectors = _reproducible(values, vectors)
    softest = [k for k in range(values.size) if values[k] > ZERO * scale][:modes]
    found: list[NearbySaddle] = []
    with tqdm(total=2 * len(softest), disable=not progress, desc="saddles") as bar:
        try:
            for k in softest:
                for sign in (1, -1):
                    saddle = _follow(energy, x, sign * vectors[:, k], geometry, unit, tol, max_steps)
                    if saddle is not None and not any(_same(saddle[0], f.state, geometry, near) for f in found):
                        found.append(_described(energy, x, *saddle, k, sign, geometry, unit, near))
                    bar.update()
        except KeyboardInterrupt:
            pass
    return tuple(sorted(found, key=lambda f: f.energy))


def _reproducible(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The modes in a basis that is the same on every machine, where several have one eigenvalue.

    Each is the part of the mode space along the coordinate that has the largest part there, so its sign is fixed, too.
    """
    vectors, done = vectors.copy(), 0
    while done < values.size:
        same = np.flatnonzero(np.abs(values - values[done]) < 1e-4 * abs(values[done]))
        space = vectors[:, same]
        for k in same:
            size = np.linalg.norm(space, axis=1)
            v = space @ space[np.argmax(size > 0.999 * size.max())]
            vectors[:, k] = v / np.linalg.norm(v)
            space = space - np.outer(vectors[:, k], vectors[:, k] @ space)
        done = same[-1] + 1
    return vectors


def _same(x: Array, y: Array, geometry: Geometry, near: float) -> bool:
    return float(_compiled.distance(x, y, geometry)) < near


def _off(x: Array, c: np.ndarray, size: float, geometry: Geometry) -> tuple[Array, Array]:
    """The state moved along coordinates c so that no particle moves more than ``size``; the move."""
    v = _compiled.tangents(x, jnp.asarray(c[None], x.dtype), geometry)[0]
    v = v * (size / jnp.max(geometry.sizes(v)))
    return _compiled.moved(x, v, geometry), v


def _follow(
    energy: Callable, x: Array, c: np.ndarray, geometry: Geometry, unit: float, tol: float, max_steps: int
) -> tuple[Array, np.ndarray, np.ndarray, float] | None:
    """Up along a mode to a saddle of index one: state, lowest eigenvalues, its unstable mode, the force left."""
    x, mode = _off(x, c, OFF * unit, geometry)
    radius, residual, steps = 0.5 * unit, float(_compiled.force(energy, x, geometry)), 0
    while residual > tol:
        if steps == max_steps or radius < 1e-9 * unit or not np.isfinite(residual):
            return None
        H = hessian(energy, x, geometry=geometry)
        values, vectors = lowest_eigenpairs(H, min(CANDIDATES, H.shape[0]))
        last = np.asarray(geometry.coordinates(x, geometry.project(x, mode)))
        mode = _compiled.tangents(x, jnp.asarray(vectors[:, np.argmax(np.abs(last @ vectors))][None]), geometry)[0]
        after, work, size, _ = newton_step(energy, x, mode, jnp.asarray(radius, x.dtype), geometry)
        steps += 1
        if np.isfinite(size) and (work >= 0 or size <= residual):
            moved = float(_compiled.distance(x, after, geometry))
            radius = min(2 * radius, 2 * unit) if moved > 0.7 * radius else radius
            x, residual = after, float(size)
        else:
            radius /= 4
    H = hessian(energy, x, geometry=geometry)
    values, vectors = lowest_eigenpairs(H, min(CANDIDATES, H.shape[0]))
    negative = int(np.sum(values < -ZERO * np.max(np.abs(H).sum(axis=0))))
    return (x, values, vectors[:, 0], residual) if negative == 1 else None


def _described(
    energy: Callable,
    minimum: Array,
    x: Array,
    values: np.ndarray,
    c: np.ndarray,
    residual: float,
    mode: int,
    sign: int,
    geometry: Geometry,
    unit: float,
    near: float,
) -> NearbySaddle:
    sides = [relax(energy, _off(x, s * c, DOWN * unit, geometry)[0], geometry=geometry, unit=unit) for s in (1, -1)]
    back = [_same(side.state, minimum, geometry, near) for side in sides]
    other = sides[1] if back[0] else sides[0]
    energies = np.asarray(_compiled.energies(energy, jnp.stack([minimum, x])))
    barrier = float(energies[1] - energies[0])
    return NearbySaddle(x, float(energies[1]), barrier, values, residual, other.state, any(back), mode, sign)
