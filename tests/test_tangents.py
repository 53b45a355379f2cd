"""The three tangents: the conditions on the weight, Eq. (3) case by case, limits, symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from mepmeta import tangents

slope = st.floats(-20, 20)
beta = st.floats(0.01, 10)

weight = jax.jit(tangents.weight)
weight_slopes = jax.jit(jax.grad(tangents.weight, argnums=(0, 1, 2)))
weight_curvature = jax.jit(jax.grad(jax.grad(tangents.weight)))
central = jax.jit(tangents.central)
improved = jax.jit(tangents.improved)
smooth = jax.jit(tangents.smooth)


def printed(a, b, beta):
    """The weight as the paper prints it."""
    p, q = np.exp(beta * a), np.exp(beta * b)
    return (p + q) / (p + 1 / p + q + 1 / q)


def paths(n=5, shape=(2,)):
    size = n * int(np.prod(shape))
    numbers = st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=size, max_size=size)
    return numbers.map(lambda v: jnp.array(v).reshape(n, *shape))


def differences(path):
    return path[2:] - path[1:-1], path[1:-1] - path[:-2]


def energies(n=5):
    return st.lists(st.floats(-5, 5), min_size=n, max_size=n).map(jnp.array)


# The three conditions of the paper on W


@given(slope, slope, beta)
def test_condition_1_smooth(a, b, beta):
    """The derivatives exist and are those of finite differences, across a = 0 and a = b as well."""
    h = 1e-5
    by_a, by_b, by_beta = weight_slopes(a, b, beta)
    assert by_a == pytest.approx(float(weight(a + h, b, beta) - weight(a - h, b, beta)) / (2 * h), abs=1e-6)
    assert by_b == pytest.approx(float(weight(a, b + h, beta) - weight(a, b - h, beta)) / (2 * h), abs=1e-6)
    scale = 1 + abs(a + b) ** 3
    assert by_beta == pytest.approx(
        float(weight(a, b, beta + h) - weight(a, b, beta - h)) / (2 * h), abs=rounding() / (2 * h) + h**2 * scale
    )
    W = weight(a, b, beta)
    assert weight_curvature(a, b, beta) == pytest.approx(
        float(beta**2 * W * (1 - W) * (1 - 2 * W)), abs=rounding(400 * 100)
    )


@given(slope, slope, beta)
def test_condition_2_a_weight(a, b, beta):
    W = weight(a, b, beta)
    assert 0 <= W <= 1
    assert W + weight(-b, -a, beta) == pytest.approx(1, abs=rounding())


@given(st.floats(0.01, 20), st.floats(0.01, 20), beta)
def test_condition_3_uphill_selects_the_right_tangent(a, b, beta):
    W, further = weight(a, b, beta), weight(2 * a, 2 * b, beta)
    assert W > 0.5 and further >= W - rounding()
    assert 1 - W <= np.exp(-beta * (a + b)) * (1 + 1e-6) + rounding()  # as fast as an exponential
    assert weight(-a, -b, beta) < 0.5


@given(slope, slope, beta)
def test_the_printed_weight_is_a_logistic(a, b, beta):
    assert weight(a, b, beta) == pytest.approx(printed(a, b, beta), abs=rounding(400))  # of exponents


@pytest.mark.parametrize("a, b, expected", [(1000.0, 900.0, 1.0), (800.0, -1000.0, 0.0), (1000.0, -1000.0, 0.5)])
def test_no_overflow_where_the_printed_form_has_one(a, b, expected):
    with np.errstate(all="ignore"):
        assert np.isnan(printed(np.float64(a), np.float64(b), 1.0))  # inf/inf
    assert weight(a, b, 1.0) == pytest.approx(expected, rel=rounding(), abs=1e-80)
    assert np.all(np.isfinite(weight_slopes(a, b, 1.0)))


# The tangents


@given(paths())
def test_beta_to_zero_is_the_central_difference(path):
    forward, backward = differences(path)
    gradients = jnp.ones_like(forward)
    np.testing.assert_allclose(smooth(forward, backward, gradients, 0.0), central(forward, backward), atol=rounding(6))
    np.testing.assert_allclose(central(forward, backward), (path[2:] - path[:-2]) / 2, atol=rounding(6))


@given(paths(), st.booleans())
def test_beta_to_infinity_is_the_improved_tangent_on_a_monotone_stretch(path, up):
    """On E = g.x the improved tangent is the difference to the higher neighbour, and so is a very sharp W."""
    path = path.at[:, 0].set(jnp.sort(path[:, 0]) + jnp.arange(5.0))
    forward, backward = differences(path)
    g = jnp.array([1.0 if up else -1.0, 0.0])
    expected = forward if up else backward
    np.testing.assert_allclose(smooth(forward, backward, jnp.tile(g, (3, 1)), 1e3), expected, atol=1e-12)
    np.testing.assert_array_equal(improved(forward, backward, path @ g), expected)


def test_smooth_uses_the_slope_along_the_central_difference():
    forward, backward = jnp.array([[0.3, 0.4]]), jnp.array([[0.1, -0.2]])
    gradient = jnp.array([[2.0, -1.0]])
    a = 1 / (1 + np.exp(-3 * (2 * (0.3 + 0.1) - (0.4 - 0.2))))
    expected = a * forward + (1 - a) * backward
    np.testing.assert_allclose(smooth(forward, backward, gradient, 3.0), expected, rtol=rounding(10))


F, B = np.array([3.0, 1.0]), np.array([1.0, -2.0])


@pytest.mark.parametrize(
    "E, expected",
    [
        ((0.0, 1.0, 4.0), F),  # uphill: E[n+1] > E[n] > E[n-1]
        ((4.0, 1.0, 0.0), B),  # downhill
        ((1.0, 5.0, 2.0), (4 * F + 3 * B) / 7),  # maximum, right neighbour higher: differences 3 and 4
        ((2.0, 5.0, 1.0), (3 * F + 4 * B) / 7),  # maximum, left neighbour higher
        ((3.0, 0.0, 5.0), (5 * F + 3 * B) / 8),  # minimum, right neighbour higher
        ((5.0, 0.0, 3.0), (3 * F + 5 * B) / 8),  # minimum, left neighbour higher
        ((1.0, 3.0, 1.0), (F + B) / 2),  # neighbours of equal energy: both formulas agree
        ((3.0, 1.0, 3.0), (F + B) / 2),
        ((0.0, 1.0, 1.0), F),  # a shoulder: one difference is zero
        ((1.0, 1.0, 0.0), B),
        ((0.0, 0.0, 1.0), F),
        ((1.0, 0.0, 0.0), B),
        ((2.0, 2.0, 2.0), (F + B) / 2),  # Eq. (3) gives zero; the public calls refuse such a path
    ],
)
def test_improved_is_equation_3(E, expected):
    got = improved(jnp.array(F)[None], jnp.array(B)[None], jnp.array(E))
    np.testing.assert_allclose(got[0], expected, rtol=rounding(10))


@given(st.floats(-5, 5), st.floats(0.01, 5), st.booleans())
def test_improved_is_continuous_where_the_neighbours_change_order(E, height, maximum):
    here = E + (height if maximum else -height)
    left, at, right = (
        improved(jnp.array(F)[None], jnp.array(B)[None], jnp.array([E, here, E + shift]))
        for shift in (-1e-9, 0.0, 1e-9)
    )
    np.testing.assert_allclose(left, right, atol=1e-6)
    np.testing.assert_allclose(at, [(F + B) / 2], atol=1e-6)


def weight_of(tau, forward, backward):
    """The weight a of tau = a forward + (1 - a) backward, image by image."""
    d = forward - backward
    return np.sum((tau - backward) * d, axis=1) / np.sum(d * d, axis=1)


@given(paths(), energies())
def test_improved_leans_to_the_higher_neighbour(path, E):
    forward, backward = differences(path)
    assume(float(jnp.min(jnp.linalg.norm(forward - backward, axis=1))) > 1e-3)
    assume(float(jnp.min(jnp.abs(E[2:] - E[:-2]))) > 1e-9)
    a = weight_of(improved(forward, backward, E), forward, backward)
    assert np.all((a > -1e-9) & (a < 1 + 1e-9))
    assert np.all((a >= 0.5 - 1e-9) == (np.asarray(E[2:]) > np.asarray(E[:-2])) | (np.abs(a - 0.5) < 1e-9))


#: Slopes are sums of six products of 3 and 6, times at most 10; a weight has a quarter of their rounding, and a tangent
#: twelve times that.
STEEP = rounding(6 * 3 * 6 * 10 / 4 * 12)


@given(paths(shape=(2, 3)), paths(n=3, shape=(2, 3)), energies(), beta)
def test_reversal_of_the_path_turns_every_tangent_round(path, gradients, E, beta):
    forward, backward = differences(path)
    forward_r, backward_r = differences(path[::-1])
    pairs = [
        (central(forward, backward), central(forward_r, backward_r)),
        (improved(forward, backward, E), improved(forward_r, backward_r, E[::-1])),
        (smooth(forward, backward, gradients, beta), smooth(forward_r, backward_r, gradients[::-1], beta)),
    ]
    for there, back in pairs:
        np.testing.assert_allclose(back[::-1], -there, atol=STEEP)


@given(paths(shape=(2, 3)), paths(n=3, shape=(2, 3)), energies(), beta)
def test_the_shape_of_a_state_does_not_matter(path, gradients, E, beta):
    forward, backward = differences(path)
    flat = [x.reshape(3, 6) for x in (forward, backward, gradients)]
    np.testing.assert_allclose(central(forward, backward).reshape(3, 6), central(*flat[:2]), atol=rounding(6))
    np.testing.assert_allclose(
        improved(forward, backward, E).reshape(3, 6), improved(*flat[:2], E), atol=rounding(6, 10)
    )
    np.testing.assert_allclose(
        smooth(forward, backward, gradients, beta).reshape(3, 6), smooth(*flat, beta), atol=STEEP
    )


def test_the_central_tangent_is_off_where_the_energy_is_steep_and_the_path_bends():
    """What the improved tangent is for: a path that bends at an image on a slope keeps to the uphill side."""
    path = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    forward, backward = differences(path)
    E = jnp.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(improved(forward, backward, E)[0], [0, 1])
    np.testing.assert_allclose(central(forward, backward)[0], [0.5, 0.5])


def test_module_is_reached_as_in_the_book():
    assert mm.tangents is tangents and set(tangents.__all__) == {"central", "improved", "smooth", "weight"}
