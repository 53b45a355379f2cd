"""Energies: values known by hand, another form of each energy, symmetry, and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm

angles = st.tuples(st.floats(-7, 7), st.floats(-7, 7)).map(jnp.array)
constants = st.floats(-5, 5)

value = jax.jit(lambda K1, K2, x: mm.single_spin(K1, K2)(x))
slopes = jax.jit(jax.grad(lambda K1, K2, x: mm.single_spin(K1, K2)(x), argnums=(0, 1, 2)))


@pytest.mark.parametrize(
    "state, expected",
    [
        ((0.0, 0.0), -1.0),  # the minima: along +x and -x
        ((0.0, np.pi), -1.0),
        ((0.0, np.pi / 2), 0.0),  # the saddles have energy 0, and not -K2 = 2 as printed
        ((0.0, -np.pi / 2), 0.0),
        ((np.pi / 2, 0.3), 2.0),  # -K2 is the energy of the poles, at any longitude
        ((-np.pi / 2, 2.1), 2.0),
    ],
)
def test_stationary_points(state, expected):
    x = jnp.array(state)
    E = mm.single_spin(K1=1.0, K2=-2.0)
    assert E(x) == pytest.approx(expected, abs=rounding(3))
    assert jnp.abs(jax.grad(E)(x)).max() < rounding(4)


def test_curvatures_decide_what_is_a_minimum_and_what_a_saddle():
    E = mm.single_spin(K1=1.0, K2=-2.0)
    curvatures = {phi: np.diag(jax.hessian(E)(jnp.array([0.0, phi]))) for phi in (0.0, np.pi / 2)}
    np.testing.assert_allclose(curvatures[0.0], [6, 2], atol=1e-12)  # 2 (K1 - K2) across the path, 2 K1 along it
    np.testing.assert_allclose(curvatures[np.pi / 2], [4, -2], atol=1e-12)


@given(angles, constants, constants)
def test_agrees_with_the_cartesian_form(x, K1, K2):
    S = mm.angles_to_spin(x)
    assert value(K1, K2, x) == pytest.approx(float(-K1 * S[0] ** 2 - K2 * S[2] ** 2), abs=rounding(10))


@given(angles, constants, constants)
def test_derivatives_agree_with_finite_differences(x, K1, K2):
    by_K1, by_K2, by_x = slopes(K1, K2, x)
    h = 1e-5
    for axis in range(2):
        step = h * jnp.eye(2)[axis]
        difference = (value(K1, K2, x + step) - value(K1, K2, x - step)) / (2 * h)
        # 10 rounds, and the third derivatives are below 80
        assert by_x[axis] == pytest.approx(float(difference), abs=rounding(10) / (2 * h) + 80 * h**2)
    # linear in its constants, so the derivative is minus the squared component
    S = mm.angles_to_spin(x)
    assert by_K1 == pytest.approx(-(float(S[0]) ** 2), abs=rounding())
    assert by_K2 == pytest.approx(-(float(S[2]) ** 2), abs=rounding())


def test_constants_are_leaves():
    E = mm.single_spin(K1=3.0, K2=-0.5)
    assert jax.tree.leaves(E) == [3.0, -0.5]
    barrier_by_constants = jax.grad(lambda E: E(jnp.array([0.0, jnp.pi / 2])) - E(jnp.array([0.0, 0.0])))(E)
    assert jax.tree.leaves(barrier_by_constants) == pytest.approx([1.0, 0.0], abs=rounding())  # the barrier is K1


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 2)])
def test_wrong_shape_is_refused_in_words(shape):
    with pytest.raises(ValueError, match=r"one state \(theta, phi\) of shape \(2,\)"):
        mm.single_spin()(jnp.zeros(shape))


# Heisenberg: lattices of one to three axes, closed and open, with offsets that reach far round or out of them.
STRUCTURES = [
    ((5,), True, [(1,), (2,)]),
    ((2,), True, [(1,)]),  # every pair is there twice: both ways round
    ((4,), False, [(1,), (-3,)]),
    ((3, 4), (True, False), [(1, 0), (0, 1), (1, -1), (2, 3)]),
    ((4, 3), True, [(1, 0), (0, 1), (-1, 1), (-3, 2)]),
    ((2, 3, 3), (True, False, True), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 2)]),
    ((3, 2), True, []),
]
NAMES = ["ring", "pair", "chain", "strip", "torus", "3D", "no bonds"]
seeds = st.integers(0, 2**32 - 1)
SAME = rounding(4, 600)  # constants and products of components of at most 4 or so, and at most 600 of them

energy = jax.jit(lambda H, S: H(S))
by_state = jax.jit(jax.grad(lambda H, S: H(S), argnums=1))
by_constants = jax.jit(jax.grad(lambda H, S: H(S)))
product = jax.jit(lambda H, S, v: jax.jvp(lambda S: jax.grad(lambda S: H(S))(S), (S,), (v,))[1])
reverse_product = jax.jit(lambda H, S, v: jax.grad(lambda S: jnp.vdot(jax.grad(lambda S: H(S))(S), v))(S))
mixed = jax.jit(lambda H, S, v: jax.jvp(lambda S: jax.grad(lambda H: H(S))(H), (S,), (v,))[1])


def random_spins(rng, shape):
    S = rng.normal(size=(*shape, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def symmetric(rng, cells):
    A = rng.normal(size=(*cells, 3, 3))
    return A + np.swapaxes(A, -1, -2)


def random_energy(rng, structure, local):
    """Every constant drawn anew; with ``local``, another one at every cell."""
    shape, periodic, offsets = structure
    cells = shape if local else ()
    bonds = [mm.Bond(offsets[0], rng.normal(size=cells))] if offsets else []  # the first is exchange only
    bonds += [mm.Bond(o, rng.normal(size=cells), rng.normal(size=(*cells, 3))) for o in offsets[1:]]
    # and the last has a tensor, too
    bonds[-1:] = [bond._replace(A=symmetric(rng, cells)) for bond in bonds[-1:]]
    anisotropy = [(rng.normal(size=cells), rng.normal(size=(*cells, 3))) for _ in range(2)]
    return mm.Heisenberg(shape, bonds, anisotropy, rng.normal(size=(*cells, 3)), periodic)


def over_lattice(constant, shape, tail=()):
    return np.broadcast_to(constant, (*shape, *tail))


def sum_over_pairs(H, S):
    """The energy as the docstring defines it, one pair after another."""
    S, total = np.asarray(S), 0.0
    for cell in np.ndindex(H.shape):
        for bond in H.bonds:
            end = [i + o for i, o in zip(cell, bond.offset, strict=True)]
            inside = [0 <= i < n for i, n in zip(end, H.shape, strict=True)]
            if all(i or p for i, p in zip(inside, H.periodic, strict=True)):
                other = S[tuple(i % n for i, n in zip(end, H.shape, strict=True))]
                total -= over_lattice(bond.J, H.shape)[cell] * S[cell] @ other
                if bond.D is not None:
                    total -= over_lattice(bond.D, H.shape, (3,))[cell] @ np.cross(S[cell], other)
                if bond.A is not None:
                    total -= S[cell] @ over_lattice(bond.A, H.shape, (3, 3))[cell] @ other
        for K, axis in H.anisotropy:
            total -= over_lattice(K, H.shape)[cell] * (over_lattice(axis, H.shape, (3,))[cell] @ S[cell]) ** 2
        total -= over_lattice(H.field, H.shape, (3,))[cell] @ S[cell]
    return total


def film(D=0.3, dmi="neel", lattice="square", shape=(30, 30), field=(0, 0, 0)):
    return mm.Heisenberg(shape, mm.nearest_neighbours(lattice, 1.0, D, dmi), [(0.15, (0, 0, 1))], field)


def test_energies_of_the_ferromagnet():
    H = film()
    assert H(mm.ferromagnet((30, 30))) == pytest.approx(-1935, rel=rounding(1, 900))  # 900 (2 J + K)
    assert H(mm.ferromagnet((30, 30), (1, 0, 0))) == pytest.approx(-1800, rel=rounding(1, 900))


@pytest.mark.parametrize(
    "structure, local", [(s, True) for s in STRUCTURES] + [(STRUCTURES[3], False)], ids=[*NAMES, "uniform strip"]
)
@settings(max_examples=5)
@given(seed=seeds)
def test_energy_is_the_sum_over_pairs(structure, local, seed):
    rng = np.random.default_rng(seed)
    H, S = random_energy(rng, structure, local), random_spins(rng, structure[0])
    assert energy(H, S) == pytest.approx(sum_over_pairs(H, S), abs=SAME)


def test_axes_of_anisotropy_count_by_their_direction():
    H = mm.Heisenberg((2,), anisotropy=[(0.7, (0, 3.0, 4.0))])
    assert H(mm.ferromagnet((2,), (0, 1, 0))) == pytest.approx(-2 * 0.7 * 0.36)
    assert H(mm.ferromagnet((2,), (0, -0.6, -0.8))) == pytest.approx(-2 * 0.7)


@settings(max_examples=10)
@given(seed=seeds)
def test_exchange_alone_knows_no_direction(seed):
    rng = np.random.default_rng(seed)
    bonds = [mm.Bond((1, 0), rng.normal(size=(3, 4))), mm.Bond((-1, 1), rng.normal(size=(3, 4)))]
    H, S = mm.Heisenberg((3, 4), bonds, periodic=(True, False)), random_spins(rng, (3, 4))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # reflections, too
    assert energy(H, S @ rotation) == pytest.approx(float(energy(H, S)), abs=SAME)


def rotated(S, lattice):
    """Space and spins turned together about the spin at the origin: by 90 degrees, on the triangular lattice by 60."""
    angle = np.pi / 2 if lattice == "square" else np.pi / 3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    n = S.shape[0]
    i, j = np.indices((n, n))
    there = (-j % n, i) if lattice == "square" else (-j % n, (i + j) % n)
    return jnp.zeros_like(S).at[there].set(S @ turn.T)


@pytest.mark.parametrize("dmi", ["neel", "bloch"])
@pytest.mark.parametrize("lattice", ["square", "triangular"])
@settings(max_examples=5)
@given(seed=seeds)
def test_films_have_the_symmetry_of_their_lattice(lattice, dmi, seed):
    S = random_spins(np.random.default_rng(seed), (5, 5))
    H = film(dmi=dmi, lattice=lattice, shape=(5, 5), field=(0, 0, 0.2))
    E = float(energy(H, S))
    assert energy(H, rotated(S, lattice)) == pytest.approx(E, abs=SAME)
    assert energy(H, jnp.roll(S, (1, -2), axis=(0, 1))) == pytest.approx(E, abs=SAME)
    opposite = film(D=-0.3, dmi=dmi, lattice=lattice, shape=(5, 5), field=(0, 0, 0.2))
    assert energy(opposite, jnp.flip(S, axis=(0, 1))) == pytest.approx(E, abs=SAME)
    # spins alone do not turn: the interaction ties them to the lattice
    assert abs(energy(H, S @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])) - E) > 1e-3


@pytest.mark.parametrize("structure, local", [(STRUCTURES[0], False), (STRUCTURES[3], True)], ids=["ring", "strip"])
@settings(max_examples=5)
@given(seed=seeds)
def test_derivatives_are_central_differences(structure, local, seed):
    # The energy is quadratic in the state and in every single constant, so that differences of any step are exact.
    same = 5 * SAME  # of states that are a normal vector longer
    rng = np.random.default_rng(seed)
    H, S = random_energy(rng, structure, local), random_spins(rng, structure[0])
    v, w = (jnp.asarray(rng.normal(size=S.shape)) for _ in range(2))
    slope = float(jnp.vdot(by_state(H, S), v))
    assert slope == pytest.approx(float(energy(H, S + v) - energy(H, S - v)) / 2, abs=same)
    difference = (by_state(H, S + v) - by_state(H, S - v)) / 2
    np.testing.assert_allclose(product(H, S, v), difference, atol=same)
    np.testing.assert_allclose(reverse_product(H, S, v), difference, atol=same)
    assert jnp.vdot(w, product(H, S, v)) == pytest.approx(float(jnp.vdot(v, product(H, S, w))), abs=same)

    constants, tree = jax.tree.flatten(H)
    slopes, change = jax.tree.leaves(by_constants(H, S)), jax.tree.leaves(mixed(H, S, v))
    ahead, behind = jax.tree.leaves(by_constants(H, S + v)), jax.tree.leaves(by_constants(H, S - v))
    for k, constant in enumerate(constants):
        d = jnp.asarray(rng.normal(size=constant.shape))
        up, down = (
            energy(jax.tree.unflatten(tree, [*constants[:k], constant + s * d, *constants[k + 1 :]]), S)
            for s in (1, -1)
        )
        assert jnp.vdot(slopes[k], d) == pytest.approx(float(up - down) / 2, abs=same)
        np.testing.assert_allclose(change[k], (ahead[k] - behind[k]) / 2, atol=same)


def test_derivatives_by_the_numbers_handed_in():
    S = random_spins(np.random.default_rng(3), (3, 4))

    def of(J, D, K, axis, field):
        return mm.Heisenberg((3, 4), mm.nearest_neighbours("square", J, D), [(K, axis)], field)(S)

    numbers = (1.2, 0.3, 0.4, jnp.array([0.3, -1.0, 2.0]), jnp.array([0.1, 0.2, -0.3]))
    slopes = jax.jit(jax.grad(of, argnums=range(5)))(*numbers)
    value = jax.jit(of)
    for k, number in enumerate(numbers):
        for step in 1e-5 * np.eye(np.size(number)).reshape(-1, *np.shape(number)):
            up, down = (value(*numbers[:k], number + s * step, *numbers[k + 1 :]) for s in (1, -1))
            assert np.vdot(slopes[k], step) == pytest.approx(
                float(up - down) / 2, abs=rounding(30)
            )  # energies of 30, steps of 1e-5
    assert jnp.vdot(slopes[3], numbers[3]) == pytest.approx(
        0, abs=rounding(3, 12)
    )  # the length of an axis does not count


def test_gradient_of_an_energy_is_an_energy_of_gradients():
    S = random_spins(np.random.default_rng(0), (3, 4))
    H = random_energy(np.random.default_rng(1), STRUCTURES[3], True)
    G = by_constants(H, S)
    assert isinstance(G, mm.Heisenberg) and jax.tree.structure(G) == jax.tree.structure(H)
    assert [bond.offset for bond in G.bonds] == [(1, 0), (0, 1), (1, -1), (2, 3)] and G.bonds[0].D is None
    np.testing.assert_allclose(G.field, -S)
    np.testing.assert_allclose(G.bonds[0].J, -jnp.sum(S * jnp.roll(S, -1, axis=0), axis=-1), atol=rounding())


def test_components_may_come_first():
    rng = np.random.default_rng(7)
    H, S = random_energy(rng, STRUCTURES[3], True), random_spins(rng, (3, 4))
    first = H.component_first()
    planes = jnp.moveaxis(S, -1, 0)
    assert energy(first, planes) == pytest.approx(float(energy(H, S)), abs=SAME)
    np.testing.assert_allclose(jnp.moveaxis(by_state(first, planes), 0, -1), by_state(H, S), atol=SAME)
    with pytest.raises(ValueError, match=r"shape \(3, "):
        first(S)


def test_transformations_agree_with_plain_calls():
    rng = np.random.default_rng(5)
    H, states = random_energy(rng, STRUCTURES[0], False), random_spins(rng, (2, 5))
    plain = [float(H(S)) for S in states]
    np.testing.assert_allclose(jax.jit(H)(states[0]), plain[0], atol=SAME)
    np.testing.assert_allclose(jax.jit(jax.vmap(H))(states), plain, atol=SAME)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(H)))(states)[1], by_state(H, states[1]), atol=SAME)

    def in_field(field):
        return mm.Heisenberg((5,), H.bonds, H.anisotropy, field)(states[0])

    fields = jnp.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]])
    without, within = jax.jit(jax.vmap(in_field))(fields)
    assert within - without == pytest.approx(-float(jnp.sum(states[0] @ fields[1])), abs=SAME)


def test_single_precision_stays_single():
    rng = np.random.default_rng(2)
    H, S = random_energy(rng, STRUCTURES[0], False), random_spins(rng, (5,))
    single = S.astype(jnp.float32)
    assert H(single).dtype == jnp.float32 and by_state(H, single).dtype == jnp.float32
    assert product(H, single, single).dtype == jnp.float32
    assert H(single) == pytest.approx(float(H(S)), abs=rounding(4, 50, np.float32))
    assert {g.dtype for g in jax.tree.leaves(by_constants(H, single))} == {jnp.dtype(jnp.float64)}  # those of H


def test_bonds_that_wrap_onto_the_same_pair_all_count():
    """On three cells 1 and 2 lead to the same two neighbours; on two cells 1 leads to the other one on both sides."""
    up, one = mm.ferromagnet((3,)), mm.ferromagnet((3,)).at[0].set(jnp.array([0.0, 0.0, -1.0]))
    H = mm.Heisenberg((3,), [mm.Bond((1,), 1.0), mm.Bond((2,), 0.5)])
    assert H(up) == -4.5 and H(one) == 1.5
    two = mm.Heisenberg((2,), [mm.Bond((1,), 1.0)])
    assert two(up[:2]) == -2 and two(one[:2]) == 2


@settings(max_examples=5)
@given(seed=seeds)
def test_a_bond_is_the_same_from_its_other_end(seed):
    """The other end sees J and A as they are and D reversed; c times the identity is J = c."""
    rng = np.random.default_rng(seed)
    S, c = random_spins(rng, (3, 4)), rng.normal()
    J, D, A = rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 3)), symmetric(rng, (3, 4))
    here = mm.Heisenberg((3, 4), [mm.Bond((1, -2), J, D, A)])
    turned = [np.roll(x, (1, -2), axis=(0, 1)) for x in (J, -D, A)]
    there = mm.Heisenberg((3, 4), [mm.Bond((-1, 2), *turned)])
    assert energy(here, S) == pytest.approx(float(energy(there, S)), abs=SAME)
    assert np.array_equal(here.live(), there.live())
    scalar, tensor = mm.Bond((1, 0), c), mm.Bond((1, 0), A=c * np.eye(3))
    same = [float(energy(mm.Heisenberg((3, 4), [bond]), S)) for bond in (scalar, tensor)]
    assert same[0] == pytest.approx(same[1], abs=SAME)


@pytest.mark.parametrize("structure", STRUCTURES, ids=NAMES)
def test_pairs_give_the_quadratic_energy(structure):
    rng = np.random.default_rng(11)
    H, S = random_energy(rng, structure, True), random_spins(rng, structure[0])
    flat = np.asarray(S).reshape(-1, 3)
    pairs = sum(float(np.einsum("na,nab,nb->", flat[i], blocks, flat[j])) for i, j, blocks in H.pairs())
    assert pairs - np.sum(np.asarray(H.field) * S) == pytest.approx(float(energy(H, S)), abs=SAME)


def test_a_site_with_a_tensor_alone_has_a_moment():
    A = np.zeros((4, 3, 3))
    A[1] = np.diag([0.0, 0.0, 1.0])
    assert mm.Heisenberg((4,), [mm.Bond((1,), A=A)]).live().tolist() == [False, True, True, False]


MISTAKES = {
    "no axes": (lambda: mm.Heisenberg(()), r"positive integers, got \(\)"),
    "no cells": (lambda: mm.Heisenberg((3, 0)), r"positive integers, got \(3, 0\)"),
    "part of a cell": (lambda: mm.Heisenberg((3, 1.5)), "positive integers"),
    "periodic": (lambda: mm.Heisenberg((3, 3), periodic=(True,)), "periodic must be True, False or 2 of them"),
    "outside": (lambda: mm.Heisenberg((3, 3), [mm.Bond((1, 3), 1.0)]), r"\(1, 3\) is outside the lattice of \(3, 3\)"),
    "offset of zero": (lambda: mm.Heisenberg((3,), [mm.Bond((0,), 1.0)]), "joins two spins"),
    "short offset": (lambda: mm.Heisenberg((3, 3), [mm.Bond((1,), 1.0)]), "offset is 2 whole numbers"),
    "broken offset": (lambda: mm.Heisenberg((3, 3), [mm.Bond((1, 0.5), 1.0)]), "offset is 2 whole numbers"),
    "both ends": (
        lambda: mm.Heisenberg((3, 3), [mm.Bond((1, 0), 1.0), mm.Bond((-1, 0), 1.0)]),
        "is listed from both its ends",
    ),
    "both ends of two cells": (
        lambda: mm.Heisenberg((2,), [mm.Bond((1,), 1.0), mm.Bond((-1,), 1.0)]),
        "is listed from both its ends",
    ),
    "twice": (
        lambda: mm.Heisenberg((3, 3), [mm.Bond((1, 0), 1.0), mm.Bond((0, 1)), mm.Bond((1, 0), D=(0, 0, 1))]),
        r"the bond \(1, 0\) is listed twice",
    ),
    "axis of zero": (lambda: mm.Heisenberg((3,), anisotropy=[(1.0, (0, 0, 0))]), "anisotropy axis 0 must not be zero"),
    "NaN": (lambda: mm.Heisenberg((3,), [mm.Bond((1,), np.nan)]), r"J of bond \(1,\) must be finite numbers, got nan"),
    "infinite": (lambda: mm.Heisenberg((3,), field=(0, 0, np.inf)), "field must be finite"),
    "local NaN": (lambda: mm.Heisenberg((3,), field=np.full((3, 3), np.nan)), "field must be finite"),
    "shape of J": (lambda: mm.Heisenberg((3, 2), [mm.Bond((1, 0), np.ones((2, 3)))]), r"shape \(\) or \(3, 2\), got"),
    "shape of D": (lambda: mm.Heisenberg((3,), [mm.Bond((1,), 1.0, (1.0, 2.0))]), r"D of bond .* shape \(3,\) or"),
    "shape of A": (lambda: mm.Heisenberg((3,), [mm.Bond((1,), A=np.ones(3))]), r"A of bond .* shape \(3, 3\) or"),
    "tensor": (lambda: mm.Heisenberg((3,), [mm.Bond((1,), A=np.triu(np.ones((3, 3))))]), "must be a symmetric tensor"),
    "NaN in a tensor": (lambda: mm.Heisenberg((3,), [mm.Bond((1,), A=np.full((3, 3), np.nan))]), "must be finite"),
    "shape of K": (lambda: mm.Heisenberg((3,), anisotropy=[(np.ones(2), (0, 0, 1))]), "anisotropy constant 0"),
    "shape of an axis": (lambda: mm.Heisenberg((3,), anisotropy=[(1.0, (0, 1))]), "anisotropy axis 0 must have shape"),
    "shape of the field": (lambda: mm.Heisenberg((3,), field=0.1), r"field must have shape \(3,\) or \(3, 3\)"),
    "shape of a state": (lambda: mm.Heisenberg((3, 2))(jnp.ones((2, 3, 3))), r"state of shape \(3, 2, 3\)"),
    "a path": (lambda: mm.Heisenberg((3,))(jnp.ones((5, 3, 3))), r"state of shape \(3, 3\), got \(5, 3, 3\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_in_words(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_spin_may_be_a_tuple_of_angles():
    assert mm.single_spin()(np.array([0.0, np.pi / 2])) == pytest.approx(0, abs=rounding(3))
    assert mm.single_spin()(jnp.array([0.1, 0.2])) == mm.single_spin()((0.1, 0.2)) == mm.single_spin()([0.1, 0.2])
