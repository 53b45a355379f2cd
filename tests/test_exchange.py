"""What exchange makes stiff, damped: against exact Hessians, and in the methods that use it."""

import jax.numpy as jnp
import numpy as np
import pytest
from rounding import rounding

import mepmeta as mm
from mepmeta.force import Parts
from mepmeta.problem import pose
from mepmeta.search.climb import climbed
from mepmeta.search.descent import descend
from mepmeta.search.newton import lowest_mode, newton

spheres = mm.Spheres()
K = 0.15


def lattice(name, J):
    shape = {"chain": (8,), "square": (6, 8), "triangular": (6, 6), "cubic": (4, 6, 4)}[name]
    return mm.Heisenberg(shape, mm.nearest_neighbours(name, J), [(K, (0, 0, 1))])


def waves(energy, S):
    """Random tangent vectors."""
    return spheres.project(S, jnp.asarray(np.random.default_rng(0).standard_normal(S.shape)))


@pytest.mark.parametrize(
    "name, J",
    [
        ("chain", 1.0),
        ("square", 1.0),
        ("triangular", 1.0),
        ("cubic", 1.0),
        ("chain", -1.0),
        ("square", -0.7),
        ("cubic", -1.0),
    ],
)
def test_about_a_state_of_least_exchange_it_is_the_inverse_of_the_hessian(name, J):
    """With the anisotropy for the mass; neighbours are parallel, or with J < 0 antiparallel."""
    energy = lattice(name, J)
    cells = np.indices(energy.shape).sum(axis=0)
    S = mm.ferromagnet(energy.shape) * jnp.asarray(np.where(cells % 2 & (J < 0), -1.0, 1.0))[..., None]
    v = waves(energy, S)
    H = mm.hessian(energy, S, geometry=spheres)
    back = H @ np.asarray(spheres.coordinates(S, energy.damped(v, jnp.asarray(2 * K))))
    stiffest = float(np.linalg.eigvalsh(H.toarray()).max())
    np.testing.assert_allclose(back, stiffest * spheres.coordinates(S, v), atol=rounding(30 * stiffest, v.size))


def diluted(periodic):
    rng = np.random.default_rng(1)
    live = np.ones((6, 7))
    live[2, 3] = live[5, 0] = 0
    J = [live * np.roll(live, (-1, 0), (0, 1)) * rng.uniform(0.5, 1.5, (6, 7)), live * np.roll(live, (0, -1), (0, 1))]
    bonds = [mm.Bond((1, 0), jnp.asarray(J[0]), (0, 0.2, 0)), mm.Bond((0, 1), jnp.asarray(J[1]))]
    bonds[0] = bonds[0]._replace(D=jnp.asarray(J[0])[..., None] * jnp.array([0.0, 0.2, 0.0]))
    return mm.Heisenberg((6, 7), bonds, [(jnp.asarray(K * live), (0, 0, 1))], periodic=periodic), live


@pytest.mark.parametrize("periodic", [True, False, (True, False)])
def test_it_is_symmetric_and_positive_on_sites_with_a_moment_and_zero_on_the_others(periodic):
    energy, live = diluted(periodic)
    n = live.size * 3
    M = np.stack([np.ravel(energy.damped(jnp.asarray(e.reshape(6, 7, 3)), jnp.asarray(0.1))) for e in np.eye(n)])
    at = np.repeat(live.ravel() > 0, 3)
    M = M[at]
    assert np.all(M[:, ~at] == 0)
    np.testing.assert_allclose(M[:, at], M[:, at].T, atol=rounding(50))
    assert np.linalg.eigvalsh(M[:, at]).min() > 0.9


def test_planes_of_components_give_the_same():
    energy = lattice("square", 1.0)
    v = waves(energy, mm.ferromagnet(energy.shape))
    planes = energy.component_first().damped(jnp.moveaxis(v, -1, 0), jnp.asarray(0.1))
    np.testing.assert_allclose(jnp.moveaxis(planes, 0, -1), energy.damped(v, jnp.asarray(0.1)), atol=rounding(50))


def test_l_bfgs_with_it_is_l_bfgs_in_other_coordinates():
    """With M = L L^T the same steps as by plain L-BFGS for u, x = L u."""
    rng = np.random.default_rng(2)
    n, steps = 6, 9
    A = rng.standard_normal((n, n))
    A, L = jnp.asarray(A @ A.T / n + 0.3 * np.eye(n)), jnp.asarray(np.tril(rng.uniform(0.2, 1, (n, n))) + np.eye(n))
    method, b = mm.methods.LBFGS(step=0.1, angle=0.0, growth=jnp.inf, memory=4), jnp.asarray(rng.standard_normal(n))

    def run(force, soft, x):
        memory, path = method.init(x), []
        for _ in range(steps):
            F = force(x)
            zero = jnp.zeros((1, 1))
            parts = Parts(F, zero, None, jnp.zeros_like(F), None, None, None, None, soft(F))
            move, memory = method.update(parts, memory, x, mm.Flat())
            x = x + move
            path.append(x[0])
        return np.stack(path)

    plain = run(lambda u: (b - u @ L.T @ A) @ L, lambda F: None, jnp.zeros((1, n)))
    found = run(lambda x: b - x @ A, lambda F: F @ L @ L.T, jnp.zeros((1, n)))
    np.testing.assert_allclose(found, plain @ np.asarray(L).T, atol=rounding(1e3, steps))


def pass_of_a_film():
    n = 12
    film = mm.Heisenberg((n, n), mm.nearest_neighbours("square", J=1.0, D=0.35), [(0.2, (0, 0, 1))])
    r = mm.find_mep(film, mm.skyrmion((n, n), center=(5, 5), radius=2.5, width=1.5), mm.ferromagnet((n, n)),
                    geometry=spheres, n_images=8, progress=False)  # fmt: skip
    assert r.converged
    problem = pose(film, spheres, r.path[0], r.path[-1])
    path, top = problem.inside(r.path, axis=1), int(np.argmax(r.energies))
    return problem, path, path[top]


def test_the_climb_comes_to_the_saddle_at_a_small_part_of_the_gradients():
    problem, path, saddle = pass_of_a_film()
    away = problem.moved_by(saddle, 0.2 * np.asarray(problem.way(saddle, path[0])))
    found = climbed(problem, away, tol=1e-9, max_steps=50)
    alone = newton(problem, away, tol=1e-9, max_steps=50, rule=lowest_mode(problem))
    assert found.ended == alone.ended == "converged" and found.residual <= 1e-9
    assert problem.distance(found.state, saddle) < 1e-5 and problem.distance(alone.state, saddle) < 1e-5
    assert found.evaluations < 0.7 * alone.evaluations


def test_a_climb_out_of_reach_is_left_to_newton_steps():
    problem, path, saddle = pass_of_a_film()
    away = problem.moved_by(saddle, 0.2 * np.asarray(problem.way(saddle, path[0])))
    reach = 0.3 * problem.distance(away, saddle)
    found = climbed(problem, away, tol=1e-9, max_steps=50, reach=reach)
    assert found.ended == "far"


def test_a_descent_keeps_its_distance():
    """And no state near by and as far away has less energy."""
    problem, path, saddle = pass_of_a_film()
    x, d = path[1], problem.distance(path[1], saddle)
    found = descend(problem, x, 1e-8, 300, along=saddle, distance=d)
    assert found.residual <= 1e-8
    assert problem.distance(found.state, saddle) == pytest.approx(d, rel=rounding(10, x.size))
    rng = np.random.default_rng(3)
    for _ in range(20):
        v = np.asarray(problem.geometry.project(found.state, 0.05 * rng.standard_normal(x.shape)))
        other = problem.moved_by(found.state, v)
        for _ in range(2):
            way = np.asarray(problem.way(other, saddle))
            other = problem.moved_by(other, (1 - d / np.linalg.norm(way)) * way)
        assert problem.look(other)[0] > found.energy


def test_what_a_descent_has_learned_helps_the_next_one():
    problem, path, saddle = pass_of_a_film()
    first = descend(problem, path[1], 1e-8, 300, along=saddle, distance=problem.distance(path[1], saddle))
    moved = problem.moved_by(first.state, 0.01 * np.asarray(problem.way(first.state, path[0])))
    d = problem.distance(moved, saddle)
    fresh = descend(problem, moved, 1e-8, 300, along=saddle, distance=d)
    again = descend(problem, moved, 1e-8, 300, along=saddle, distance=d, before=first.march)
    assert again.residual <= 1e-8 and again.evaluations <= fresh.evaluations
    assert problem.distance(again.state, fresh.state) < 1e-5


def test_an_energy_without_exchange_is_left_alone():
    v = jnp.asarray(np.random.default_rng(4).standard_normal((1, 3)))
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))], periodic=False)
    np.testing.assert_array_equal(spin.damped(v, jnp.asarray(0.1)), v)


def test_constants_of_mixed_precision():
    film = mm.Heisenberg((3, 4), mm.nearest_neighbours("square", 1.0), [(jnp.float32(0.2), (0, 0, 1))])
    found = mm.relax(film, mm.ferromagnet((3, 4), (0.6, 0, 0.8)), geometry=spheres)
    assert found.converged and found.energy == pytest.approx(-24 - 12 * float(jnp.float32(0.2)), rel=rounding(1, 12))


def test_a_descent_that_is_there_at_once_has_its_distance():
    problem, path, saddle = pass_of_a_film()
    d = 0.5 * problem.distance(path[1], saddle)
    found = descend(problem, path[1], 1e3, 300, along=saddle, distance=d)
    assert found.evaluations == 1 and problem.distance(found.state, saddle) == pytest.approx(d, rel=1e-9)
