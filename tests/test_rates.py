"""Rates: the paper's spin in closed form, Brown's formula for a zero mode, symmetries, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import mepmeta as mm
from mepmeta.problem import pose
from mepmeta.rates.hessians import Whole
from mepmeta.rates.transition import growth_rate
from mepmeta.rates.zero_modes import different_shifts, zero_modes
from mepmeta.search.newton import lowest_mode, newton

SPIN = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
X, Y, Z = (jnp.array([row]) for row in np.eye(3))


def closed_form(damping):
    r"""(1 + α²) λ² + 2αλ - 8 = 0 for the paper's spin."""
    a = 1 + damping**2
    return (-2 * damping + np.sqrt(4 * damping**2 + 32 * a)) / (2 * a)


@given(st.floats(0, 10))
def test_the_papers_spin(damping):
    k = mm.transition_rate(SPIN, X, Y, damping=damping, multiplicity=2)
    assert k.barrier == pytest.approx(1, abs=1e-12)
    assert np.exp(k.log_entropy) == pytest.approx(np.sqrt(1.5), abs=1e-10)
    assert k.dynamical == pytest.approx(closed_form(damping), abs=1e-9)
    assert k.harmonic == pytest.approx(np.sqrt(8), abs=1e-10)
    np.testing.assert_allclose(k.minimum_eigenvalues, [2, 6], atol=1e-10)
    np.testing.assert_allclose(k.saddle_eigenvalues, [-2, 4], atol=1e-10)
    assert k.power == 0


def test_published_growth_rates():
    for damping, value in [(0.0, np.sqrt(8)), (0.5, 2.16124969)]:
        assert mm.transition_rate(SPIN, X, Y, damping=damping).dynamical == pytest.approx(value, abs=1e-8)


def test_rate_lifetime_and_prefactor_over_temperatures():
    k, T = mm.transition_rate(SPIN, X, Y, damping=0.5, multiplicity=2), np.array([0.05, 0.1, 0.3])
    expected = 2 * closed_form(0.5) / (2 * np.pi) * np.sqrt(1.5) * np.exp(-1 / T)
    np.testing.assert_allclose(k.rate(T), expected, rtol=1e-9)
    np.testing.assert_allclose(k.lifetime(T), 1 / expected, rtol=1e-9)
    np.testing.assert_allclose(k.prefactor(T), expected * np.exp(1 / T), rtol=1e-9)
    np.testing.assert_allclose(k.harmonic_rate(T), expected * np.sqrt(8) / closed_form(0.5), rtol=1e-9)


def random_saddle(seed, n=4):
    """A symmetric matrix of 2n rows with one negative eigenvalue, and its unstable mode."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(2 * n, 2 * n)))[0]
    values = np.concatenate([[-rng.uniform(0.1, 3)], rng.uniform(0.05, 5, 2 * n - 1)])
    return (vectors * values) @ vectors.T, vectors[:, 0], n


@given(st.integers(0, 500), st.floats(0, 3))
def test_growth_rate_is_the_one_positive_eigenvalue(seed, damping):
    H, w, n = random_saddle(seed)
    J = np.block([[np.zeros((n, n)), -np.eye(n)], [np.eye(n), np.zeros((n, n))]])
    spectrum = np.linalg.eigvals((J - damping * np.eye(2 * n)) @ H / (1 + damping**2))
    real = spectrum[np.abs(spectrum.imag) < 1e-9].real
    assert growth_rate(Whole(sp.csc_array(H)), w, damping) == pytest.approx(real[real > 1e-9].max(), rel=1e-9)


@given(st.floats(0.2, 3), st.floats(0.05, 2), st.floats(4, 20))
def test_a_saddle_that_is_a_circle_gives_browns_rate(K, damping, barrier):
    # Uniaxial spin: kappa = 2 K alpha / (1 + alpha^2) sqrt(sigma / pi) exp(-sigma), sigma = K / kT.
    spin = mm.Heisenberg((1,), anisotropy=[(K, (0, 0, 1))])
    k = mm.transition_rate(spin, Z, X, damping=damping)
    brown = 2 * K * damping / (1 + damping**2) * np.sqrt(barrier / np.pi) * np.exp(-barrier)
    assert k.rate(K / barrier) == pytest.approx(brown, rel=1e-8)
    assert k.power == -0.5 and k.saddle_zero_modes == ("rotation about (0, 0, 1)",)


def test_browns_rate_is_the_exact_one_for_high_barriers():
    spin, errors = mm.Heisenberg((1,), anisotropy=[(1.0, (0, 0, 1))]), []
    k = mm.transition_rate(spin, Z, X, damping=0.5)
    for barrier in (6, 12):
        exact = mm.relaxation_rates(spin, 1 / barrier, 0.5, k=1)[0] / 2
        errors.append(float(k.rate(1 / barrier) / exact - 1))
    assert 0 < errors[1] < errors[0] < 0.25
    assert errors[1] == pytest.approx(1 / 12, abs=0.03)  # 1 + 1/sigma + ...


@pytest.mark.parametrize("seed", range(8))
def test_without_damping_nothing_crosses_a_circle(seed):
    """Whichever sign rounding gives to the curvature along the circle: it depends on the axis, and on the machine."""
    axis, across = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 2)))[0].T if seed else np.eye(3)[[2, 0]]
    energy = mm.Heisenberg((1,), anisotropy=[(1.0, axis)])
    k = mm.transition_rate(energy, jnp.asarray(axis[None]), jnp.asarray(across[None]), damping=0.0)
    assert k.dynamical == 0 and k.rate(0.1) == 0 and k.lifetime(0.1) == np.inf


@pytest.mark.parametrize("rounding", [-1e-14, -1e-17, 0.0, 1e-17, 1e-14])
def test_the_sign_of_a_rounded_zero_mode_does_not_make_a_rate(rounding):
    H = Whole(sp.csc_array(np.diag([-2.0, rounding])))
    assert growth_rate(H, np.array([1.0, 0.0]), 0.0) == 0
    assert growth_rate(H, np.array([1.0, 0.0]), 0.5) == pytest.approx(2 * 0.5 / (1 + 0.5**2), rel=1e-6)


@given(st.integers(0, 100))
def test_the_rate_is_the_same_in_every_frame(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))

    def rate(turn):
        bonds = [mm.Bond((1,), 0.4, 0.1 * turn[2])]
        energy = mm.Heisenberg((3,), bonds, [(1.0, turn[0]), (-2.0, turn[2])], periodic=False)
        minimum = mm.relax(energy, jnp.tile(jnp.asarray(turn[0]), (3, 1)), geometry=mm.Spheres()).state
        saddle = jnp.tile(jnp.asarray(turn[1]), (3, 1))
        problem = pose(energy, mm.Spheres(), saddle)
        tol = 1e-10 / problem.units[2]
        found = newton(problem, problem.inside(saddle), tol=tol, max_steps=50, rule=lowest_mode(problem))
        return mm.transition_rate(energy, minimum, problem.outside(found.state), damping=0.3)

    a, b = rate(np.eye(3)), rate(turn)
    assert a.rate(0.2) == pytest.approx(float(b.rate(0.2)), rel=1e-6)
    assert a.harmonic == pytest.approx(b.harmonic, rel=1e-6)


def test_independent_copies_double_the_ways_out_and_nothing_else():
    # Two spins that do not interact: the second one's determinant cancels.
    pair = mm.Heisenberg((2,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    one = mm.transition_rate(SPIN, X, Y, damping=0.3)
    two = mm.transition_rate(pair, jnp.concatenate([X, X]), jnp.concatenate([X, Y]), damping=0.3)
    assert two.rate(0.2) == pytest.approx(float(one.rate(0.2)), rel=1e-9)


def geodesic(x, y):
    return float(mm.Spheres().distance(x, y))


def test_soft_translations_have_the_volume_of_the_shifts():
    film = mm.Heisenberg((20, 20), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    start = mm.skyrmion((20, 20), center=(10, 10), radius=3.0, width=2.0)
    r = mm.find_mep(film, start, mm.ferromagnet((20, 20)), geometry=mm.Spheres(), progress=False)
    stiff = mm.transition_rate(film, r.path[0], r.saddle, damping=0.1)
    soft = mm.transition_rate(film, r.path[0], r.saddle, damping=0.1, soft=0.02)
    assert stiff.minimum_zero_modes == stiff.saddle_zero_modes == ()
    assert soft.minimum_zero_modes == soft.saddle_zero_modes == ("translation along axis 0", "translation along axis 1")
    assert soft.power == 0 and soft.dynamical == pytest.approx(stiff.dynamical)
    # The area of a cell in the space of states: from geodesics along and across it, by polarisation.
    areas = []
    for x in (r.path[0], r.saddle):
        a, b = geodesic(x, jnp.roll(x, 1, 0)), geodesic(x, jnp.roll(x, 1, 1))
        cosine = (a**2 + b**2 - geodesic(jnp.roll(x, 1, 0), jnp.roll(x, 1, 1)) ** 2) / (2 * a * b)
        areas.append(a * b * np.sqrt(1 - cosine**2))
    determinants = np.prod(soft.saddle_eigenvalues[1:3]) / np.prod(soft.minimum_eigenvalues[:2])
    expected = stiff.log_entropy + np.log(determinants) / 2 + np.log(areas[1] / areas[0])
    assert soft.log_entropy == pytest.approx(expected, abs=0.05)
    # A skyrmion that moves freely and saddles that do not: one power of the temperature.
    mixed = mm.transition_rate(film, r.path[0], r.saddle, damping=0.1, soft=1e-3)
    assert mixed.power == 1 and mixed.saddle_zero_modes == ()
    expected = stiff.log_entropy - np.log(np.prod(soft.minimum_eigenvalues[:2])) / 2 - np.log(400 * areas[0])
    assert mixed.log_entropy == pytest.approx(expected, abs=0.05)


def named(energy, x):
    """The zero modes of a state, by the numerical threshold."""
    H = mm.hessian(energy, x, geometry=mm.Spheres())
    values, vectors = np.linalg.eigh(H.toarray())
    zero = np.abs(values) < 1e-7
    return zero_modes(energy, x, H, np.arange(H.shape[0]), values[zero], vectors[:, zero], 1e-7)


def test_volumes_of_rotations():
    # A ferromagnet without axes: all directions, the sphere of radius sqrt(N).
    N = 6
    ring = mm.Heisenberg((N,), [mm.Bond((1,), 1.0)])
    found = named(ring, mm.ferromagnet((N,), (1.0, 2.0, 2.0)))
    assert len(found.names) == 2 and np.exp(found.log_volume) == pytest.approx(4 * np.pi * N, rel=1e-9)
    # Three spins that would all be opposite: a planar star, which every rotation moves. The Gram matrix is
    # N (1 - <S S^T>), so det = 3^3 (1/2) (1/2) 1.
    angles = 2 * np.pi * np.arange(3) / 3
    star = jnp.asarray(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
    open_star = mm.Heisenberg((3,), [mm.Bond((1,), -1.0), mm.Bond((2,), -1.0)], periodic=False)
    found = named(open_star, star)
    assert len(found.names) == 3 and np.exp(found.log_volume) == pytest.approx(8 * np.pi**2 * np.sqrt(27 / 4), rel=1e-9)


def test_a_helix_moves_and_turns_in_one():
    N, turns = 24, 2
    q = 2 * np.pi * turns / N
    helix = mm.Heisenberg((N,), [mm.Bond((1,), 1.0, (0.0, 0.0, np.tan(q)))], [(-0.5, (0, 0, 1))])
    state = mm.relax(helix, mm.spiral((N,), "chain", (q, 0, 0), axis=(0, 0, 1)), geometry=mm.Spheres()).state
    found = named(helix, state)
    assert found.names == ("rotation about (0, 0, 1)",)
    assert np.exp(found.log_volume) == pytest.approx(2 * np.pi * np.sqrt(N), rel=1e-6)


def test_a_periodic_state_counts_its_period_once():
    single = mm.domain_wall((20,), center=5.0, width=2.0) * jnp.array([1.0, 1.0, 1.0])
    pair = jnp.concatenate([single, single[::-1]])
    assert different_shifts(np.asarray(pair), [0]) == pytest.approx(40)
    assert different_shifts(np.asarray(jnp.concatenate([pair, pair])), [0]) == pytest.approx(40)
    assert different_shifts(np.ones((4, 6, 3)), [1]) == pytest.approx(1)


def test_a_zero_mode_of_unknown_origin_is_refused():
    # Two spins that turn against each other at no cost, about an axis that only one of them would turn about.
    def energy(S):
        return -(S[0, 0] ** 2) - S[0, 1] ** 2 + 2 * S[1, 2] ** 2 - S[1, 0] ** 2

    state = jnp.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    values = np.linalg.eigvalsh(mm.hessian(energy, state, geometry=mm.Spheres()).toarray())
    assert np.min(values) == pytest.approx(0, abs=1e-12) and np.sum(values < 1e-9) == 1
    with pytest.raises(ValueError, match="symmetries none do not explain"):
        mm.transition_rate(energy, state, state.at[1].set(jnp.array([0.0, 1.0, 0.0])), damping=0.1)


def test_soft_hides_no_negative_mode():
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (0.025, (0, 0, 1))])  # at y: -2 and -0.05
    for soft in (None, 0.1):
        with pytest.raises(ValueError, match="2 negative modes|do not explain"):
            mm.transition_rate(spin, X, Y, damping=0.1, soft=soft)


def test_refused():
    with pytest.raises(ValueError, match=r"minimum is not stationary: .*8\.\d+e-02"):
        mm.transition_rate(SPIN, jnp.array([[np.cos(0.04), np.sin(0.04), 0.0]]), Y, damping=0.1)
    with pytest.raises(ValueError, match="minimum has 1 negative"):
        mm.transition_rate(SPIN, Y, Z, damping=0.1)
    with pytest.raises(ValueError, match="saddle has 2 negative"):
        mm.transition_rate(SPIN, X, Z, damping=0.1)
    tilted = mm.Heisenberg((1,), anisotropy=SPIN.anisotropy, field=(0.1, 0.0, 0.0))  # two minima, one of them higher
    with pytest.raises(ValueError, match="saddle has 0 negative"):
        mm.transition_rate(tilted, X, -X, damping=0.1)
    pair = mm.Heisenberg((2,), anisotropy=SPIN.anisotropy, field=np.array([[1.5, 0, 0], [0.0, 0, 0]]))
    with pytest.raises(ValueError, match="not above"):  # the first spin is against its field in the minimum only
        mm.transition_rate(pair, jnp.concatenate([-X, X]), jnp.concatenate([X, Y]), damping=0.1)
    with pytest.raises(ValueError, match="one shape"):
        mm.transition_rate(pair, jnp.concatenate([X, X]), Y, damping=0.1)
    with pytest.raises(ValueError, match="damping"):
        mm.transition_rate(SPIN, X, Y, damping=-0.1)
    with pytest.raises(ValueError, match="multiplicity"):
        mm.transition_rate(SPIN, X, Y, damping=0.1, multiplicity=0)
    with pytest.raises(ValueError, match="soft"):
        mm.transition_rate(SPIN, X, Y, damping=0.1, soft=-1.0)
    k = mm.transition_rate(SPIN, X, Y, damping=0.1)
    for bad in (0.0, -0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="temperature"):
            k.rate(bad)
    with pytest.raises(ValueError, match="positive"):
        mm.time_unit(0.0, 1.0)


def test_time_unit_is_the_period_of_precession():
    # Larmor: 28.0249514 GHz per tesla, and a moment of one Bohr magneton in one tesla has that energy unit.
    bohr = 9.2740100657e-24
    assert 1 / (2 * np.pi * mm.time_unit(moment=1.0, energy=bohr)) == pytest.approx(28.0249514e9, rel=1e-6)
