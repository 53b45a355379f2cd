"""Methods that learn the curvature from their moves and from how the force changed on them."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import register_dataclass

from mepmeta.force import Parts, dot
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import project, tiny

__all__ = ["LBFGS", "ConjugateGradient"]


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

    .. math:: d \mapsto F + \min\Big(1, \max\Big(0, \frac{F\cdot(F - F_-)}{|F_-|^2}\Big)\Big)\,d,\qquad
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

    def update(self, parts: Parts, s: _CGState, path: Array, geometry: Geometry) -> tuple[Array, _CGState]:
        force = parts.force
        move, before, old = (project(path, v, geometry) for v in (path - s.last.path, s.last.force, s.direction))
        beta = jnp.vdot(force, force - before) / jnp.maximum(jnp.vdot(before, before), tiny(force))
        direction = force + jnp.where(s.last.fresh, 0, jnp.clip(beta, 0, 1)) * old
        direction = jnp.where(jnp.vdot(direction, force) > 0, direction, force)
        curvature = jnp.vdot(move, before - force) / jnp.maximum(jnp.vdot(move, move), tiny(force))
        curvature = jnp.where(s.last.fresh | (curvature <= 0), s.curvature, jnp.clip(curvature, 0.02, 2))
        length = jnp.vdot(force, direction) / jnp.maximum(curvature * jnp.vdot(direction, direction), tiny(force))
        last = _Memory(path, force, jnp.asarray(False))
        return length * direction, _CGState(last, direction, curvature.astype(path.dtype))


class _LBFGSState(NamedTuple):
    last: _Memory
    moves: Array  # (memory, N, *shape), newest first
    changes: Array  # minus the change of the force in each move
    inverse: Array  # (memory, N), 1 / (move . change), 0 for an empty place
    limit: Array  # (N,)


@partial(register_dataclass, data_fields=["step", "angle", "growth", "by_image"], meta_fields=["memory"])
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
        by_image: every image learns its own curvatures. The whole band learns faster where the images are far from the
            path; where they have come near, each has soft and stiff directions of its own.

    Source: :cite:t:`nocedal1980`; on spheres :cite:t:`ivanov2021`.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.3
    angle: float | Array = 0.03
    growth: float | Array = 1.2
    memory: int = 5
    by_image: bool | Array = False

    def init(self, path: Array) -> _LBFGSState:
        many = jnp.zeros((self.memory, *path.shape), path.dtype)
        last = _Memory(path, jnp.zeros_like(path), jnp.asarray(True))
        inverse = jnp.zeros((self.memory, path.shape[0]), path.dtype)
        return _LBFGSState(last, many, many, inverse, jnp.full(path.shape[:1], jnp.inf, path.dtype))

    def update(self, parts: Parts, s: _LBFGSState, path: Array, geometry: Geometry) -> tuple[Array, _LBFGSState]:
        # Numbers of an image, shape (N,). Without by_image they are those of the whole band, at every image.
        def column(number: Array) -> Array:
            return number.reshape((-1,) + (1,) * (path.ndim - 1))

        def product(u: Array, v: Array) -> Array:
            each = jnp.ravel(dot(u, v))
            return jnp.where(self.by_image, each, jnp.sum(each))

        def length(v: Array) -> Array:
            square = product(v, v)
            some = square > 0  # the derivative of a root at zero is infinite
            return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)

        force = parts.force
        move = project(path, path - s.last.path, geometry)
        change = project(path, s.last.force, geometry) - force
        curvature, moved = product(move, change), length(move)
        sound = ~s.last.fresh & (curvature > 0.01 * moved * length(change))

        def push(pairs: Array, new: Array, sound: Array) -> Array:
            return jnp.where(sound, jnp.concatenate([new[None], pairs[:-1]]), pairs)

        moves, changes = (push(p, v, column(sound)) for p, v in ((s.moves, move), (s.changes, change)))
        inverse = push(s.inverse, 1 / jnp.where(sound, curvature, 1), sound)

        # The two loops of the textbook, over the few pairs.
        def down(q: Array, pair: tuple) -> tuple[Array, Array]:
            move, change, inverse = pair
            part = inverse * product(move, q)
            return q - column(part) * change, part

        def up(q: Array, pair: tuple) -> tuple[Array, None]:
            move, change, inverse, part = pair
            return q + column(part - inverse * product(change, q)) * move, None

        q, part = lax.scan(down, force, (moves, changes, inverse))
        newest = inverse[0] * product(changes[0], changes[0])
        q = q * column(jnp.where(newest > 0, 1 / jnp.where(newest > 0, newest, 1), self.step).astype(q.dtype))
        q = project(path, lax.scan(up, q, (moves, changes, inverse, part), reverse=True)[0], geometry)

        strength, before = length(force), length(s.last.force)
        grown = jnp.where(s.last.fresh, 0, strength / jnp.maximum(before, tiny(force)))
        keep = (product(q, force) > self.angle * length(q) * strength) & (grown < self.growth**4)
        q, inverse = jnp.where(column(keep), q, self.step * force), jnp.where(keep, inverse, 0)
        largest = self._largest(move, geometry)
        limit = jnp.where(grown > self.growth, largest / 2, 1.5 * s.limit).astype(q.dtype)
        farthest = self._largest(q, geometry)
        far = farthest > limit
        q = q * column(jnp.where(far, jnp.where(far, limit, 1) / jnp.where(far, farthest, 1), 1).astype(q.dtype))
        return q, _LBFGSState(_Memory(path, force, jnp.asarray(False)), moves, changes, inverse, limit)

    def _largest(self, move: Array, geometry: Geometry) -> Array:
        """The largest move of a particle, in each image or in the band."""
        each = jnp.max(jax.vmap(geometry.sizes)(move).reshape(move.shape[0], -1), axis=1)
        return jnp.where(self.by_image, each, jnp.max(each))
