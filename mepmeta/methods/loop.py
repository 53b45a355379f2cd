"""The loop: any step repeated, by a scan where it is differentiated, by a while loop where it goes to a tolerance."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta.force import Parts
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import limited

__all__ = ["CHUNK", "LOST", "Descent", "blank", "repeat", "to_tolerance"]

#: A band this many times longer than at the start is lost, its springs being unstable.
LOST = 1e3
#: Iterations in one compiled call, at most.
CHUNK = 50
#: A path so many times longer than the best so far, or with a turn of smaller cosine than this and than the best one
#: has, is left. Moves are then limited to a quarter, regain so much in each iteration, and end with so little.
STRETCH, FOLD, REGAIN, LEAST_TRUST = 1.5, -0.5, 1.1, 0.05


def repeat(
    step: Callable[[Any], Any],
    state: Any,
    steps: int,
    length: Callable[[Any], Array],
    observe: Callable[[Any], Any] | None = None,
) -> tuple[Any, Array, Any]:
    """Repeat a step of a state until the band is lost: the state, the iterations done, what was observed.

    ``length`` of a state is that of its band, or of each of its bands. The iterations done are -k - 1 of a band that
    was lost after k of them.
    """
    bound = LOST * length(lax.stop_gradient(state))

    def body(carry: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], Any]:
        state, done = carry
        after = step(state)
        # One comparison answers for NaN, infinity and growth. A lost band stays where it last made sense.
        fine = length(lax.stop_gradient(after)) < bound
        fine = fine & (done >= 0)
        state = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, state)
        done = jnp.where(fine, done + 1, jnp.where(done >= 0, -done - 1, done))
        return (state, done), observe(state) if observe else None

    (last, done), history = lax.scan(body, (state, jnp.zeros(bound.shape, jnp.int32)), length=steps)
    return last, done, history


class Descent(NamedTuple):
    """A band on its way: what one compiled call of :func:`to_tolerance` gives to the next, and to its caller.

    Args:
        path: the images, the last ones that were looked at and found sound.
        memory: that of the method.
        trust: the part of the largest move that is allowed, in (0, 1].
        steps: iterations made in this call.
        residual: largest force on a particle; ``residuals`` and ``tops``, of shape ``(CHUNK + 1,)``, hold it and the
            highest energy before the first iteration and after every one.
        parts: the parts at the inner images, without the tangent.
        refused: moves that were taken back in this call.
    """

    path: Array
    memory: Any
    trust: Array
    steps: Array
    residual: Array
    residuals: Array
    tops: Array
    parts: Parts
    refused: Array


class _Carry(NamedTuple):
    descent: Descent
    best: tuple[Array, Array, Array, Array]  # residual, path, its length and the cosine of its sharpest turn
    done: Array


def blank(method: Any, inner: Array) -> Any:
    """A memory with nothing in it, for images of this shape; nothing is computed."""
    shapes = jax.eval_shape(method.init, jax.ShapeDtypeStruct(inner.shape, inner.dtype))
    if any(a.weak_type or jnp.issubdtype(a.dtype, jax.dtypes.extended) for a in jax.tree.leaves(shapes)):
        return method.init(inner)  # Python numbers and random keys, of a method of somebody else
    return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)


def to_tolerance(
    look: Callable[[Array], tuple[Parts, Array]],
    advance: Callable[[Array, Array, Parts, Array], Array],
    inner: Callable[[Array], Array],
    method: Any,
    path: Array,
    memory: Any,
    new: Array,
    trust: Array,
    geometry: Geometry,
    tol: Array,
    steps: Array,
) -> Descent:
    """Iterate a method until the residual is below ``tol``.

    ``look`` gives the parts and the residual of a path, ``inner`` its moving images, ``advance`` the path after a move,
    given also the parts and the number of the iteration. Where the path has become longer by half than the best one so
    far, turns back more sharply, or leads to where the energy is not finite, the best one is taken up again; the method
    then starts anew and may move less. So a band whose quasi-Newton steps are wild is not lost: where the residual does
    not fall on such a way, it does not lead to a minimum energy path. Where it is ``new``, the method begins; what its
    memory then holds has the right shapes only, see :func:`blank`.
    """
    # The parts are looked at in one place, so that the gradient of the energy stands in the program once.
    parts, _ = jax.eval_shape(look, path)
    parts = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), parts._replace(tangent=None))
    fresh = method.init(inner(path))

    def body(s: _Carry) -> _Carry:
        d = s.descent
        found, residual = look(d.path)
        length, turn = jnp.sum(found.lengths), jnp.min(found.turn)
        least, good, its_length, its_turn = s.best
        finite = jnp.isfinite(residual) & jnp.all(jnp.isfinite(found.energies))
        refused = ~finite | (length > STRETCH * its_length) | ((turn < FOLD) & (turn < its_turn))
        refused = refused & (d.steps > 0)
        # What was refused, or has come to its end, stays; everything else moves on.
        end = ~refused & ((residual <= tol) | (d.steps >= steps) | ~finite | (d.trust < LEAST_TRUST))
        move, memory = method.update(found, d.memory, inner(d.path), geometry)
        after = advance(d.path, limited(move, geometry, d.trust), found, d.steps)
        path = jnp.where(refused, good, jnp.where(end, d.path, after))
        memory = jax.tree.map(lambda old, new, first: jnp.where(refused, first, jnp.where(end, old, new)),
                              d.memory, memory, fresh)  # fmt: skip
        trust = jnp.where(refused, d.trust / 4, jnp.where(end, d.trust, jnp.minimum(1.0, REGAIN * d.trust)))
        keep = lambda change, old, new: jax.tree.map(lambda a, b: jnp.where(change, b, a), old, new)  # noqa: E731
        best = keep(~refused & (residual <= least), s.best, (residual, d.path, length, turn))
        residual, kept = keep(~refused, (d.residual, d.parts), (residual, found._replace(tangent=None)))
        k = d.steps
        # A last look that finds the path no good goes back, and is no iteration.
        count = (~end & (k < steps)).astype(k.dtype)
        d = Descent(
            path, memory, trust.astype(d.trust.dtype), k + count, residual, d.residuals.at[k].set(residual),
            d.tops.at[k].set(jnp.max(kept.energies)), kept, d.refused + refused.astype(k.dtype),
        )  # fmt: skip
        return _Carry(d, best, end)

    zero, history = jnp.zeros((), jnp.int32), jnp.zeros((CHUNK + 1,), path.dtype)
    memory = jax.tree.map(lambda old, first: jnp.where(new, first, old), memory, fresh)
    start = Descent(path, memory, trust, zero, jnp.full((), jnp.inf, path.dtype), history, history, parts, zero)
    best = start.residual, path, start.residual, jnp.full((), -1, path.dtype)
    return lax.while_loop(lambda s: ~s.done, body, _Carry(start, best, jnp.asarray(False))).descent
