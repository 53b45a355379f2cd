"""The flat geometry, spins on spheres, and the spherical chart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm

flat = mm.Flat()
# Squares of numbers below 1e-100 lose their digits, in one library more than in another.
coordinates = st.floats(-1e6, 1e6).map(lambda v: v if abs(v) > 1e-100 else 0.0)
latitudes = st.floats(-np.pi / 2 + 1e-6, np.pi / 2 - 1e-6)
longitudes = st.floats(-np.pi + 1e-6, np.pi - 1e-6)

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
    same = rounding(float(jnp.abs(x).max() + jnp.abs(y).max()), 3)
    whole = float(flat.distance(x, y))
    assert float(flat.distance(x, z)) == pytest.approx(t * whole, abs=same)
    assert float(flat.distance(z, y)) == pytest.approx((1 - t) * whole, abs=same)


@given(arrays((2, 2)), arrays((2, 2)), arrays((2, 2)))
def test_distance_is_a_metric(x, y, z):
    d = flat.distance
    assert d(x, x) == 0 and d(x, y) == d(y, x) and d(x, y) == pytest.approx(float(np.linalg.norm(np.ravel(x - y))))
    assert d(x, z) <= (d(x, y) + d(y, z)) * (1 + rounding())


@given(arrays((2,)), arrays((2,)))
def test_flat_connection_is_the_difference(x, y):
    d, v, back = flat.connect(x, y)
    assert d == flat.distance(x, y) and jnp.array_equal(back, -v)
    np.testing.assert_allclose(flat.retract(x, v), y, atol=rounding(2e6))
    assert jnp.linalg.norm(v) == pytest.approx(float(flat.distance(x, y)))
    assert jnp.array_equal(flat.project(x, v), v)


def test_geometry_is_static():
    assert jax.tree.leaves(flat) == [] and flat == mm.Flat() and hash(flat) == hash(mm.Flat())


spheres = mm.Spheres()
seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
N = 4

distance = jax.jit(spheres.distance)
connect = jax.jit(spheres.connect)
between = jax.jit(spheres.interpolate)
retract = jax.jit(spheres.retract)
distance_slope = jax.jit(jax.grad(spheres.distance))


def random_spins(rng, n=N):
    S = rng.normal(size=(n, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def random_frame(rng):
    """Three perpendicular unit vectors."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def inner(u, v):
    return np.sum(np.asarray(u) * np.asarray(v), axis=-1)


def lengths(v):
    return np.linalg.norm(v, axis=-1)


def around(x, y, dtype=float):
    """Rounding of vectors up to pi long: next to antipodal spins a direction is what is left of their sum."""
    return rounding(np.pi / float(np.min(lengths(x + y))), 3, dtype)


@given(seeds)
def test_distance_of_spins_is_a_metric(seed):
    x, y, z = (random_spins(np.random.default_rng([seed, k])) for k in range(3))
    assert distance(x, x) == 0 and distance(x, y) == distance(y, x)
    arccos = rounding(1 / np.min(lengths(np.cross(x, y))), N)  # steep at both its ends
    assert distance(x, y) == pytest.approx(np.linalg.norm(np.arccos(inner(x, y))), abs=arccos)
    assert distance(x, z) <= (distance(x, y) + distance(y, z)) * (1 + rounding())
    assert distance(x, -x) == pytest.approx(np.pi * np.sqrt(N), rel=rounding())


@pytest.mark.parametrize("angle", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
def test_distance_keeps_all_digits_next_to_zero_and_to_pi(angle):
    # In the plane of two axes the sine and the cosine are exact, and with them the spins.
    one, zero = jnp.ones(()), jnp.zeros(())
    for order in ([0, 1, 2], [2, 0, 1]):
        x = jnp.stack([one, zero, zero])[jnp.array(order)][None]
        y = jnp.stack([jnp.cos(angle), jnp.sin(angle), zero])[jnp.array(order)][None]
        assert distance(x, y) == pytest.approx(angle, rel=rounding(), abs=0)
        assert np.pi - distance(x, -y) == pytest.approx(angle, abs=rounding(np.pi))


@given(seeds)
def test_distance_and_vectors_turn_with_the_spins(seed):
    rng = np.random.default_rng(seed)
    x, y, turn = random_spins(rng), random_spins(rng), random_frame(rng)
    assert distance(x @ turn, y @ turn) == pytest.approx(float(distance(x, y)), rel=rounding())
    np.testing.assert_allclose(connect(x @ turn, y @ turn)[1], connect(x, y)[1] @ turn, atol=around(x, y))


@given(seeds)
def test_connecting_vectors_lead_to_the_other_spin(seed):
    rng = np.random.default_rng(seed)
    x, y = random_spins(rng), random_spins(rng)
    y = y.at[0].set(x[0])  # one spin that does not move
    d, there, back = connect(x, y)
    angle = np.arctan2(lengths(np.cross(x, y)), inner(x, y))
    assert d == pytest.approx(float(distance(x, y)), rel=rounding())
    assert d == pytest.approx(np.linalg.norm(angle), rel=rounding())
    for start, end, v in ((x, y, there), (y, x, back)):
        np.testing.assert_allclose(inner(v, start), 0, atol=around(x, y))
        np.testing.assert_allclose(lengths(v), angle, atol=around(x, y))
        reached = np.cos(angle)[:, None] * start + np.sinc(angle / np.pi)[:, None] * v
        np.testing.assert_allclose(reached, end, atol=around(x, y))


@given(seeds)
def test_retraction_stays_on_the_spheres_and_starts_along_the_vector(seed):
    rng = np.random.default_rng(seed)
    x = random_spins(rng)
    v = spheres.project(x, jnp.asarray(rng.normal(size=x.shape)))
    np.testing.assert_allclose(inner(v, x), 0, atol=rounding(5))
    np.testing.assert_allclose(spheres.project(x, v), v, atol=rounding(5))
    np.testing.assert_allclose(spheres.project(x, 3 * x), 0, atol=rounding(3))
    np.testing.assert_allclose(lengths(retract(x, v)), 1, atol=rounding())
    np.testing.assert_allclose(
        connect(x, retract(x, v))[1], v * (np.arctan(lengths(v)) / lengths(v))[:, None], atol=rounding(5)
    )
    np.testing.assert_allclose((retract(x, 1e-6 * v) - retract(x, -1e-6 * v)) / 2e-6, v, atol=rounding() / 2e-6)
    np.testing.assert_allclose(spheres.sizes(v), lengths(v), rtol=rounding())


@given(seeds, fractions)
def test_interpolation_runs_on_great_circles_at_constant_speed(seed, t):
    rng = np.random.default_rng(seed)
    x, y = random_spins(rng), random_spins(rng)
    same = around(x, y)
    y = y.at[1].set(x[1]).at[2].set(-x[2])
    assert jnp.array_equal(between(x, y, jnp.array(0.0)), x)
    np.testing.assert_allclose(between(x, y, jnp.array(1.0)), y, atol=same)
    z = between(x, y, jnp.array(t))
    np.testing.assert_allclose(lengths(z), 1, atol=same)
    whole = float(distance(x, y))
    assert distance(x, z) == pytest.approx(t * whole, abs=same)
    assert distance(z, y) == pytest.approx((1 - t) * whole, abs=same)
    np.testing.assert_allclose(inner(np.cross(x, y), z), 0, atol=same)
    np.testing.assert_allclose(z[1], x[1], atol=rounding())  # a spin that does not move


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9])
@settings(max_examples=10)
@given(seed=seeds)
def test_ways_between_nearly_parallel_and_nearly_antipodal_spins_stay_on_the_spheres(angle, seed):
    frame = random_frame(np.random.default_rng(seed))
    x, y = (jnp.asarray(S)[None] for S in (frame[0], np.cos(angle) * frame[0] + np.sin(angle) * frame[1]))
    for end in (y, -y):
        z = between(x, end, jnp.array(0.5))
        np.testing.assert_allclose(lengths(z), 1, atol=1e-12)
        d, there, back = connect(x, end)
        np.testing.assert_allclose([inner(there, x), inner(back, end)], 0, atol=rounding(np.pi))
        assert distance(x, z) == pytest.approx(float(d) / 2, abs=1e-12)


@pytest.mark.parametrize(
    "spin, over",
    [((0, 0, 1), 0), ((0, 0, -1), 0), ((1, 0, 0), 1), ((0, -1, 0), 0), ((0.6, 0, 0.8), 1), ((0.8, 0.36, 0.48), 1)],
)
def test_antipodal_spins_go_over_the_axis_that_the_docstring_names(spin, over):
    x = jnp.array([spin], float)
    axis = np.eye(3)[over]
    expected = axis - (axis @ spin) * np.array(spin)
    z = between(x, -x, jnp.array(0.5))
    np.testing.assert_allclose(z[0], expected / np.linalg.norm(expected), atol=rounding())
    d, there, back = connect(x, -x)
    assert d == pytest.approx(np.pi, rel=rounding())
    np.testing.assert_allclose(there, np.pi * z, atol=rounding(np.pi))
    np.testing.assert_allclose(back, there, atol=rounding(np.pi))  # over the same axis, back
    np.testing.assert_allclose(between(x, -x, jnp.array(0.25)), (x + z) / np.sqrt(2), atol=rounding())


@given(seeds)
def test_derivative_of_the_distance_where_some_spins_are_equal(seed):
    rng = np.random.default_rng(seed)
    x, y = random_spins(rng), random_spins(rng)
    y = y.at[1].set(x[1]).at[2].set(x[2])
    assume(np.min(lengths(x + y)) > 0.2)  # the distance bends the more the closer spins are to antipodal ones
    slope = distance_slope(x, y)
    assert np.all(np.isfinite(slope))
    d, there, _ = connect(x, y)
    np.testing.assert_allclose(spheres.project(x, slope), -there / d, atol=10 * around(x, y))
    v, h = spheres.project(x, jnp.asarray(rng.normal(size=x.shape))), 1e-5
    difference = (distance(retract(x, h * v), y) - distance(retract(x, -h * v), y)) / (2 * h)
    assert jnp.vdot(slope, v) == pytest.approx(float(difference), abs=1e-7)


def test_derivative_of_the_distance_is_finite_between_antipodal_spins():
    x = random_spins(np.random.default_rng(0))
    assert np.all(np.isfinite(distance_slope(x, -x)))
    assert np.all(np.isfinite(distance_slope(x, x.at[0].set(-x[0]))))


@given(seeds, fractions)
def test_coordinates_belong_to_an_orthonormal_basis(seed, t):
    rng = np.random.default_rng(seed)
    x, y = random_spins(rng), random_spins(rng)
    v, w = connect(x, y)[1], spheres.project(x, y)
    c = spheres.coordinates(x, v)
    assert c.shape == (2 * N,) and jnp.vdot(c, spheres.coordinates(x, w)) == pytest.approx(float(jnp.vdot(v, w)))
    np.testing.assert_allclose(spheres.tangent(x, c), v, atol=rounding(np.pi, 3))
    np.testing.assert_allclose(
        inner(spheres.tangent(x, jnp.asarray(rng.normal(size=2 * N))), x), 0, atol=rounding(4, 3)
    )


def test_components_may_come_first():
    rng = np.random.default_rng(4)
    first, t = mm.Spheres(axis=0), jnp.array(0.3)
    x, y = (random_spins(rng, 6).reshape(2, 3, 3) for _ in range(2))
    y = y.at[0, 1].set(-x[0, 1])

    def planes(S):
        return jnp.moveaxis(S, -1, 0)

    v = spheres.project(x, y)
    np.testing.assert_allclose(first.distance(planes(x), planes(y)), spheres.distance(x, y), rtol=rounding())
    np.testing.assert_allclose(first.sizes(planes(v)), spheres.sizes(v), rtol=rounding())
    np.testing.assert_allclose(first.project(planes(x), planes(y)), planes(v), atol=rounding())
    np.testing.assert_allclose(first.retract(planes(x), planes(v)), planes(spheres.retract(x, v)), atol=rounding())
    np.testing.assert_allclose(
        first.interpolate(planes(x), planes(y), t), planes(between(x, y, t)), atol=rounding(np.pi)
    )
    for of_planes, of_spins in zip(first.connect(planes(x), planes(y))[1:], connect(x, y)[1:], strict=True):
        np.testing.assert_allclose(of_planes, planes(of_spins), atol=rounding(np.pi, 3))


def test_check_refuses_what_are_no_spins():
    x = np.array(random_spins(np.random.default_rng(0)))
    spheres.check(x, "x")
    spheres.check(np.round(x, 6), "a state from a text file")
    mm.Spheres(axis=0).check(x.T, "x")
    with pytest.raises(ValueError, match=r"x must hold unit vectors: the length of a spin is off by 1.0e-03"):
        spheres.check(x * np.array([[1], [1.001], [1], [1]]), "x")
    for wrong in (np.ones((3, 4)), np.ones(()), np.ones(2)):
        with pytest.raises(ValueError, match="x must hold spins, three components along axis -1"):
            spheres.check(wrong, "x")
    with pytest.raises(ValueError, match="three components along axis 0"):
        mm.Spheres(axis=0).check(x, "x")
    for axis in (0.0, True, "x", 10**30):
        with pytest.raises(ValueError, match="whole number"):
            mm.Spheres(axis)


@given(seeds, fractions)
def test_single_precision_works_to_its_digits(seed, t):
    rng = np.random.default_rng(seed)
    x, y = random_spins(rng), random_spins(rng)
    y = y.at[0].set(x[0])
    singles = x.astype(jnp.float32), y.astype(jnp.float32)
    results = [distance(*singles), *connect(*singles), between(*singles, jnp.float32(t)), retract(*singles)]
    expected = [distance(x, y), *connect(x, y), between(x, y, jnp.array(t)), retract(x, y)]
    for single, double in zip(results, expected, strict=True):
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, double, atol=around(x, y, np.float32))


def test_both_geometries_are_static():
    assert jax.tree.leaves(spheres) == [] and spheres == mm.Spheres(-1) != mm.Spheres(0)
    assert hash(spheres) == hash(mm.Spheres())


@given(latitudes, longitudes)
def test_chart_round_trip_from_angles(theta, phi):
    S = to_spin(jnp.array([theta, phi]))
    assert jnp.linalg.norm(S) == pytest.approx(1, abs=rounding())
    back = to_angles(S)
    # longitude loses digits in proportion to the distance from the pole
    np.testing.assert_allclose(back, [theta, phi], atol=rounding(np.pi / np.cos(theta)))


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda S: np.linalg.norm(S) > 1e-3), st.floats(0.1, 10))
def test_chart_round_trip_from_vectors(S, length):
    S = np.array(S)
    angles = to_angles(jnp.array(length * S))
    assert abs(angles[0]) <= np.pi / 2 and abs(angles[1]) <= np.pi
    np.testing.assert_allclose(to_spin(angles), S / np.linalg.norm(S), atol=rounding())


def test_axes_of_the_chart():
    along = {(0.0, 0.0): [1, 0, 0], (0.0, np.pi / 2): [0, 1, 0], (0.0, np.pi): [-1, 0, 0]}
    along |= {(np.pi / 2, 0.7): [0, 0, 1], (-np.pi / 2, 0.7): [0, 0, -1]}
    for angles, S in along.items():
        np.testing.assert_allclose(mm.angles_to_spin(jnp.array(angles)), S, atol=rounding())


def test_poles_come_out_with_longitude_zero_and_keep_all_digits_next_to_them():
    assert mm.spin_to_angles(jnp.array([0.0, 0.0, 1.0])).tolist() == pytest.approx([np.pi / 2, 0.0], abs=rounding())
    assert mm.spin_to_angles(jnp.array([0.0, 0.0, -2.0])).tolist() == pytest.approx([-np.pi / 2, 0.0], abs=rounding())
    # arcsin would give pi/2 here
    theta, phi = mm.spin_to_angles(jnp.array([0.0, 1e-9, 1.0]))
    assert np.pi / 2 - theta == pytest.approx(1e-9, abs=rounding(np.pi / 2)) and phi == pytest.approx(np.pi / 2)


@given(latitudes, longitudes, st.floats(-7, 7))
def test_adding_to_the_longitude_rotates_about_z(theta, phi, alpha):
    c, s = np.cos(alpha), np.sin(alpha)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    np.testing.assert_allclose(
        to_spin(jnp.array([theta, phi + alpha])), rotation @ to_spin(jnp.array([theta, phi])), atol=rounding(10)
    )


def test_chart_takes_arrays_of_states():
    x = jax.random.uniform(jax.random.key(0), (4, 5, 2))
    S = mm.angles_to_spin(x)
    assert S.shape == (4, 5, 3)
    np.testing.assert_allclose(S[2, 3], mm.angles_to_spin(x[2, 3]), atol=rounding())
    np.testing.assert_allclose(mm.spin_to_angles(S), x, atol=rounding(2))  # latitudes up to 1: over a cosine of 0.54


def test_wrong_shapes_are_refused_in_words():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 2\), got shape \(3,\)"):
        mm.angles_to_spin(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got shape \(2,\)"):
        mm.spin_to_angles(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        mm.angles_to_spin(jnp.array(0.0))


TIES = [(0.0, 0.0, 1.0), (2.0**-52, 0.0, 1.0), (0.5 + 2.0**-52, 0.5, 0.5**0.5), (0.5, 0.5 + 2.0**-53, 0.5**0.5),
        (3**-0.5, 3**-0.5, 3**-0.5), (3**-0.5, 3**-0.5 - 2.0**-53, 3**-0.5 - 2.0**-52),
        (1.0, 2.0**-52, 2.0**-52)]  # fmt: skip


@pytest.mark.parametrize("spin", TIES, ids=range(len(TIES)))
def test_one_way_out_of_spins_with_components_that_tie(spin):
    x = jnp.array([spin])
    for S in (x, -x, x[:, ::-1], jnp.roll(x, 1, axis=1)):
        first, second = mm.Spheres().frame(S)
        basis = np.stack([S[0], first[0], second[0]])
        np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=rounding())
        distance, there, back = connect(S, -S)
        assert distance == pytest.approx(np.pi, rel=rounding())
        np.testing.assert_allclose(lengths(np.stack([there, back])), np.pi, rtol=rounding())
        np.testing.assert_allclose(lengths(between(S, -S, jnp.array(0.5))), 1, atol=rounding())


def test_derivative_of_a_distance_at_an_exact_right_angle():
    x, y = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])
    turned = lambda t: mm.Spheres().distance(x, jnp.cos(t) * y + jnp.sin(t) * x)  # noqa: E731
    assert jax.grad(turned)(0.0) == pytest.approx(-1, abs=1e-12)
    assert (turned(1e-4) - turned(-1e-4)) / 2e-4 == pytest.approx(-1, abs=1e-8)


def test_the_frame_of_components_that_tie_does_not_hang_on_rounding():
    x = jnp.array([[0.5, 0.5, 0.5**0.5]])
    for off in ([1e-12, 0, 0], [-1e-12, 0, 0], [0, 1e-12, 0]):
        for one, other in zip(mm.Spheres().frame(x), mm.Spheres().frame(x + jnp.array(off)), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("space", [mm.Flat(), mm.Spheres()])
def test_the_middle_of_the_way_is_found_with_a_plain_number(space):
    x, y = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 0.6, 0.8]])
    middle = space.interpolate(x, y, 0.5)
    np.testing.assert_array_equal(middle, space.interpolate(x, y, jnp.asarray(0.5)))
    np.testing.assert_allclose(space.distance(x, middle), space.distance(middle, y), rtol=1e-12)
