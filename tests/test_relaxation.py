"""Relaxation: minima from anywhere, kicks off saddles, and what is said when there is no minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import rounding

import mepmeta as mm
from mepmeta.search import relaxation

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
spheres = mm.Spheres()


def spin(S):
    """The paper's spin as a vector: K1 = 1, K2 = -2."""
    return -(S[0] ** 2) + 2 * S[2] ** 2


def unit_vectors(seed, count):
    S = np.random.default_rng(seed).normal(size=(count, 3))
    return jnp.array(S / np.linalg.norm(S, axis=1, keepdims=True))


def test_twenty_random_starts_end_in_a_minimum():
    for x in unit_vectors(1, 20):
        r = mm.relax(spin, x, geometry=spheres)
        assert r.converged and r.energy == pytest.approx(-1, abs=rounding(3))
        g = spheres.project(r.state, jax.grad(spin)(r.state))
        assert jnp.linalg.norm(g) <= 1e-8 and r.residual == pytest.approx(float(jnp.linalg.norm(g)), abs=1e-12)
        assert abs(jnp.linalg.norm(r.state) - 1) < rounding(1, 100) and r.modes.values == pytest.approx([2, 6])
        assert r.moved == pytest.approx(float(spheres.distance(x, r.state)))
        assert r.kicks == 0 and r.message == "a minimum"


def test_descent_never_ends_higher_than_it_began_and_stays_on_its_side():
    """x = 0 divides the two basins of the spin."""
    for x in unit_vectors(2, 10):
        r = mm.relax(spin, x, geometry=spheres)
        assert r.energy <= spin(x) and jnp.sign(r.state[0]) == jnp.sign(x[0])


@pytest.mark.parametrize("start, kicks", [((0.0, 1.0, 0.0), 1), ((0.0, 0.0, -1.0), 1)], ids=["saddle", "maximum"])
def test_exactly_on_a_saddle_or_maximum_it_is_kicked(start, kicks):
    r = mm.relax(spin, jnp.array(start), geometry=spheres)
    assert r.converged and r.kicks >= kicks and r.energy == pytest.approx(-1, abs=rounding(3))
    assert "off a saddle" in r.message and r.moved > 1


def test_in_angles():
    r = mm.relax(ENERGY, jnp.array([0.3, 1.2]))
    assert r.converged and r.kicks == 0
    np.testing.assert_allclose(r.state, [0, 0], atol=1e-8)
    r = mm.relax(ENERGY, jnp.array([0.0, np.pi / 2]))
    assert r.converged and r.kicks == 1 and abs(np.sin(r.state[1])) < 1e-8


def test_a_minimum_stays_where_it_is():
    r = mm.relax(spin, jnp.array([-1.0, 0, 0]), geometry=spheres)
    assert r.converged and r.moved == 0 and r.residual == 0 and jnp.array_equal(r.state, jnp.array([-1.0, 0, 0]))


def test_a_skyrmion_between_the_sites_relaxes_onto_one():
    """Centred on a plaquette it is a saddle by symmetry. The energy of the minimum is that of an independent code."""
    H = mm.Heisenberg((30, 30), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    start = jnp.moveaxis(mm.skyrmion((30, 30), center=(14.5, 14.5), radius=3, width=2), -1, 0)
    # components first, as find_mep does it, which shares its compilation
    r = mm.relax(H.component_first(), start, geometry=mm.Spheres(axis=0))
    assert r.converged and r.kicks >= 1 and r.modes.negative == 0
    assert r.energy == pytest.approx(-1927.6834537683, abs=2e-9)
    np.testing.assert_allclose(jnp.linalg.norm(r.state, axis=0), 1, atol=rounding(1, 100))
    assert jnp.min(r.state[2]) == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 2])
def test_iterations_that_are_used_up_are_reported(steps):
    r = mm.relax(spin, jnp.array([0.36, 0.48, 0.8]), geometry=spheres, tol=1e-8, max_steps=steps)
    assert not r.converged and r.residual > 1e-8
    assert f"after {steps} steps, wanted 1.0e-08" in r.message and f"{r.residual:.1e}" in r.message
    assert jnp.all(jnp.isfinite(r.state))


def test_an_energy_without_a_minimum_is_reported():
    r = mm.relax(lambda x: x[0] + x[1] ** 2, jnp.array([0.0, 1.0]), max_steps=40)
    assert not r.converged and "the largest force is 1.0e+00 after 40 steps" in r.message


CLIFFS = {
    # the gradient of the constant is zero: it looks like a minimum
    "energy": lambda x: jnp.where(x[0] > 0.5, jnp.nan, -(x[0] ** 2)) + x[1] ** 2,
    "gradient": lambda x: -(x[0] ** 2) + x[1] ** 2 + jnp.sqrt(0.5 - x[0]),
}


@pytest.mark.parametrize("name", CLIFFS)
def test_energies_that_turn_infinite_or_nan_are_flagged(name):
    r = mm.relax(CLIFFS[name], jnp.array([0.3, 0.1]))
    assert not r.converged and "not finite" in r.message
    assert jnp.all(jnp.isfinite(r.state))


def test_scale_of_energy_and_length_changes_nothing():
    """A landscape with other units, and tolerances in them, is descended alike."""
    x = jnp.array([0.3, 1.2])
    r = mm.relax(ENERGY, x)
    scaled = mm.relax(jax.tree_util.Partial(lambda y: 1e-4 * ENERGY(1e3 * y)), 1e-3 * x, tol=1e-9, unit=1e-3)
    assert scaled.converged
    np.testing.assert_allclose(1e3 * scaled.state, r.state, atol=1e-6)
    assert scaled.energy == pytest.approx(1e-4 * r.energy, rel=1e-12)


MISTAKES = [
    (lambda: mm.relax(ENERGY, jnp.array([0, 1])), "the state must be a float array"),
    (lambda: mm.relax(ENERGY, jnp.array([0, jnp.inf])), "not finite"),
    (lambda: mm.relax(lambda x: jnp.exp(1e3 * jnp.sum(x)), jnp.array([0.1, 0.3])), "curvature .* is too large"),
    (lambda: mm.relax(ENERGY, jnp.array([0.1, 0.3]), unit=1e-300), "the unit of length is 1e-300: its square"),
    (lambda: mm.relax(ENERGY, jnp.array([0.1, 0.3]), unit=1e300), "the unit of length is 1e\\+300: its square"),
    (lambda: mm.relax(spin, jnp.array([0.0, 0, 2]), geometry=spheres), "the length of a spin is off by 1.0e"),
    (lambda: mm.relax(ENERGY, jnp.zeros(2), max_steps=0), "max_steps must be at least 1"),
    (lambda: mm.relax(lambda x: x, jnp.zeros(2)), "the energy must map an image"),
    (lambda: mm.relax(lambda x: jnp.sum(x) / 0.0, jnp.ones(2)), "the energy of image 0 is inf"),
]


@pytest.mark.parametrize("call, message", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def soft(k, x):
    """Curvatures over many decades, and a quartic term that makes none of them constant."""
    return jnp.sum(k * x**2) / 2 + jnp.sum(x**4) / 4


@pytest.mark.parametrize("last", [0, 1, 2, 40, 1000])
def test_where_newton_steps_take_over_changes_no_minimum(last, monkeypatch):
    """A force of 1e-9 holds the state to 1e-9 over the softest curvature."""
    monkeypatch.setattr(relaxation, "LAST", last)
    energy = jax.tree_util.Partial(soft, jnp.logspace(-3, 0, 40))
    r = mm.relax(energy, jnp.ones(40), unit=1.0, tol=1e-9)
    assert r.converged and r.residual <= 1e-9
    np.testing.assert_allclose(r.state, 0, atol=1e-9 / 1e-3)


def test_a_gradient_a_step_is_cheaper_than_products(monkeypatch):
    energy, x = jax.tree_util.Partial(soft, jnp.logspace(-1, 0, 40)), jnp.ones(40)
    many = mm.relax(energy, x, unit=1.0)
    monkeypatch.setattr(relaxation, "LAST", 40)
    few = mm.relax(energy, x, unit=1.0)
    assert few.converged and many.converged and few.evaluations < many.evaluations


def ring(slope, x):
    """A circle of radius 1 that is a valley, with a minimum on it where x is largest, and a maximum opposite to it."""
    r = jnp.linalg.norm(x)
    return (r - 1) ** 2 / 2 - slope * x[0] / r


@pytest.mark.parametrize("slope", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("angle", [1.0, -2.5, 3.1])
def test_a_bent_valley_is_followed_to_its_end(slope, angle):
    energy, x = jax.tree_util.Partial(ring, jnp.asarray(slope)), jnp.array([jnp.cos(angle), jnp.sin(angle)])
    r = mm.relax(energy, x, unit=1.0, tol=1e-4 * slope)
    assert r.converged, r.message
    np.testing.assert_allclose(r.state, [1, 0], atol=1e-3)
