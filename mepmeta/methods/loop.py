"""The loop: any step repeated, by a scan where it is differentiated, by a while loop where it goes to a tolerance."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta.force import Parts
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import limited

__all__ = ["CHUNK", "LOST", "Descent", "March", "begin", "repeat", "to_tolerance"]

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


class March(NamedTuple):
    """A band on its way, with all that goes on from one compiled call to the next: where it is cut changes nothing.

    Args:
        path: the images, the last ones that were looked at and found sound.
        ahead: the images that are looked at next.
        memory: that of the method.
        trust: the part of the largest move that is allowed, in (0, 1].
        best: the least residual so far, the path, its length and the cosine of its sharpest turn.
        fresh: whether nothing has been looked at yet; the memory then holds the right shapes only.
    """

    path: Array
    ahead: Array
    memory: Any
    trust: Array
    best: tuple[Array, Array, Array, Array]
    fresh: Array


class Descent(NamedTuple):
    """What one compiled call of :func:`to_tolerance` gives.

    Args:
        march: where the next one goes on.
        looks: paths that were looked at; the first one ever is no iteration.
        residual: largest force on a particle; ``residuals`` and ``tops``, of shape ``(CHUNK + 1,)``, hold it and the
            highest energy of every path that was looked at.
        parts: the parts at the inner images, without the tangent and the damped force.
        refused: moves that were taken back in this call.
    """

    march: March
    looks: Array
    residual: Array
    residuals: Array
    tops: Array
    parts: Parts
    refused: Array


@lru_cache
def _shapes(structure: Any, numbers: tuple, shape: tuple[int, ...], dtype: Any) -> Any:
    """Those of the memory of a method, its arrays known by their shapes: traced once, and not in every descent."""
    arrays = [number for number in numbers if isinstance(number, jax.ShapeDtypeStruct)]

    def init(arrays: list[Array], x: Array) -> Any:
        given = iter(arrays)
        leaves = [next(given) if isinstance(number, jax.ShapeDtypeStruct) else number for number in numbers]
        return jax.tree.unflatten(structure, leaves).init(x)

    return jax.eval_shape(init, arrays, jax.ShapeDtypeStruct(shape, dtype))


def begin(method: Any, path: Array, inner: Array) -> March:
    """A band before its first look, with ``inner`` its moving images; nothing is computed."""
    leaves, structure = jax.tree.flatten(method)
    if all(isinstance(leaf, (int, float, np.ndarray, Array)) for leaf in leaves):
        struct = jax.ShapeDtypeStruct
        known = (a if isinstance(a, (int, float)) else struct(a.shape, a.dtype) for a in leaves)
        shapes = _shapes(structure, tuple(known), inner.shape, inner.dtype)
    else:  # of somebody else
        shapes = jax.eval_shape(method.init, jax.ShapeDtypeStruct(inner.shape, inner.dtype))
    if any(a.weak_type or jnp.issubdtype(a.dtype, jax.dtypes.extended) for a in jax.tree.leaves(shapes)):
        memory = method.init(inner)  # Python numbers and random keys, of a method of somebody else
    else:
        memory = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    real = partial(np.asarray, dtype=path.dtype)
    return March(path, path, memory, real(1), (real(np.inf), path, real(np.inf), real(-1)), np.asarray(True))


def to_tolerance(
    look: Callable[[Array], tuple[Parts, Array]],
    advance: Callable[[Array, Array, Parts, Array], Array],
    inner: Callable[[Array], Array],
    method: Any,
    march: March,
    geometry: Geometry,
    tol: Array,
    steps: Array,
) -> Descent:
    """Iterate a method until the residual is below ``tol``.

    ``look`` gives the parts and the residual of a path, ``inner`` its moving images, ``advance`` the path after a move,
    given also the parts and the number of the iteration. Where the path has become longer by half than the best one so
    far, turns back more sharply, or leads to where the energy is not finite, the best one is taken up again; the method
    then starts anew and may move less. So a band whose quasi-Newton steps are wild is not lost: where the residual does
    not fall on such a way, it does not lead to a minimum energy path.
    """
    # The parts are looked at in one place, so that the gradient of the energy stands in the program once. Between two
    # refusals the memory, the largest array there is, is changed in place: a choice in every iteration would copy it.
    parts, _ = jax.eval_shape(look, march.path)
    parts = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), parts._replace(tangent=None, soft=None))
    first = method.init(inner(march.path))
    most = steps + march.fresh.astype(jnp.int32)

    def choose(change: Array, new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(change, a, b), new, old)

    def iterate(s: tuple[Descent, Array, Array]) -> tuple[Descent, Array, Array]:
        d, _, _ = s
        m, k = d.march, d.looks
        found, residual = look(m.ahead)
        length, turn = jnp.sum(found.lengths), jnp.min(found.turn)
        least, _, its_length, its_turn = m.best
        finite = jnp.isfinite(residual) & jnp.all(jnp.isfinite(found.energies))
        refused = ~finite | (length > STRETCH * its_length) | ((turn < FOLD) & (turn < its_turn))
        refused = refused & ~m.fresh
        best = choose(~refused & (residual <= least), (residual, m.ahead, length, turn), m.best)
        path, residual, kept = choose(
            refused, (m.path, d.residual, d.parts), (m.ahead, residual, found._replace(tangent=None, soft=None))
        )
        move, memory = method.update(found, m.memory, inner(m.ahead), geometry)
        ahead = advance(m.ahead, limited(move, geometry, m.trust), found, k)
        end = ~refused & ((residual <= tol) | (k + 1 >= most) | ~finite | (m.trust < LEAST_TRUST))
        trust = jnp.where(refused, m.trust / 4, jnp.minimum(1.0, REGAIN * m.trust)).astype(m.trust.dtype)
        march = March(path, ahead, memory, trust, best, jnp.asarray(False))
        d = Descent(
            march, k + 1, residual, d.residuals.at[k].set(residual), d.tops.at[k].set(jnp.max(kept.energies)), kept,
            d.refused + refused.astype(k.dtype),
        )  # fmt: skip
        return d, refused, end

    def without_refusal(s: tuple[Descent, Array, Array]) -> tuple[Descent, Array, Array]:
        d, refused, end = lax.while_loop(lambda s: ~s[1] & ~s[2], iterate, (s[0], jnp.asarray(False), s[2]))
        m = d.march
        back = m._replace(ahead=m.best[1], memory=first)
        # The last look may find the path no good: then there is none left for the way back.
        end = end | (d.looks >= most)
        return d._replace(march=choose(refused, back, m)), refused, end

    zero, history = jnp.zeros((), jnp.int32), jnp.zeros((CHUNK + 1,), march.path.dtype)
    march = march._replace(memory=choose(march.fresh, first, march.memory))
    start = Descent(march, zero, jnp.full((), jnp.inf, march.path.dtype), history, history, parts, zero)
    no = jnp.asarray(False)
    return lax.while_loop(lambda s: ~s[2], without_refusal, (start, no, no))[0]
