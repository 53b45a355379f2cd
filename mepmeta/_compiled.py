"""Small calls compiled as one each: op by op, every operation of theirs would be compiled by itself for every shape."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from mepmeta.geometry import Geometry

__all__ = ["connect", "distance", "distances", "energies", "force", "line", "moved", "steps", "tangents"]


@jax.jit
def energies(energy: Callable, path: Array) -> Array:
    """Energies of all images."""
    return jax.vmap(energy)(path)


@partial(jax.jit, static_argnums=2)
def force(energy: Callable, x: Array, geometry: Geometry) -> Array:
    """The largest force on a particle."""
    return jnp.max(geometry.sizes(geometry.project(x, jax.grad(energy)(x))))


@partial(jax.jit, static_argnums=2)
def distance(x: Array, y: Array, geometry: Geometry) -> Array:
    """Distance of two states."""
    return geometry.distance(x, y)


@partial(jax.jit, static_argnums=2)
def distances(path: Array, y: Array, geometry: Geometry) -> Array:
    """Distances of all images to a state."""
    return jax.vmap(lambda x: geometry.distance(x, y))(path)


@partial(jax.jit, static_argnums=1)
def steps(path: Array, geometry: Geometry) -> Array:
    """Distances of neighbouring images."""
    return jax.vmap(geometry.distance)(path[:-1], path[1:])


@partial(jax.jit, static_argnums=2)
def connect(x: Array, y: Array, geometry: Geometry) -> tuple[Array, Array, Array]:
    """Distance and directions of two states."""
    return geometry.connect(x, y)


@partial(jax.jit, static_argnums=3)
def line(x: Array, y: Array, t: Array, geometry: Geometry) -> Array:
    """States at fractions t of the way."""
    return jax.vmap(lambda t: geometry.interpolate(x, y, t))(t)


@partial(jax.jit, static_argnums=2)
def moved(x: Array, v: Array, geometry: Geometry) -> Array:
    """The state reached by a tangent vector; by zero, the state put back to the last digit."""
    return geometry.retract(x, v)


@partial(jax.jit, static_argnums=2)
def tangents(x: Array, coordinates: Array, geometry: Geometry) -> Array:
    """Tangent vectors with the given rows of coordinates."""
    return jax.vmap(lambda c: geometry.tangent(x, c))(coordinates)
