"""The barrier functional Q: the highest energy on the interpolated path, and its exact derivative."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from mepmeta._checks import as_pytree, check_energy, check_path
from mepmeta.geometry import Flat

__all__ = ["Maximum", "barrier", "highest_point", "segment_maximum"]

#: Intervals in the first look at a segment. Eight resolve the two maxima that an energy of period pi can
#: have on a segment shorter than pi; an energy with finer structure needs more images anyway.
INTERVALS = 8

#: More than bracketing needs: golden section alone narrows 1/4 to 1e-8 in 36 steps.
MAX_STEPS = 60

GOLDEN = 0.3819660112501051  # 2 - golden ratio


class Maximum(NamedTuple):
    """The highest point of an interpolated path.

    Args:
        value: its energy, the barrier functional Q, scalar.
        segment: index n of the segment between images n and n + 1 that holds it.
        t: position on that segment, in [0, 1].
        state: the state there, shape ``shape``.
    """

    value: Array
    segment: Array
    t: Array
    state: Array


class _Search(NamedTuple):
    """Bracket [lo, hi]; the best point x, second best w, third best v; the point u to be tried; the last two steps."""

    lo: Array
    hi: Array
    x: Array
    w: Array
    v: Array
    fx: Array
    fw: Array
    fv: Array
    u: Array
    fu: Array
    step: Array
    step_before: Array
    count: Array


def _record(s: _Search) -> _Search:
    """Let the tried point u take its place in the bracket and among the three best."""
    better = s.fu >= s.fx
    second = ~better & ((s.fu >= s.fw) | (s.w == s.x))
    third = ~better & ~second & ((s.fu >= s.fv) | (s.v == s.x) | (s.v == s.w))
    right = s.u >= s.x
    return s._replace(
        lo=jnp.where(better & right, s.x, jnp.where(~better & ~right, s.u, s.lo)),
        hi=jnp.where(better & ~right, s.x, jnp.where(~better & right, s.u, s.hi)),
        x=jnp.where(better, s.u, s.x),
        w=jnp.where(better, s.x, jnp.where(second, s.u, s.w)),
        v=jnp.where(better | second, s.w, jnp.where(third, s.u, s.v)),
        fx=jnp.where(better, s.fu, s.fx),
        fw=jnp.where(better, s.fx, jnp.where(second, s.fu, s.fw)),
        fv=jnp.where(better | second, s.fw, jnp.where(third, s.fu, s.fv)),
    )


def _propose(s: _Search, tolerance: Array) -> _Search:
    """The next point to try: the vertex of the parabola through the three best, else a golden section step."""
    r = (s.x - s.w) * (s.fx - s.fv)
    q = (s.x - s.v) * (s.fx - s.fw)
    p = (s.x - s.v) * q - (s.x - s.w) * r
    q = 2 * (q - r)
    parabolic = -p / jnp.where(q == 0, 1, q)
    u = s.x + parabolic
    parabola = (q != 0) & (u > s.lo) & (u < s.hi) & (jnp.abs(parabolic) < jnp.abs(s.step_before) / 2)
    # Next to an end of the bracket nothing is learned: step off x towards the middle instead.
    edge = (u - s.lo < 2 * tolerance) | (s.hi - u < 2 * tolerance)
    parabolic = jnp.where(edge, jnp.copysign(tolerance, (s.lo + s.hi) / 2 - s.x), parabolic)
    larger = jnp.where(s.x >= (s.lo + s.hi) / 2, s.lo - s.x, s.hi - s.x)
    step = jnp.where(parabola, parabolic, GOLDEN * larger)
    # Closer to x than the tolerance the difference in energy is rounding.
    u = s.x + jnp.where(jnp.abs(step) >= tolerance, step, jnp.copysign(tolerance, step))
    return s._replace(u=u, step=step, step_before=jnp.where(parabola, s.step, larger))


def segment_maximum(f: Callable[[Array], Array], slope: Array | None = None) -> tuple[Array, Array]:
    r"""Maximise a function on [0, 1]: golden section combined with successive parabolic interpolation.

    The function is first looked at in nine equidistant points; the search then runs in the bracket around the
    best one. A parabola through the three best points proposes a step; a golden section step is taken instead
    when the proposal leaves the bracket or does not halve the step before last, so convergence is certain.

    Args:
        f: function of a float scalar :math:`t \in [0, 1]`, returning a scalar.
        slope: :math:`(f'(0), f'(1))`, shape (2,), if known: an end that is the best point and from which
            ``f`` falls then needs no search.

    Returns:
        :math:`(t^*, f(t^*))`. The position is good to about the square root of machine epsilon, the value to
        rounding. Works under ``vmap``: all segments of all paths search at the same time.

    Source: :cite:t:`brent1973`; the paper names the combination without a reference.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> t, value = mm.segment_maximum(lambda t: jnp.sin(3 * t))
    >>> round(float(t), 6), round(float(value), 12)
    (0.523599, 1.0)
    """
    dtype = jnp.result_type(float)
    grid = jnp.linspace(0, 1, INTERVALS + 1, dtype=dtype)
    values = jax.vmap(f)(grid)
    best = jnp.argmax(values)
    left, right = jnp.maximum(best - 1, 0), jnp.minimum(best + 1, INTERVALS)
    lo, hi = grid[left], grid[right]
    tolerance = jnp.sqrt(jnp.finfo(values.dtype).eps)

    at_end = (best == 0) | (best == INTERVALS)
    settled = jnp.asarray(False)
    if slope is not None:
        settled = at_end & (jnp.where(best == 0, slope[0], -slope[1]) <= 0)
    # An end as best point leaves no room on its far side: start in the middle of its interval instead.
    x = jnp.where(at_end, (lo + hi) / 2, grid[best])
    fx = jnp.where(at_end, f(x), values[best])
    w, v = jnp.where(values[left] > values[right], left, right), jnp.where(values[left] > values[right], right, left)

    def narrowing(s: _Search) -> Array:
        wide = jnp.maximum(s.x - s.lo, s.hi - s.x) > 2 * tolerance
        return wide & ~settled & (s.count < MAX_STEPS)

    # u and f(u) are carried rather than recomputed: the compiler would otherwise evaluate f once for every
    # field that _record updates.
    def body(s: _Search) -> _Search:
        s = _propose(_record(s), tolerance)
        return s._replace(fu=f(s.u), count=s.count + 1)

    zero = jnp.zeros((), jnp.int32)
    start = _Search(lo, hi, x, grid[w], grid[v], fx, values[w], values[v], x, fx, hi - lo, hi - lo, zero)
    start = _propose(start, tolerance)
    found = _record(lax.while_loop(narrowing, body, start._replace(fu=f(start.u))))
    # The search never evaluates the ends of its bracket again: a maximum at an image is the grid's.
    on_grid = values[best] >= found.fx
    return jnp.where(on_grid, grid[best], found.x), jnp.where(on_grid, values[best], found.fx)


def _highest_point(energy: Callable[[Array], Array], path: Array, geometry: Flat) -> Maximum:
    def search(a: Array, b: Array) -> tuple[Array, Array]:
        def f(t: Array) -> Array:
            return lax.stop_gradient(energy(geometry.interpolate(a, b, t)))

        ends = jnp.asarray([0, 1], path.dtype)
        slope = jax.vmap(jax.grad(lambda t: energy(geometry.interpolate(a, b, t))))(ends)
        return segment_maximum(f, lax.stop_gradient(slope))

    still = lax.stop_gradient(path)
    positions, values = jax.vmap(search)(still[:-1], still[1:])
    n = jnp.argmax(values)
    t = lax.stop_gradient(positions[n])
    # Envelope theorem: at the maximum the position may be held fixed, so only this line is differentiated.
    state = geometry.interpolate(path[n], path[n + 1], t)
    return Maximum(energy(state), n, t, state)


def highest_point(energy: Callable[[Array], Array], path: Array, *, geometry: Flat = Flat()) -> Maximum:
    """The highest point of the interpolated path: where it is as well as how high; see :func:`barrier`."""
    energy = as_pytree(energy)
    check_path(path, geometry)
    check_energy(energy, path)
    return _highest_point_jit(energy, jnp.asarray(path), geometry)


def barrier(energy: Callable[[Array], Array], path: Array, *, geometry: Flat = Flat()) -> Array:
    r"""The barrier functional: the highest energy on the path interpolated between its images.

    .. math:: Q[S] = \max_{t} E[S(t)],\qquad
        \frac{\partial Q}{\partial S_n} = \partial E[S(t^*)]\cdot\frac{\partial S(t^*)}{\partial S_n}

    The derivative is exact with the position :math:`t^*` held fixed (envelope theorem), so nothing is
    differentiated through the search. At an image that is itself the maximum, Q has a kink, and one of the two
    one-sided derivatives is returned.

    Args:
        energy: differentiable callable, state of shape ``shape`` to scalar.
        path: images, shape ``(P, *shape)``, P >= 3.
        geometry: the space of the states.

    Returns:
        :math:`Q`, scalar, energy: an absolute energy. The height of the barrier above the first state is
        ``barrier(energy, path) - energy(path[0])``.

    Raises:
        ValueError: for a bad path or energy, as :func:`~mepmeta.neb.neb_step`.

    Source: Section 3 of :cite:t:`bushuev2020`; :cite:t:`danskin1966` for the derivative.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> path = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)  # no image on the saddle
    >>> abs(round(float(mm.barrier(mm.single_spin(), path)), 12))
    0.0
    """
    return highest_point(energy, path, geometry=geometry).value


_highest_point_jit = partial(jax.jit, static_argnums=2)(_highest_point)
