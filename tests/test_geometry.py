"""The flat geometry and the spherical chart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mepmeta as mm

flat = mm.Flat()
coordinates = st.floats(-1e6, 1e6)
latitudes = st.floats(-np.pi / 2 + 1e-6, np.pi / 2 - 1e-6)
longitudes = st.floats(-np.pi + 1e-6, np.pi)

to_spin = jax.jit(mm.angles_to_spin)
to_angles = jax.jit(mm.spin_to_angles)
interpolate = jax.jit(flat.interpolate)


def arrays(shape):
    size = int(np.prod(shape))
    return st.lists(coordinates, min_size=size, max_size=size).map(lambda v: jnp.array(v).reshape(shape))


@given(arrays((2, 3)), arrays((2, 3)))
def test_interpolation_ends_at_the_states_to_the_last_bit(x, y):
    assert jnp.array_equal(interpolate(x, y, jnp.array(0.0)), x)
    assert jnp.array_equal(interpolate(x, y, jnp.array(1.0)), y)


@given(arrays((3,)), arrays((3,)), st.floats(0, 1))
def test_interpolated_point_divides_the_distance(x, y, t):
    z = interpolate(x, y, jnp.array(t))
    scale = float(jnp.abs(x).max() + jnp.abs(y).max()) + 1e-300
    whole = float(flat.distance(x, y))
    assert float(flat.distance(x, z)) == pytest.approx(t * whole, abs=1e-14 * scale)
    assert float(flat.distance(z, y)) == pytest.approx((1 - t) * whole, abs=1e-14 * scale)


@given(arrays((2, 2)), arrays((2, 2)), arrays((2, 2)))
def test_distance_is_a_metric(x, y, z):
    d = flat.distance
    assert d(x, x) == 0 and d(x, y) == d(y, x) and d(x, y) == pytest.approx(float(np.linalg.norm(np.ravel(x - y))))
    assert d(x, z) <= (d(x, y) + d(y, z)) * (1 + 1e-14)


@given(arrays((2,)), arrays((2,)))
def test_retraction_undoes_displacement(x, y):
    v = flat.displacement(x, y)
    np.testing.assert_allclose(flat.retract(x, v), y, atol=1e-9)
    assert jnp.linalg.norm(v) == pytest.approx(float(flat.distance(x, y)))
    assert jnp.array_equal(flat.project(x, v), v)


def test_geometry_is_static():
    assert jax.tree.leaves(flat) == [] and flat == mm.Flat() and hash(flat) == hash(mm.Flat())


@given(latitudes, longitudes)
def test_chart_round_trip_from_angles(theta, phi):
    S = to_spin(jnp.array([theta, phi]))
    assert jnp.linalg.norm(S) == pytest.approx(1, abs=1e-15)
    back = to_angles(S)
    # longitude loses digits in proportion to the distance from the pole
    np.testing.assert_allclose(back, [theta, phi], atol=1e-15 / np.cos(theta) + 1e-15)


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda S: np.linalg.norm(S) > 1e-3), st.floats(0.1, 10))
def test_chart_round_trip_from_vectors(S, length):
    S = np.array(S)
    angles = to_angles(jnp.array(length * S))
    assert abs(angles[0]) <= np.pi / 2 and abs(angles[1]) <= np.pi
    np.testing.assert_allclose(to_spin(angles), S / np.linalg.norm(S), atol=1e-15)


def test_axes_of_the_chart():
    along = {(0.0, 0.0): [1, 0, 0], (0.0, np.pi / 2): [0, 1, 0], (0.0, np.pi): [-1, 0, 0]}
    along |= {(np.pi / 2, 0.7): [0, 0, 1], (-np.pi / 2, 0.7): [0, 0, -1]}
    for angles, S in along.items():
        np.testing.assert_allclose(mm.angles_to_spin(jnp.array(angles)), S, atol=1e-15)


def test_poles_come_out_with_longitude_zero_and_keep_all_digits_next_to_them():
    assert mm.spin_to_angles(jnp.array([0.0, 0.0, 1.0])).tolist() == [np.pi / 2, 0.0]
    assert mm.spin_to_angles(jnp.array([0.0, 0.0, -2.0])).tolist() == [-np.pi / 2, 0.0]
    # arcsin would give pi/2 here
    theta, phi = mm.spin_to_angles(jnp.array([0.0, 1e-9, 1.0]))
    assert np.pi / 2 - theta == pytest.approx(1e-9, rel=1e-6) and phi == pytest.approx(np.pi / 2)


@given(latitudes, longitudes, st.floats(-7, 7))
def test_adding_to_the_longitude_rotates_about_z(theta, phi, alpha):
    c, s = np.cos(alpha), np.sin(alpha)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    np.testing.assert_allclose(
        to_spin(jnp.array([theta, phi + alpha])), rotation @ to_spin(jnp.array([theta, phi])), atol=1e-14
    )


def test_chart_takes_arrays_of_states():
    x = jax.random.uniform(jax.random.key(0), (4, 5, 2))
    S = mm.angles_to_spin(x)
    assert S.shape == (4, 5, 3)
    assert jnp.array_equal(S[2, 3], mm.angles_to_spin(x[2, 3]))
    np.testing.assert_allclose(mm.spin_to_angles(S), x, atol=1e-15)


def test_wrong_shapes_are_refused_in_words():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 2\), got shape \(3,\)"):
        mm.angles_to_spin(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got shape \(2,\)"):
        mm.spin_to_angles(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        mm.angles_to_spin(jnp.array(0.0))
