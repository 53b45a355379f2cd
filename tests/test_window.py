"""A part of a path around its saddle: where its images lie, that the barrier is the whole path's, and what it says."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from jax.tree_util import Partial
from rounding import rounding
from test_long_paths import EXTREMA, height, row

import mepmeta as mm
from mepmeta import figures
from mepmeta.search import mep, window

SPHERES = mm.Spheres()
#: The lift of the middle over the far minima.
RISE = 0.02


def _far(R, a, c, L, x):
    """A pass of height one in a long winding valley: minima at u = -L and L, and nothing but a slight slope before."""
    u, w = R.T @ x / a
    return c * (jnp.exp(-(u**2)) + RISE * (1 - (u / L) ** 2) ** 2 + (w - 0.5 * jnp.sin(u / 3)) ** 2)


def far(L=40.0, turn=0.0, a=1.0, c=1.0):
    """The energy, turned and in other units, and its minima; the saddle is at the origin, of energy 1 + RISE."""
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    ends = [jnp.asarray(a * R @ np.array([u, 0.5 * np.sin(u / 3)])) for u in (-L, L)]
    return Partial(_far, jnp.asarray(R), a, c, L), *ends


def search(*energy_and_ends, **options):
    return mm.find_mep(*energy_and_ends, progress=False, **options)


def even(r, length, n):
    """Images as many and as far apart as they were asked for."""
    gap = length / (n - 1)
    assert r.path.shape[0] == n
    # A distance is the difference of coordinates, brought to its value to a few of their roundings.
    size = float(np.abs(r.path).max())
    np.testing.assert_allclose(np.diff(r.position), gap, rtol=0, atol=rounding(10 * max(size, gap), dtype=r.path.dtype))


@pytest.mark.parametrize(
    "turn, a, c, back",
    [(0.0, 1.0, 1.0, False), (0.7, 1.0, 1.0, True), (0.3, 1e-3, 1e-20, False), (2.0, 1e5, 1e12, True)],
)
def test_the_barrier_of_far_away_minima(turn, a, c, back):
    energy, *ends = far(40.0, turn, a, c)
    r = search(energy, *(ends[::-1] if back else ends), window=4 * a)
    assert r.converged and "window around its saddle" in r.message, r.message
    assert r.barrier / c == pytest.approx(1 + RISE, rel=1e-8) == r.reverse_barrier / c
    assert r.interpolated_barrier / c == pytest.approx(1 + RISE, rel=1e-8)
    np.testing.assert_allclose(r.saddle / a, 0, atol=1e-6)
    even(r, 4 * a, 14)
    # It lies in the valley, whose bends the steepest way cuts a little, half of the images on each side.
    u, w = np.linalg.solve(np.asarray(energy.args[0]), np.asarray(r.path).T / a) * (-1 if back else 1)
    assert np.all(np.diff(u) > 0) and abs(u[0]) < 2.2 > abs(u[-1]) and np.abs(w - 0.5 * np.sin(u / 3)).max() < 0.1
    start, saddle, end = r.points
    assert (start.index, saddle.index, end.index) == (0, 1, 0) and start.position < 0 < saddle.position
    assert end.position > r.position[-1] == pytest.approx(4 * a)
    (step,) = r.crossings
    assert step == r.slowest and step.barrier / c == pytest.approx(1 + RISE, rel=1e-8)


def test_in_other_units_it_takes_the_same_steps():
    one, other = (search(*far(40.0, 0.3, a, c), window=4 * a) for a, c in ((1.0, 1.0), (2.0**20, 2.0**-60)))
    assert one.evaluations == other.evaluations and one.message == other.message
    np.testing.assert_array_equal(other.path / 2.0**20, one.path)
    np.testing.assert_array_equal(other.barrier * 2.0**60, one.barrier)


def test_a_whole_path_costs_more_the_longer_it_is_and_a_window_does_not():
    """At five times the distance a path needs hundreds of images; the part of it stays as it is."""
    near, distant = (search(*far(L), window=4.0, n_images=13) for L in (40.0, 200.0))
    whole = search(*far(200.0), n_images=400)
    assert distant.converged and whole.converged
    assert distant.barrier == pytest.approx(whole.barrier, rel=1e-9)
    np.testing.assert_allclose(distant.path, near.path, atol=1e-3)
    assert distant.evaluations < whole.evaluations / 2
    assert not search(*far(200.0)).converged  # 56 images, and more have to be asked for


@pytest.mark.parametrize("n", [5, 8, 9])
def test_images_of_a_side(n):
    """An odd number is the same on both sides; one more is on the side that is higher there."""
    lopsided = Partial(lambda k, x: (x[0] ** 2 - 1) ** 2 + k * x[0] + (x[1] - 0.3 * x[0] ** 2) ** 2, 0.3)
    r = search(lopsided, jnp.array([-1.0, 0.3]), jnp.array([1.0, 0.3]), n_images=n, window=0.6)
    even(r, 0.6, n)
    top, half = int(np.argmax(r.energies)), (n - 1) // 2
    assert top == half + (n % 2 == 0 and r.energies[top - half] > r.energies[top + half])
    np.testing.assert_allclose(r.path[top], r.saddle, atol=1e-12)
    # Across the way to the image above the force is gone at the ends, too.
    slope = jax.vmap(jax.grad(lopsided))(r.path)
    for k, above in ((0, 1), (-1, -2)):
        way = r.path[above] - r.path[k]
        way = way / jnp.linalg.norm(way)
        assert jnp.linalg.norm(slope[k] - (slope[k] @ way) * way) < 1e-5


def test_what_a_side_has_left_goes_to_the_other():
    lopsided = Partial(lambda k, x: (x[0] ** 2 - 1) ** 2 + k * x[0] + (x[1] - 0.3 * x[0] ** 2) ** 2, 0.3)
    ends = jnp.array([-1.0, 0.3]), jnp.array([1.0, 0.3])
    whole = search(lopsided, *ends)
    one, saddle, other = (p.position for p in whole.points)
    short, far_side = other - saddle, saddle - one
    assert short < far_side
    r = search(lopsided, *ends, n_images=20, window=2 * short + 0.5 * (far_side - short))
    gaps, gap = np.diff(r.position), (2 * short + 0.5 * (far_side - short)) / 19
    assert r.converged and r.path.shape[0] == 20 and "images of" not in r.message
    np.testing.assert_allclose(gaps[:-1], gap, rtol=1e-12)
    assert 0 < gaps[-1] <= gap * (1 + 1e-6)  # the last one ends in the minimum
    np.testing.assert_allclose(r.path[-1], whole.path[-1], atol=1e-7)
    assert int(np.argmax(r.energies)) > 9 and r.points[-1].position == pytest.approx(r.position[-1], abs=1e-7)


def test_a_window_longer_than_the_path_is_the_path():
    ends = far(4.0)
    r, whole = search(*ends, window=50.0), search(*ends)
    assert r.converged and "does not fit into the path" in r.message
    np.testing.assert_array_equal(r.path, whole.path)
    assert r.barrier == whole.barrier and r.evaluations > whole.evaluations


def test_a_window_too_short_to_see_is_named():
    r = search(*far(4.0), window=1e-12)
    assert not r.converged and "too short" in r.message and np.all(np.isfinite(r.energies)) and r.crossings == ()


def test_single_precision():
    energy, *ends = far(10.0)
    energy = Partial(_far, *(jnp.asarray(x, jnp.float32) for x in energy.args))
    r = search(energy, *(jnp.asarray(x, jnp.float32) for x in ends), window=2.0)
    assert r.converged and r.path.dtype == jnp.float32
    even(r, 2.0, 14)
    assert r.barrier == pytest.approx(1 + RISE, abs=1e-5)


# Where other minima lie on the way


def test_valleys_that_lead_to_other_minima():
    """The highest of three saddles, its own minima, and the barrier above the start as that of the whole path."""
    r = search(*row(), window=0.5)
    top = int(np.argmax(height(EXTREMA)))
    assert r.converged and [p.index for p in r.points] == [0, 0, 1, 0, 0]
    expected = height(EXTREMA)[[0, top - 1, top, top + 1, -1]]
    np.testing.assert_allclose([p.energy for p in r.points], expected, atol=1e-8)
    assert np.all(np.diff([p.position for p in r.points]) > 0)
    assert r.barrier == pytest.approx(expected[2] - expected[0], rel=1e-8)
    assert r.reverse_barrier == pytest.approx(expected[2] - expected[-1], rel=1e-8)
    (step,) = r.crossings
    assert step.barrier == pytest.approx(expected[2] - expected[1], rel=1e-8)
    assert step.reverse_barrier == pytest.approx(expected[2] - expected[3], rel=1e-8)
    for name, k, end in (("start", 1, 0), ("end", 3, -1)):
        note = f"towards the {name} leads to another minimum, {expected[k] - expected[end]:+.3g} from it"
        assert note in r.message and "a way on from there is known" in r.message


def test_where_no_way_on_is_known_it_has_not_converged(monkeypatch):
    monkeypatch.setattr(window, "_stays_below", lambda *_: False)
    r = search(*row(), window=0.5)
    assert not r.converged and "no way on from there is known below the saddle" in r.message
    assert r.crossings == () and r.slowest is None and len(r.points) == 5  # but what was found is told


def test_a_way_on_that_has_to_be_found():
    """With a weak exchange spins turn one by one, and straight from the next minimum to the end it is higher."""
    whole, r = (search(chain(J=1.0), -UP, UP, geometry=SPHERES, **o) for o in ({}, {"window": 0.8, "n_images": 9}))
    assert whole.converged and len(whole.crossings) > 1
    assert r.converged and r.barrier == pytest.approx(whole.barrier, rel=1e-9), r.message


def test_a_rough_path_from_the_other_side(monkeypatch):
    """Which side leads to the start is what the valleys say."""
    straight = search(*far(4.0), window=2.0, n_images=13)
    scouted = mep.scouted
    monkeypatch.setattr(mep, "scouted", lambda *a: (over := scouted(*a))._replace(sides=over.sides[::-1]))
    r = search(*far(4.0), window=2.0, n_images=13)
    assert r.converged and r.message == straight.message
    np.testing.assert_allclose(r.path, straight.path, atol=1e-5)


def test_without_scouts_the_band_finds_the_saddle(monkeypatch):
    monkeypatch.setattr(mep, "scouted", lambda *_: None)
    r = search(*row(), window=0.5)
    assert r.converged and r.steps > 0
    assert r.barrier == pytest.approx(height(EXTREMA).max() - height(EXTREMA[0]), rel=1e-8)


def test_where_a_path_had_to_be_pieced_together_all_of_it_is_there(monkeypatch):
    """A band may find the minima on the way before a saddle."""
    converge = mep.converge
    monkeypatch.setattr(mep, "converge", lambda *a, **_: converge(*a[:4]))
    r = search(*row(), window=0.5)
    assert r.converged and "all of the path and no window" in r.message and len(r.crossings) == 3


def test_an_interrupted_window(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mep, "windowed", interrupted)
    r = search(*far(4.0), window=2.0, n_images=13)
    assert not r.converged and "interrupted" in r.message and np.all(np.isfinite(r.path))


# Magnets, and what can be done with a result


def chain(K=1.0, J=10.0):
    """Four spins with an easy and a hard axis; with so strong an exchange they turn together."""
    anisotropy = [(K, (1, 0, 0)), (-0.7, (0, 0, 1))]
    return mm.Heisenberg((4,), [mm.Bond((1,), J)], anisotropy, field=(0.05, 0, 0), periodic=False)


UP = mm.ferromagnet((4,), (1, 0, 0))


@pytest.fixture(scope="module")
def reversal():
    return [search(chain(), -UP, UP, geometry=SPHERES, **o) for o in ({}, {"window": 0.8, "n_images": 9})]


def test_on_spheres(reversal):
    whole, r = reversal
    assert r.converged and whole.converged and r.barrier == pytest.approx(whole.barrier, rel=1e-9)
    assert r.reverse_barrier == pytest.approx(whole.reverse_barrier, rel=1e-9)
    even(r, 0.8, 9)
    np.testing.assert_allclose(np.linalg.norm(r.path, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(r.energies, [float(chain()(S)) for S in r.path], atol=1e-12)


def test_its_derivative_is_that_of_the_whole_path():
    barrier = lambda K, **o: search(chain(K), -UP, UP, geometry=SPHERES, **o).barrier  # noqa: E731
    one, other = (jax.grad(lambda K: barrier(K, **o))(1.0) for o in ({}, {"window": 0.8}))  # noqa: B023
    assert float(one) == pytest.approx(float(other), rel=1e-6) and float(one) > 1


def test_its_rate_is_that_of_the_whole_path_and_its_end_is_no_minimum(reversal):
    whole, r = reversal
    (step,) = r.crossings
    rates = [
        mm.transition_rate(chain(), minimum, saddle, damping=0.2).lifetime(0.1)
        for minimum, saddle in ((whole.path[0], whole.saddle), (step.before.state, step.saddle.state))
    ]
    assert float(rates[1]) == pytest.approx(float(rates[0]), rel=1e-5)
    with pytest.raises(ValueError, match="minimum"):
        mm.transition_rate(chain(), r.path[0], r.saddle, damping=0.2)


def test_it_is_saved_and_drawn(reversal, tmp_path):
    _, r = reversal
    r.save(tmp_path / "r.npz")
    again = mm.MEP.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(again.path, r.path)
    assert [p.position for p in again.points] == [p.position for p in r.points] and again.message == r.message
    r.save(tmp_path / "r.ovf")
    np.testing.assert_allclose(np.squeeze(mm.load(tmp_path / "r.ovf")), r.path, atol=1e-12)
    assert r.profile(r.position[4]) == pytest.approx(r.energies[4])
    with pytest.raises(ValueError, match="the path goes from"):
        r.profile(r.points[0].position)
    figure = figures.energy_profile(r)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    drawn = sorted((float(line.get_xdata()[-1]), float(line.get_ydata()[-1])) for line in lines)
    start, *_, end = r.points
    np.testing.assert_allclose(drawn, [(p.position, p.energy - start.energy) for p in (start, end)], atol=1e-12)
    plt.close(figure)


def test_of_several_paths(reversal):
    r, *_ = mm.find_paths(chain(), -UP, UP, geometry=SPHERES, paths=2, window=0.8, n_images=9, progress=False)
    assert r.converged and r.barrier == pytest.approx(reversal[0].barrier, rel=1e-9) and "window" in r.message


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 0.0}, "window must be a positive number"),
        ({"window": -2.0}, "window must be a positive number"),
        ({"window": float("nan")}, "window must be a positive number"),
        ({"window": "wide"}, "window must be"),
        ({"window": 1.0, "n_images": 4}, "n_images of a window"),
        ({"window": 1.0, "climb": False}, "default method"),
        ({"window": 1.0, "relax_endpoints": False}, "relax_endpoints=True"),
        ({"window": 1.0, "method": mm.methods.FIRE()}, "default method"),
        ({"window": 1.0, "params": mm.NEBParams(0.1, 1.0, 3.0)}, "default method"),
        ({"window": 1.0, "tangent": "central"}, "default method"),
    ],
)
def test_mistakes_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        search(*far(4.0), **options)
