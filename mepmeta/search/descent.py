"""Quasi-Newton descent of one state: into a minimum, at a distance from another state, or to a saddle."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._compiled import compiled
from mepmeta.force import Parts
from mepmeta.methods import LBFGS
from mepmeta.methods.loop import CHUNK, Descent, March, begin, to_tolerance
from mepmeta.problem import Problem

__all__ = ["Descended", "at_distance", "descend"]

#: A gradient is one: nothing has to be feared from its growth, and steps nearly across it may be right.
MINIMISER = LBFGS(angle=1e-3, growth=jnp.inf, memory=16)

#: A state is brought to its distance in so many rounds: each leaves the third power of what was off.
ROUNDS = 4
#: It is there when the distance is right to so many roundings.
THERE = 4


class Descended(NamedTuple):
    """State, energy, largest force on a particle, gradients computed, moves taken back, what the method has learned.

    ``march`` is what a descent of another state goes on with.
    """

    state: np.ndarray
    energy: float
    residual: float
    evaluations: int
    refused: int
    march: March


def descend(
    problem: Problem,
    x: Array,
    tol: float,
    at_most: int,
    *,
    along: Array | None = None,
    distance: float = 0.0,
    before: March | None = None,
    method: Any = None,
) -> Descended:
    r"""Descend until the largest force is below ``tol``, for ``at_most`` gradients.

    Args:
        problem: the energy in its units.
        x: where to start.
        tol: largest force on a particle, without its part along the way to ``along`` where a distance is kept.
        at_most: gradients.
        along: with a ``distance`` a state, from which the descent keeps this distance, from the start on. Else a
            tangent vector, along which the energy is turned over: with the lowest mode this leads to a saddle.
        distance: in units of length.
        before: the end of a descent nearby, whose curvatures are used again.
        method: of :mod:`mepmeta.methods`, made as L-BFGS is; None for ``MINIMISER``.
    """
    real = np.dtype(x.dtype).type
    if distance > 0:
        x = at_distance(problem, x, along, distance)
    x = np.asarray(x)[None]
    method = MINIMISER if method is None else method
    march, along = begin(method, x, x), np.zeros_like(x[0]) if along is None else along
    if before is not None:  # the first move of this one begins elsewhere: it makes no pair
        last = before.memory.last._replace(fresh=np.asarray(True))
        march = march._replace(memory=before.memory._replace(last=last), fresh=np.asarray(False))
    evaluations, refused = 0, 0
    while True:
        steps = min(CHUNK, at_most - evaluations)
        d = _descend(
            problem, method, march, real(tol), np.asarray(steps - bool(march.fresh), np.int32), along, real(distance)
        )
        march, looks, residual = d.march, int(d.looks), float(d.residual)
        evaluations, refused = evaluations + looks, refused + int(d.refused)
        if residual <= tol or looks < steps or evaluations >= at_most or not np.isfinite(residual):
            energy = float(np.asarray(d.parts.energies)[0]) if np.isfinite(residual) else np.nan
            return Descended(np.asarray(march.path)[0], energy, residual, evaluations, refused, march)


def at_distance(problem: Problem, x: Array, centre: Array, distance: float) -> Array:
    """The state x moved to this distance from the centre."""
    for _ in range(ROUNDS):
        way = np.asarray(problem.way(x, centre))
        now = float(np.linalg.norm(way)) or 1.0  # it may be the centre itself
        if abs(now - distance) <= THERE * float(np.finfo(way.dtype).eps) * distance:
            break
        x = problem.moved_by(x, ((1 - distance / now) * way).astype(way.dtype))
    return x


@compiled
def _descend(
    problem: Problem, method: Any, march: March, tol: Array, steps: Array, along: Array, distance: Array
) -> Descent:
    """A band of one image, which has no neighbours. The three tasks differ in numbers only: one program."""
    geometry, held = problem.geometry, distance > 0

    def look(path: Array) -> tuple[Parts, Array]:
        x = path[0]
        value, slope = jax.value_and_grad(problem)(x)
        way = jnp.where(held, geometry.connect(x, along)[1], geometry.project(x, along))
        square = jnp.vdot(way, way)
        way, both = way / jnp.sqrt(jnp.where(square > 0, square, 1)), jnp.where(held, 1, 2).astype(path.dtype)
        slope = geometry.project(x, slope)
        force = both * jnp.vdot(way, slope) * way - slope
        soft = problem.damped(x, force)
        soft = soft - (2 - both) * jnp.vdot(way, soft) * way
        none, straight = jnp.zeros((1,), path.dtype), jnp.ones((1,), path.dtype)
        parts = Parts(force[None], none, None, jnp.zeros_like(path), straight, none, value[None], none, soft[None])
        # Of the turned force a particle may feel less than of the force itself.
        return parts, jnp.max(geometry.sizes(jnp.where(held, force, slope)))

    def advance(path: Array, move: Array, parts: Parts, k: Array) -> Array:
        x = geometry.retract(path[0], move[0])
        way = geometry.connect(x, along)[1]
        now = jnp.linalg.norm(jnp.ravel(way))
        off = jnp.where(held & (now > 0), 1 - distance / jnp.where(now > 0, now, 1), 0)
        return geometry.retract(x, off * way)[None]

    def inner(path: Array) -> Any:
        return path

    return to_tolerance(look, advance, inner, method, march, geometry, tol, steps)
