"""The images below a saddle, one after another: where they lie, and what happens where a valley leads elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.distance import cdist

import mepmeta as mm
from mepmeta.problem import pose
from mepmeta.search.valley import valleys

spheres = mm.Spheres()


def ring(x):
    """Four minima on a circle, tilted in a wider bowl: the ways between them are curved."""
    r = jnp.linalg.norm(x[:2])
    angle = jnp.arctan2(x[1], x[0])
    return 8 * (r - 1) ** 2 - 0.5 * jnp.cos(4 * angle) + 0.1 * jnp.sin(angle) * x[2] + 3 * (x[2] - 0.3 * x[0]) ** 2


ENDS = jnp.array([[1.0, 0.1, 0.3], [0.1, 1.0, 0.0]])


def steepest_descent(energy, saddle, mode):
    """Both steepest descent lines of a saddle, as points, by an integrator of order eight."""
    slope = jax.jit(jax.grad(energy))
    lines = []
    for side in (1, -1):
        way = solve_ivp(
            lambda t, x: -np.asarray(slope(x)), (0, 20), saddle + 1e-4 * side * mode, method="DOP853", rtol=1e-10,
            atol=1e-12, t_eval=np.linspace(0, 20, 40_001),
        )  # fmt: skip
        lines.append(way.y.T)
    return np.concatenate(lines)


def test_images_lie_on_the_lines_of_steepest_descent():
    """Farther off in proportion to their distance: a secant stands for the tangent."""
    off = []
    for n in (13, 25):
        r = mm.find_mep(ring, *ENDS, n_images=n, progress=False)
        assert r.converged and not any("by image" in name for name, _ in r.methods)
        modes = mm.lowest_modes(ring, r.saddle, 1)
        line = steepest_descent(ring, np.asarray(r.saddle), np.asarray(modes.vectors[0]))
        off.append(cdist(np.asarray(r.path), line).min(axis=1).max())
    assert 1e-3 < off[0] < 0.05 and 1.4 < off[0] / off[1] < 3


@pytest.mark.parametrize("n", [5, 9, 14])
def test_every_image_is_a_lowest_one_at_its_distance_from_the_one_above(n):
    """No state near an image, and as far from the image above it, has less energy; and distances are nearly equal."""
    r = mm.find_mep(ring, *ENDS, n_images=n, progress=False)
    assert not any("by image" in name for name, _ in r.methods)
    path, top = np.asarray(r.path), int(np.argmax(r.energies))
    rng = np.random.default_rng(n)
    for k in [*range(1, top), *range(top + 1, n - 1)]:
        above = path[k + 1] if k < top else path[k - 1]
        d = np.linalg.norm(path[k] - above)
        others = path[k] + 1e-2 * d * rng.standard_normal((50, 3))
        others = above + d * (others - above) / np.linalg.norm(others - above, axis=1, keepdims=True)
        assert np.min(jax.vmap(ring)(others)) > r.energies[k]
    for lengths in (np.diff(r.position[: top + 1]), np.diff(r.position[top:])):
        assert lengths.max() < 1.34 / 0.74 * lengths.min()


def three(x):
    """Minima near x = -2, 0 and 2, the pass on the right the higher one, on a parabola."""
    return -jnp.cos(jnp.pi * x[0]) * jnp.exp(0.05 * x[0]) + 2 * (x[1] - 0.1 * x[0] ** 2) ** 2


def test_a_valley_that_leads_elsewhere_is_left_alone():
    """From the pass on the right the way to the left ends in the middle, so on that side the path stays as it is."""
    minima = [np.asarray(mm.relax(three, jnp.array([x, 0.1 * x * x])).state) for x in (-2.0, 2.0)]
    saddle = mm.find_mep(three, jnp.array([0.0, 0.0]), jnp.asarray(minima[1]), progress=False).saddle
    problem = pose(jax.tree_util.Partial(three), mm.Flat(), *map(jnp.asarray, minima))
    t = np.linspace(0, 1, 14)[:, None]
    path = np.asarray(problem.inside((1 - t) * minima[0] + t * minima[1], axis=1))
    top = int(np.argmin(np.linalg.norm(path - problem.inside(saddle), axis=1)))
    path[top] = problem.inside(saddle)
    mode = np.asarray(mm.lowest_modes(three, saddle, 1).vectors[0])
    found, evaluations, astray = valleys(problem, path, top, mode, 1e-8)
    assert not astray[1] and problem.distance(astray[0][0], path[top]) == 0
    middle = problem.inside(mm.relax(three, jnp.zeros(2)).state)  # that side went down to near the minimum there
    assert problem.distance(astray[0][-1], middle) < 0.5 * problem.distance(path[top], middle)
    np.testing.assert_array_equal(found[: top + 1], path[: top + 1])
    assert np.abs(found[top + 1 : -1] - path[top + 1 : -1]).min() > 0 and evaluations > 0
    E = np.array([three(problem.outside(x)) for x in found[top:]])
    assert np.all(np.diff(E) < 0)


def test_what_a_search_reports_beyond_a_valley_that_leads_elsewhere():
    r = mm.find_mep(three, jnp.array([-2.0, 0.4]), jnp.array([2.0, 0.4]), progress=False)
    assert r.converged and r.residual < 1e-5 and len(r.points) == 5, r.message


@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_a_film_needs_no_iteration_below_its_saddle(turn):
    """And turning spins, axes and lattice alike changes nothing."""
    n = 14
    film = mm.Heisenberg((n, n), mm.nearest_neighbours("square", J=1.0, D=0.3), [(0.15, (0, 0, 1))])
    skyrmion, up = mm.skyrmion((n, n), center=(6, 6), radius=3.0, width=2.0), mm.ferromagnet((n, n))
    R = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    turned = lambda S: film(S @ R)  # noqa: E731
    r = mm.find_mep(turned, skyrmion @ R.T, up @ R.T, geometry=spheres, progress=False)
    assert r.converged and not any("by image" in name for name, _ in r.methods)
    whole = mm.find_mep(film, skyrmion, up, geometry=spheres, method=mm.methods.LBFGS(memory=10), progress=False)
    assert r.barrier == pytest.approx(whole.barrier, rel=1e-9)


@pytest.mark.parametrize("off", [0.0, 50.0])
def test_single_precision_far_from_the_origin(off):
    """The distance of two images is known to the rounding of their coordinates, not to a part of itself."""
    ends = (jnp.asarray(x + off, jnp.float32) for x in ENDS)
    r = mm.find_mep(lambda x: ring(x - off), *ends, progress=False)
    assert r.converged and not any("by image" in name for name, _ in r.methods)
    double = mm.find_mep(ring, *ENDS, progress=False)
    assert float(r.barrier) == pytest.approx(float(double.barrier), abs=1e-4)


@jax.custom_vjp
def forces_only(x):
    return ring(x)


@jax.custom_vjp
def _force(x):  # its own rule cannot be differentiated forward
    return jax.grad(ring)(x)


_force.defvjp(lambda x: (_force(x), None), lambda _, g: (g,))
forces_only.defvjp(lambda x: (ring(x), _force(x)), lambda force, g: (g * force,))


def test_an_energy_of_forces_only():
    """Its products are differences of forces, and the images come out the same."""
    found, whole = (mm.find_mep(energy, *ENDS, tol=1e-6, progress=False) for energy in (forces_only, ring))
    assert found.converged and not any("by image" in name for name, _ in found.methods)
    np.testing.assert_allclose(found.path, whole.path, atol=1e-5)


def test_a_film_with_a_vacancy():
    """The site without a moment stays where it is, and below the saddle no iteration is needed."""
    n = 14
    live = np.ones((n, n))
    live[2, 3] = 0
    bonds = mm.nearest_neighbours("square", J=1.0, D=0.3)
    whole = [live * np.roll(live, [-i for i in bond.offset], (0, 1)) for bond in bonds]
    bonds = [mm.Bond(b.offset, J=jnp.asarray(b.J * w), D=b.D * w[..., None]) for b, w in zip(bonds, whole, strict=True)]
    film = mm.Heisenberg((n, n), bonds, [(jnp.asarray(0.15 * live), (0, 0, 1))])
    skyrmion, up = mm.skyrmion((n, n), center=(7, 7), radius=3.0, width=2.0), mm.ferromagnet((n, n))
    r = mm.find_mep(film, skyrmion, up, geometry=spheres, progress=False)
    assert r.converged and not any("by image" in name for name, _ in r.methods), r.message
    np.testing.assert_array_equal(r.path[:, 2, 3], np.broadcast_to(np.asarray(skyrmion[2, 3]), r.path[:, 2, 3].shape))
