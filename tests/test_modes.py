"""Modes: eigenvalues by hand and of magnons, dense and Lanczos, zero modes, tangent vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from rounding import rounding

import mepmeta as mm
from mepmeta.spectra import davidson, eigenpairs, modes

SHAPE = (6, 6)
ANGLES = mm.single_spin(K1=1.0, K2=-2.0)
spheres = mm.Spheres()


def spin(S):
    """The paper's spin as a vector: K1 = 1, K2 = -2."""
    return -(S[..., 0] ** 2) + 2 * S[..., 2] ** 2


def ferromagnet(J=1.0, K=0.0, h=0.0):
    return mm.Heisenberg(SHAPE, mm.nearest_neighbours("square", J), [(K, (0, 0, 1))], (0.0, 0.0, h))


def magnons(J=1.0, K=0.0, h=0.0):
    """All eigenvalues at the ferromagnet along z: 2K + h + J (4 - 2 cos qx - 2 cos qy), each twice."""
    q = 2 * np.pi * np.arange(6) / 6
    waves = 2 * K + h + J * (4 - 2 * np.cos(q)[:, None] - 2 * np.cos(q))
    return np.sort(np.repeat(np.ravel(waves), 2))


UP = mm.ferromagnet(SHAPE)
TILTED = mm.ferromagnet(SHAPE, (1.0, -2.0, 0.5))


def random_state(seed=3):
    S = np.random.default_rng(seed).normal(size=(*SHAPE, 3))
    return jnp.array(S / np.linalg.norm(S, axis=-1, keepdims=True))


@pytest.mark.parametrize("point, expected", [((0.0, 0.0), (2.0, 6.0)), ((0.0, np.pi / 2), (-2.0, 4.0))])
def test_eigenvalues_of_the_papers_spin_in_angles_and_on_the_sphere(point, expected):
    x = jnp.array(point)
    for energy, state, geometry in ((ANGLES, x, mm.Flat()), (spin, mm.angles_to_spin(x), spheres)):
        found = mm.lowest_modes(energy, state, geometry=geometry)
        np.testing.assert_allclose(found.values, expected, atol=rounding(6))
        assert found.negative == (expected[0] < 0) and found.zero == 0
        assert found.scale == pytest.approx(max(map(abs, expected)))
    # the lowest mode is the turn about z: along y at x, and along x at y
    assert np.abs(found.vectors[0]) == pytest.approx([0, 1, 0] if expected[0] > 0 else [1, 0, 0], abs=rounding(6))


def test_eigenvalues_of_the_maximum():
    x = jnp.array([np.pi / 2 - 1e-9, 0.3])  # the chart is singular at the pole itself, the sphere is not
    found = mm.lowest_modes(spin, mm.angles_to_spin(x), geometry=spheres)
    np.testing.assert_allclose(found.values, [-6.0, -4.0], atol=1e-7)
    assert found.negative == 2


@pytest.mark.parametrize("J, K, h", [(1.0, 0.15, 0.0), (0.7, 0.1, 0.25), (1.0, 0.0, 0.3)])
def test_magnons_of_a_ferromagnet(J, K, h):
    found = mm.lowest_modes(ferromagnet(J, K, h), UP, k=72, geometry=spheres)
    np.testing.assert_allclose(found.values, magnons(J, K, h), atol=rounding(10))
    assert found.values[0] == pytest.approx(2 * K + h, abs=rounding(10))  # of the largest eigenvalue
    assert found.negative == 0 and found.zero == 0


def by_derivatives(monkeypatch):
    monkeypatch.setattr(modes, "is_local", lambda energy, geometry: False)


@pytest.fixture(params=["dense", "sparse", "derivatives"])
def way(request, monkeypatch):
    """The three ways to modes: the whole Hessian, a sparse matrix, products by derivatives."""
    if request.param != "dense":
        for module in (modes, eigenpairs):
            monkeypatch.setattr(module, "DENSE", 10)
    if request.param == "derivatives":
        by_derivatives(monkeypatch)
    return request.param


@pytest.mark.parametrize("k", [1, 4])
def test_lanczos_agrees_with_the_formula_and_with_the_dense_hessian(monkeypatch, k):
    H = ferromagnet(K=0.15)
    for module in (modes, eigenpairs):
        monkeypatch.setattr(module, "DENSE", 10)
    by_derivatives(monkeypatch)
    lanczos = mm.lowest_modes(H, UP, k, geometry=spheres)
    np.testing.assert_allclose(lanczos.values[:2], magnons(K=0.15)[:k][:2], atol=1e-9)
    at_random = mm.lowest_modes(H, random_state(), k, geometry=spheres)
    monkeypatch.undo()
    dense = mm.lowest_modes(H, random_state(), k, geometry=spheres)
    np.testing.assert_allclose(at_random.values, dense.values, atol=1e-7)
    overlap = jnp.abs(jnp.sum(at_random.vectors * dense.vectors, axis=(1, 2, 3)))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)
    assert at_random.negative == dense.negative == k


def test_an_isotropic_ferromagnet_has_two_zero_modes(way):
    found = mm.lowest_modes(ferromagnet(), TILTED, k=4, geometry=spheres)
    assert (found.zero, found.negative) == (2, 0)
    np.testing.assert_allclose(found.values, magnons()[:4], atol=1e-6)
    # both turn all spins alike
    np.testing.assert_allclose(found.vectors[:2], jnp.broadcast_to(found.vectors[:2, :1, :1], (2, 6, 6, 3)), atol=1e-5)


@pytest.mark.parametrize("shape, lattice", [((20, 20), "square"), ((400,), "chain"), ((9, 9, 8), "cubic")])
def test_the_sparse_matrix_and_derivatives_agree_on_textures(monkeypatch, shape, lattice):
    bonds = mm.nearest_neighbours(lattice, 1.0, 0.3, "bloch")
    H = mm.Heisenberg(shape, bonds, [(0.15, (0, 0, 1))], (0.1, 0.0, 0.2))
    S = np.random.default_rng(0).normal(size=(*shape, 3)) + np.array([0, 0, 2.0])
    S = jnp.array(S / np.linalg.norm(S, axis=-1, keepdims=True))
    sparse = mm.lowest_modes(H, S, 3, geometry=spheres)
    in_planes = mm.lowest_modes(H.component_first(), jnp.moveaxis(S, -1, 0), 3, geometry=mm.Spheres(axis=0))
    by_derivatives(monkeypatch)
    lanczos = mm.lowest_modes(H, S, 3, geometry=spheres)
    assert sparse.products < lanczos.products
    # From below: two dozens of products with a matrix give the largest curvature to a hundredth, seven to a tenth.
    largest = np.abs(np.linalg.eigvalsh(mm.hessian(H, S, geometry=spheres).toarray())).max()
    assert 0.9 * largest < lanczos.scale < (1 + 1e-9) * largest
    for found in (sparse, in_planes):
        np.testing.assert_allclose(found.values, lanczos.values, atol=1e-7 * lanczos.scale)
        assert 0.99 * largest < found.scale < (1 + 1e-9) * largest
    for vectors in (sparse.vectors, jnp.moveaxis(in_planes.vectors, 1, -1)):
        overlap = jnp.abs(jnp.sum(vectors * lanczos.vectors, axis=tuple(range(1, S.ndim + 1))))
        np.testing.assert_allclose(overlap, 1, atol=1e-6)


def test_an_easy_plane_has_one_zero_mode_and_a_hard_axis_an_index():
    # one Goldstone mode, and the other uniform turn costs 2|K|
    found = mm.lowest_modes(ferromagnet(K=-0.1), mm.ferromagnet(SHAPE, (0.6, 0.8, 0)), geometry=spheres)
    assert (found.zero, found.negative) == (1, 0) and found.values[1] == pytest.approx(0.2, abs=rounding(10))
    found = mm.lowest_modes(ferromagnet(K=-0.1), UP, geometry=spheres)
    assert (found.zero, found.negative) == (0, 2)


def test_modes_are_orthonormal_and_tangent(way):
    S = random_state(4)
    found = mm.lowest_modes(ferromagnet(K=0.15), S, k=5, geometry=spheres)
    assert found.vectors.shape == (5, *SHAPE, 3) and found.values.shape == (5,)
    flat = found.vectors.reshape(5, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(jnp.sum(found.vectors * S, axis=-1), 0, atol=1e-13)
    assert np.all(np.diff(found.values) >= 0)


def test_modes_solve_the_eigenvalue_problem_of_the_second_difference():
    """The energy along the geodesic of a mode, differentiated twice by differences."""
    S = TILTED
    found = mm.lowest_modes(ferromagnet(K=0.0, J=0.9), S, k=3, geometry=spheres)
    H, v, h = ferromagnet(J=0.9), found.vectors[2], 1e-3

    def along(t):
        size = jnp.sqrt(jnp.sum(v * v, axis=-1, keepdims=True))
        return H(jnp.cos(t * size) * S + t * jnp.sinc(t * size / jnp.pi) * v)  # a mode may have nodes

    second = (along(h) + along(-h) - 2 * along(0.0)) / h**2
    assert second == pytest.approx(found.values[2], abs=1e-5)


def test_no_more_modes_than_degrees_of_freedom_and_the_largest_curvature():
    assert mm.lowest_modes(ANGLES, jnp.zeros(2), k=9).values.shape == (2,)
    scale = mm.curvature_scale(ferromagnet(K=0.15), UP, geometry=spheres)
    assert scale == pytest.approx(magnons(K=0.15)[-1], rel=0.1)
    assert mm.curvature_scale(lambda x: jnp.sum(x) * 0, jnp.ones(3)) == 0


@pytest.mark.parametrize("dense", [400, 0])
def test_hessians_that_are_not_finite_are_refused(monkeypatch, dense):
    for module in (modes, eigenpairs):
        monkeypatch.setattr(module, "DENSE", dense)
    with pytest.raises(ValueError, match="Hessian of the energy is not finite"):
        mm.lowest_modes(lambda x: jnp.sum(x**1.5), jnp.zeros(3), k=1)


@pytest.mark.parametrize(("constant", "linear"), [(0.0, np.nan), (np.inf, 0.0)])
def test_an_energy_that_is_not_finite_is_refused_where_its_hessian_is(constant, linear):
    energy = mm.Sum(ANGLES, lambda x: constant + linear * jnp.sum(x))
    for call in (mm.hessian, mm.lowest_modes, mm.curvature_scale):
        with pytest.raises(ValueError, match="the energy or its gradient is not finite at this state"):
            call(energy, jnp.zeros(2))
    path = mm.straight_path(jnp.zeros(2), jnp.array([0.0, jnp.pi]), 5)
    with pytest.raises(ValueError, match="the energy or its gradient is not finite at this state"):
        mm.rate_limit(energy, path, mm.NEBParams(0.1, 1.0, 3.0))


MISTAKES = [
    (lambda: mm.lowest_modes(ANGLES, jnp.zeros(2), 0), "k must be at least 1"),
    (lambda: mm.lowest_modes(ANGLES, jnp.array([0, 1])), "the state must be a float array"),
    (lambda: mm.lowest_modes(ANGLES, jnp.array([0, jnp.nan])), "not finite"),
    (lambda: mm.lowest_modes(spin, jnp.ones(3), geometry=spheres), "unit vectors"),
    (lambda: mm.lowest_modes("energy", jnp.zeros(2)), "must be callable"),
]


@pytest.mark.parametrize("call, message", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_the_same_inside_a_larger_program():
    """The energy may be a pytree whose constants vary: one compilation serves them all."""
    values = [mm.lowest_modes(ferromagnet(K=K), UP, 1, geometry=spheres).values[0] for K in (0.1, 0.2)]
    np.testing.assert_allclose(values, [0.2, 0.4], atol=1e-12)
    plain = jax.tree_util.Partial(lambda K, S: -K * S[..., 2] ** 2, jnp.array(0.3))
    assert mm.lowest_modes(plain, jnp.array([0.0, 0, 1]), geometry=spheres).values == pytest.approx([0.6, 0.6])


def test_every_direction_of_a_degenerate_eigenvalue_is_found():
    """From one start vector Lanczos may see one of them, and a saddle of index two would pass as one of index one."""
    curvatures = jnp.concatenate([jnp.array([-0.1, -0.1, 2, 2, 2]), jnp.linspace(2.01, 8, 1800)])
    modes = mm.lowest_modes(lambda x: jnp.sum(curvatures * x**2) / 2, jnp.zeros(curvatures.size), 5)
    np.testing.assert_allclose(modes.values, [-0.1, -0.1, 2, 2, 2], atol=1e-9)
    assert modes.negative == 2
    np.testing.assert_allclose(modes.vectors @ modes.vectors.T, np.eye(5), atol=1e-7)  # vectors: to the root of that


def test_a_guess_of_another_symmetry_does_not_hide_the_lowest_mode():
    """Two blocks that do not see each other: from the lowest mode of one, the lowest of all is found in the other."""
    n = 700
    chain = sp.diags_array([np.full(n - 1, -1.0), np.full(n, 2.0), np.full(n - 1, -1.0)], offsets=(-1, 0, 1))
    H = sp.csc_array(sp.block_diag([chain - 0.2 * sp.eye_array(n), chain - 0.3 * sp.eye_array(n)]))
    other = np.concatenate([np.linalg.eigh(chain.toarray())[1][:, 0], np.zeros(n)])
    found = davidson.near_lowest(H, davidson.Near(other)).vector
    exact = -0.3 + 4 * np.sin(np.pi / (2 * (n + 1))) ** 2
    assert found @ (H @ found) == pytest.approx(exact, rel=0.05) and np.linalg.norm(found[:n]) < 1e-3


@pytest.mark.parametrize("lowest", [-0.03, -0.3, -1.0])
def test_an_exact_mode_for_a_guess_does_not_hide_a_lower_one(lowest):
    """Among many others near by."""
    H = sp.csc_array(sp.diags_array(np.concatenate([[0.1, lowest], np.linspace(0.11, 8, 5000)])))
    found = davidson.near_lowest(H, davidson.Near(np.eye(1, 5002)[0])).vector
    assert abs(found[1]) > 0.9


@pytest.mark.parametrize("guess", [False, True])
def test_the_rough_lowest_mode_is_the_lowest(guess):
    """From nothing, or from near it: apart from the others, whatever signs they have."""
    rng = np.random.default_rng(0)
    values = np.concatenate([[-0.4, -0.1, 0.02], rng.uniform(0.05, 8, 997)])
    A = sp.diags_array(values).tocsc()
    turn = np.eye(1000)
    for i in range(0, 998, 3):  # nearly diagonal, so that the modes are known and sparse
        c, s = np.cos(0.3 * i), np.sin(0.3 * i)
        turn[[i, i + 1]] = c * turn[[i, i + 1]] + s * np.array([[1], [-1]]) * turn[[i + 1, i]]
    turn = sp.csc_array(turn)
    H = sp.csc_array(turn @ A @ turn.T)
    lowest = turn.toarray()[:, 0]
    start = lowest + 0.3 * rng.standard_normal(1000) / np.sqrt(1000)
    found = davidson.near_lowest(H, davidson.Near(start) if guess else None).vector
    assert abs(found @ lowest) > 0.99


@pytest.mark.parametrize("sunk", [False, True])
def test_factors_of_a_matrix_near_by_serve_again(sunk, monkeypatch):
    """After a small step a mode costs one factorisation, for the signs; and one that has sunk meanwhile is found."""
    n, rng = 900, np.random.default_rng(0)
    chain = sp.diags_array([np.full(n - 1, -1.0), np.full(n, 2.0), np.full(n - 1, -1.0)], offsets=(-1, 0, 1))

    def dip(place, depth):
        return sp.diags_array(-depth * np.exp(-((np.arange(n) - place) ** 2) / 50))

    before = sp.csc_array(chain + dip(200, 0.9) + dip(600, 0.8))
    after = sp.csc_array(chain + dip(203, 0.9) + dip(600, 1.2 if sunk else 0.8) + sp.diags_array(0.02 * rng.random(n)))
    known = davidson.near_lowest(before, None)
    counted = []
    once = eigenpairs.factorised
    monkeypatch.setattr(eigenpairs, "factorised", lambda *args: counted.append(1) or once(*args))
    found = davidson.near_lowest(after, known).vector
    exact = np.linalg.eigvalsh(after.toarray())[0]
    assert found @ (after @ found) == pytest.approx(exact, rel=0.05)
    assert len(counted) == 1 or sunk
