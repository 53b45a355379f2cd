"""Rules of a step that are compared: L-BFGS with trained numbers, a network, a recurrent one, other secant updates."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import register_dataclass

from mepmeta.methods.learned import (
    FEATURES,
    HIDDEN,
    Learned,
    Weights,
    answers,
    averages,
    corrected,
    corrections,
    features,
    mean_of_pairs,
    weighted,
)
from mepmeta.methods.moves import limited

#: A vector of a secant update is between that of BFGS and so much of the other one, on either side.
MIXED = 0.9
_NUMBERS = ["step", "angle", "growth", "by_image", "floor", "weights", "cap", "weight"]
_rule = partial(register_dataclass, data_fields=_NUMBERS, meta_fields=["memory"])


@_rule
@dataclass(frozen=True)
class Rule(Learned):
    """The learned method with a largest move, for an energy whose mass has a weight."""

    cap: float = 1.0
    weight: float = 1.0

    def update(self, parts, s, path, geometry):
        move, s = super().update(parts, s, path, geometry)
        return limited(move, geometry, jnp.asarray(self.cap, move.dtype)), s


class Recurrent(NamedTuple):
    """Weights of the network, and of the cell: means of features and hidden units to four gates."""

    inner: Array | np.ndarray
    outer: Array | np.ndarray
    cell: Array | np.ndarray


@_rule
@dataclass(frozen=True)
class LSTM(Rule):
    """A cell with a long short-term memory is told the means over the pairs, and says what the network of a pair is
    told beside its features: as in the papers that learn a step from all steps before it."""

    def remembered(self, nothing):
        hidden = jnp.zeros((*nothing.shape, HIDDEN), nothing.dtype)
        return nothing, hidden, hidden

    def coefficients(self, gram, strength, own):
        before, said, kept = own
        average, falls, fallen = averages(strength, before)
        said, kept = (jnp.where(strength.fresh, 0, x) for x in (said, kept))
        told = features(gram, strength, average)
        inner, outer, cell = (jnp.asarray(w).astype(told.dtype) for w in self.weights)
        seen = jnp.concatenate([mean_of_pairs(told, gram), said], axis=1)
        gates = jnp.split(weighted(seen[:, None], cell)[:, 0], 4, axis=1)
        enter, forget, leave = map(jax.nn.sigmoid, gates[:3])
        kept = forget * kept + enter * jnp.tanh(gates[3])
        said = leave * jnp.tanh(kept)
        every = jnp.broadcast_to(said[:, None], (*told.shape[:2], HIDDEN))
        hidden = jnp.tanh(weighted(jnp.concatenate([told, every], axis=2), inner))
        return *corrected(gram, falls, *answers(hidden, outer, gram)), (fallen, said, kept)


@_rule
@dataclass(frozen=True)
class Secant(Rule):
    r"""Updates of the inverse Hessian H by a pair of move s and change y that keep it symmetric and the pair exact,

    .. math:: H \mapsto H + \frac{r\,w^{\mathsf T} + w\,r^{\mathsf T}}{w\cdot y}
        - \frac{r\cdot y}{(w\cdot y)^2}\,w\,w^{\mathsf T},\qquad r = s - H y,\qquad
        w = s + t\,\frac{s\cdot y}{y\cdot H y}\,H y

    where a network says t for every pair from its features: 0 is BFGS. What is positive may be lost.
    """

    def coefficients(self, gram, strength, own):
        average, falls, fallen = averages(strength, own)
        pair, whole, scale = corrections(self.weights, gram, strength, average)
        mixed = jnp.where(falls[:, None], MIXED * jnp.tanh(pair), 0)
        longer, scale = jnp.exp(jnp.where(falls, whole, 0)), jnp.exp(jnp.where(falls, scale, 0)) * gram.scale
        first, along, back = jax.vmap(updated)(gram._replace(scale=scale), strength.soft, mixed)
        return longer * first, longer[:, None] * along, longer[:, None] * back, fallen


def updated(gram, soft, mixed):
    """Coefficients of damped force, moves and damped changes in H times the force, of one image."""
    m = gram.curvatures.shape[0]
    full, kind = gram.curvatures > 0, gram.curvatures.dtype
    both = full[:, None] & full[None]
    # Products of what steps are made of (damped force, moves, damped changes) with the force and the changes.
    moves, changes = (jnp.where(full, x, 0) for x in (gram.moves, gram.changes))
    crossed, changed = (jnp.where(both, x, 0) for x in (gram.crossed, gram.changed))
    products = jnp.concatenate([jnp.append(soft, changes)[None], jnp.column_stack([moves, crossed]),
                                jnp.column_stack([changes, changed])])  # fmt: skip
    # H times the force and times every change, as coefficients; H is a multiple of what damps at first.
    columns = jnp.zeros((2 * m + 1, m + 1), kind).at[0, 0].set(gram.scale)
    columns = columns.at[m + 1 :, 1:].set(gram.scale * jnp.eye(m, dtype=kind))
    dot = partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def update(k, columns):
        i = (gram.newest + 1 + k) % m  # the oldest first
        some = full[i]
        y, move = products[:, i + 1], jnp.zeros(2 * m + 1, kind).at[1 + i].set(1)
        Hy, sy = columns[:, i + 1], jnp.where(some, gram.curvatures[i], 1)
        yHy = dot(Hy, y)
        r, w = move - Hy, move + mixed[i] * sy / jnp.where(some & (yHy != 0), yHy, 1) * Hy
        wy = sy * (1 + mixed[i])
        by_r, by_w = dot(r, products), dot(w, products)
        more = (jnp.outer(r, by_w) + jnp.outer(w, by_r)) / wy - dot(r, y) / wy**2 * jnp.outer(w, by_w)
        return jnp.where(some, columns + more, columns)

    columns = lax.fori_loop(0, m, update, columns)
    return columns[0, 0], columns[1 : m + 1, 0], columns[m + 1 :, 0]


def untrained(kind, seed, factors):
    """Weights that answer the same for every pair, factors, by the name of what is trained."""
    rng, told = np.random.default_rng(seed), len(FEATURES) + 1
    inner = rng.normal(size=(told + (HIDDEN if kind == "recurrent" else 0), HIDDEN)) / np.sqrt(told)
    outer = np.concatenate([np.zeros((HIDDEN, 3)), np.asarray(factors)[None]])
    if kind != "recurrent":
        return Weights(inner, outer)
    return Recurrent(inner, outer, rng.normal(size=(told + HIDDEN, 4 * HIDDEN)) / np.sqrt(told + HIDDEN))


#: The method of what is trained.
KINDS = {"numbers": Rule, "network": Rule, "recurrent": LSTM, "secant": Secant}
