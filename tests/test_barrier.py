"""The barrier functional: maxima on one segment, the barrier against dense scans of many paths, its derivative."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from rounding import rounding

import mepmeta as mm

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
SAME = rounding(3)  # energies of at most |K1| + |K2|
#: Where a maximum is: a search ends in a bracket of 3e-8, and next to a maximum of 1 values differ by rounding only.
AT = 3e-8 + rounding(1) ** 0.5


def mep(P):
    return mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), P)


barriers = jax.jit(jax.vmap(partial(mm.highest_point, ENERGY)))


@partial(jax.jit, static_argnums=(0, 1, 2))
def draw(ensemble, P, n, amplitude):
    keys = jax.random.split(jax.random.key(P), n)
    return jax.vmap(lambda key: ensemble(key, mep(P), amplitude))(keys)


def with_image_on_top(n):
    """Three quarters have a kink, an image high above its neighbours; the others are smooth, an image on the saddle."""
    paths = draw(mm.perturbed_path, 11, n, 0.05)
    rows = jnp.arange(n)
    kinked = paths.at[rows, 1 + rows % 9].set(jnp.array([1.2, 0.4]))
    wavy = mep(11) + jnp.linspace(0, 0.1, n)[:, None, None] * jnp.sin(4 * mep(11)[:, 1:]) * jnp.array([1.0, 0.0])
    return jnp.where((rows % 4 < 3)[:, None, None], kinked, wavy)


#: 1000 paths: perturbed and bent, by several amplitudes, 8 to 14 images; some have their maximum at an image.
BATCHES = {
    "perturbed, 8 images": draw(mm.perturbed_path, 8, 125, 0.05),
    "perturbed, 11 images": draw(mm.perturbed_path, 11, 125, 0.05),
    "perturbed, 14 images": draw(mm.perturbed_path, 14, 125, 0.05),
    "strongly perturbed": draw(mm.perturbed_path, 11, 125, 0.15),
    "bent": draw(mm.bent_path, 8, 125, 0.1),
    "bent more": draw(mm.bent_path, 14, 125, 0.3),
    "bent beyond the poles": draw(mm.bent_path, 11, 125, 1.0),
    "maximum at an image": with_image_on_top(125),
}
assert sum(map(len, BATCHES.values())) == 1000
every_batch = pytest.mark.parametrize("paths", BATCHES.values(), ids=BATCHES)

#: Bound of the curvature of the energy in any direction, K1 = 1 and K2 = -2: the norm of its Hessian.
CURVATURE = 7.0
COARSE, FINE, KEPT = 1001, 1001, 60


@jax.jit
def dense_scan(paths):
    """The largest energy among 10^6 equidistant points of every segment, without a visit to all of them.

    Of 1000 intervals on a segment only those can hold the maximum whose higher end is within the curvature bound
    of the highest point seen; they alone are scanned further, 1000 points each. Returned with it: the highest end
    among the intervals that were left out, and what that would have to exceed.
    """

    def scan(path):
        t = jnp.linspace(0, 1, COARSE)
        on_each = jax.vmap(jax.vmap(lambda a, b, t: ENERGY((1 - t) * a + t * b), (None, None, 0)))
        E = on_each(path[:-1], path[1:], jnp.tile(t, (len(path) - 1, 1)))
        upper = jnp.maximum(E[:, :-1], E[:, 1:])
        best, where = lax.top_k(jnp.ravel(upper), KEPT + 1)
        n, k = jnp.divmod(where[:KEPT], COARSE - 1)
        fine = t[k][:, None] + jnp.linspace(0, 1, FINE) / (COARSE - 1)
        inside = jax.vmap(lambda a, b, t: jax.vmap(lambda t: ENERGY((1 - t) * a + t * b))(t))(
            path[n], path[n + 1], fine
        )
        longest = jnp.max(jnp.sum((path[1:] - path[:-1]) ** 2, axis=1))
        missed_at_most = CURVATURE * longest / (COARSE - 1) ** 2 / 8
        return jnp.maximum(E.max(), inside.max()), best[KEPT] + missed_at_most, E.max()

    return lax.map(scan, paths, batch_size=25)


@every_batch
def test_barrier_is_the_maximum_of_a_dense_scan(paths):
    Q = barriers(paths).value
    scan, left_out, seen = dense_scan(paths)
    assert jnp.all((left_out < seen) | (Q <= scan)), "the scan has to look at more intervals"
    # 1e6 points on a segment of curvature 7 miss less than 1e-11
    assert jnp.abs(Q - scan).max() < 1e-10
    assert jnp.all(Q >= scan - SAME)


def test_the_economical_scan_is_the_full_one():
    """All of 10^6 points of a path, for a few paths."""
    paths = jnp.concatenate([BATCHES["perturbed, 8 images"][:3], BATCHES["bent"][:2]])

    def full(path):
        part = lambda t: jax.vmap(lambda a, b: jax.vmap(lambda t: ENERGY((1 - t) * a + t * b))(t).max())  # noqa: E731
        chunks = jnp.linspace(0, 1, 142_900).reshape(-1, 100)
        return lax.map(lambda t: part(t)(path[:-1], path[1:]).max(), chunks).max()

    full_scan = jax.jit(lambda paths: lax.map(full, paths))(paths)
    np.testing.assert_allclose(full_scan, dense_scan(paths)[0], atol=1e-10, rtol=0)
    np.testing.assert_allclose(full_scan, barriers(paths).value, atol=1e-10, rtol=0)


@every_batch
def test_highest_point_is_where_it_says(paths):
    top = barriers(paths)
    n = np.arange(len(paths)), top.segment
    t = top.t[:, None]
    on_path = (1 - t) * paths[n] + t * paths[n[0], top.segment + 1]
    np.testing.assert_allclose(top.state, on_path, atol=rounding(float(jnp.abs(paths).max())))
    # The energy compiled into another loop may round its last digits otherwise.
    np.testing.assert_allclose(top.value, jax.vmap(ENERGY)(top.state), rtol=0, atol=SAME)
    assert jnp.all((top.t >= 0) & (top.t <= 1))
    assert jnp.all(top.value >= jax.vmap(jax.vmap(ENERGY))(paths).max(axis=1) - SAME)


def test_a_maximum_at_an_image_is_found_exactly():
    top = barriers(BATCHES["maximum at an image"])
    kinked = np.arange(125) % 4 < 3
    images = jax.vmap(jax.vmap(ENERGY))(BATCHES["maximum at an image"]).max(axis=1)
    np.testing.assert_allclose(top.value[kinked], images[kinked], rtol=0, atol=SAME)
    assert np.all((top.t[kinked] == 0) | (top.t[kinked] == 1))
    assert np.abs(top.value[~kinked]).max() < SAME
    assert np.abs(top.state[~kinked] - np.array([0, np.pi / 2])).max() < SAME**0.5


def test_two_maxima_on_one_segment():
    """Of nearly equal maxima the higher one is found, though the other has the highest point of a first look."""
    paths = draw(mm.perturbed_path, 8, 10_000, 0.1)
    t = jnp.linspace(0, 1, 401)
    scan = lambda p: jax.vmap(lambda a, b: jax.vmap(lambda t: ENERGY((1 - t) * a + t * b))(t))(p[:-1], p[1:]).max()  # noqa: E731
    dense = jax.jit(lambda paths: lax.map(scan, paths, batch_size=100))(paths)
    assert (dense - barriers(paths).value).max() < SAME


# The derivative


def value_and_top(path):
    top = mm.highest_point(ENERGY, path)
    return top.value, top


@jax.jit
def gradient_errors(paths, h=2e-6):
    """Derivatives along three random directions against central differences, relative to the size of the gradient."""
    g, top = jax.vmap(jax.grad(value_and_top, has_aux=True))(paths)
    v = jax.random.normal(jax.random.key(0), (3, 1, *paths.shape[1:])).at[:, :, jnp.array([0, -1])].set(0)
    Q = lax.map(jax.vmap(partial(mm.barrier, ENERGY)), jnp.concatenate([paths + h * v, paths - h * v]))
    differences = (Q[:3] - Q[3:]) / (2 * h)
    sizes = jnp.sqrt(jnp.sum(g**2, (1, 2)) * jnp.sum(v**2, (2, 3)))
    least = SAME / (2 * h) / 1e-6  # a gradient of this size is known to 1e-6 by differences of rounded barriers
    errors = jnp.abs(jnp.sum(g * v, (2, 3)) - differences) / jnp.maximum(sizes, least)
    return errors.max(axis=0), (top.t > 1e-3) & (top.t < 1 - 1e-3), g, top


@every_batch
def test_gradient_is_that_of_central_differences(paths):
    errors, inside, _, _ = gradient_errors(paths)
    assert jnp.where(inside, errors, 0).max() < 1e-6


def test_most_of_the_gradients_tested_are_of_maxima_inside_a_segment():
    for name in ("perturbed, 8 images", "bent", "bent beyond the poles"):
        assert gradient_errors(BATCHES[name])[1].mean() > 0.5


def test_gradient_belongs_to_the_two_images_of_the_highest_segment():
    paths = BATCHES["perturbed, 11 images"]
    _, _, g, top = gradient_errors(paths)
    rows = jnp.arange(len(paths))
    force = jax.vmap(jax.grad(ENERGY))(top.state)
    np.testing.assert_allclose(g[rows, top.segment], (1 - top.t)[:, None] * force, atol=rounding(4))
    np.testing.assert_allclose(g[rows, top.segment + 1], top.t[:, None] * force, atol=rounding(4))
    rest = g.at[rows, top.segment].set(0).at[rows, top.segment + 1].set(0)
    assert jnp.all(rest == 0)


def test_derivative_by_constants_and_path_in_both_modes():
    """dQ/dK is minus the squared component at the highest point."""
    K, path = jnp.array([1.0, -2.0]), BATCHES["perturbed, 8 images"][0]
    Q = jax.jit(lambda K, path: mm.barrier(mm.single_spin(K[0], K[1]), path))
    S = mm.angles_to_spin(mm.highest_point(ENERGY, path).state)
    forward, reverse = (jax.jit(mode(Q, (0, 1)))(K, path) for mode in (jax.jacfwd, jax.jacrev))
    # A force of 4 rounds, and over a curvature of 0.4 along the segment it says where the highest point is.
    np.testing.assert_allclose(forward[0], -(S[jnp.array([0, 2])] ** 2), atol=rounding(10))
    np.testing.assert_allclose(forward[0], reverse[0], atol=rounding(10))
    np.testing.assert_allclose(forward[1], reverse[1], atol=rounding(10 * 4))
    difference = [(Q(K + h, path) - Q(K - h, path)) / 2e-5 for h in 1e-5 * jnp.eye(2)]
    np.testing.assert_allclose(forward[0], difference, atol=SAME / 2e-5)


def test_derivative_of_a_closure_over_a_constant():
    path = BATCHES["perturbed, 8 images"][0]
    Q = lambda K2: mm.barrier(lambda x: mm.single_spin(1.0, K2)(x), path)  # noqa: E731
    S = mm.angles_to_spin(mm.highest_point(ENERGY, path).state)
    assert jax.grad(Q)(-2.0) == pytest.approx(-(float(S[2]) ** 2), abs=rounding(10))


@given(st.floats(0.2, 5), st.floats(-5, -0.2), st.sampled_from([3, 8, 11]))
@settings(max_examples=20)
def test_barrier_of_the_minimum_energy_path_is_zero_for_any_constants(K1, K2, P):
    """Absolute energy 0 at the saddle, K1 above the minima, whether or not an image is there."""
    E = mm.single_spin(K1, K2)
    assert mm.barrier(E, mep(P)) == pytest.approx(0, abs=rounding(K1))
    assert mm.barrier(E, mep(P)) - E(mep(P)[0]) == pytest.approx(K1, rel=rounding())


def test_monotone_path_and_highest_end():
    path = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, 1.0]), 5)
    top = mm.highest_point(ENERGY, path)
    assert (int(top.segment), float(top.t)) == (3, 1.0)
    assert top.value == pytest.approx(float(ENERGY(path[-1])), abs=SAME)
    back = mm.highest_point(ENERGY, path[::-1])
    assert (int(back.segment), float(back.t)) == (0, 0.0)
    assert back.value == pytest.approx(float(top.value), abs=SAME)


@pytest.mark.parametrize("call", [mm.barrier, mm.highest_point])
def test_bad_input(call):
    with pytest.raises(ValueError, match="P >= 3"):
        call(ENERGY, mep(8)[:2])
    with pytest.raises(ValueError, match="images 1 and 2 coincide"):
        call(ENERGY, mep(8).at[2].set(mep(8)[1]))
    with pytest.raises(ValueError, match="not finite"):
        call(ENERGY, mep(8).at[2].set(jnp.nan))
    with pytest.raises(ValueError, match="to a float scalar"):
        call(lambda x: x, mep(8))
    with pytest.raises(ValueError, match="float array"):
        call(ENERGY, jnp.arange(6).reshape(3, 2))


# One segment


def maximum_of(f, *parameters):
    return mm.segment_maximum(lambda t: f(t, *parameters))


def on_unit(f):
    """A compiled search for the family f(t, *parameters)."""
    return jax.jit(partial(maximum_of, f))


parabola = on_unit(lambda t, c, a: -a * (t - c) ** 2)
peak = on_unit(lambda t, c, w: w**2 / (w**2 + (t - c) ** 2))
quartic = on_unit(lambda t, c: -((t - c) ** 4))
roof = on_unit(lambda t, c, left, right: jnp.where(t < c, left * (t - c), right * (c - t)))
line = on_unit(lambda t, s, c: s * t + c)
wave = on_unit(lambda t, k, c: jnp.cos(k * (t - c)))


@given(st.floats(-1, 2), st.floats(1e-3, 1e6))
def test_parabola(c, a):
    t, value = parabola(c, a)
    at = min(max(c, 0.0), 1.0)
    assert t == pytest.approx(at, abs=AT)
    assert value == pytest.approx(-a * (at - c) ** 2, rel=rounding(), abs=a * AT**2)


@given(st.floats(0, 1), st.floats(1e-3, 1))
def test_narrow_peak(c, w):
    """Down to a thousandth of the segment, a 125th of the interval of the first look."""
    t, value = peak(c, w)
    assert value == pytest.approx(1, abs=rounding() + (AT / w) ** 2)
    assert t == pytest.approx(c, abs=AT)


@given(st.floats(0, 1))
def test_flat_summit(c):
    t, value = quartic(c)
    assert -1e-12 <= value <= 0 and abs(t - c) < 1e-3


@given(st.floats(0.01, 0.99), st.floats(0.01, 10), st.floats(0.01, 10))
def test_kink_inside(c, left, right):
    t, value = roof(c, left, right)
    assert t == pytest.approx(c, abs=AT) and -max(left, right) * AT <= value <= 0


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_monotone_and_constant(s, c):
    t, value = line(s, c)
    assert value == pytest.approx(max(c, s + c), abs=rounding(abs(s) + abs(c)) + 1e-300)
    if abs(s) > 1e-12:
        assert t == (1 if s > 0 else 0)


def test_constant():
    t, value = mm.segment_maximum(lambda t: 0 * t + 0.25)
    assert value == 0.25 and 0 <= t <= 1


def test_equal_maxima_at_both_ends():
    t, value = mm.segment_maximum(lambda t: (2 * t - 1) ** 2)
    assert value == 1 and t in (0, 1)


@given(st.floats(0.1, 2 * np.pi), st.floats(0, 1))
def test_wave_with_up_to_two_maxima(k, c):
    t, value = wave(k, c)
    assert 0 <= t <= 1 and value == pytest.approx(1, abs=rounding() + (k * AT) ** 2 / 2)


def test_a_higher_maximum_between_the_points_of_the_first_look():
    """The end is higher than all the nine points, and lower than a maximum between two of them."""
    f = lambda t: jnp.exp(-(((t - 0.81) / 0.08) ** 2)) + 1.05 * jnp.exp(-(((t - 1.1) / 0.08) ** 2) + 1.35)  # noqa: E731
    grid = jax.vmap(f)(jnp.linspace(0, 1, 9))
    dense = jax.vmap(f)(jnp.linspace(0, 1, 1_000_001)).max()
    t, value = mm.segment_maximum(f)
    assert grid.max() <= dense and value >= dense - rounding() and value == pytest.approx(float(dense), abs=1e-10)


def test_maps_over_segments():
    c = jnp.linspace(-0.5, 1.5, 41)
    t, value = jax.vmap(lambda c: mm.segment_maximum(lambda t: jnp.cos(t - c)))(c)
    np.testing.assert_allclose(t, jnp.clip(c, 0, 1), atol=AT)
    np.testing.assert_allclose(value, jnp.cos(jnp.clip(c, 0, 1) - c), atol=rounding() + AT**2 / 2)
