"""Methods that learn the curvature from their moves and from how the force changed on them."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import register_dataclass

from mepmeta.force import Parts, dot
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import project, tiny

__all__ = ["LBFGS", "ConjugateGradient", "Gram", "Strength", "compact"]


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
    soft: Array  # the last force with its stiff waves damped
    # In a ring of places; so laid out the compiler changes them in place, and images and cells stay on their devices.
    moves: Array  # (N, memory, *shape), of one image (memory, n)
    changes: Array  # likewise, minus the change of that in each move
    curvatures: Array  # (N, memory), move . change, 0 in an empty place
    crossed: Array  # (N, memory, memory), every move with every change
    changed: Array  # (N, memory, memory), every change of the force with every one of the damped force
    newest: Array  # (N,), the place of the last pair
    scale: Array  # (N,), what the force is multiplied with where no pair says more
    limit: Array  # (N,)
    own: Any  # what a method derived from this one remembers


class Gram(NamedTuple):
    """What the step is put together from: products only, so that nothing tells where an axis points or how many.

    Args:
        curvatures: move times change of every pair, shape ``(N, memory)``; 0 in an empty place.
        crossed: every move with every change, shape ``(N, memory, memory)``.
        changed: every change of the force with every one of the damped force, likewise.
        moves, changes: moves and damped changes times the force, shape ``(N, memory)``.
        newest: the place of the last pair, shape ``(N,)``.
        scale: what the damped force is multiplied with where no pair says more, shape ``(N,)``.
    """

    curvatures: Array
    crossed: Array
    changed: Array
    moves: Array
    changes: Array
    newest: Array
    scale: Array


class Strength(NamedTuple):
    """Length of the force, of the one before, force times damped force, ``(N,)``; whether nothing came before."""

    force: Array
    before: Array
    soft: Array
    fresh: Array


@partial(register_dataclass, data_fields=["step", "angle", "growth", "by_image", "floor"], meta_fields=["memory"])
@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS for a force without a potential: quasi-Newton steps from the last few moves and changes of the force.

    What keeps it safe where the textbook method fails on bands:

    * the springs, whose part of the Jacobian is the least symmetric, stay outside: spacing is tangential;
    * the first step, with nothing known yet, is a short one of steepest descent, not one from a probed curvature;
    * a pair (move :math:`s`, change :math:`y`) counts only where :math:`s\cdot y/(|s|\,|y|)` is above a ``floor``;
    * a step that is nearly across the force, or against it, clears the memory and becomes one of steepest descent;
    * where the energy says what is stiff (:meth:`~mepmeta.problem.Problem.damped`), that is what the first guess of the
      inverse curvatures is a multiple of, :math:`B_0^{-1} = \gamma M`, and where the method starts anew; so the memory
      is left for what is soft;
    * where the force has grown by more than ``growth`` the next move is at most half the last one, a limit that then
      grows back; where it has grown by more than ``growth**4`` the memory is cleared, too.

    Args:
        step: step of steepest descent times the largest curvature.
        angle: cosine of the largest angle between step and force.
        growth: ratio of two forces, after to before, above which a step was too long.
        memory: number of pairs.
        by_image: every image learns its own curvatures. The whole band learns faster where the images are far from the
            path; where they have come near, each has soft and stiff directions of its own.
        floor: least cosine of move and change of a pair that counts.

    Source: :cite:t:`nocedal1980`; on spheres :cite:t:`ivanov2021`.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.3
    angle: float | Array = 0.03
    growth: float | Array = 1.2
    memory: int = 5
    by_image: bool | Array = False
    floor: float | Array = 0.01

    def init(self, path: Array) -> _LBFGSState:
        m, (images, *_), zeros = self.memory, path.shape, partial(jnp.zeros, dtype=path.dtype)
        last = _Memory(path, jnp.zeros_like(path), jnp.asarray(True))
        pairs = zeros((m, path.size) if images == 1 else (images, m, *path.shape[1:]))
        products = zeros((images, m, m))
        return _LBFGSState(
            last, jnp.zeros_like(path), pairs, pairs, zeros((images, m)), products, products,
            jnp.zeros(images, jnp.int32), zeros(images) + self.step, jnp.full(images, jnp.inf, path.dtype),
            self.remembered(zeros(images)),
        )  # fmt: skip

    def remembered(self, nothing: Array) -> Any:
        """What a method derived from this one remembers at first."""
        return None

    def coefficients(self, gram: Gram, strength: Strength, own: Any) -> tuple[Array, Array, Array, Any]:
        """Those of the damped force, the moves and the changes in the step, and what is remembered."""
        return gram.scale, *compact(gram), own

    def update(self, parts: Parts, s: _LBFGSState, path: Array, geometry: Geometry) -> tuple[Array, _LBFGSState]:
        # Numbers of an image, shape (N,). Without by_image they are those of the whole band, at every image.
        def column(number: Array) -> Array:
            return number.reshape((-1,) + (1,) * (path.ndim - 1))

        def shared(each: Array) -> Array:
            return jnp.where(self.by_image, each, jnp.sum(each, axis=0))

        def product(u: Array, v: Array) -> Array:
            return shared(jnp.ravel(dot(u, v)))

        def length(v: Array) -> Array:
            square = product(v, v)
            some = square > 0  # the derivative of a root at zero is infinite
            return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)

        force = parts.force
        move = project(path, path - s.last.path, geometry)
        change = project(path, s.last.force, geometry) - force
        soft = force if parts.soft is None else parts.soft
        smooth = project(path, s.soft, geometry) - soft
        # Else the compiler makes both anew for everything below that reads them.
        move, change, smooth = lax.optimization_barrier((move, change, smooth))
        curvature, moved = product(move, change), length(move)
        sound = ~s.last.fresh & (curvature > self.floor * moved * length(change))

        # A pair that is not sound takes no place.
        place = (s.newest + sound.astype(jnp.int32)) % self.memory
        images = jnp.arange(path.shape[0], dtype=place.dtype)

        def put(places: Array, new: Array, *at: Any) -> Array:
            return places.at[at].set(jnp.where(sound.reshape((-1,) + (1,) * (new.ndim - 1)), new, places[at]))

        def stored(pairs: Array, new: Array) -> Array:
            if path.shape[0] == 1:
                return put(pairs, new.reshape(1, -1), place)
            return jax.vmap(lambda own, v, k, fine: own.at[k].set(jnp.where(fine, v, own[k])))(pairs, new, place, sound)

        moves, changes = stored(s.moves, move), stored(s.changes, smooth)
        curvatures = put(s.curvatures, curvature, images, place)

        axes, every = "abcdefgh"[: path.ndim - 1], (path.shape[0], self.memory, *path.shape[1:])

        # Two looks at all pairs give every product that the step needs, one more the step itself.
        def products(v: Array) -> list[Array]:
            return [shared(_product(f"nm{axes},n{axes}->nm", pairs.reshape(every), v)) for pairs in (moves, changes)]

        of_move, of_change = products(change)
        crossed = put(s.crossed, of_move, images, slice(None), place)
        changed = put(put(s.changed, of_change, images, slice(None), place), of_change, images, place)
        square = of_change[images, place]
        some = sound & (square > 0)
        scale = jnp.where(some, curvature / jnp.where(some, square, 1), s.scale)
        strength, before = length(force), length(s.last.force)
        gram = Gram(curvatures, crossed, changed, *products(force), place, scale)
        known = Strength(strength, before, product(force, soft), s.last.fresh)
        first, along, back, own = self.coefficients(gram, known, s.own)
        learned = sum(
            _product(f"nm,nm{axes}->n{axes}", c, pairs.reshape(every)) for c, pairs in ((along, moves), (back, changes))
        )
        q = project(path, column(first) * soft + learned, geometry)

        grown = jnp.where(s.last.fresh, 0, strength / jnp.maximum(before, tiny(force)))
        keep = (product(q, force) > self.angle * length(q) * strength) & (grown < self.growth**4)
        q, curvatures = jnp.where(column(keep), q, self.step * soft), jnp.where(keep[:, None], curvatures, 0)
        scale = jnp.where(keep, scale, self.step)
        largest = self._largest(move, geometry)
        limit = jnp.where(grown > self.growth, largest / 2, 1.5 * s.limit).astype(q.dtype)
        farthest = self._largest(q, geometry)
        far = farthest > limit
        q = q * column(jnp.where(far, jnp.where(far, limit, 1) / jnp.where(far, farthest, 1), 1).astype(q.dtype))
        last = _Memory(path, force, jnp.asarray(False))
        return q, _LBFGSState(
            last, soft, moves, changes, curvatures, crossed, changed, place, scale.astype(q.dtype), limit, own
        )

    def _largest(self, move: Array, geometry: Geometry) -> Array:
        """The largest move of a particle, in each image or in the band."""
        each = jnp.max(jax.vmap(geometry.sizes)(move).reshape(move.shape[0], -1), axis=1)
        return jnp.where(self.by_image, each, jnp.max(each))


_product = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def compact(gram: Gram, weights: Array | float = 1.0) -> tuple[Array, Array]:
    r"""The coefficients of moves and changes in the step :math:`\gamma M F + S b - \gamma M Y a` of L-BFGS.

    .. math:: R\,a = S^{\mathsf T}F,\qquad
        R^{\mathsf T} b = (W D + \gamma\,Y^{\mathsf T} M Y)\,a - \gamma\,Y^{\mathsf T} M F

    with moves S, changes Y of minus the force, M what damps stiff waves or 1, :math:`D_{ii} = s_i\cdot y_i`, and R the
    products :math:`s_i\cdot y_j` of a move with the changes that are not older. Empty places have no part. With weights
    W of 1 the step reproduces every pair; with any others that are positive the inverse it stands for is symmetric and
    positive still, since :math:`S R^{-\mathsf T} W D R^{-1} S^{\mathsf T}` is.

    Source: :cite:t:`byrd1994`; the weights are ours.
    """
    curvatures, crossed, changed, moves, changes, newest, scale = gram
    m = curvatures.shape[1]
    places, newest = jnp.arange(m, dtype=newest.dtype), newest[:, None]
    age = (newest - places) % m  # 0 is the newest
    full = curvatures > 0
    both = full[:, :, None] & full[:, None, :]
    older = (age[:, :, None] >= age[:, None, :]) & both
    order = (newest + 1 + places) % m  # oldest first

    def sort(a: Array) -> Array:
        a = jnp.take_along_axis(a, order.reshape(*order.shape, *(1,) * (a.ndim - 2)), axis=1)
        return a if a.ndim == 2 else jnp.take_along_axis(a, order[:, None], axis=2)

    R = sort(jnp.where(older, crossed, jnp.where(full[:, :, None], 0, jnp.eye(m, dtype=crossed.dtype))))
    solve = partial(lax.linalg.triangular_solve, left_side=True)
    a = solve(R, sort(jnp.where(full, moves, 0))[:, :, None])
    right = sort(weights * curvatures)[:, :, None] * a + scale[:, None, None] * (
        _product("nij,njk->nik", sort(jnp.where(both, changed, 0)), a) - sort(jnp.where(full, changes, 0))[:, :, None]
    )
    b = solve(R, right, transpose_a=True)
    back = (places - newest - 1) % m
    return jnp.take_along_axis(b[:, :, 0], back, 1), -scale[:, None] * jnp.take_along_axis(a[:, :, 0], back, 1)
