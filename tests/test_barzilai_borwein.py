"""Barzilai-Borwein steps on functions whose minimum is known, and each safeguard by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rounding import rounding

from mepmeta.barzilai_borwein import CAP, HOPELESS, OUTLIER, State, advance, largest_step, mean_gradient

advance_jit = partial(jax.jit, static_argnums=4)(advance)
clipped = jax.jit(partial(mean_gradient, clip=True))

vectors = st.tuples(*[st.floats(-2, 2)] * 3).map(jnp.array)


def start_at(x, nu=1e-3):
    no = jnp.asarray(False)
    return State(x, x, jnp.zeros_like(x), jnp.asarray(nu), no, no)


def descend(loss, x, steps, safeguard, cap=0.2):
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    state, trace = start_at(jnp.array(x)), []
    for _ in range(steps):
        L, g = value_and_grad(state.x)
        state, rejected = advance_jit(state, L, g, jnp.asarray(cap), safeguard)
        trace.append((L, rejected, state.x))
    return state, trace


@pytest.mark.parametrize("safeguard", [True, False])
@pytest.mark.parametrize("curvatures", [(1.0, 1.0, 1.0), (1.0, 4.0, 20.0)])
def test_converges_on_a_quadratic(safeguard, curvatures):
    minimum, A = jnp.array([0.3, -1.0, 0.5]), jnp.array(curvatures)
    loss = lambda x: jnp.sum(A * (x - minimum) ** 2) / 2 - 100  # noqa: E731
    state, trace = descend(loss, [1.0, 0.0, 0.0], 80, safeguard)
    np.testing.assert_allclose(state.x, minimum, atol=1e-6)
    assert not any(rejected for _, rejected, _ in trace)


def test_first_step_after_the_probe_is_the_secant_step():
    """In one dimension, on a parabola, Barzilai-Borwein is Newton: exact at the second step."""
    loss = lambda x: 3 * jnp.sum((x - 0.05) ** 2) - 1  # noqa: E731
    _, trace = descend(loss, [0.0], 2, True)
    assert trace[0][2] == pytest.approx(0.02)  # the probe: a tenth of the cap, downhill
    assert trace[1][2] == pytest.approx(0.05, abs=1e-12)
    _, trace = descend(loss, [0.0], 2, False)
    assert trace[0][2] == pytest.approx(3e-4)  # minus nu times the gradient, 1e-3 * 0.3
    assert trace[1][2] == pytest.approx(0.05, abs=1e-12)


def test_negative_curvature_does_not_turn_descent_round():
    """Between two steps on a hilltop the published rule goes up, the safeguarded one down."""
    loss = lambda x: -jnp.sum(jnp.cosh(x)) - 1  # noqa: E731
    _, safe = descend(loss, [0.5], 2, True)
    assert safe[1][2] > safe[0][2] > 0.5
    _, plain = descend(loss, [0.5], 2, False)
    assert plain[1][2] < plain[0][2]


@given(vectors, vectors, vectors, st.floats(1e-6, 1e6), st.floats(0.01, 0.2))
def test_no_component_of_a_safeguarded_step_exceeds_the_cap(x, good, g, scale, cap):
    for pair in (False, True):
        state = State(x, good, jnp.ones(3), jnp.asarray(1.0), jnp.asarray(pair), jnp.asarray(True))
        after, rejected = advance_jit(state, jnp.asarray(-1.0), scale * g, jnp.asarray(cap), True)
        assert not rejected and jnp.all(jnp.isfinite(after.x))
        assert jnp.abs(after.x - x).max() <= cap + rounding(2)
        # no component goes uphill
        assert jnp.all((after.x - x) * g <= 0)
        assert jnp.array_equal(after.good, x) and jnp.array_equal(after.slope, scale * g)
        assert after.pair and after.usable


@given(vectors, vectors)
def test_a_bad_point_sends_the_iteration_half_way_back(x, good):
    state = State(x, good, jnp.ones(3), jnp.asarray(1.0), jnp.asarray(True), jnp.asarray(True))
    assume(np.abs(x - good).max() > 0.02)
    for L, g in [(0.1, 1.0), (50.0, 1.0), (np.inf, 1.0), (np.nan, 1.0), (-1.0, np.nan), (-1.0, np.inf)]:
        after, rejected = advance_jit(state, jnp.asarray(L), g * jnp.ones(3), jnp.asarray(0.2), True)
        assert rejected
        np.testing.assert_allclose(after.x, (x + good) / 2, atol=rounding(2))
        assert jnp.array_equal(after.good, good) and jnp.array_equal(after.slope, state.slope)


def test_repeated_rejection_ends_at_the_good_point():
    state = State(jnp.ones(3), jnp.zeros(3), jnp.ones(3), jnp.asarray(1.0), jnp.asarray(True), jnp.asarray(True))
    for _ in range(30):
        state, rejected = advance_jit(state, jnp.asarray(1.0), jnp.ones(3), jnp.asarray(0.2), True)
        assert rejected
    assert jnp.abs(state.x).max() < 1e-8


def test_a_point_that_was_good_on_another_batch_only_does_not_hold_the_iteration():
    """Where the loss scatters around zero from batch to batch, going back again and again would stop there for ever."""
    good = jnp.ones(3)
    state = State(good + 0.1, good, -jnp.ones(3), jnp.asarray(1.0), jnp.asarray(True), jnp.asarray(True))
    for _ in range(6):
        state, rejected = advance_jit(state, jnp.asarray(0.1), jnp.ones(3), jnp.asarray(0.2), True)
        if not rejected:
            break
    assert not rejected and not state.usable and jnp.all(state.x < good + 0.01)  # on, downhill


def test_a_start_that_diverges_is_left_towards_smaller_parameters():
    state = start_at(jnp.ones(3))
    for L in (2.0, jnp.inf, jnp.nan):
        after, rejected = advance_jit(state, jnp.asarray(L), jnp.zeros(3), jnp.asarray(0.2), True)
        assert rejected and not after.usable
        np.testing.assert_allclose(after.x, 0.8)
    # only a little above zero is where springs alone can bring a start: descend from there
    after, rejected = advance_jit(state, jnp.asarray(HOPELESS / 2), jnp.ones(3), jnp.asarray(0.2), True)
    assert not rejected and not after.usable and jnp.all(after.x < 1)


def test_the_plain_update_takes_any_finite_point():
    state = State(jnp.ones(3), jnp.zeros(3), jnp.zeros(3), jnp.asarray(1.0), jnp.asarray(True), jnp.asarray(True))
    after, rejected = advance_jit(state, jnp.asarray(50.0), 2 * jnp.ones(3), jnp.asarray(0.2), False)
    assert not rejected
    np.testing.assert_allclose(after.x, 0)  # nu = (dx.dx)/(dx.dg) = 3/6, step -nu g
    after, rejected = advance_jit(state, jnp.asarray(jnp.nan), jnp.ones(3), jnp.asarray(0.2), False)
    assert rejected and jnp.all(jnp.isfinite(after.x))


def test_a_zero_gradient_stays():
    for pair in (False, True):
        x = jnp.array([1.0, 2.0])
        state = State(x, x, jnp.zeros(2), jnp.asarray(1.0), jnp.asarray(pair), jnp.asarray(True))
        for safeguard in (True, False):
            after, _ = advance_jit(state, jnp.asarray(-1.0), jnp.zeros(2), jnp.asarray(0.2), safeguard)
            assert jnp.array_equal(after.x, x)


# The mean gradient of a batch


def test_an_outlier_counts_three_times_the_median():
    slopes = jnp.ones((3, 99)) * jnp.array([1.0, 2.0, 2.0])[:, None]  # of length 3
    heavy = jnp.concatenate([slopes, jnp.array([[0.0], [-1e9], [0.0]])], axis=1)
    expected = (99 * np.array([1.0, 2.0, 2.0]) + np.array([0.0, -OUTLIER * 3, 0.0])) / 100
    np.testing.assert_allclose(clipped(heavy), expected, rtol=rounding(1, 100))
    assert jnp.abs(mean_gradient(heavy, False)).max() > 1e6  # the plain mean is that of one path


# Squares of numbers below 1e-100 lose their digits, in one library more than in another.
components = st.floats(-1, 1).map(lambda v: v if abs(v) > 1e-100 else 0.0)


@given(st.lists(components, min_size=30, max_size=30), st.floats(3, 1e8))
def test_the_clipped_mean_is_bounded_by_the_median_and_keeps_the_direction_of_each_path(values, factor):
    slopes = jnp.array(values).reshape(3, 10)
    heavy = slopes.at[:, 0].multiply(factor)
    sizes = np.linalg.norm(heavy, axis=0)
    limit = OUTLIER * np.median(sizes)
    assert np.linalg.norm(clipped(heavy)) <= limit * (1 + rounding(1, 10))
    expected = np.mean(np.where(sizes > limit, limit / np.maximum(sizes, 1e-300), 1) * heavy, axis=1)
    np.testing.assert_allclose(clipped(heavy), expected, atol=rounding(limit, 10))


@given(st.lists(st.floats(0.6, 1), min_size=30, max_size=30))
def test_a_batch_without_outliers_is_averaged(values):
    slopes = jnp.array(values).reshape(3, 10)
    np.testing.assert_allclose(clipped(slopes), np.mean(values_as := np.array(values).reshape(3, 10), axis=1))
    np.testing.assert_allclose(mean_gradient(slopes, False), values_as.mean(axis=1))


def test_one_infinite_slope_does_not_silence_a_batch():
    slopes = jnp.ones((3, 10)).at[:, 4].set(jnp.inf)
    after = clipped(slopes)
    assert not jnp.all(jnp.isfinite(after)) or jnp.all(after > 0)  # finite, or not finite and therefore rejected


# The cap


def test_caps_start_at_a_fifth_and_follow_robbins_and_monro():
    assert largest_step(0) == CAP == 0.2 and largest_step(10) == pytest.approx(0.1)
    caps = np.array([largest_step(epoch) for epoch in range(100_000)])
    assert np.all(np.diff(caps) < 0)
    # the sum grows like 2 ln(epochs) without end; that of the squares has the limit 0.4 + small
    assert caps.sum() > 15 and np.sum(caps**2) < 0.5
    assert caps[50_000:].sum() > 1 and np.sum(caps[50_000:] ** 2) < 1e-4
