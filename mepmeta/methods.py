r"""Methods: ways to move a band along its force, each an ``init``/``update`` pair.

Every method gets the same force on the inner images, the negative quasi-gradient

.. math:: F_n = -\partial E^\perp[S_n] + \mu\,e_n\,\hat\tau_n

divided by the largest curvature of the energy. It is a length, whatever the unit of energy, and a step of 1 is half
of what steepest descent takes before it turns unstable. The force has no potential: its Jacobian is not symmetric, and
no line search can ask whether a step was good.

A method is a pytree whose numbers are leaves, so it can be differentiated and trained.
``find_mep(method=...)`` takes any object with

* ``init(path) -> state``, for inner images of shape ``(N, *shape)``;
* ``update(force, state, path, geometry) -> (move, state)``, all at the inner images, which then go along ``move``, or
  along a shortened one where a particle would go farther than a fifth of a radian;
* ``spacing``, what keeps the images apart: "springs" as in the force above; "tangential", no springs but a move of
  every image along the path to where equal springs would balance; "redistribution", the same by interpolation.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

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

#: No particle moves more than this part of the unit (a radian, for spins) in one iteration.
LIMIT = 0.2


def limited(move: Array, geometry: Geometry, unit: Array) -> Array:
    """The move, shortened as a whole so that no particle moves more than a fifth of the unit."""
    return _shortened(move, geometry, LIMIT * unit)


def _shortened(move: Array, geometry: Geometry, limit: Array) -> Array:
    largest = jnp.max(jax.vmap(geometry.sizes)(move))
    # The two inner choices keep the derivative of the outer one finite where there is no limit yet.
    far = largest > limit
    return move * jnp.where(far, jnp.where(far, limit, 1) / jnp.where(far, largest, 1), 1).astype(move.dtype)


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

    spacing: ClassVar[str] = "springs"
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

    spacing: ClassVar[str] = "springs"
    step: float | Array = 0.8
    friction: float | Array = 0.1

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, force: Array, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        velocity = (1 - self.friction) * _project(path, velocity, geometry) + self.step * force
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

    spacing: ClassVar[str] = "springs"
    step: float | Array = 0.8

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, force: Array, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        along = jnp.maximum(0, jnp.vdot(velocity, force)) / jnp.maximum(jnp.vdot(force, force), _tiny(force))
        velocity = (along + self.step) * force
        return self.step * velocity, velocity


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

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.5
    largest_step: float | Array = 1.0

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
        return step * v, _FIREState(v, step.astype(path.dtype), mixing, downhill)


@partial(register_dataclass, data_fields=["step"], meta_fields=["every"])
@dataclass(frozen=True)
class StringMethod:
    r"""String method: images descend without springs and are put back to equal distances every ``every`` iterations.

    Args:
        step: step of steepest descent times the largest curvature.
        every: iterations from one redistribution to the next.

    Source: :cite:t:`e2007`.
    """

    spacing: ClassVar[str] = "redistribution"
    step: float | Array = 0.8
    every: int = 1

    def init(self, path: Array) -> None:
        return None

    def update(self, force: Array, state: None, path: Array, geometry: Geometry) -> tuple[Array, None]:
        return self.step * force, None


class _Memory(NamedTuple):
    path: Array
    force: Array
    fresh: Array  # nothing is known yet


class _CGState(NamedTuple):
    last: _Memory
    direction: Array
    curvature: Array


@partial(register_dataclass, data_fields=["step"], meta_fields=[])
@dataclass(frozen=True)
class ConjugateGradient:
    r"""Nonlinear conjugate gradients (Polak-Ribiere, restarted), the step from the last curvature seen.

    .. math:: d \mapsto F + \max\Big(0, \frac{F\cdot(F - F_-)}{|F_-|^2}\Big)\,d,\qquad
        S \mapsto S + \frac{F\cdot d}{c\,|d|^2}\,d,\qquad c = \frac{s\cdot(F_- - F)}{|s|^2}

    A line search would need a potential. The curvature c along the direction is therefore that of the last move s,
    kept between a fiftieth of the largest curvature and twice that.

    Args:
        step: first step times the largest curvature.

    Source: :cite:t:`polak1969`.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.3

    def init(self, path: Array) -> _CGState:
        zero = jnp.zeros_like(path)
        return _CGState(_Memory(path, zero, jnp.asarray(True)), zero, jnp.asarray(1 / self.step, path.dtype))

    def update(self, force: Array, s: _CGState, path: Array, geometry: Geometry) -> tuple[Array, _CGState]:
        move, before, old = (_project(path, v, geometry) for v in (path - s.last.path, s.last.force, s.direction))
        beta = jnp.vdot(force, force - before) / jnp.maximum(jnp.vdot(before, before), _tiny(force))
        direction = force + jnp.where(s.last.fresh, 0, jnp.clip(beta, 0, 1)) * old
        direction = jnp.where(jnp.vdot(direction, force) > 0, direction, force)
        curvature = jnp.vdot(move, before - force) / jnp.maximum(jnp.vdot(move, move), _tiny(force))
        curvature = jnp.where(s.last.fresh | (curvature <= 0), s.curvature, jnp.clip(curvature, 0.02, 2))
        length = jnp.vdot(force, direction) / jnp.maximum(curvature * jnp.vdot(direction, direction), _tiny(force))
        last = _Memory(path, force, jnp.asarray(False))
        return length * direction, _CGState(last, direction, curvature.astype(path.dtype))


class _LBFGSState(NamedTuple):
    last: _Memory
    moves: Array  # (memory, N, *shape), newest first
    changes: Array  # minus the change of the force in each move
    inverse: Array  # 1 / (move . change), 0 for an empty place
    limit: Array


@partial(register_dataclass, data_fields=["step", "angle", "growth"], meta_fields=["memory"])
@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS for a force without a potential: quasi-Newton steps from the last few moves and changes of the force.

    What keeps it safe where the textbook method fails on bands:

    * the springs, whose part of the Jacobian is the least symmetric, stay outside: spacing is tangential;
    * the first step, with nothing known yet, is a short one of steepest descent, not one from a probed curvature;
    * a pair (move :math:`s`, change :math:`y`) counts only with :math:`s\cdot y > 0.01\,|s|\,|y|`;
    * a step that is nearly across the force, or against it, clears the memory and becomes one of steepest descent;
    * where the force has grown by more than ``growth`` the next move is at most half the last one, a limit that then
      grows back; where it has grown by more than ``growth**4`` the memory is cleared, too.

    Args:
        step: step of steepest descent times the largest curvature.
        angle: cosine of the largest angle between step and force.
        growth: ratio of two forces, after to before, above which a step was too long.
        memory: number of pairs.

    Source: :cite:t:`nocedal1980`; on spheres :cite:t:`ivanov2021`.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.3
    angle: float | Array = 0.03
    growth: float | Array = 1.2
    memory: int = 5

    def init(self, path: Array) -> _LBFGSState:
        many = jnp.zeros((self.memory, *path.shape), path.dtype)
        last = _Memory(path, jnp.zeros_like(path), jnp.asarray(True))
        inverse = jnp.zeros((self.memory,), path.dtype)
        return _LBFGSState(last, many, many, inverse, jnp.asarray(jnp.inf, path.dtype))

    def update(self, force: Array, s: _LBFGSState, path: Array, geometry: Geometry) -> tuple[Array, _LBFGSState]:
        move = _project(path, path - s.last.path, geometry)
        change = _project(path, s.last.force, geometry) - force
        curvature = jnp.vdot(move, change)
        sound = ~s.last.fresh & (curvature > 0.01 * _norm(move) * _norm(change))

        def push(column: Array, new: Array) -> Array:
            return jnp.where(sound, jnp.concatenate([new[None], column[:-1]]), column)

        moves, changes = push(s.moves, move), push(s.changes, change)
        inverse = push(s.inverse, 1 / jnp.where(sound, curvature, 1))

        # The two loops of the textbook, over the few pairs.
        q, parts = force, []
        for i in range(self.memory):
            parts.append(inverse[i] * jnp.vdot(moves[i], q))
            q = q - parts[i] * changes[i]
        newest = inverse[0] * jnp.vdot(changes[0], changes[0])
        q = q * jnp.where(newest > 0, 1 / jnp.where(newest > 0, newest, 1), self.step).astype(q.dtype)
        for i in reversed(range(self.memory)):
            q = q + (parts[i] - inverse[i] * jnp.vdot(changes[i], q)) * moves[i]
        q = _project(path, q, geometry)

        grown = jnp.where(s.last.fresh, 0, _norm(force) / jnp.maximum(_norm(s.last.force), _tiny(force)))
        keep = (jnp.vdot(q, force) > self.angle * _norm(q) * _norm(force)) & (grown < self.growth**4)
        q, inverse = jnp.where(keep, q, self.step * force), jnp.where(keep, inverse, 0)
        half = jnp.max(jax.vmap(geometry.sizes)(move)) / 2
        limit = jnp.where(grown > self.growth, half, 1.5 * s.limit).astype(q.dtype)
        last = _Memory(path, force, jnp.asarray(False))
        return _shortened(q, geometry, limit), _LBFGSState(last, moves, changes, inverse, limit)


def _norm(v: Array) -> Array:
    return jnp.linalg.norm(jnp.ravel(v))


def _tiny(x: Array) -> float:
    return jnp.finfo(x.dtype).tiny
