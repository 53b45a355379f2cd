"""The barrier functional Q: the highest energy on the interpolated path, and its exact derivative."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta._arguments import known
from mepmeta._checks import check_energies, check_energy, check_path
from mepmeta._compiled import compiled
from mepmeta.geometry import Flat, Geometry

__all__ = ["Maximum", "barrier", "highest_point", "segment_maximum", "summit"]

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


def _search(f: Callable[[Array], Array], s: _Search, wanted: Array) -> tuple[Array, Array]:
    """Narrow the bracket until f no longer tells its points apart; nothing is done where it is not wanted."""
    tolerance = jnp.sqrt(jnp.finfo(s.fx.dtype).eps)

    def narrowing(s: _Search) -> Array:
        wide = jnp.maximum(s.x - s.lo, s.hi - s.x) > 2 * tolerance
        return wide & wanted & (s.count < MAX_STEPS)

    # u and f(u) are carried rather than recomputed: the compiler would otherwise evaluate f once for every
    # field that _record updates.
    def body(s: _Search) -> _Search:
        s = _propose(_record(s), tolerance)
        return s._replace(fu=f(s.u), count=s.count + 1)

    found = _record(lax.while_loop(narrowing, body, s))
    return found.x, found.fx


def _maximum(
    f: Callable[[Array, Array], Array], values: Array, slopes: Array, grid: Array
) -> tuple[Array, Array, Array]:
    """Segment, position and value of the maximum of f(segment, position); values and slopes on the grid are (N, G)."""
    width = grid[1] - grid[0]
    left, right, up, down = values[:, :-1], values[:, 1:], slopes[:, :-1] * width, slopes[:, 1:] * width
    # A maximum is where f rises into an interval and falls out of it. Where f is concave it exceeds the higher end
    # by at most (up - down)/4, where the two tangents cross. Twice that, because f need not be concave.
    reach = jnp.where((up > 0) & (down < 0), jnp.maximum(left, right) + (up - down) / 2, -jnp.inf)
    summit = up / jnp.where(up > down, up - down, 1)  # where the slope, taken as linear, is zero

    def promising(s: tuple[Array, ...]) -> Array:
        reach, _, _, value = s
        return jnp.max(reach) > value

    def search(s: tuple[Array, ...]) -> tuple[Array, ...]:
        reach, n, t, value = s
        candidate = jnp.argmax(reach)
        m, k = jnp.divmod(candidate, grid.size - 1)
        lo, hi, u = grid[k], grid[k + 1], grid[k] + width * summit[m, k]
        higher = left[m, k] >= right[m, k]
        x, w = jnp.where(higher, lo, hi), jnp.where(higher, hi, lo)
        fx, fw = jnp.maximum(left[m, k], right[m, k]), jnp.minimum(left[m, k], right[m, k])
        fu = f(m, u)
        bracket = _Search(lo, hi, x, w, w, fx, fw, fw, u, fu, width, width, jnp.zeros((), jnp.int32))
        # `wanted`: under vmap the search goes on until the last path is done, also on those that are.
        at, found = _search(lambda t: f(m, t), bracket, promising(s))
        better = found > value
        reach = jnp.where(jnp.arange(reach.size) == candidate, -jnp.inf, reach)
        return reach, jnp.where(better, m, n), jnp.where(better, at, t), jnp.maximum(value, found)

    # The best point of the grid stands until a search beats it: a maximum at an image is exact.
    n, k = jnp.divmod(jnp.argmax(values), grid.size)
    return lax.while_loop(promising, search, (jnp.ravel(reach), n, grid[k], jnp.max(values)))[1:]


def _with_slope(f: Callable[[Array], Array], t: Array) -> tuple[Array, Array]:
    """f(t) and its derivative, which forward mode gives with the value."""
    return jax.jvp(f, (t,), (jnp.ones_like(t),))


def _grid(dtype: Any) -> Array:
    return jnp.linspace(0, 1, INTERVALS + 1, dtype=dtype)


def segment_maximum(f: Callable[[Array], Array]) -> tuple[Array, Array]:
    r"""Maximise a function on [0, 1]: golden section combined with successive parabolic interpolation.

    The function and its slope are first looked at in nine equidistant points. The search then runs in the interval
    that promises the highest maximum, and in the next one as long as that could still be higher. A parabola
    through the three best points proposes a step; a golden section step is taken instead when the proposal leaves
    the bracket or does not halve the step before last, so convergence is certain.

    Args:
        f: differentiable function of a float scalar :math:`t \in [0, 1]`, returning a scalar.

    Returns:
        :math:`(t^*, f(t^*))`. The position is good to about the square root of machine epsilon, the value to
        rounding. Works under ``vmap``.

    Raises:
        ValueError: for a function that does not map a float scalar to one, or is not finite.

    Source: :cite:t:`brent1973`; the paper names the combination without a reference.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> t, value = mm.segment_maximum(lambda t: jnp.sin(3 * t))
    >>> round(float(t), 6), round(float(value), 12)
    (0.523599, 1.0)
    """
    grid = _grid(jnp.result_type(float))
    f = check_energy(f, grid, axes=1)
    values, slopes = jax.vmap(partial(_with_slope, f))(grid)
    if known(values, slopes) and not np.all(np.isfinite(values) & np.isfinite(slopes)):
        raise ValueError("the function and its slope must be finite on [0, 1]")
    _, t, value = _maximum(lambda _, t: f(t), values[None], slopes[None], grid)
    return t, value


def summit(energy: Callable[[Array], Array], path: Array, geometry: Geometry) -> Maximum:
    """:func:`highest_point`, unchecked."""
    still = lax.stop_gradient(path)
    grid = _grid(path.dtype)

    def f(n: Array, t: Array) -> Array:
        return energy(geometry.interpolate(still[n], still[n + 1], t))

    # Every segment is looked at; the search then runs where the highest point can be.
    look = jax.vmap(lambda n: jax.vmap(partial(_with_slope, partial(f, n)))(grid))
    values, slopes = lax.stop_gradient(look(jnp.arange(path.shape[0] - 1)))
    n, t, _ = _maximum(lambda n, t: lax.stop_gradient(f(n, t)), values, slopes, grid)
    # Values alone fix the position to the root of rounding; one Newton step on the slope makes the derivative exact.
    slope, curvature = _with_slope(lambda t: _with_slope(partial(f, n), t)[1], t)
    step = -slope / jnp.where(curvature < 0, curvature, -jnp.inf)
    t = lax.stop_gradient(jnp.where((t > 0) & (t < 1) & (jnp.abs(step) < 1e-3), jnp.clip(t + step, 0, 1), t))
    # Envelope theorem: at the maximum the position may be held fixed, so only this line is differentiated.
    state = geometry.interpolate(path[n], path[n + 1], t)
    return Maximum(energy(state), n, t, state)


def highest_point(energy: Callable[[Array], Array], path: Array, *, geometry: Geometry = Flat()) -> Maximum:
    """The highest point of the interpolated path: where it is as well as how high.

    Args:
        energy, path, geometry: as in :func:`barrier`, which returns the value alone.

    Returns:
        :class:`Maximum`. Only ``value`` has a derivative; position and state are differentiated as if fixed.

    Raises:
        ValueError: as :func:`barrier`, and for an energy that is not finite between two images.
    """
    check_path(path, geometry)
    energy = check_energy(energy, path, geometry, axes=1)
    top = _summit_jit(energy, jnp.asarray(path), geometry)
    if known(top) and not np.isfinite(top.value):
        check_energies(np.array([energy(x) for x in path]))
        raise ValueError(f"the energy between images {top.segment} and {top.segment + 1} is not finite")
    return top


def barrier(energy: Callable[[Array], Array], path: Array, *, geometry: Geometry = Flat()) -> Array:
    r"""The barrier functional: the highest energy on the path interpolated between its images.

    .. math:: Q[S] = \max_{t} E[S(t)],\qquad
        \frac{\partial Q}{\partial S_n} = \partial E[S(t^*)]\cdot\frac{\partial S(t^*)}{\partial S_n}

    The derivative is exact with the position :math:`t^*` held fixed (envelope theorem), so nothing is
    differentiated through the search. Only where two different points are equally high has Q a kink; one of the
    two one-sided derivatives is returned there. Second derivatives are not supported: they need the motion of
    :math:`t^*`, which is held fixed.

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


_summit_jit = partial(compiled, static_argnums=2)(summit)
