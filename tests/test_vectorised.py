"""The arctangent, sine and cosine, against the library's; sums."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import rounding

import mepmeta as mm
from mepmeta._vectorised import arctan_ratio, sine_cosine, total

TANGENTS = np.concatenate([np.linspace(0, 1, 5001)[1:], 10.0 ** -np.arange(0, 150, 0.5)])


def test_ratio_is_good_to_the_last_digits_from_0_to_1():
    q = TANGENTS**2
    expected = [math.atan(t) / t for t in np.sqrt(q)]
    np.testing.assert_allclose(arctan_ratio(jnp.array(q)), expected, rtol=rounding())
    assert arctan_ratio(jnp.array(0.0)) == 1
    assert arctan_ratio(jnp.array(1.0)) == pytest.approx(math.pi / 4, rel=rounding())


def test_ratio_in_single_precision():
    q = np.float32(TANGENTS[TANGENTS > 1e-15] ** 2)
    value = arctan_ratio(jnp.array(q))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, arctan_ratio(jnp.array(q, float)), rtol=rounding(dtype=np.float32))


def test_derivatives_of_the_ratio():
    q = np.linspace(0.05, 1, 39)
    ratio, slope = np.arctan(np.sqrt(q)) / np.sqrt(q), jax.vmap(jax.grad(arctan_ratio))
    exact = (1 / (1 + q) - ratio) / (2 * q)  # loses digits as q becomes small
    # The polynomial is off by 3e-14 in its slope and by 4e-12 in its second derivative.
    lost, lost_second = 3e-14 + rounding(1 / (2 * q[0])), 4e-12 + rounding(3 / (2 * q[0]) ** 2)
    np.testing.assert_allclose(slope(jnp.array(q)), exact, rtol=0, atol=lost)
    exact_second = (-1 / (1 + q) ** 2 - 3 * exact) / (2 * q)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(jax.grad(arctan_ratio)))(jnp.array(q)), exact_second, rtol=0, atol=lost_second
    )
    forward = jax.vmap(lambda q: jax.jvp(arctan_ratio, (q,), (1.0,))[1])
    np.testing.assert_allclose(forward(jnp.array(q)), exact, rtol=0, atol=lost)
    # The series 1 - q/3 + q²/5 - ...
    assert slope(jnp.zeros(1))[0] == pytest.approx(-1 / 3, abs=3e-14 + rounding())
    h = 1e-4
    central = (arctan_ratio(jnp.array(0.3 + h)) - arctan_ratio(jnp.array(0.3 - h))) / (2 * h)
    assert slope(jnp.array([0.3]))[0] == pytest.approx(float(central), rel=1e-8)


ANGLES = np.concatenate(
    [np.linspace(-20, 20, 40001), np.pi / 4 * np.arange(-1000, 1001), 10.0 ** -np.arange(0, 300, 7), [-0.0, 1e5, -1e6]]
)


def test_sine_and_cosine_are_the_librarys():
    sine, cosine = sine_cosine(jnp.array(ANGLES))
    np.testing.assert_allclose(sine, [math.sin(x) for x in ANGLES], rtol=0, atol=rounding())
    np.testing.assert_allclose(cosine, [math.cos(x) for x in ANGLES], rtol=0, atol=rounding())
    np.testing.assert_allclose(sine**2 + cosine**2, 1, rtol=0, atol=rounding())


def test_sine_keeps_its_digits_where_it_is_small():
    small = 10.0 ** -np.arange(0, 300, 3)
    for turn in (0.0, math.pi, -2 * math.pi, 400 * math.pi):
        x = turn + small[small > 1e-13 * abs(turn)]
        np.testing.assert_allclose(sine_cosine(jnp.array(x))[0], [math.sin(a) for a in x], rtol=rounding())


def test_sine_and_cosine_of_large_angles_are_within_the_rounding_of_the_angle():
    x = np.array([1e9, 3e12, -7e14])
    for found, library in zip(sine_cosine(jnp.array(x)), (np.sin, np.cos), strict=True):
        assert np.all(np.abs(found - library(x)) <= np.spacing(np.abs(x)))


def test_derivatives_of_sine_and_cosine():
    x = jnp.array(ANGLES[::50])
    sine, cosine = sine_cosine(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(lambda x: sine_cosine(x)[0]))(x), cosine, rtol=0, atol=rounding())
    np.testing.assert_allclose(jax.vmap(jax.grad(lambda x: sine_cosine(x)[1]))(x), -sine, rtol=0, atol=rounding())
    second = jax.vmap(jax.grad(jax.grad(lambda x: sine_cosine(x)[0])))(x)
    np.testing.assert_allclose(second, -sine, rtol=0, atol=rounding())


def test_sine_and_cosine_in_single_precision():
    x = jnp.array(ANGLES[:40001:37], jnp.float32)
    for found, library in zip(sine_cosine(x), (jnp.sin, jnp.cos), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, library(x))


def spins(angle):
    return jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[math.cos(angle), math.sin(angle), 0.0]])


@pytest.mark.parametrize("gap", [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0, math.pi / 2 - 1e-9, math.pi / 2])
def test_angles_from_parallel_to_antipodal_spins(gap):
    for angle in (gap, math.pi - gap):
        x, y = spins(angle)
        expected = 2 * math.atan2(np.linalg.norm(x - y), np.linalg.norm(x + y))
        distance, there, back = mm.Spheres().connect(x, y)
        assert distance == pytest.approx(expected, rel=rounding(), abs=0)
        assert mm.Spheres().distance(x, y) == pytest.approx(distance, rel=rounding(), abs=0)
        # Next to antipodal spins a direction is what is left of their sum.
        lost = rounding(1 if angle < 2 else 1 / gap)
        np.testing.assert_allclose(np.linalg.norm([there, back], axis=-1), expected, rtol=lost)


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 0.5, math.pi / 2 - 1e-3, math.pi / 2 + 1e-3, 3.0, math.pi - 1e-6])
def test_derivative_of_an_angle_by_itself_is_one(angle):
    def distance(t):
        y = jnp.stack([jnp.cos(t), jnp.sin(t), jnp.zeros_like(t)])[None]
        return mm.Spheres().distance(spins(0.0)[0], y)

    t = jnp.array(angle)
    assert jax.grad(distance)(t) == pytest.approx(1, abs=1e-9)
    assert jax.jvp(distance, (t,), (jnp.ones(()),))[1] == pytest.approx(1, abs=1e-9)
    h = 1e-3 * min(angle, math.pi - angle)
    assert (distance(t + h) - distance(t - h)) / (2 * h) == pytest.approx(1, abs=1e-6 + rounding(angle) / (2 * h))
    assert jax.hessian(distance)(t) == pytest.approx(0, abs=1e-3)


def test_single_precision_angles():
    for angle in (1e-3, 0.5, 2.0, 3.1):
        x, y = (s.astype(jnp.float32) for s in spins(angle))
        distance = mm.Spheres().distance(x, y)
        assert distance.dtype == jnp.float32
        assert distance == pytest.approx(angle, abs=rounding(math.pi, dtype=np.float32))


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (2, 2), (5,), (4, 3)])
def test_total_is_the_sum(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    assert total(x) == pytest.approx(float(jnp.sum(x)), abs=rounding(2, x.size)) and total(x).shape == ()
