"""The dipolar interaction: lattice sums that are known, direct sums, and what it does to barriers and rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from mepmeta.magnets.dipolar import PREFACTOR
from mepmeta.magnets.ewald import dipole_sums
from mepmeta.rates import hessians

X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
ZETA3 = sp.special.zeta(3)


def unit(seed, shape):
    S = np.random.default_rng(seed).normal(size=(*shape, 3))
    return S / np.linalg.norm(S, axis=-1, keepdims=True)


def a_spin(shape, lattice, direction, periodic):
    energy = mm.Dipolar(shape, lattice, periodic=periodic, prefactor=1.0)
    return float(energy(mm.ferromagnet(shape, direction))) / np.prod(shape)


def tensors(r):
    """Of all pairs of places, by the formula."""
    d = r[:, None] - r
    size = np.linalg.norm(d, axis=-1) + np.where(np.eye(len(r)), np.inf, 0)
    d = d / size[..., None]
    return (np.eye(3) - 3 * d[..., :, None] * d[..., None, :]) / size[..., None, None] ** 3


def test_the_constant_is_that_of_bohr_magnetons():
    assert pytest.approx(0.0536815, abs=1e-7) == PREFACTOR


@pytest.mark.parametrize(
    "shape, lattice, periodic, along_x, along_z, digits",
    [
        ((2,), "chain", False, -1, 0.5, 13),
        ((10,), "chain", False, -2.08511043, 1.04255521, 8),
        ((7,), "chain", True, -2 * ZETA3, ZETA3, 12),
        ((10, 10, 1), "cubic", False, -1.62822777, 3.25645554, 8),
        ((10, 10), "square", False, -1.62822777, 3.25645554, 8),
        ((6, 5), "square", True, -2.25840542, 4.51681084, 8),
        ((1, 1), "square", True, -2.25840542, 4.51681084, 8),
        ((5, 1, 1), "cubic", (True, True, False), -2.25840542, 4.51681084, 8),
        ((4, 4, 4), "cubic", False, 0, 0, 12),
        ((3, 5, 2), "cubic", True, -2 * np.pi / 3, -2 * np.pi / 3, 12),  # in a conductor: the field of Lorentz
    ],
)
def test_ferromagnets(shape, lattice, periodic, along_x, along_z, digits):
    tolerance = {"abs": 0.6 * 10.0**-digits * 10, "rel": 0}
    assert a_spin(shape, lattice, X, periodic) == pytest.approx(along_x, **tolerance)
    assert a_spin(shape, lattice, Z, periodic) == pytest.approx(along_z, **tolerance)


def test_rows_that_alternate():
    S = np.zeros((2, 4, 3))
    S[0, :, 1], S[1, :, 1] = 1, -1
    energy = mm.Dipolar((2, 4), "square", prefactor=1.0)
    n, k = np.arange(1, 9)[:, None], 2 * np.pi * np.arange(1, 9)
    rows = np.sum(
        (-1.0) ** n * 4 * k**2 * sp.special.k0(k * n)
    )  # the field of a row on the others, by Poisson's formula
    assert rows - 2 * ZETA3 == pytest.approx(-2.5494365, abs=1e-7)
    assert energy(jnp.asarray(S)) / 8 == pytest.approx(rows - 2 * ZETA3, abs=1e-12)


@given(st.integers(0, 500), st.sampled_from([(4, 1, 2), (3, 2, 3)]))
@settings(max_examples=6)
def test_energy_and_derivatives_are_direct_sums_on_skewed_lattices_of_two_atoms(seed, cells):
    rng = np.random.default_rng(seed)
    vectors, basis, shape = np.eye(3) + 0.2 * rng.normal(size=(3, 3)), [[0, 0, 0], [0.4, 0.5, 0.6]], (*cells, 2)
    moments = rng.uniform(0.5, 2, shape)
    energy = mm.Dipolar(shape, vectors, moments, a=1.3, periodic=False, basis=basis)
    r = 1.3 * ((np.moveaxis(np.indices(cells), 0, -1) @ vectors)[..., None, :] + basis).reshape(-1, 3)
    T, m = PREFACTOR * tensors(r), moments.reshape(-1, 1)
    S, v = unit(seed, shape), rng.normal(size=(*shape, 3))
    fields = np.einsum("ijab,jb->ia", T, m * S.reshape(-1, 3))
    size = np.abs(T).sum() * 4
    assert energy(jnp.asarray(S)) == pytest.approx(np.sum(fields * m * S.reshape(-1, 3)) / 2, abs=rounding(size))
    g, Hv = jax.jvp(jax.grad(energy), (jnp.asarray(S),), (jnp.asarray(v),))
    np.testing.assert_allclose(g.reshape(-1, 3), fields * m, atol=rounding(size))
    expected = np.einsum("ijab,jb->ia", T, m * v.reshape(-1, 3)) * m
    np.testing.assert_allclose(Hv.reshape(-1, 3), expected, atol=rounding(5 * size))
    first = energy.component_first()
    np.testing.assert_allclose(jax.grad(first)(jnp.moveaxis(S, -1, 0)), jnp.moveaxis(g, -1, 0), atol=rounding(size))
    by_moments = jax.grad(lambda E: E(jnp.asarray(S)))(energy).moments
    np.testing.assert_allclose(by_moments.ravel(), np.sum(fields * S.reshape(-1, 3), axis=1), atol=rounding(size))


def of_places(r):
    """The six parts of tensors at distances r, by the formula."""
    size = np.linalg.norm(r, axis=-1)[..., None, None]
    T = np.eye(3) / size**3 - 3 * r[..., :, None] * r[..., None, :] / size**5
    return T[..., [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def test_chains_are_sums_over_images():
    r, L, N = np.random.default_rng(0).normal(size=(5, 3)), np.array([0.3, 1.1, -0.4]), 4000
    direct = of_places(r[:, None] + np.arange(-N, N + 1)[:, None] * L).sum(axis=1)
    tail = 2 * sp.special.zeta(3, N + 1) * of_places(L[None])  # the next term falls by another two powers of N
    np.testing.assert_allclose(dipole_sums(r, L[None]), direct + tail, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_films_stacked_are_a_crystal_in_a_conductor(seed):
    """Along the films: across them a stack has charges on its ends, which a conductor compensates."""
    rng = np.random.default_rng(seed)
    film = np.zeros((2, 3))
    film[:, :2] = np.eye(2) + 0.2 * rng.normal(size=(2, 2))
    r, up = rng.normal(size=(4, 3)), np.array([0.2, -0.3, 1.1])
    stack = sum(dipole_sums(r + n * up, film) for n in range(-12, 13))
    crystal, volume = dipole_sums(r, np.array([*film, up])), np.linalg.det([*film, up])
    # Of an infinite sheet all around, an average over z: the linear shift by r is the only difference.
    depolarised = crystal + 4 * np.pi / volume * np.array([0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(stack, depolarised, atol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_lattice_sums_have_their_trace_and_do_not_know_the_cell_they_are_made_of(d):
    rng = np.random.default_rng(d)
    images, r = (np.eye(3) + 0.2 * rng.normal(size=(3, 3)))[:d], rng.normal(size=(6, 3))
    T = dipole_sums(r, images)
    trace = -4 * np.pi / abs(np.linalg.det(images)) if d == 3 else 0.0  # of a charge there is the background alone
    np.testing.assert_allclose(T[:, [0, 3, 5]].sum(axis=1), trace, atol=rounding(np.abs(T).max(), 100))
    long = images * np.array([9, 1, 1])[:d, None]
    np.testing.assert_allclose(sum(dipole_sums(r + k * images[0], long) for k in range(9)), T, atol=1e-11)
    np.testing.assert_allclose(dipole_sums(1e-10 * r, 1e-10 * images) * 1e-30, T, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dipole_sums(-r, images), T, atol=rounding(np.abs(T).max()))


def test_atoms_of_a_cell_are_another_lattice():
    """A square lattice as one of two atoms, and on axes in another order."""
    S = unit(0, (6, 4))
    plain = mm.Dipolar((6, 4), "square")(jnp.asarray(S))
    pairs = jnp.asarray(S.reshape(3, 2, 4, 3).swapaxes(1, 2))
    double = mm.Dipolar((3, 4, 2), [[2, 0, 0], [0, 1, 0]], basis=[[0, 0, 0], [1, 0, 0]])
    assert double(pairs) == pytest.approx(float(plain), abs=rounding(50))
    one = mm.Dipolar((6, 4, 1), "square", basis=[[0.3, 0.2, 0.1]])
    assert one(jnp.asarray(S)[:, :, None]) == pytest.approx(float(plain), abs=rounding(50))
    assert double.translations == (0, 1) and double.live().shape == (3, 4, 2)


def test_sites_without_a_moment_and_single_precision():
    moments = np.ones((5, 4))
    moments[1, 2] = 0
    energy, S = mm.Dipolar((5, 4), "triangular", moments, periodic=False), unit(1, (5, 4))
    np.testing.assert_array_equal(energy.live(), moments != 0)
    g = jax.grad(energy)(jnp.asarray(S))
    assert not np.any(g[1, 2])
    single = jax.grad(energy)(jnp.asarray(S, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, g, atol=rounding(1.0, dtype=np.float32))


@pytest.mark.parametrize("unit", [1e-80, 1e-10, 1e9, 1e80])
def test_any_unit_of_length_will_do(unit):
    """The energy is that of moments in units of a^(3/2); two atoms in a cell, open and periodic."""
    lattice = {"vectors": np.array([[1.0, 0, 0], [0.2, 1.1, 0]]), "basis": np.array([[0, 0, 0], [0.4, 0.5, 0.3]])}
    S = jax.random.normal(jax.random.key(0), (3, 4, 2, 3))
    S = S / jnp.linalg.norm(S, axis=-1, keepdims=True)
    for periodic in (True, False, (True, False)):
        one = mm.Dipolar((3, 4, 2), periodic=periodic, prefactor=1.0, **lattice)(S)
        scaled = {name: unit * v for name, v in lattice.items()}
        assert mm.Dipolar((3, 4, 2), moments=unit**1.5, periodic=periodic, prefactor=1.0, **scaled)(S) == (
            pytest.approx(one, rel=rounding(100))
        )


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="vectors must be 2 independent"):
        mm.Dipolar((3, 3), [[1, 0, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="one place"):
        mm.Dipolar((3, 2), "chain", basis=[[0, 0, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match="basis must be"):
        mm.Dipolar((3, 2), "chain", basis=[[0, 0, 0]])
    with pytest.raises(ValueError, match="moments must be"):
        mm.Dipolar((3, 3), "square", np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        mm.Dipolar((3, 3), "square", np.nan)
    with pytest.raises(ValueError, match="periodic must be"):
        mm.Dipolar((3, 3), "square", periodic=(True,))
    with pytest.raises(ValueError, match="a must be a positive"):
        mm.Dipolar((3, 3), "square", a=-1.0)
    for bad in ({"a": 1e-300}, {"a": 1e300}, {"moments": 1e300}):
        with pytest.raises(ValueError, match="have an energy that is no number"):
            mm.Dipolar((3, 3), "square", **bad)
    with pytest.raises(ValueError, match="one of 'chain'"):
        mm.Dipolar((3, 3), "hexagonal")
    with pytest.raises(ValueError, match="takes a state of shape"):
        mm.Dipolar((3, 3), "square")(jnp.ones((3, 2, 3)))


def film(n, strength=0.02, D=0.3):
    """A film with dipoles whose anisotropy across is that without, and a skyrmion in it."""
    dipoles = mm.Dipolar((n, n), "square", prefactor=strength)
    K = 0.15 + strength * (4.51681084 + 2.25840542)
    short = mm.Heisenberg((n, n), mm.nearest_neighbours("square", J=1.0, D=D), anisotropy=[(K, Z)])
    return short, dipoles, mm.skyrmion((n, n), center=(n / 2 - 0.5,) * 2, radius=3.0)


def test_a_film_with_dipoles_relaxes_and_finds_its_barrier():
    short, dipoles, skyrmion = film(12)
    energy = short + dipoles
    r = mm.find_mep(energy, skyrmion, mm.ferromagnet((12, 12)), geometry=mm.Spheres(), progress=False)
    assert r.converged and r.eigenvalues[0] < 0 < r.eigenvalues[1]
    g = jax.grad(energy)(r.saddle)
    assert np.abs(g - np.sum(g * r.saddle, axis=-1, keepdims=True) * r.saddle).max() < 1e-5
    assert r.barrier == pytest.approx(float(energy(r.saddle) - energy(r.path[0])), abs=1e-9)


@pytest.mark.parametrize("J", [20.0, 200.0])
def test_an_island_turns_over_the_barrier_of_its_shape(J):
    """Where exchange holds the spins together; what they give way is as small as dipoles against exchange."""
    shape, K, c = (4, 2), 0.05, 0.1
    short = mm.Heisenberg(shape, mm.nearest_neighbours("square", J), anisotropy=[(K, X)], periodic=False)
    energy = short + mm.Dipolar(shape, "square", prefactor=c, periodic=False)
    x = mm.ferromagnet(shape, X)
    r = mm.find_mep(energy, x, -x, geometry=mm.Spheres(), progress=False)
    places = np.append(np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 2), np.zeros((8, 1)), axis=1)
    along, across = (c * tensors(places)[..., a, a].sum() / 2 for a in (0, 1))
    assert r.converged and r.barrier == pytest.approx(8 * K + across - along, rel=0.5 / J)


def test_modes_of_a_larger_film_agree_with_the_dense_hessian():
    short, dipoles, _ = film(20)
    energy, S = short + dipoles, unit(0, (20, 20))
    found = mm.lowest_modes(energy, jnp.asarray(S), 5, geometry=mm.Spheres())
    dense = np.linalg.eigvalsh(mm.hessian(energy, jnp.asarray(S), geometry=mm.Spheres()).toarray())
    np.testing.assert_allclose(found.values, dense[:5], atol=1e-9)
    # In a uniform film waves along +q and -q, x and y have one energy: none of four is missed.
    up = mm.lowest_modes(energy, mm.ferromagnet((20, 20)), 10, geometry=mm.Spheres())
    dense = np.linalg.eigvalsh(mm.hessian(energy, mm.ferromagnet((20, 20)), geometry=mm.Spheres()).toarray())
    np.testing.assert_allclose(up.values, dense[:10], atol=1e-9)
    assert up.products < 200


def test_rates_are_those_of_the_dense_hessian(monkeypatch):
    short, dipoles, skyrmion = film(18)
    energy = short + dipoles
    r = mm.find_mep(energy, skyrmion, mm.ferromagnet((18, 18)), geometry=mm.Spheres(), progress=False)
    exact = mm.transition_rate(energy, r.path[0], r.saddle, damping=0.1, soft=0.002)
    assert exact.log_entropy_error == 0 and exact.minimum_zero_modes == tuple(
        f"translation along axis {axis}" for axis in (0, 1)
    )
    monkeypatch.setattr(hessians, "DENSE", 10**6)  # all entries, and sparse factors
    whole = mm.transition_rate(energy, r.path[0], r.saddle, damping=0.1, soft=0.002)
    assert exact.log_entropy == pytest.approx(whole.log_entropy, abs=1e-6)
    assert exact.dynamical == pytest.approx(whole.dynamical, rel=1e-8)
    assert exact.harmonic == pytest.approx(whole.harmonic, rel=1e-8)
    monkeypatch.setattr(hessians, "DENSE", 600)
    monkeypatch.setattr(hessians, "LARGEST_DENSE", 600)
    rough = mm.transition_rate(energy, r.path[0], r.saddle, damping=0.1, soft=0.002)
    assert 0 < rough.log_entropy_error < 0.2
    assert rough.log_entropy == pytest.approx(exact.log_entropy, abs=5 * rough.log_entropy_error)
    assert rough.dynamical == exact.dynamical


def test_an_endless_film_has_the_anisotropy_of_its_shape():
    """Exactly where spins are parallel; the less the shorter the waves are; hardly on an island."""
    layer = mm.Dipolar((1, 1), "square", moments=2.0, a=3.0)
    energy = mm.Dipolar((8, 8), "square", moments=2.0, a=3.0)
    local = mm.Heisenberg((8, 8), anisotropy=layer.shape_anisotropy())
    for S in unit(0, (3,)):
        up = mm.ferromagnet((8, 8), S)
        assert local(up) == pytest.approx(float(energy(up)), abs=rounding(10))
    missing = []
    for n in (32, 64, 128):  # spirals of one period, without charges in the film
        spiral = mm.spiral((n, 1), "square", (2 * np.pi / n, 0), axis=X)
        full = mm.Dipolar((n, 1), "square")(spiral) / n
        cell = mm.Heisenberg((n, 1), anisotropy=mm.Dipolar((1, 1), "square").shape_anisotropy())(spiral) / n
        missing.append(float(cell - full))
    # In a film of thickness d half of mu0 M^2/2 times qd/2, to the first order in the wave vector.
    assert missing[0] / missing[1] == pytest.approx(2, rel=0.05) and missing[1] / missing[2] == pytest.approx(
        2, rel=0.03
    )
    small = [a_spin((4, 4), "square", axis, False) for axis in (X, Z)]
    endless = [a_spin((1, 1), "square", axis, True) for axis in (X, Z)]
    assert small[1] - small[0] < 0.65 * (endless[1] - endless[0])


def test_the_anisotropy_of_atoms_in_a_cell():
    """Each has that of its own place: a pair of atoms along z in every cell of a film, far apart."""
    shape, moments = (1, 1, 2), np.array([[[1.0, 2.0]]])
    pair = mm.Dipolar(shape, [[50, 0, 0], [0, 50, 0]], moments, basis=[[0, 0, 0], [0, 0, 1]], prefactor=1.0)
    local = mm.Heisenberg(shape, anisotropy=pair.shape_anisotropy(), periodic=(True, True, False))
    # -2 m^2 along z and m^2 across, halved: what m feels of an equal one.
    assert local(mm.ferromagnet(shape, Z)) == pytest.approx(-(1 + 4), abs=1e-3)
    assert local(mm.ferromagnet(shape, X)) == pytest.approx((1 + 4) / 2, abs=1e-3)
