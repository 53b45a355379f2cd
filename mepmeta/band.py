"""Iterations of a band with any method, compiled as one loop."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from mepmeta.geometry import Geometry
from mepmeta.methods import limited
from mepmeta.neb import Tangent, _band, _dot
from mepmeta.paths import arc_length

__all__ = ["CHUNK", "Scales", "bent", "run", "slopes"]


class Scales(NamedTuple):
    """What frees the iterations of units: largest curvature, spring, smoothness of the tangent, unit of length."""

    curvature: Array
    spring: Array
    beta: Array
    unit: Array


def _balanced(path: Array, pinned: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Position of every image along the path, and where it would be with equal distances between pinned ones."""
    s = arc_length(path, geometry=geometry)
    n = jnp.arange(s.size)
    left = lax.cummax(jnp.where(pinned, n, 0))
    right = lax.cummin(jnp.where(pinned, n, s.size - 1), reverse=True)
    part = (n - left) / jnp.maximum(right - left, 1)
    return s, jnp.where(pinned, s, s[left] + part.astype(s.dtype) * (s[right] - s[left]))


def _redistributed(path: Array, pinned: Array, geometry: Geometry) -> Array:
    s, wanted = _balanced(path, pinned, geometry)
    k = jnp.clip(jnp.searchsorted(s, wanted, side="right") - 1, 0, s.size - 2)
    t = (wanted - s[k]) / (s[k + 1] - s[k])
    return path.at[1:-1].set(jax.vmap(geometry.interpolate)(path[k], path[k + 1], t)[1:-1])


#: Iterations in one call, at most.
CHUNK = 50


@partial(jax.jit, static_argnums=(8, 9))
def run(
    energy: Callable,
    path: Array,
    method: Any,
    memory: Any,
    remove: Array,
    scales: Scales,
    tol: Array,
    start: Array,
    geometry: Geometry,
    tangent: Tangent,
    steps: Array,
) -> tuple[Array, Any, Array, Array, Array, Array, Any]:
    """Iterate until the residual is below ``tol``: path, memory, iterations, histories, the residual and the band."""
    pinned = jnp.pad(remove != 1, 1, constant_values=True)
    column = (-1,) + (1,) * (path.ndim - 1)

    def look(path: Array) -> tuple[Any, Array]:
        band = _band(energy, path, scales.beta, geometry, tangent, remove)
        band = band._replace(tangent=None)  # nobody asks for it: do not store it
        return band, jnp.max(jax.vmap(geometry.sizes)(band.perpendicular))

    def body(s: tuple) -> tuple:
        path, memory, band, _, k, residuals, tops = s
        force = -band.perpendicular / scales.curvature
        if method.spacing == "springs":
            force = force + scales.spring / scales.curvature * band.stretch * band.unit
        move, memory = method.update(force, memory, path[1:-1], geometry)
        move = limited(move, geometry, scales.unit)
        if method.spacing == "tangential":
            at, wanted = _balanced(path, pinned, geometry)
            across = move - _dot(move, band.unit) * band.unit
            along = (wanted - at)[1:-1].reshape(column) * band.unit
            # Climbing images go where they like; the others keep their distances.
            move = jnp.where(remove.reshape(column) == 1, across + along, move)
        path = path.at[1:-1].set(jax.vmap(geometry.retract)(path[1:-1], move))
        if method.spacing == "redistribution":
            path = lax.cond(
                (start + k) % method.every == 0, lambda p: _redistributed(p, pinned, geometry), lambda p: p, path
            )
        band, residual = look(path)
        return (
            path,
            memory,
            band,
            residual,
            k + 1,
            residuals.at[k].set(residual),
            tops.at[k].set(jnp.max(band.energies)),
        )

    def going_on(s: tuple) -> Array:
        return (s[3] > tol) & jnp.isfinite(s[3]) & (s[4] < steps)

    band, residual = look(path)
    empty = jnp.zeros((CHUNK,), path.dtype)
    path, memory, band, residual, k, residuals, tops = lax.while_loop(
        going_on, body, (path, memory, band, residual, jnp.zeros((), jnp.int32), empty, empty)
    )
    return path, memory, k, residuals, tops, residual, band


@partial(jax.jit, static_argnums=2)
def slopes(energy: Callable, path: Array, geometry: Geometry, units: Array) -> tuple[Array, Array]:
    """Distance along the path, and derivative of the energy by it, along unit tangents ``units`` at inner images."""
    s = arc_length(path, geometry=geometry)
    _, forward, back = jax.vmap(geometry.connect)(path[:-1], path[1:])
    lengths = jnp.diff(s)
    directions = jnp.concatenate([forward[:1] / lengths[0], units, -back[-1:] / lengths[-1]])
    gradients = jax.vmap(geometry.project)(path, jax.vmap(jax.grad(energy))(path))
    return s, jnp.ravel(_dot(gradients, directions))


def bent(path: Array, top: int, v: Array, geometry: Geometry) -> Array:
    """The path moved by v at image ``top``, and by less and less towards its ends."""
    s = arc_length(path, geometry=geometry)
    weight = jnp.sin(jnp.pi / 2 * jnp.where(s < s[top], s / s[top], (s[-1] - s) / (s[-1] - s[top])))
    move = weight.reshape((-1,) + (1,) * (path.ndim - 1)) * v
    return path.at[1:-1].set(jax.vmap(lambda x, v: geometry.retract(x, geometry.project(x, v)))(path, move)[1:-1])
