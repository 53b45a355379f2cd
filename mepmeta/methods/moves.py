"""What methods do with moves and forces of a band, arrays of tangent vectors at its inner images."""

import jax
import jax.numpy as jnp
from jax import Array

from mepmeta.force import Parts
from mepmeta.geometry import Geometry

__all__ = ["LIMIT", "limited", "norm", "project", "shortened", "sprung", "tiny"]

#: No particle moves more than this part of the unit of length (a radian, for spins) in one iteration.
LIMIT = 0.2


def limited(move: Array, geometry: Geometry, unit: Array) -> Array:
    """The move, shortened as a whole so that no particle moves more than a fifth of the unit."""
    return shortened(move, geometry, LIMIT * unit)


def shortened(move: Array, geometry: Geometry, limit: Array) -> Array:
    """The move, shortened as a whole so that no particle moves more than the limit."""
    largest = jnp.max(jax.vmap(geometry.sizes)(move))
    # The two inner choices keep the derivative of the outer one finite where there is no limit yet.
    far = largest > limit
    return move * jnp.where(far, jnp.where(far, limit, 1) / jnp.where(far, largest, 1), 1).astype(move.dtype)


def sprung(parts: Parts, spring: float | Array) -> Array:
    """The force with springs along the path."""
    return parts.force + spring * parts.stretch * parts.unit


def project(path: Array, v: Array, geometry: Geometry) -> Array:
    """The part of v tangent at every image."""
    return jax.vmap(geometry.project)(path, v)


def norm(v: Array) -> Array:
    """Length of all moves together."""
    return jnp.linalg.norm(jnp.ravel(v))


def tiny(x: Array) -> float:
    """A divisor that keeps 0/0 zero."""
    return jnp.finfo(x.dtype).tiny
