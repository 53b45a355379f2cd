"""Iterations of a band with any method, compiled as one loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from mepmeta._compiled import compiled
from mepmeta.force import Parts, Tangent, between_ends, dot, parts_of
from mepmeta.geometry import Geometry
from mepmeta.methods.loop import Descent, March, to_tolerance
from mepmeta.methods.moves import LIMIT
from mepmeta.paths import balanced, redistributed
from mepmeta.problem import Problem

__all__ = ["advanced", "halfway", "looked", "looked_at", "run"]

#: How much of the distance of two neighbouring images may change in one iteration.
STRAIN = 0.5


def looked(
    problem: Problem, path: Array, held: Array, stiffness: Array, beta: Array, tangent: Tangent
) -> tuple[Parts, Array]:
    """What a method is given, in units of the ``stiffness``, and the residual; ``held`` images feel no force."""
    geometry = problem.geometry
    parts = parts_of(problem, path, beta, geometry, tangent)
    if parts.energies is None:
        parts = parts._replace(energies=jax.vmap(problem)(path))
    force = jnp.where(held.reshape((-1,) + (1,) * (path.ndim - 1)), 0, parts.force)
    soft = jax.vmap(problem.damped)(path[1:-1], force)
    return parts._replace(force=force / stiffness, soft=soft / stiffness), jnp.max(jax.vmap(geometry.sizes)(force))


def advanced(method: Any, path: Array, move: Array, parts: Parts, held: Array, geometry: Geometry) -> Array:
    """The path after a move, its images kept apart as the method has it, without redistribution."""
    column = (-1,) + (1,) * (path.ndim - 1)
    if method.spacing == "tangential":
        at, wanted = balanced(parts.lengths, jnp.pad(held, 1, constant_values=True))
        # At a sharp turn the tangent does not lead far along the path, so that no image may go far along it.
        most = LIMIT / jax.vmap(lambda v: jnp.max(geometry.sizes(v)))(parts.unit)
        along = jnp.clip((wanted - at)[1:-1], -most, most).reshape(column)
        move = move + (along - dot(move, parts.unit)) * parts.unit
    move = jnp.where(held.reshape(column), 0, move)
    # Neighbours that move apart, or past each other, by more than half of their distance would fold the path.
    apart = jnp.diff(jnp.pad(move, [(1, 1)] + [(0, 0)] * (path.ndim - 1)), axis=0)
    square = jnp.ravel(dot(apart, apart))
    some = square > 0  # the derivative of a root at zero is infinite
    strain = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0) / parts.lengths
    move = move * jnp.minimum(1.0, STRAIN / jnp.maximum(jnp.max(strain), STRAIN))
    return between_ends(path, jax.vmap(geometry.retract)(path[1:-1], move))


@partial(compiled, static_argnames="tangent")
def run(
    problem: Problem,
    method: Any,
    march: March,
    held: Array,
    stiffness: Array,
    beta: Array,
    tol: Array,
    done: Array,
    steps: Array,
    tangent: Tangent,
) -> Descent:
    """Iterate until the residual is below ``tol``; inner images that are ``held``, shape ``(N,)``, stay where they are.

    ``stiffness`` is the largest curvature on the path, in units of the problem; ``done`` counts earlier iterations.
    """
    geometry, pinned = problem.geometry, jnp.pad(held, 1, constant_values=True)

    def look(path: Array) -> tuple[Parts, Array]:
        return looked(problem, path, held, stiffness, beta, tangent)

    def advance(path: Array, move: Array, parts: Parts, k: Array) -> Array:
        path = advanced(method, path, move, parts, held, geometry)
        if method.spacing == "redistribution":
            due = (done + k) % method.every == 0
            path = lax.cond(due, lambda p: redistributed(p, pinned, geometry), lambda p: p, path)
        return path

    return to_tolerance(look, advance, lambda p: p[1:-1], method, march, geometry, tol, steps)


@compiled
def halfway(problem: Problem, path: Array) -> Array:
    """Energies half-way from image to image; not finite where two of them are antipodal."""
    half = jax.vmap(lambda x, y: problem(problem.geometry.retract(x, (y - x) / 2)))
    return half(path[:-1], path[1:])


@compiled
def looked_at(problem: Problem, path: Array, held: Array) -> tuple[Parts, Array, Array]:
    """The parts of a path with the improved tangent, its residual, and what :func:`halfway` says; a small program."""
    parts = parts_of(problem, path, 0.0, problem.geometry, "improved")
    force = jnp.where(held.reshape((-1,) + (1,) * (path.ndim - 1)), 0, parts.force)
    return parts._replace(tangent=None), jnp.max(jax.vmap(problem.geometry.sizes)(force)), halfway(problem, path)
