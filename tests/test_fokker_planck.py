"""Exact rates of one spin: published values, exactly solvable limits, symmetries."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mepmeta as mm

SPIN = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
PUBLISHED = {  # exact rate over Langer's at a barrier of 4, 6, 8, 9 kT
    0.05: (0.2944, 0.3912, 0.4858, 0.5283),
    0.2: (0.6942, 0.8052, 0.8808, 0.9059),
    0.5: (0.8810, 0.9216, 0.9462, 0.9538),
    2.0: (0.8986, 0.9168, 0.9376, 0.9452),
}


@pytest.mark.parametrize("damping", PUBLISHED)
def test_exact_rate_over_langers(damping):
    x, y = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])
    langer = mm.transition_rate(SPIN, x, y, damping=damping, multiplicity=2)
    for barrier, ratio in zip((4, 6, 8, 9), PUBLISHED[damping], strict=True):
        exact = mm.relaxation_rates(SPIN, 1 / barrier, damping)[0] / 2
        assert exact / langer.rate(1 / barrier) == pytest.approx(ratio, abs=1e-4)


@given(st.floats(0.05, 5), st.floats(0.05, 3))
def test_without_an_energy_the_spin_diffuses(temperature, damping):
    D = damping * temperature / (1 + damping**2)
    rates = mm.relaxation_rates(mm.Heisenberg((1,)), temperature, damping, degree=6, k=8)
    np.testing.assert_allclose(rates, D * np.array([2, 2, 2, 6, 6, 6, 6, 6]), rtol=1e-8)


def test_a_small_field_relaxes_as_perturbation_theory_says():
    # Along a field b the slowest rate of a free spin is D (2 + (2/5) (b/kT)^2 + ...).
    temperature, damping, b = 1.0, 0.5, 0.05
    D = damping * temperature / (1 + damping**2)
    rates = mm.relaxation_rates(mm.Heisenberg((1,), field=(0, 0, b)), temperature, damping, degree=12, k=3)
    assert np.all(rates / D > 2)
    assert np.max(rates) / D == pytest.approx(2 + 0.4 * b**2, abs=0.3 * b**2)


@given(st.integers(0, 100))
def test_axes_may_be_turned(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    turned = mm.Heisenberg((1,), anisotropy=[(1.0, turn[0]), (-2.0, turn[2])], field=0.1 * turn[0])
    straight = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))], field=(0.1, 0, 0))
    rates = [mm.relaxation_rates(energy, 0.4, 0.3, degree=24, k=2) for energy in (straight, turned)]
    np.testing.assert_allclose(*rates, rtol=1e-7)


def test_small_and_large_matrices_give_the_same():
    # Up to degree 16 the whole spectrum is computed, beyond by Lanczos. In a field two modes precess.
    spin = mm.Heisenberg((1,), field=(0, 0, 3.0))
    dense, sparse = (mm.relaxation_rates(spin, 1.0, 0.2, degree=degree, k=1) for degree in (16, 20))
    np.testing.assert_allclose(dense, sparse, rtol=1e-6)


def test_degree_71_is_converged():
    rates = [mm.relaxation_rates(SPIN, 1 / 9, 0.05, degree=degree)[0] for degree in (71, 81)]
    assert rates[0] == pytest.approx(rates[1], rel=2e-6)


def test_refused():
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match="temperature"):
            mm.relaxation_rates(SPIN, bad, 0.1)
        with pytest.raises(ValueError, match="damping"):
            mm.relaxation_rates(SPIN, 0.1, bad)
    with pytest.raises(ValueError, match="one cell"):
        mm.relaxation_rates(mm.Heisenberg((2,)), 0.1, 0.1)
    for barrier, degree in [(9, 3), (30, 3), (9, 31)]:
        with pytest.raises(ValueError, match="resolve"):
            mm.relaxation_rates(SPIN, 1 / barrier, 0.05, degree=degree)
    with pytest.raises(ValueError, match="too slow"):
        mm.relaxation_rates(SPIN, 1 / 28, 2.0)
