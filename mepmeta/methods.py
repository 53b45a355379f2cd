r"""Methods: ways to move a band along its force, each an ``init``/``update`` pair.

Every method gets the same force on the inner images, the negative quasi-gradient

.. math:: F_n = -\partial E^\perp[S_n] + \mu\,e_n\,\hat\tau_n

in units of the largest curvature of the energy, so a step of 1 is what steepest descent may take at most to be
stable with a margin of two, whatever the unit of energy. The force has no potential: its Jacobian is not symmetric, and no
line search can ask whether a step was good. A method is a pytree whose numbers are leaves, so it can be
differentiated and trained; ``find_mep(method=...)`` takes any object with these two functions:

* ``init(path) -> state`` for inner images of shape ``(N, *shape)``;
* ``update(force, state, path, geometry) -> (move, state)``, all at the inner images. The images then go along ``move``.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_dataclass

from mepmeta.geometry import Geometry

__all__ = [
    "FIRE",
    "LBFGS",
    "ConjugateGradient",
    "Momentum",
    "SteepestDescent",
    "StringMethod",
    "VelocityProjection",
]

#: No particle moves more than this in one iteration of a method that extrapolates: radian, or unit of the coordinates.
LIMIT = 0.2


def _limited(move: Array, geometry: Geometry, limit: float | Array) -> Array:
    """The move, shortened as a whole so that no particle moves more than ``limit``."""
    largest = jnp.max(jax.vmap(geometry.sizes)(move))
    return move * jnp.minimum(1, limit / jnp.maximum(largest, jnp.finfo(move.dtype).tiny)).astype(move.dtype)


def _project(path: Array, v: Array, geometry: Geometry) -> Array:
    return jax.vmap(geometry.project)(path, v)


@partial(register_dataclass, data_fields=["step"], meta_fields=[])
@dataclass(frozen=True)
class SteepestDescent:
    r"""Steepest descent, the method of the paper: :math:`S_n \mapsto S_n + \gamma F_n`.

    Args:
        step: :math:`\gamma` times the largest curvature; stable below 2 without springs.

    Source: Eq. (1) of :cite:t:`bushuev2020`.
    """

    step: float | Array = 0.8

    def init(self, path: Array) -> None:
        return None

    def update(self, force: Array, state: None, path: Array, geometry: Geometry) -> tuple[Array, None]:
        return self.step * force, None


@partial(register_dataclass, data_fields=["step", "friction"], meta_fields=[])
@dataclass(frozen=True)
class Momentum:
    r"""Heavy ball: :math:`v \mapsto (1-\eta)\,v + \gamma F,\ S \mapsto S + v`.

    Args:
        step: :math:`\gamma` times the largest curvature.
        friction: :math:`\eta`, the part of the velocity lost in an iteration.

    Source: :cite:t:`polyak1964`.
    """

    step: float | Array = 0.8
    friction: float | Array = 0.1

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, force: Array, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        velocity = (1 - self.friction) * _project(path, velocity, geometry) + self.step * force
        velocity = _limited(velocity, geometry, LIMIT)
        return velocity, velocity


@partial(register_dataclass, data_fields=["step"], meta_fields=[])
@dataclass(frozen=True)
class VelocityProjection:
    r"""Velocity projection (VPO, "quick min"): the velocity keeps its part along the force, and none against it.

    .. math:: v \mapsto \max(0, v\cdot F)\,F/|F|^2 + \delta t\,F,\qquad S \mapsto S + \delta t\,v

    Args:
        step: :math:`\delta t` times the root of the largest curvature.

    Source: :cite:t:`jonsson1998`; for spins :cite:t:`bessarab2015`.
    """

    step: float | Array = 0.8

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, force: Array, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        along = jnp.maximum(0, jnp.vdot(velocity, force)) / jnp.maximum(jnp.vdot(force, force), _tiny(force))
        velocity = (along + self.step) * force
        return _limited(self.step * velocity, geometry, LIMIT), velocity


class _FIREState(NamedTuple):
    velocity: Array
    step: Array
    mixing: Array
    downhill: Array  # iterations since the velocity last pointed against the force


@partial(register_dataclass, data_fields=["step", "largest_step"], meta_fields=[])
@dataclass(frozen=True)
class FIRE:
    r"""Fast inertial relaxation engine: velocities turned towards the force, a time step that grows while that helps.

    .. math:: v \mapsto (1-\alpha)\,v + \alpha\,|v|\,F/|F|,\quad v \mapsto v + \delta t\,F,\quad
        S \mapsto S + \delta t\,v

    With :math:`v\cdot F \le 0` the velocity is set to zero and :math:`\delta t` halved.

    Args:
        step: :math:`\delta t` at the start, times the root of the largest curvature.
        largest_step: what it may grow to.

    Source: :cite:t:`bitzek2006`, with its constants.
    """

    step: float | Array = 0.5
    largest_step: float | Array = 1.2

    def init(self, path: Array) -> _FIREState:
        real = lambda x: jnp.asarray(x, path.dtype)  # noqa: E731
        return _FIREState(jnp.zeros_like(path), real(self.step), real(0.1), jnp.zeros((), jnp.int32))

    def update(self, force: Array, s: _FIREState, path: Array, geometry: Geometry) -> tuple[Array, _FIREState]:
        v = _project(path, s.velocity, geometry)
        good = jnp.vdot(v, force) > 0
        norm = jnp.linalg.norm(jnp.ravel(v)) / jnp.maximum(jnp.linalg.norm(jnp.ravel(force)), _tiny(force))
        v = jnp.where(good, (1 - s.mixing) * v + s.mixing * norm * force, 0)
        downhill = jnp.where(good, s.downhill + 1, 0)
        faster = good & (downhill > 5)
        step = jnp.where(faster, jnp.minimum(1.1 * s.step, self.largest_step), jnp.where(good, s.step, s.step / 2))
        mixing = jnp.where(faster, 0.99 * s.mixing, jnp.where(good, s.mixing, 0.1)).astype(path.dtype)
        v = v + step * force
        return _limited(step * v, geometry, LIMIT), _FIREState(v, step.astype(path.dtype), mixing, downhill)


@partial(register_dataclass, data_fields=["step"], meta_fields=["every"])
@dataclass(frozen=True)
class StringMethod:
    r"""String method: images descend without springs and are put back to equal distances every ``every`` iterations.

    Args:
        step: step times the largest curvature.
        every: iterations between two redistributions.

    Source: :cite:t:`e2007`.
    """

    step: float | Array = 0.8
    every: int = 1

    def init(self, path: Array) -> None:
        return None

    def update(self, force: Array, state: None, path: Array, geometry: Geometry) -> tuple[Array, None]:
        return self.step * force, None


class _CGState(NamedTuple):
    force: Array
    move: Array
    length: Array  # step length per unit of the direction
    direction: Array


@partial(register_dataclass, data_fields=["step"], meta_fields=[])
@dataclass(frozen=True)
class ConjugateGradient:
    r"""Nonlinear conjugate gradients (Polak-Ribiere, restarted) with the step length of the last curvature.

    .. math:: d \mapsto F + \max\Big(0, \frac{F\cdot(F - F_-)}{|F_-|^2}\Big) d,\qquad
        \text{step} = \frac{F\cdot d}{d\cdot A d}

    A line search would need a potential. The curvature :math:`d\cdot A d` along the direction is taken from the change of the force
    in the last step instead.

    Args:
        step: first step times the largest curvature.

    Source: :cite:t:`polak1969`.
    """

    step: float | Array = 0.5

    def init(self, path: Array) -> _CGState:
        zero = jnp.zeros_like(path)
        return _CGState(zero, zero, jnp.asarray(self.step, path.dtype), zero)

    def update(self, force: Array, s: _CGState, path: Array, geometry: Geometry) -> tuple[Array, _CGState]:
        old_force, move, old = (_project(path, v, geometry) for v in (s.force, s.move, s.direction))
        beta = jnp.maximum(0, jnp.vdot(force, force - old_force)) / jnp.maximum(
            jnp.vdot(s.force, s.force), _tiny(force)
        )
        direction = force + jnp.minimum(beta, 1) * old
        direction = jnp.where(jnp.vdot(direction, force) > 0, direction, force)
        # The curvature seen in the last step, never beyond what the largest curvature allows nor below a fiftieth of it.
        curvature = jnp.vdot(move, old_force - force) / jnp.maximum(jnp.vdot(move, move), _tiny(force))
        curvature = jnp.where(curvature > 0, jnp.clip(curvature, 0.02, 2), 1 / s.length)
        length = (jnp.vdot(force, direction) / jnp.vdot(direction, direction) / curvature).astype(path.dtype)
        new = _limited(length * direction, geometry, LIMIT)
        return new, _CGState(force, new, (1 / curvature).astype(path.dtype), direction)


class _LBFGSState(NamedTuple):
    force: Array
    move: Array
    moves: Array  # (memory, N, *shape), newest first
    changes: Array  # minus the change of the force in each move
    inverse: Array  # 1 / (move . change), 0 for an empty place
    limit: Array


@partial(register_dataclass, data_fields=["step", "limit", "angle", "growth"], meta_fields=["memory"])
@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS for a force without a potential: quasi-Newton steps from the last few moves and changes of the force.

    What keeps it safe where the textbook method fails on bands:

    * the first step, with nothing known yet, is a short one of steepest descent, not one from a probed curvature;
    * a pair (move :math:`s`, change :math:`y`) counts only with :math:`s\cdot y > 0.01\,|s|\,|y|`;
    * a step at more than a right angle to the force, less a margin, clears the memory and becomes one of steepest descent;
    * no particle moves more than ``limit``; where the force has grown by more than ``growth`` half the last move is
      the limit, which then grows back, and by its fourth power the memory is cleared, too;
    * the springs, whose part of the Jacobian is the least symmetric, stay outside: the images go along the path to
      where the springs balance.

    Args:
        step: step of steepest descent times the largest curvature.
        limit: largest move of a particle in an iteration, unit of the coordinates.
        angle: cosine of the largest angle between step and force.
        growth: ratio of forces, after to before, above which a step was too long.
        memory: number of pairs.

    Source: :cite:t:`nocedal1980`; on spheres :cite:t:`ivanov2021`.
    """

    step: float | Array = 0.3
    limit: float | Array = LIMIT
    angle: float | Array = 0.03
    growth: float | Array = 1.2
    memory: int = 5

    def init(self, path: Array) -> _LBFGSState:
        zero, many = jnp.zeros_like(path), jnp.zeros((self.memory, *path.shape), path.dtype)
        inverse = jnp.zeros((self.memory,), path.dtype)
        return _LBFGSState(zero, zero, many, many, inverse, jnp.asarray(self.limit, path.dtype))

    def update(self, force: Array, s: _LBFGSState, path: Array, geometry: Geometry) -> tuple[Array, _LBFGSState]:
        move = _project(path, s.move, geometry)
        change = _project(path, s.force, geometry) - force
        curvature = jnp.vdot(move, change)
        sound = curvature > 0.01 * jnp.linalg.norm(jnp.ravel(move)) * jnp.linalg.norm(jnp.ravel(change))

        def push(column: Array, new: Array) -> Array:
            return jnp.where(sound, jnp.concatenate([new[None], column[:-1]]), column)

        moves, changes = push(s.moves, move), push(s.changes, change)
        inverse = push(s.inverse, 1 / jnp.where(sound, curvature, 1))

        # The two loops of the textbook, over the few pairs.
        q, parts = force, []
        for i in range(self.memory):
            parts.append(inverse[i] * jnp.vdot(moves[i], q))
            q = q - parts[i] * changes[i]
        newest = jnp.vdot(changes[0], changes[0])
        q = q * jnp.where(inverse[0] > 0, 1 / (inverse[0] * jnp.where(newest > 0, newest, 1)), self.step).astype(
            q.dtype
        )
        for i in reversed(range(self.memory)):
            q = q + (parts[i] - inverse[i] * jnp.vdot(changes[i], q)) * moves[i]
        q = _project(path, q, geometry)

        size = jnp.linalg.norm(jnp.ravel(force))
        grown = size / jnp.maximum(jnp.linalg.norm(jnp.ravel(s.force)), _tiny(force))
        known = jnp.any(s.force != 0)
        keep = (jnp.vdot(q, force) > self.angle * jnp.linalg.norm(jnp.ravel(q)) * size) & (
            ~known | (grown < self.growth**4)
        )
        q = jnp.where(keep, q, self.step * force)
        inverse = jnp.where(keep, inverse, 0)
        last = jnp.max(jax.vmap(geometry.sizes)(s.move))
        limit = jnp.where(known & (grown > self.growth), last / 2, 1.5 * s.limit)
        limit = jnp.clip(limit, self.limit / 1000, self.limit).astype(q.dtype)
        q = _limited(q, geometry, limit)
        return q, _LBFGSState(force, q, moves, changes, inverse, limit)


def _tiny(x: Any) -> float:
    return jnp.finfo(x.dtype).tiny
