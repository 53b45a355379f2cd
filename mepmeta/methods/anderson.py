"""Anderson mixing: the step that would make the force least, if it were linear in the last few moves."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import register_dataclass

from mepmeta.force import Parts
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import norm, project, tiny

__all__ = ["Anderson"]

#: What is added to the Gram matrix of unit vectors, at least.
RIDGE = 1e-12


class _AndersonState(NamedTuple):
    path: Array
    force: Array
    soft: Array  # the force with its stiff waves damped
    fresh: Array  # nothing is known yet
    moves: Array  # (memory, N n), in a ring of places; with two axes the compiler changes it in place
    changes: Array  # (memory, N n), minus the change of the damped force in each move
    gram: Array  # (memory, memory), changes of the force with changes of the damped one; 0 in an empty place
    newest: Array


@partial(register_dataclass, data_fields=["step", "growth"], meta_fields=["memory"])
@dataclass(frozen=True)
class Anderson:
    r"""Anderson mixing of the last few moves S and changes Y of the force, minus their sign.

    .. math:: a = \arg\min_a |F + Y a|,\qquad S_n \mapsto S_n + \gamma\,(F + Y a) - S a

    On a linear force it does what GMRES does. Nothing in it asks for a potential or a symmetric Jacobian. Where the
    energy tells what is stiff, lengths are measured with that damped.

    Args:
        step: :math:`\gamma` times the largest curvature.
        growth: where the force has grown by more than this factor, all is forgotten but the force.
        memory: number of moves.

    Source: :cite:t:`anderson1965`; :cite:t:`walker2011`.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.3
    growth: float | Array = 2.0
    memory: int = 5

    def init(self, path: Array) -> _AndersonState:
        zero, m = jnp.zeros_like(path), self.memory
        pairs = jnp.zeros((m, path.size), path.dtype)
        gram = jnp.zeros((m, m), path.dtype)
        return _AndersonState(path, zero, zero, jnp.asarray(True), pairs, pairs, gram, jnp.zeros((), jnp.int32))

    def update(self, parts: Parts, s: _AndersonState, path: Array, geometry: Geometry) -> tuple[Array, _AndersonState]:
        product = partial(jnp.dot, precision=lax.Precision.HIGHEST)
        force, soft = parts.force, parts.force if parts.soft is None else parts.soft
        move = project(path, path - s.path, geometry)
        change, smooth = (project(path, old, geometry) - new for old, new in ((s.force, force), (s.soft, soft)))
        place = (s.newest + 1) % self.memory
        moves, changes = s.moves.at[place].set(jnp.ravel(move)), s.changes.at[place].set(jnp.ravel(smooth))
        row = product(changes, jnp.ravel(change))
        row = jnp.where(s.fresh | ~(row[place] > 0), 0, row)  # the place stays empty
        gram = s.gram.at[place].set(row).at[:, place].set(row)
        grown = ~s.fresh & (norm(force) > self.growth * norm(s.force))
        gram = jnp.where(grown, 0, gram)

        square = jnp.diag(gram)
        full = square > 0
        size = jnp.where(full, 1 / jnp.sqrt(jnp.where(full, square, 1)), 0)
        ridge = max(RIDGE, 10 * float(jnp.finfo(path.dtype).eps))
        units = gram * size[:, None] * size + jnp.diag(jnp.where(full, ridge, 1).astype(path.dtype))
        a = -size * jax.scipy.linalg.solve(units, size * product(changes, jnp.ravel(force)), assume_a="pos")
        mixed, moved = (product(a, pairs).reshape(path.shape) for pairs in (changes, moves))
        q = project(path, self.step * (soft + mixed) - moved, geometry)
        q = jnp.where(norm(q) > tiny(q), q, self.step * soft).astype(path.dtype)
        return q, _AndersonState(path, force, soft, jnp.asarray(False), moves, changes, gram, place)
