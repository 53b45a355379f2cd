"""The sparse Hessian against products and known spectra; log-determinants against dense ones and spin waves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from mepmeta.spectra.eigenpairs import lowest_eigenpairs

SPHERES = mm.Spheres()


def random_spins(rng, shape):
    S = rng.normal(size=(*shape, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def random_lattice(rng, shape, periodic, offsets):
    bonds = [
        mm.Bond(o, jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(*shape, 3)))) for o in offsets
    ]
    bonds[0] = mm.Bond(offsets[0], 0.7, (0.1, -0.4, 0.3))
    per_site = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(*shape, 3)))
    anisotropy = [(0.3, (1.0, 2.0, 0.0)), per_site]
    return mm.Heisenberg(shape, bonds, anisotropy, jnp.asarray(rng.normal(size=(*shape, 3))), periodic)


def spin_waves(L, J, K):
    """Eigenvalues of the ferromagnet along the easy axis of a periodic square lattice, each for two directions."""
    k = 2 * np.pi * np.arange(L) / L
    return np.repeat(np.ravel(2 * K + 2 * J * (2 - np.cos(k)[:, None] - np.cos(k))), 2)


def ferromagnetic(L, K=0.15):
    bonds = mm.nearest_neighbours("square", J=1.0, D=0.3)
    return mm.hessian(mm.Heisenberg((L, L), bonds, [(K, (0, 0, 1))]), mm.ferromagnet((L, L)), geometry=SPHERES)


@pytest.mark.parametrize(
    "shape, periodic, offsets",
    [
        ((5,), True, [(1,), (2,)]),
        ((4, 5), (True, False), [(1, 0), (0, 1), (1, -1), (2, 1)]),
        ((3, 2, 3), (False, False, True), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, -1)]),
    ],
)
def test_assembled_bond_by_bond_it_is_the_matrix_of_hessian_vector_products(shape, periodic, offsets):
    rng = np.random.default_rng(3)
    energy, S = random_lattice(rng, shape, periodic, offsets), random_spins(rng, shape)
    sparse = mm.hessian(energy, S, geometry=SPHERES).toarray()
    dense = mm.hessian(lambda S: energy(S), S, geometry=SPHERES).toarray()  # a plain function: by products
    np.testing.assert_allclose(sparse, dense, atol=rounding(10, 20))
    np.testing.assert_allclose(sparse, sparse.T, atol=rounding(10, 20))


def test_second_differences_of_the_energy_along_geodesics():
    rng = np.random.default_rng(4)
    energy = random_lattice(rng, (3, 4), True, [(1, 0), (0, 1)])
    S = mm.relax(energy, random_spins(rng, (3, 4)), geometry=SPHERES).state
    H, c = mm.hessian(energy, S, geometry=SPHERES), rng.normal(size=24)
    v = SPHERES.tangent(S, jnp.asarray(c))
    angle = jnp.sqrt(jnp.sum(v * v, axis=-1, keepdims=True))

    def along(t):
        return float(energy(jnp.cos(t * angle) * S + jnp.sin(t * angle) / angle * v))

    h = 1e-3
    assert (along(h) - 2 * along(0.0) + along(-h)) / h**2 == pytest.approx(c @ (H @ c), rel=1e-5)


@given(st.integers(0, 1000), st.integers(0, 3))
def test_log_determinant_and_inertia_against_the_eigenvalues(seed, k):
    rng = np.random.default_rng(seed)
    shape = (3, 4)
    H = mm.hessian(random_lattice(rng, shape, True, [(1, 0), (0, 1)]), random_spins(rng, shape), geometry=SPHERES)
    Z = np.linalg.qr(rng.normal(size=(24, k)))[0]
    rest = np.linalg.qr(np.hstack([Z, rng.normal(size=(24, 24 - k))]))[0][:, k:]
    values = np.linalg.eigvalsh(rest.T @ H.toarray() @ rest)
    found = mm.log_determinant(H, Z)
    assert found.value == pytest.approx(np.sum(np.log(np.abs(values))), rel=1e-8, abs=1e-8)
    assert found.negative == np.sum(values < 0)


def test_log_determinant_of_a_skyrmion_on_12x12_is_the_dense_one():
    film = mm.Heisenberg((12, 12), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    H = mm.hessian(film, mm.skyrmion((12, 12), center=(6, 6), radius=3.0, width=2.0), geometry=SPHERES)
    values = np.linalg.eigvalsh(H.toarray())
    found = mm.log_determinant(H)
    assert found.value == pytest.approx(np.sum(np.log(np.abs(values))), rel=1e-10)
    assert found.negative == np.sum(values < 0) > 0


@pytest.mark.parametrize("L", [20, 100])
def test_log_determinant_of_the_ferromagnet_is_that_of_its_spin_waves(L):
    found = mm.log_determinant(ferromagnetic(L))
    assert found.value == pytest.approx(np.sum(np.log(spin_waves(L, 1.0, 0.15))), rel=1e-12)
    assert found.negative == 0


def test_singular_only_along_what_is_left_out():
    # Without anisotropy the uniform rotations cost nothing: two zero modes of the ferromagnet.
    H, L = ferromagnetic(16, K=0.0), 16
    with pytest.raises(ValueError, match="singular"):
        mm.log_determinant(H)
    values, vectors = lowest_eigenpairs(H, 2)
    np.testing.assert_allclose(values, 0, atol=1e-12)
    waves = np.sort(spin_waves(L, 1.0, 0.0))[2:]
    assert mm.log_determinant(H, vectors).value == pytest.approx(np.sum(np.log(waves)), rel=1e-11)


def test_lowest_eigenpairs_with_degenerate_ones():
    H = ferromagnetic(20)
    values, vectors = lowest_eigenpairs(H, 10)
    np.testing.assert_allclose(values, np.sort(spin_waves(20, 1.0, 0.15))[:10], rtol=1e-10)
    np.testing.assert_allclose(H @ vectors, vectors * values, atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-12)


def test_lowest_eigenpairs_below_zero():
    L = 20
    bonds = mm.nearest_neighbours("square", J=1.0)
    hard = mm.Heisenberg((L, L), bonds, [(-0.8, (0, 0, 1))])  # along the hard axis: many negative modes
    H = mm.hessian(hard, mm.ferromagnet((L, L)), geometry=SPHERES)
    values, _ = lowest_eigenpairs(H, 6)
    np.testing.assert_allclose(values, np.sort(spin_waves(L, 1.0, -0.8))[:6], rtol=1e-9)
    assert mm.log_determinant(H).negative == np.sum(spin_waves(L, 1.0, -0.8) < 0)


def test_a_shift_at_which_factors_lose_their_digits_is_passed():
    """The search for a shift begins a hundredth of the largest eigenvalue below zero: there the first pivots vanish."""
    pair, rest = np.array([[-1.0, 1.0], [1.0, -1.0]]), np.append(np.linspace(2, 3, 700), 100.0)
    H = sp.csc_array(sp.block_diag([pair, sp.diags_array(rest)]))
    np.testing.assert_allclose(lowest_eigenpairs(H, 3)[0], [-2, 0, 2], atol=1e-7)


def test_refused():
    S = mm.ferromagnet((3,))
    with pytest.raises(ValueError, match="unit vectors"):
        mm.hessian(mm.Heisenberg((3,)), 2 * S, geometry=SPHERES)
    with pytest.raises(ValueError, match="4000"):
        mm.hessian(lambda x: jnp.sum(x**2), jnp.zeros(4001))
    with pytest.raises(ValueError, match="not finite"):
        mm.hessian(lambda x: jnp.sqrt(jnp.sum(x**2)), jnp.zeros(2))
    with pytest.raises(ValueError, match="singular"):
        mm.log_determinant(sp.csc_array((2, 2)))
    with pytest.raises(ValueError, match="square"):
        mm.log_determinant(sp.csc_array(np.ones((2, 3))))
    assert jax.config.jax_enable_x64
