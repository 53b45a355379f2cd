"""Barzilai-Borwein steps for a noisy, heavy-tailed gradient: plain, or with the safeguards that training needs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["BarzilaiBorwein", "Ruled", "State", "advance", "largest_step", "mean_gradient"]

#: Largest change of a metaparameter in one step, at the first epoch. It then falls as 1/(1 + epoch/CAP_EPOCHS).
CAP = 0.2
CAP_EPOCHS = 10
#: The gradient of one path counts at most this many times the median length over the batch.
OUTLIER = 3.0
#: A mean loss of about ln 2: the error doubles in every iteration, and its slopes say nothing.
HOPELESS = 0.7


class State(NamedTuple):
    """What one step leaves to the next; x are logarithms of metaparameters, or for the plain update they themselves."""

    x: Array
    good: Array  # the last point that was not rejected
    slope: Array  # mean gradient there
    nu: Array  # step size of the next steepest descent step
    pair: Array  # whether `good` and `slope` belong to the present batch
    usable: Array  # whether there is a `good` point to go back to, one with a loss below zero


def largest_step(epoch: int) -> float:
    """The cap of an epoch: steps whose sum diverges while the sum of their squares does not."""
    return CAP / (1 + epoch / CAP_EPOCHS)


def mean_gradient(slopes: Array, clip: bool) -> Array:
    """Mean over the batch of per-path gradients (n, B); with ``clip``, outliers shortened first."""
    if not clip:
        return jnp.mean(slopes, axis=1)
    size = jnp.linalg.norm(slopes, axis=0)
    limit = OUTLIER * jnp.median(size)
    return jnp.mean(jnp.where(size > limit, limit / size, 1) * slopes, axis=1)


def advance(s: State, L: Array, g: Array, cap: Array, safeguard: bool) -> tuple[State, Array]:
    """One Barzilai-Borwein step of the state, from the loss L and the mean gradient g at its point."""
    finite = jnp.isfinite(L) & jnp.all(jnp.isfinite(g))
    # A loss above zero means that the band gets worse: the step went to where the method diverges. A little of it is
    # accepted where nothing better is known: at the start, where springs alone may do it, and next to a point that
    # was good on another batch only.
    better_known = s.usable & jnp.any(jnp.abs(s.x - s.good) > cap / 20)
    rejected = ~finite | (L > jnp.where(better_known, 0, HOPELESS)) if safeguard else ~finite
    dx, dg = s.x - s.good, g - s.slope
    curvature = dx @ dg
    # The published rule takes the curvature with its sign; with the safeguard an uphill step is turned round.
    curvature = jnp.abs(curvature) if safeguard else curvature
    usable = s.pair & (curvature != 0)
    nu = jnp.where(usable, (dx @ dx) / jnp.where(usable, curvature, 1), s.nu)
    if safeguard:
        # A Barzilai-Borwein step takes two gradients of one batch, so a batch begins with a short probe.
        step = jnp.where(usable, -nu * g, -cap / 10 * g / jnp.maximum(jnp.max(jnp.abs(g)), jnp.finfo(g.dtype).tiny))
        step = jnp.clip(step, -cap, cap)
    else:
        step = -nu * g
    after = State(s.x + step, s.x, g, nu, jnp.asarray(True), L <= 0 if safeguard else jnp.asarray(True))
    # Without a point to go back to: smaller parameters lead to the map that changes nothing, where nothing diverges.
    back = s._replace(x=jnp.where(s.usable, (s.x + s.good) / 2, s.x - cap if safeguard else s.x))
    return jax.tree.map(lambda a, b: jnp.where(rejected, a, b), back, after), rejected


class Ruled(NamedTuple):
    """What the rule remembers: its state, the epoch, whether the last point was judged divergent."""

    steps: State
    epoch: Array
    rejected: Array


class BarzilaiBorwein(NamedTuple):
    """The safeguarded steps as a rule for metaparameters of any method, in the form of optax.

    ``update`` takes the loss, too. The largest step is absolute: give the logarithms of what has to stay positive.
    """

    largest: float = CAP

    def init(self, x: Array) -> Ruled:
        no = jnp.asarray(False)
        state = State(x, x, jnp.zeros_like(x), jnp.asarray(1e-6, x.dtype), no, no)
        return Ruled(state, jnp.asarray(0, jnp.int32), no)

    def update(self, gradient: Array, state: Ruled, x: Array, *, value: Array) -> tuple[Array, Ruled]:
        cap = self.largest / (1 + state.epoch.astype(x.dtype) / CAP_EPOCHS)
        after, rejected = advance(state.steps._replace(x=x), value, gradient, cap, True)
        return after.x - x, Ruled(after, state.epoch, rejected)

    def settled(self, x: Array, state: Ruled) -> tuple[Array, Ruled]:
        """The end of an epoch: the last point that was judged good, and nothing that belongs to the batch."""
        steps = state.steps._replace(pair=jnp.asarray(False))
        return jnp.where(steps.usable, steps.good, x), Ruled(steps, state.epoch + 1, state.rejected)
