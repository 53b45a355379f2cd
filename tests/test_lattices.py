"""Lattices, textures and the example film: geometry by hand, symmetry, and the states that the interactions prefer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounding import rounding
from scipy.optimize import minimize

import mepmeta as mm
from mepmeta.magnets.examples import ANISOTROPY, EXCHANGE, FIELD, FILM_PUBLISHED

LATTICES = {"chain": (7,), "square": (4, 5), "triangular": (4, 5), "cubic": (3, 4, 5)}
NEIGHBOURS = {"chain": 2, "square": 4, "triangular": 6, "cubic": 6}
finite = st.floats(-3, 3)
vectors = st.tuples(finite, finite, finite).filter(lambda v: np.linalg.norm(v) > 1e-3)


def relaxed(energy, state):
    """The minimum next to a state and its energy. The length of a vector is free and its direction is the spin."""

    def of_vectors(x):
        return energy(x / jnp.linalg.norm(x, axis=-1, keepdims=True))

    slope = jax.jit(jax.value_and_grad(of_vectors))

    def function(x):
        E, g = slope(jnp.asarray(x.reshape(state.shape)))
        return float(E), np.ravel(g)

    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 0, "gtol": 1e-8}
    x = minimize(function, np.ravel(state), jac=True, method="L-BFGS-B", options=options).x.reshape(state.shape)
    S = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return float(energy(jnp.asarray(S))), S


def film(D=0.3, dmi="neel"):
    return mm.Heisenberg((30, 30), mm.nearest_neighbours("square", 1.0, D, dmi), [(0.15, (0, 0, 1))])


def assert_unit(S, shape):
    assert S.shape == (*shape, 3) and S.dtype == jnp.result_type(float)
    np.testing.assert_allclose(np.linalg.norm(S, axis=-1), 1, atol=rounding())


@pytest.mark.parametrize("lattice", LATTICES)
def test_bonds_are_the_pairs_at_distance_one(lattice):
    shape = LATTICES[lattice]
    r = np.asarray(mm.positions(shape, lattice))
    assert r.shape == (*shape, 3)
    middle = tuple(n // 2 for n in shape)
    near = {
        tuple(int(i - m) for i, m in zip(cell, middle, strict=True))
        for cell in np.ndindex(shape)
        if abs(np.linalg.norm(r[cell] - r[middle]) - 1) < 1e-12
    }
    offsets = [bond.offset for bond in mm.nearest_neighbours(lattice, 1.0)]
    opposite = {tuple(-o for o in offset) for offset in offsets}
    assert len(near) == NEIGHBOURS[lattice] == 2 * len(offsets)
    assert near == set(offsets) | opposite and not set(offsets) & opposite


@pytest.mark.parametrize("lattice, dmi", [(name, dmi) for name in LATTICES for dmi in ("neel", "bloch")])
def test_interaction_vectors_follow_their_bonds(lattice, dmi):
    axes = len(LATTICES[lattice])
    primitive = np.asarray(mm.positions((2,) * axes, lattice))[tuple(np.eye(axes, dtype=int))]
    for bond in mm.nearest_neighbours(lattice, 1.0, 0.3, dmi):
        r = bond.offset @ primitive
        if not np.any(np.cross(r, [0, 0, 1])) and dmi == "neel":
            assert bond.D is None
            continue
        np.testing.assert_allclose(bond.D, 0.3 * (np.cross(r, [0, 0, 1]) if dmi == "neel" else r), atol=rounding())
        assert bond.J == 1.0


def test_zero_interaction_is_left_out_and_an_unknown_one_is_not():
    assert all(bond.D is None for bond in mm.nearest_neighbours("cubic", 1.0, 0.0))
    S = mm.skyrmion((6, 6), center=(2.3, 3), radius=2.0)

    def energy(J, D):
        return mm.Heisenberg((6, 6), mm.nearest_neighbours("square", J, D))(S)

    by_J, by_D = jax.grad(energy, argnums=(0, 1))(1.0, 0.0)
    # linear in both
    assert by_J == pytest.approx(float(energy(1.0, 0.0)), abs=rounding(70))  # of energies
    assert by_D == pytest.approx(float(energy(1.0, 1.0) - energy(1.0, 0.0)), abs=rounding(70)) and by_D < 0


def test_couplings_may_vary_over_the_lattice_and_keep_their_precision():
    D = jnp.linspace(0.1, 0.5, 12, dtype=jnp.float32).reshape(3, 4)
    bonds = mm.nearest_neighbours("square", jnp.ones((3, 4)), D)
    assert [bond.D.shape for bond in bonds] == [(3, 4, 3)] * 2 and bonds[0].D.dtype == jnp.float32
    assert jnp.array_equal(bonds[0].D[..., 1], -D)
    mm.Heisenberg((3, 4), bonds)


@pytest.mark.parametrize(
    "shape, domains", [((9,), (0, 0, 1)), ((4, 9), (0, 0, -2)), ((4, 3, 9), (1, 1, 0))], ids=["1D", "2D", "3D"]
)
def test_domain_wall_has_its_profile_along_its_axis(shape, domains):
    S = mm.domain_wall(shape, center=3.5, width=1.7, axis=len(shape) - 1, domains=domains, plane=(1, -1, 3))
    assert_unit(S, shape)
    d = np.array(domains) / np.linalg.norm(domains)
    theta = 2 * np.arctan(np.exp((np.arange(9) - 3.5) / 1.7))
    np.testing.assert_allclose(S @ d, np.broadcast_to(np.cos(theta), shape), atol=rounding(4))  # of exponents
    p = np.array([1, -1, 3]) - (np.array([1, -1, 3]) @ d) * d
    np.testing.assert_allclose(S @ (p / np.linalg.norm(p)), np.broadcast_to(np.sin(theta), shape), atol=rounding(4))


def test_domain_wall_far_from_its_middle_is_a_domain():
    S = mm.domain_wall((3,), center=1, width=1e-4)
    np.testing.assert_allclose(S, [[0, 0, 1], [1, 0, 0], [0, 0, -1]], atol=rounding())


def test_domain_wall_solves_the_chain_that_varies_slowly():
    J, K, width = 1.0, 5e-4, (1 / (2 * 5e-4)) ** 0.5
    H = mm.Heisenberg((600,), mm.nearest_neighbours("chain", J), [(K, (0, 0, 1))], periodic=False)
    energy = H(mm.domain_wall((600,), center=299.5, width=width)) - H(mm.ferromagnet((600,)))
    assert energy == pytest.approx(4 * np.sqrt(J * K / 2), rel=1e-4)  # the continuum's, with A = J/2
    others = [H(mm.domain_wall((600,), center=299.5, width=w * width)) for w in (0.97, 1.03)]
    assert min(others) > energy + H(mm.ferromagnet((600,)))  # no other width has less


@pytest.mark.parametrize("dmi, middle", [("neel", (-1.0, 0, 0)), ("bloch", (0, -1.0, 0))])
def test_walls_turn_as_the_interaction_says(dmi, middle):
    H = mm.Heisenberg((40,), mm.nearest_neighbours("chain", 1.0, 0.1, dmi), periodic=False)
    energies = {p: float(H(mm.domain_wall((40,), center=20, width=3.0, plane=p))) for p in (middle, (0.6, 0.8, 0))}
    opposite = float(H(mm.domain_wall((40,), center=20, width=3.0, plane=[-m for m in middle])))
    assert energies[middle] < energies[(0.6, 0.8, 0)] < opposite  # from +z to -z: the opposites of the docstring


@given(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), st.floats(0.5, 4), st.floats(0.3, 3), st.floats(-4, 4))
def test_skyrmion_has_the_profile_of_two_walls(center, radius, width, helicity):
    S = np.asarray(mm.skyrmion((8, 9), center=center, radius=radius, width=width, helicity=helicity, periodic=False))
    np.testing.assert_allclose(np.linalg.norm(S, axis=-1), 1, atol=rounding())
    x, y = (np.arange(n)[s] - c for n, s, c in zip((8, 9), ((slice(None), None), (None,)), center, strict=True))
    r = np.hypot(x, y)
    theta = 2 * np.arctan2(np.sinh(radius / width), np.sinh(r / width))
    steep = rounding(4 / 0.3)  # of exponents, in the wall
    np.testing.assert_allclose(S[..., 2], np.cos(theta), atol=steep)
    np.testing.assert_allclose(
        S[..., 0] * r, np.sin(theta) * (x * np.cos(helicity) - y * np.sin(helicity)), atol=4 * steep
    )
    np.testing.assert_allclose(
        S[..., 1] * r, np.sin(theta) * (y * np.cos(helicity) + x * np.sin(helicity)), atol=4 * steep
    )


def test_skyrmion_keeps_its_digits_where_sinh_overflows():
    S = mm.skyrmion((2000, 1), center=(0, 0), radius=900.0, width=1.0, periodic=False)
    z = S[jnp.array([0, 899, 900, 901, 1999]), 0, 2]
    np.testing.assert_allclose(z, [-1, -np.tanh(1), 0, np.tanh(1), 1], atol=rounding(900))  # of exponents


@pytest.mark.parametrize("lattice, shape", [("square", (7, 6)), ("triangular", (8, 8)), ("triangular", (3, 17))])
@pytest.mark.parametrize("center", [(0, 0), (2.3, 4.9), (-8.5, 40.0)])
def test_periodic_skyrmion_is_about_the_nearest_image(lattice, shape, center):
    S = np.asarray(mm.skyrmion(shape, lattice, center=center, radius=1.5))
    vectors = np.asarray(mm.positions((2, 2), lattice))[[1, 0], [0, 1], :2]
    reach = np.arange(-30, 31)
    images = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1) * np.array(shape)
    for cell in np.ndindex(shape):
        r = np.linalg.norm((np.array(cell) - center + images) @ vectors, axis=-1).min()
        expected = np.cos(2 * np.arctan2(np.sinh(1.5 / 2), np.sinh(r / 2)))
        assert S[cell][2] == pytest.approx(expected, abs=rounding(25))  # of exponents: some fifty cells over two
    moved = mm.skyrmion(shape, lattice, center=np.array(center) + (1, -2), radius=1.5)
    np.testing.assert_allclose(moved[..., 2], np.roll(S[..., 2], (1, -2), axis=(0, 1)), atol=rounding(25))


def test_honeycomb_has_three_neighbours_for_every_atom():
    r, counted = np.asarray(mm.positions((3, 4, 2), "honeycomb")), np.zeros((3, 4, 2), int)
    primitive = np.stack([r[1, 0, 0], r[0, 1, 0], r[0, 0, 1]])
    for bond in mm.nearest_neighbours("honeycomb", 1.0, 0.3):
        way = bond.offset @ primitive
        assert np.linalg.norm(way) == pytest.approx(3**-0.5, abs=1e-12)
        expected = 0.3 * np.cross(way * 3**0.5, [0, 0, 1])
        np.testing.assert_allclose(bond.D, [[[expected, 0 * expected]]], atol=rounding())
    # How many pairs an atom has: the energy that turning it over costs, over two.
    for periodic in (True, (True, True, False)):
        H = mm.Heisenberg((3, 4, 2), mm.nearest_neighbours("honeycomb", 1.0, 0.3), periodic=periodic)
        for site in np.ndindex(3, 4, 2):
            up = mm.ferromagnet((3, 4, 2))
            counted[site] = round(float(H(up.at[site].multiply(-1)) - H(up)) / 2)
        assert np.all(counted == 3)
    # Couplings of two kinds of cells: those of the first atoms count.
    J = np.arange(24.0).reshape(3, 4, 2)
    H = mm.Heisenberg((3, 4, 2), mm.nearest_neighbours("honeycomb", J))
    assert float(H(mm.ferromagnet((3, 4, 2)))) == pytest.approx(-3 * J[..., 0].sum())


def test_a_film_of_one_layer_is_a_square_lattice():
    for dmi in ("neel", "bloch"):
        bonds = [mm.nearest_neighbours(name, 1.0, 0.3, dmi) for name in ("square", "cubic")]
        flat = mm.Heisenberg((5, 4), bonds[0], [(0.1, (0, 0, 1))], periodic=(True, False))
        film = mm.Heisenberg((5, 4, 1), bonds[1], [(0.1, (0, 0, 1))], periodic=(True, False, False))
        S = mm.skyrmion((5, 4), center=(2, 2), radius=1.5)
        assert float(film(S[:, :, None])) == float(flat(S)) and len(film.bonds) == 2
        assert jnp.array_equal(jax.grad(film)(S[:, :, None])[:, :, 0], jax.grad(flat)(S))
        assert film.live().all() and len(list(film.pairs())) == 3
    with pytest.raises(ValueError, match=r"\(0, 0, 1\) is outside .* with periodic=\(True, True, False\)"):
        mm.Heisenberg((5, 4, 1), mm.nearest_neighbours("cubic", 1.0))
    S = mm.skyrmion((5, 4, 3), "cubic", center=(2, 2), radius=1.5)
    assert jnp.array_equal(S, jnp.broadcast_to(mm.skyrmion((5, 4), center=(2, 2), radius=1.5)[:, :, None], S.shape))


def test_a_constant_may_be_given_once_along_an_axis():
    K, D = np.array([[[0.1, 0.3]]]), np.ones((3, 1, 1, 3)) * np.array([0.1, 0.2, 0.3])
    short, full = (
        mm.Heisenberg((3, 4, 2), [mm.Bond((1, 0, 0), k, d)], [(k, (0, 0, 1))])
        for k, d in ((K, D), (np.broadcast_to(K, (3, 4, 2)), np.broadcast_to(D, (3, 4, 2, 3))))
    )
    S = mm.skyrmion((3, 4, 2), "honeycomb", center=(1, 1), radius=1.0)
    assert float(short(S)) == float(full(S))


SHAPES = {"square": (24, 23), "triangular": (24, 24), "honeycomb": (18, 20, 2), "cubic": (24, 23, 2)}


@pytest.mark.parametrize("lattice", SHAPES)
def test_charges_of_textures_are_whole_numbers(lattice):
    shape, where = SHAPES[lattice], {"center": (9.3, 10.2), "radius": 4.5}

    def charge(S, **how):
        Q = np.ravel(mm.topological_charge(S, lattice, **how))
        assert Q.shape == (shape[2] if lattice == "cubic" else 1,)
        np.testing.assert_allclose(Q, Q[0], atol=rounding(2, 1000))
        return Q[0]

    exact, turn = rounding(2, 4000), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn = turn * np.linalg.det(turn)
    for vorticity in (1, -1, 2):
        for make, core in ((mm.skyrmion, 1), (mm.bimeron, 1), (mm.skyrmionium, 0)):
            S = make(shape, lattice, **where, helicity=0.7, vorticity=vorticity)
            assert charge(S) == pytest.approx(-vorticity * core, abs=exact)
            assert charge(S @ turn) == pytest.approx(-vorticity * core, abs=exact)  # a rotation
            assert charge(-S) == pytest.approx(vorticity * core, abs=exact)
            assert charge(S * np.array([1.0, 1.0, -1.0])) == pytest.approx(vorticity * core, abs=exact)  # a mirror
    up = np.random.default_rng(1).normal(size=(*shape, 3))  # whatever the state
    Q = np.ravel(mm.topological_charge(jnp.asarray(up / np.linalg.norm(up, axis=-1, keepdims=True)), lattice))
    np.testing.assert_allclose(Q, np.round(Q), atol=exact)
    narrow = mm.skyrmion(shape, lattice, **where | {"radius": 2.0}, width=0.5)
    assert charge(narrow, periodic=False) == pytest.approx(-1, abs=1e-6)  # of the edge


def test_charges_add_up_and_change_along_a_path():
    shape, one = (20, 40), {"radius": 4.0, "width": 1.0}
    left = mm.skyrmion(shape, center=(10, 10), **one)
    right = [mm.skyrmion(shape, center=(10, 30), vorticity=m, **one) for m in (-1, 1)]
    both = jnp.stack([jnp.concatenate([left[:, :20], S[:, 20:]], axis=1) for S in right])
    np.testing.assert_allclose(mm.topological_charge(both), [0, -2], atol=1e-9)
    sizes = (4.0, 2.0, 0.3)
    path = jnp.stack([mm.skyrmion(shape, center=(10.5, 10.5), radius=r, width=0.5) for r in sizes])
    np.testing.assert_allclose(mm.topological_charge(path), [-1, -1, 0], atol=1e-9)
    np.testing.assert_allclose(jax.jit(mm.topological_charge)(path[None]), [[-1, -1, 0]], atol=1e-9)


def test_skyrmionium_and_bimeron_have_their_profiles():
    S = np.asarray(mm.skyrmionium((41, 41), center=(20, 20), radius=14.0, inner=6.0, width=1.0))
    np.testing.assert_allclose(S[20, [20, 26, 30, 34, 40], 2], [1, 0, -1, 0, 1], atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(S, axis=-1), 1, atol=rounding())
    B = np.asarray(mm.bimeron((21, 21), center=(10, 10), radius=4.0, width=1.0))
    np.testing.assert_allclose(B[10, 10], [-1, 0, 0], atol=1e-12)
    assert B[0, 0, 0] > 0.99 and B[14, 10, 2] == pytest.approx(-1) and B[6, 10, 2] == pytest.approx(1)


@pytest.mark.parametrize("lattice", ["square", "triangular"])
@pytest.mark.parametrize("vorticity", [1, -1, 2])
def test_vorticity_is_how_often_the_spins_wind(lattice, vorticity):
    S = np.asarray(mm.skyrmion((24, 24), lattice, center=(11.9, 12.2), radius=5.0, helicity=0.4, vorticity=vorticity))

    def triangle(a, b, c):
        dot = lambda u, v: np.sum(u * v, axis=-1)  # noqa: E731
        volume = dot(a, np.cross(b, c))
        return 2 * np.arctan2(volume, 1 + dot(a, b) + dot(b, c) + dot(c, a))

    right, up = np.roll(S, -1, axis=0), np.roll(S, -1, axis=1)
    charge = np.sum(triangle(S, right, up) + triangle(right, np.roll(right, -1, axis=1), up)) / (4 * np.pi)
    assert charge == pytest.approx(-vorticity, abs=1e-9)


@pytest.mark.parametrize("lattice", ["square", "triangular"])
@pytest.mark.parametrize("dmi, best", [("neel", 0.0), ("bloch", np.pi / 2)])
@pytest.mark.parametrize("D", [0.3, -0.3])
def test_interaction_chooses_the_helicity(lattice, dmi, best, D):
    H = jax.jit(mm.Heisenberg((16, 16), mm.nearest_neighbours(lattice, 1.0, D, dmi)))
    chi = np.linspace(-np.pi, np.pi, 8, endpoint=False)
    energies = [H(mm.skyrmion((16, 16), lattice, center=(8, 7.5), radius=3.0, helicity=c)) for c in chi]
    lowest = chi[np.argmin(energies)]
    best = best if D > 0 else best - np.pi
    assert np.exp(1j * lowest) == pytest.approx(np.exp(1j * best), abs=1e-12)


@pytest.mark.parametrize("dmi, helicity", [("neel", 0.0), ("bloch", np.pi / 2)])
def test_relaxed_skyrmion_has_the_reference_energy(dmi, helicity):
    start = mm.skyrmion((30, 30), center=(14, 14), radius=3.0, helicity=helicity)
    E, S = relaxed(film(dmi=dmi), start)
    # From an independent code, which has the Néel film; the Bloch film is the same after a turn of all spins about z.
    assert E == pytest.approx(-1927.6834537683, abs=2e-9)
    assert S[14, 14] == pytest.approx([0, 0, -1], abs=3e-4) and np.sum(S[..., 2] < 0) > 5


@given(st.sampled_from(list(LATTICES)), vectors, vectors)
def test_spiral_turns_about_its_axis_by_its_phase(lattice, q, axis):
    shape = LATTICES[lattice]
    S = mm.spiral(shape, lattice, q, axis)
    assert_unit(S, shape)
    a = np.array(axis) / np.linalg.norm(axis)
    np.testing.assert_allclose(S @ a, 0, atol=rounding())
    first = S[(0,) * len(shape)]
    phase = np.asarray(mm.positions(shape, lattice)) @ np.array(q)
    np.testing.assert_allclose(S @ first, np.cos(phase), atol=rounding(40))  # of phases
    np.testing.assert_allclose(S @ np.cross(a, first), np.sin(phase), atol=rounding(40))
    # Over the axis of the smallest component. Of several that are equal but for rounding, any.
    smallest = np.abs(a) < np.min(np.abs(a)) + 1e-8
    assert np.max(first[smallest] - np.sqrt(1 - a[smallest] ** 2)) == pytest.approx(0, abs=1e-7)


def test_spiral_has_the_energy_of_its_wavevector():
    q = 2 * np.pi * np.array([3 / 24, 0.0])
    for D in (0.0, 0.4):
        H = mm.Heisenberg((24, 6), mm.nearest_neighbours("square", 1.0, D))
        S = mm.spiral((24, 6), "square", q, axis=(0, -1, 0))  # from -z through x to z along x
        assert H(S) / S[..., 0].size == pytest.approx(-1 - np.cos(q[0]) - D * np.sin(q[0]), abs=rounding(2, 10))
    np.testing.assert_allclose(S, mm.spiral((24, 6), "square", (*q, 5.0), (0, -2, 0)), atol=rounding(20))  # of phases


@given(vectors)
def test_ferromagnet_points_where_it_is_told(direction):
    S = mm.ferromagnet((2, 3), direction)
    assert_unit(S, (2, 3))
    np.testing.assert_allclose(S[1, 2] * np.linalg.norm(direction), direction, atol=rounding(5))


def test_film_has_the_published_couplings_and_shells():
    H, start, up = mm.pd_fe_ir111()
    assert_unit(start, (40, 40))
    assert jnp.array_equal(up, mm.ferromagnet((40, 40)))
    assert len(H.bonds) == 36 and sum(bond.D is not None for bond in H.bonds) == 3
    # The energy of a spin in the ferromagnet: six neighbours in a shell, twelve where the shell is not on a mirror;
    # every pair belongs to two spins.
    exchange = sum((12 if r2 in (7, 13, 19) else 6) * J for r2, J in EXCHANGE.items()) / 2
    assert H(up) / 1600 == pytest.approx(-exchange - ANISOTROPY - FIELD, rel=rounding(1, 36 * 1600))


def test_film_agrees_with_another_code():
    """The skyrmion lies above the ferromagnet by the difference of the two published barriers."""
    H, start, up = mm.pd_fe_ir111()
    E, S = relaxed(H, start)
    assert S[20, 20] == pytest.approx([0, 0, -1], abs=1e-4)
    published = FILM_PUBLISHED["reverse_barrier"] - FILM_PUBLISHED["barrier"]
    assert E - H(up) == pytest.approx(published, abs=1e-5)


MISTAKES = [
    (lambda: mm.nearest_neighbours("kagome", 1.0), "one of 'chain', 'square', 'triangular', 'cubic', 'honeycomb'"),
    (lambda: mm.nearest_neighbours("square", 1.0, dmi="interface"), "dmi must be one of 'neel', 'bloch'"),
    (lambda: mm.positions((2, 2), "kagome"), "lattice must be one of"),
    (lambda: mm.positions((2, 2), "cubic"), r"3 axes: .* got \(2, 2\)"),
    (lambda: mm.positions((2, 0), "square"), r"positive integers, got \(2, 0\)"),
    (lambda: mm.nearest_neighbours("square", 1.0, ()), "D must be finite numbers, got none"),
    (lambda: mm.ferromagnet(()), "one or more positive integers"),
    (lambda: mm.ferromagnet((2.0, 2)), "positive integers"),
    (lambda: mm.ferromagnet((2,), (0, 0, 0)), "direction must be a finite vector"),
    (lambda: mm.ferromagnet((2,), (0, np.nan, 1)), "direction must be a finite vector"),
    (lambda: mm.ferromagnet((2,), (0, 1)), "direction must be a finite vector of three components"),
    (lambda: mm.domain_wall((4,), center=2, width=0.0), "width must be a positive number, got 0.0"),
    (lambda: mm.domain_wall((4,), center=2, width=1.0, axis=1), "axis must be one of the 1 axes"),
    (lambda: mm.domain_wall((4, 4), center=2, width=1.0, axis=-1), "axis must be one of the 2 axes"),
    (lambda: mm.domain_wall((4,), center=2, width=1.0, plane=(0, 0, 2)), "plane must lead out of the domains"),
    (lambda: mm.domain_wall((4,), center=2, width=1.0, domains=(0, 0, 0)), "domains must be a finite vector"),
    (lambda: mm.skyrmion((4,), "chain", center=(1, 1), radius=1.0), "must be one of 'square', 'triangular', 'cubic'"),
    (lambda: mm.skyrmion((4, 4), "cubic", center=(1, 1), radius=1.0), "3 axes"),
    (lambda: mm.positions((4, 4, 3), "honeycomb"), r"two atoms: its shape is \(n, m, 2\), got \(4, 4, 3\)"),
    (lambda: mm.skyrmionium((4, 4), center=(1, 1), radius=2.0, inner=2.0), "inner radius must be smaller"),
    (lambda: mm.topological_charge(mm.ferromagnet((4,))), r"square lattice has the shape \(..., n, m, 3\)"),
    (lambda: mm.topological_charge(mm.ferromagnet((4, 4, 3)), "honeycomb"), "n, m, 2, 3"),
    (lambda: mm.topological_charge(mm.ferromagnet((4, 4)), periodic=(True,)), "True, False or 2 of them"),
    (lambda: mm.skyrmion((4,), center=(1, 1), radius=1.0), "2 axes"),
    (lambda: mm.skyrmion((4, 4), center=(1, 1, 1), radius=1.0), "center must be two cell indices"),
    (lambda: mm.skyrmion((4, 4), center=(1, 1), radius=-1.0), "radius must be a positive number"),
    (lambda: mm.skyrmion((4, 4), center=(1, 1), radius=1.0, width=np.inf), "width must be a positive number"),
    (lambda: mm.spiral((4, 4), "square", (1.0,)), "wavevector must be two or three finite numbers"),
    (lambda: mm.spiral((4, 4), "square", (1.0, np.inf)), "wavevector must be two or three finite numbers"),
    (lambda: mm.spiral((4, 4), "square", (1.0, 0.0), (0, 0, 0)), "axis must be a finite vector"),
]


@pytest.mark.parametrize("call, message", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
