"""Few images first: what they find is the answer of the whole band, and where they find nothing, nothing changes."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import mepmeta as mm
from mepmeta.problem import pose
from mepmeta.search import mep, scout
from mepmeta.search.spread import along, places, spread

spheres = mm.Spheres()


def film(n=16, K=0.2, D=0.4):
    return mm.Heisenberg((n, n), mm.nearest_neighbours("square", 1.0, D), [(K, (0, 0, 1))])


def collapse(H, **how):
    n = H.shape[0]
    start = mm.skyrmion(H.shape, center=(n // 2, n // 2), radius=3.0, width=2.0)
    return mm.find_mep(H, start, mm.ferromagnet(H.shape), geometry=spheres, progress=False, **how)


def valley(x):
    """A saddle of height one at the origin, between minima at (-1, 0) and (1, 0)."""
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2


def curved(x):
    return (x[0] ** 2 - 1) ** 2 + 4 * (x[1] - 0.5 + 0.5 * x[0] ** 2) ** 2 + 0.1 * x[0]


@pytest.fixture
def alone(monkeypatch):
    """Searches without scouts."""
    monkeypatch.setattr(mep, "LEAST", 10**6)


def test_scouts_and_the_whole_band_find_one_saddle_and_one_path(monkeypatch):
    found = collapse(film())
    monkeypatch.setattr(mep, "LEAST", 10**6)
    whole = collapse(film())
    assert found.converged and whole.converged
    assert found.barrier == pytest.approx(whole.barrier, rel=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.saddle * whole.saddle, axis=-1)), 1, atol=1e-6)
    assert found.evaluations < whole.evaluations
    assert found.interpolated_barrier == pytest.approx(found.barrier, rel=1e-9)  # the saddle is an image


def test_images_of_a_scouted_path_are_about_as_far_apart_as_each_other():
    r = mm.find_mep(curved, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), n_images=20, progress=False)
    gaps = np.diff(r.position)
    assert r.converged and gaps.max() / gaps.min() < 3


def test_a_start_on_a_saddle_that_may_not_move_is_named():
    """The path is highest at its end: scouts would find the end itself."""
    r = mm.find_mep(valley, jnp.zeros(2), jnp.array([1.0, 0.0]), relax_endpoints=False, progress=False)
    assert not r.converged and "highest at an end" in r.message
    assert np.all(np.isfinite(r.path)) and np.all(np.diff(r.position) > 0)


def test_a_saddle_whose_valleys_lead_elsewhere_is_not_the_answer():
    """Three wells in a row: from the first to the last the path leads over both saddles, the higher one counts."""
    energy = lambda x: -jnp.cos(2 * jnp.pi * x[0]) + 0.3 * x[0] ** 2 + 2 * x[1] ** 2  # noqa: E731
    r = mm.find_mep(energy, jnp.array([-1.0, 0.1]), jnp.array([1.0, -0.1]), progress=False)
    assert r.converged and sum(p.index == 1 for p in r.points) == 2
    assert r.barrier == pytest.approx(float(energy(r.saddle)) - float(energy(r.path[0])), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_scouts_share_the_iterations(steps):
    assert collapse(film(), max_steps=steps).steps <= steps


def test_an_interrupted_scouting_returns_the_first_path_and_the_counts(monkeypatch):
    def interrupted(few, line, tol):
        few.run(0.0, at_most=3)
        raise KeyboardInterrupt

    monkeypatch.setattr(mep, "scouted", interrupted)
    path = mm.straight_path(jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), 11)
    r = mm.find_mep(curved, path[0], path[-1], path=path, progress=False)
    assert not r.converged and "interrupted" in r.message
    assert r.path.shape == (11, 2) and r.steps == 3 and r.evaluations > 9


def test_where_scouts_find_nothing_the_search_goes_on_from_the_path_that_was_given(monkeypatch, alone):
    path = mm.straight_path(jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), 11)
    whole = mm.find_mep(curved, path[0], path[-1], path=path, progress=False)
    monkeypatch.setattr(mep, "LEAST", scout.LEAST)
    monkeypatch.setattr(mep, "scouted", lambda few, line, tol: None)
    r = mm.find_mep(curved, path[0], path[-1], path=path, progress=False)
    np.testing.assert_array_equal(r.path, whole.path)
    assert r.evaluations == whole.evaluations


@pytest.mark.parametrize("a, c", [(1e-30, 1e30), (1e12, 1e-25)])
def test_scouts_find_the_same_in_other_units(a, c):
    ends = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
    r = mm.find_mep(curved, *ends, progress=False)
    other = mm.find_mep(lambda x: c * curved(x / a), *(a * x for x in ends), progress=False)
    assert (other.steps, other.converged, r.converged) == (r.steps, True, True)
    assert other.barrier == pytest.approx(c * r.barrier, rel=1e-9)


def test_places_along_a_great_circle_are_exact():
    turn = np.linspace(0, 3.0, 4)  # three arcs of one radian
    path = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
    problem = pose(Partial(lambda S: S[2] ** 2 + 0.1 * S[0]), spheres, path[0], path[-1])
    s = places(problem, path)
    np.testing.assert_allclose(s, turn, atol=1e-13)
    at = np.array([0.0, 0.3, 1.7, 2.0, 3.0])
    np.testing.assert_allclose(along(problem, path, s, at)[:, :2], np.stack([np.cos(at), np.sin(at)], -1), atol=1e-13)
    even = spread(problem, path, 7)
    np.testing.assert_array_equal(even[[0, -1]], path[[0, -1]])
    np.testing.assert_allclose(np.diff(places(problem, even)), 0.5, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_largest_curvature_of_a_quadratic_form(n, scale):
    A = np.random.default_rng(n).standard_normal((n, n))
    A = scale * (A + A.T)
    found = mm.curvature_scale(lambda x: x @ jnp.asarray(A) @ x / 2, jnp.zeros(n))
    largest = np.abs(np.linalg.eigvalsh(A / scale)).max() * scale
    assert (0.9 if n > 7 else 1 - 1e-9) * largest <= found <= (1 + 1e-9) * largest
