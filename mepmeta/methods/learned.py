"""A learned method: L-BFGS whose coefficients a small network corrects, from products of moves and forces only."""

import json
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import register_dataclass

from mepmeta.methods.gram import LBFGS, Gram, Strength, compact
from mepmeta.methods.moves import tiny

__all__ = [
    "FEATURES",
    "FILE",
    "HIDDEN",
    "Learned",
    "Weights",
    "answers",
    "averages",
    "corrected",
    "corrections",
    "features",
    "mean_of_pairs",
    "untrained",
    "weighted",
]

#: What was trained, with its seed, its cost and the commit of the code that trained it.
FILE = Path(__file__).with_name("learned.json")
#: What the network is told of a pair; its hidden units; the logarithms of factors that it answers with.
FEATURES = ("ratio", "move", "change", "size", "age", "growth", "average")
HIDDEN, ANSWERS = 4, 3
#: A factor is between e to this power and its inverse.
MOST = 1.5
#: The step is corrected where the force is below this part of its average, in which the last force counts so much.
FALL, LAST = 0.95, 0.3


class Weights(NamedTuple):
    """The network: from features and 1 to hidden units, shape ``(8, 4)``; from these and 1 to answers, ``(5, 3)``."""

    inner: Array | np.ndarray
    outer: Array | np.ndarray


def untrained(seed: int = 0) -> Weights:
    """Weights to begin with: a last layer of zeros, with which the method is L-BFGS."""
    n = len(FEATURES) + 1
    inner = np.random.default_rng(seed).normal(size=(n, HIDDEN)) / np.sqrt(n)
    return Weights(inner, np.zeros((HIDDEN + 1, ANSWERS)))


@cache
def _trained() -> Weights:
    record = json.loads(FILE.read_text())
    return Weights(*(np.array(record[name]) for name in Weights._fields))


@partial(
    register_dataclass, data_fields=["step", "angle", "growth", "by_image", "floor", "weights"], meta_fields=["memory"]
)  # fmt: skip
@dataclass(frozen=True)
class Learned(LBFGS):
    r"""L-BFGS with learned factors on what it knows, the same network for every pair of a move and a change.

    .. math:: R\,a = S^{\mathsf T}F,\qquad R^{\mathsf T} b = (W D + \gamma'\,Y^{\mathsf T} M Y)\,a
        - \gamma'\,Y^{\mathsf T} M F,\qquad \text{move} = \lambda\,(\gamma' M F + S b - \gamma' M Y a)

    The network answers with the logarithms of the weights :math:`W_i` of the pairs, and, as means over the pairs, of
    :math:`\lambda` and :math:`\gamma'/\gamma`. It is told ratios of products only: curvature of the pair to that of the
    newest one, cosines of move and change with the force, size, age, and how the force has grown. So turned spins,
    permuted cells, other numbers of cells and other units change nothing, and whatever it answers the inverse
    Hessian that the step stands for is symmetric and positive. With a last layer of zeros all factors are 1: L-BFGS.

    A step is corrected only where the force is below 0.95 of an average that falls with every such step; where it is
    not, the step is the classical one. So there are infinitely many corrected steps only where the force goes to zero.

    Args:
        step, angle, growth, memory, by_image, floor: as of :class:`~mepmeta.methods.LBFGS`.
        weights: :class:`~mepmeta.methods.learned.Weights`, by default those that were trained by ``make learn``.

    Source: weights of the pairs in the spirit of :cite:t:`castera2025`; the average of :cite:t:`heaton2023`.
    """

    weights: Weights = field(default_factory=_trained)

    def remembered(self, nothing: Array) -> Any:
        """The average force of every image."""
        return nothing

    def coefficients(self, gram: Gram, strength: Strength, own: Array) -> tuple[Array, Array, Array, Array]:
        average, falls, fallen = averages(strength, own)
        return *corrected(gram, falls, *corrections(self.weights, gram, strength, average)), fallen


def averages(strength: Strength, own: Array) -> tuple[Array, Array, Array]:
    """The average force, whether the force keeps below it, and the average after this step."""
    force = strength.force
    average = jnp.where(strength.fresh, force, own)
    falls = strength.fresh | (force <= FALL * average)
    return average, falls, jnp.where(falls, average + LAST * (force - average), average)


def corrected(gram: Gram, falls: Array, pair: Array, whole: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Coefficients of the step with factors of these logarithms, and with none where the force does not fall."""
    pair = jnp.where(falls[:, None], pair, 0)
    longer, scale = jnp.exp(jnp.where(falls, whole, 0)), jnp.exp(jnp.where(falls, scale, 0)) * gram.scale
    along, back = compact(gram._replace(scale=scale), jnp.exp(pair))
    return longer * scale, longer[:, None] * along, longer[:, None] * back


def corrections(weights: Weights, gram: Gram, strength: Strength, average: Array) -> tuple[Array, Array, Array]:
    """Logarithms of the factors: on every pair ``(N, memory)``, on the move and on the scale ``(N,)``."""
    inner, outer = (jnp.asarray(w).astype(gram.curvatures.dtype) for w in weights)
    hidden = jnp.tanh(weighted(features(gram, strength, average), inner))
    return answers(hidden, outer, gram)


def features(gram: Gram, strength: Strength, average: Array) -> Array:
    """What the network is told of every pair, and 1; shape ``(N, memory, 8)``."""
    kind, m = gram.curvatures.dtype, gram.curvatures.shape[1]
    newest = gram.newest[:, None]

    def log(x: Array, y: Array) -> Array:
        """The logarithm of x/y, within bounds; 0 where there is none."""
        some = (x > 0) & (y > 0)
        return jnp.clip(jnp.where(some, jnp.log(jnp.where(some, x, 1)) - jnp.log(jnp.where(some, y, 1)), 0), -5, 5)

    def cosine(x: Array, square: Array) -> Array:
        return jnp.clip(x / jnp.sqrt(jnp.maximum(square, tiny(x))), -2, 2)

    squares = jnp.diagonal(gram.changed, axis1=1, axis2=2)
    latest = jnp.take_along_axis(gram.curvatures, newest, 1)
    scale, soft = gram.scale[:, None], strength.soft[:, None]
    growth, fall = (log(strength.force, x)[:, None] for x in (strength.before, average))
    told = jnp.broadcast_arrays(
        log(scale * squares, gram.curvatures) / 2,
        cosine(gram.moves, gram.curvatures * scale * soft),
        cosine(gram.changes, squares * soft),
        log(gram.curvatures, latest) / 5,
        (newest - jnp.arange(m, dtype=newest.dtype)).astype(kind) % m / m,
        jnp.where(strength.fresh, 0, growth),
        jnp.where(strength.fresh, 0, fall),
        jnp.ones((), kind),
    )
    return jnp.stack(told, axis=-1)


weighted = partial(jnp.einsum, "nmi,ij->nmj", precision=lax.Precision.HIGHEST)


def answers(hidden: Array, outer: Array, gram: Gram) -> tuple[Array, Array, Array]:
    """What hidden units say of every pair, and on average over them; shapes ``(N, memory)``, ``(N,)``, ``(N,)``."""
    said = MOST * jnp.tanh(weighted(hidden, outer[:-1]) + outer[-1])
    said = jnp.where(gram.curvatures[:, :, None] > 0, said, 0)
    mean = mean_of_pairs(said, gram)
    return said[..., 0], mean[:, 1], mean[:, 2]


def mean_of_pairs(x: Array, gram: Gram) -> Array:
    """The mean over the places that hold a pair, of shape ``(N, memory, k)``; 0 where there is none."""
    full = gram.curvatures[:, :, None] > 0
    return jnp.sum(jnp.where(full, x, 0), axis=1) / jnp.maximum(jnp.sum(full, axis=1), 1).astype(x.dtype)
