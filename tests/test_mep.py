"""``find_mep`` with its defaults: barriers known by hand or from other codes, invariances, and what fails in words."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rounding import rounding
from tqdm import tqdm

import mepmeta as mm

spheres = mm.Spheres()
X, Y, Z = np.eye(3)


def _quadratic(A, b, S):
    return S @ A @ S - b @ S


def spin(A, b=(0.0, 0.0, 0.0)):
    """E = S A S - b S for one spin. Its constants are leaves: all tests of it share their compilations."""
    return Partial(_quadratic, jnp.array(A, float), jnp.array(b, float))


PAPER = spin(np.diag([-1.0, 0.0, 2.0]))  # K1 = 1, K2 = -2


def find(energy, start, end, **options):
    options = {"geometry": spheres, "progress": False} | options
    return mm.find_mep(energy, jnp.asarray(start, float), jnp.asarray(end, float), **options)


def meridian(n=14):
    """From x to -x through +z."""
    t = jnp.linspace(0, jnp.pi, n)
    return jnp.stack([jnp.cos(t), 0 * t, jnp.sin(t)], axis=-1)


def mueller_brown(x):
    """The test surface of Mueller and Brown, Theor. Chim. Acta 53, 75 (1979)."""
    A = jnp.array([-200.0, -100.0, -170.0, 15.0])
    a, b, c = jnp.array([-1.0, -1.0, -6.5, 0.7]), jnp.array([0.0, 0.0, 11.0, 0.6]), jnp.array([-10.0, -10.0, -6.5, 0.7])
    u, v = x[0] - jnp.array([1.0, 0.0, -0.5, -1.0]), x[1] - jnp.array([0.0, 0.5, 1.5, 1.0])
    return jnp.sum(A * jnp.exp(a * u**2 + b * u * v + c * v**2))


def chain(n):
    """An open chain of n spins, easy along x and hard along z, which is to be reversed; and its two states.

    There are 20 spins in all, and those beyond n are cut off and stay: the shape and so the compilation are the same.
    """
    J = jnp.ones(20).at[n - 1].set(0)
    energy = mm.Heisenberg((20,), [mm.Bond((1,), J)], [(0.1, X), (-1.0, Z)], periodic=False)
    start = mm.ferromagnet((20,), X)
    return energy, start, start.at[:n].multiply(-1)


SKYRMION = mm.Heisenberg((30, 30), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, Z)])


#: Where curvatures are large the default tolerances, parts of the largest one, are coarser than what is asked here.
ABSOLUTE = {"tol": 1e-6, "endpoint_tol": 1e-8}


def run_of(name):
    if name == "spin":
        return PAPER, spheres, find(PAPER, X, -X)
    if name == "meridian":
        return PAPER, spheres, find(PAPER, X, -X, path=meridian())
    if name == "mueller brown":
        ends, options = ([-0.558, 1.442], [0.623, 0.028]), {"geometry": mm.Flat(), **ABSOLUTE}
        return mueller_brown, mm.Flat(), find(mueller_brown, *ends, **options)
    if name == "skyrmion":
        start = mm.skyrmion((30, 30), center=(14, 14), radius=3, width=2)
        return SKYRMION, spheres, find(SKYRMION, start, mm.ferromagnet((30, 30)))
    energy, start, end = chain(int(name.split()[1]))
    return energy, spheres, find(energy, start, end)


NAMES = ["spin", "meridian", "mueller brown", "chain 10", "chain 20", "skyrmion"]


@pytest.fixture(scope="module")
def runs():
    """Every example is run once, when it is first asked for."""
    done = {}

    def get(name):
        if name not in done:
            done[name] = run_of(name)
        return done[name]

    def forces(name):
        """Energies and gradients of all images and of the saddle, on the tangent space, in numpy."""
        if ("forces", name) not in done:
            energy, geometry, r = get(name)
            states = jnp.concatenate([r.path, r.saddle[None]])

            def both(x):
                E, g = jax.value_and_grad(energy)(x)
                return E, geometry.project(x, g)

            done["forces", name] = [np.asarray(a) for a in jax.jit(jax.vmap(both))(states)]
        return done["forces", name]

    get.forces = forces

    return get


# Barriers


@pytest.mark.parametrize("name", ["spin", "meridian"])
def test_the_papers_spin(runs, name):
    """Two saddles at +-y of energy 0, minima at +-x of -1, maxima at +-z of 2; the meridian leads over a maximum."""
    r = runs(name)[2]
    assert r.converged and r.barrier == pytest.approx(1, abs=1e-10) == r.reverse_barrier
    assert r.eigenvalues == pytest.approx([-2, 4], abs=1e-6) and r.zero_modes == 0
    np.testing.assert_allclose(np.abs(r.saddle), Y, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.asarray(r.path)[:, 2]), 0, atol=1e-5)  # the path is the equator
    assert [p.index for p in r.points] == [0, 1, 0] and r.position[-1] == pytest.approx(np.pi)
    assert ("a saddle of higher index was left 1 times" in r.message) == (name == "meridian")


def test_the_papers_spin_in_angles():
    r = find(mm.single_spin(), [0.0, 0.0], [0.0, np.pi], geometry=mm.Flat())
    assert r.converged and r.barrier == pytest.approx(1, abs=1e-12) and r.eigenvalues == pytest.approx([-2, 4])
    np.testing.assert_allclose(r.saddle, [0, np.pi / 2], atol=1e-6)


@pytest.mark.parametrize("h", [0.0, 0.3, -0.5, 1.2])
def test_an_easy_axis_in_a_field(h):
    """E = -K Sz^2 - h Sz: barriers K (1 +- h/2K)^2 over a saddle that is a circle."""
    K = 1.0
    r = find(spin(np.diag([0.0, 0.0, -K]), [0.0, 0.0, h]), Z, -Z)
    assert r.converged and r.barrier == pytest.approx(K * (1 + h / (2 * K)) ** 2, abs=1e-10)
    assert r.reverse_barrier == pytest.approx(K * (1 - h / (2 * K)) ** 2, abs=1e-10)
    assert r.zero_modes == 1 and "1 zero modes" in r.message
    assert r.saddle[2] == pytest.approx(-h / (2 * K), abs=1e-6)
    assert r.eigenvalues == pytest.approx([-2 * K + h**2 / (2 * K), 0], abs=1e-6)


def test_mueller_brown_has_two_saddles_on_its_path(runs):
    r = runs("mueller brown")[2]
    assert r.converged and [p.index for p in r.points] == [0, 1, 0, 1, 0]
    expected = [-146.69952, -40.66484, -80.76782, -72.24894, -108.16672]
    assert [p.energy for p in r.points] == pytest.approx(expected, abs=6e-6)
    assert r.barrier == pytest.approx(-40.66484 + 146.69952, abs=1e-5)
    assert r.reverse_barrier == pytest.approx(-40.66484 + 108.16672, abs=1e-5)
    np.testing.assert_allclose(r.saddle, [-0.822, 0.624], atol=1e-3)
    for p in r.points:  # all of them stationary, in order
        assert jnp.linalg.norm(jax.grad(mueller_brown)(p.state)) < 1e-6
        assert p.position == pytest.approx(np.interp(p.position, r.position, r.position))
    assert np.all(np.diff([p.position for p in r.points]) > 0)


@pytest.mark.parametrize("n, barrier", [(10, 0.84420), (20, 0.88626)])
def test_reversal_of_an_open_chain(runs, n, barrier):
    """By a wall that comes in at one end: below n K = 1.0 and 2.0 of the turn all together."""
    r = runs(f"chain {n}")[2]
    assert r.converged and r.barrier == pytest.approx(barrier, abs=1e-5) == r.reverse_barrier
    assert r.barrier < 0.1 * n and np.sum(r.eigenvalues < 0) == 1


def test_collapse_of_a_skyrmion(runs):
    r = runs("skyrmion")[2]
    assert r.converged and r.barrier == pytest.approx(1.0094899038, abs=1e-7)
    assert r.eigenvalues[0] == pytest.approx(-0.161594, abs=1e-6) and r.zero_modes == 0
    assert r.energies[0] == pytest.approx(-1927.6834537683, abs=1e-8) and r.energies[-1] == pytest.approx(-1935)
    assert [p.index for p in r.points] == [0, 1, 0]


# What a result promises


def logarithm(x, y, geometry):
    """The vector at x that leads to y, in numpy."""
    if geometry == mm.Flat():
        return y - x
    cos = np.clip(np.sum(x * y, axis=-1, keepdims=True), -1, 1)
    across = y - cos * x
    sin = np.linalg.norm(across, axis=-1, keepdims=True)
    return np.arctan2(sin, cos) * across / np.maximum(sin, 1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_the_residual_as_it_is_defined(runs, name):
    """From path and energy alone: the force across the tangent of Henkelman and Jonsson, without springs."""
    energy, geometry, r = runs(name)
    path = np.asarray(r.path)
    E, gradients = runs.forces(name)
    top, largest = 1 + np.argmax(E[1:-2]), 0.0
    for n in range(1, len(path) - 1):
        ahead, behind = logarithm(path[n], path[n + 1], geometry), -logarithm(path[n], path[n - 1], geometry)
        up, down = E[n + 1] - E[n], E[n - 1] - E[n]
        if E[n - 1] < E[n] < E[n + 1]:
            tau = ahead
        elif E[n - 1] > E[n] > E[n + 1]:
            tau = behind
        else:
            more, less = max(abs(up), abs(down)), min(abs(up), abs(down))
            tau = more * ahead + less * behind if up > down else less * ahead + more * behind
        tau = tau / np.linalg.norm(tau)
        g = gradients[n]
        force = g - (2 if n == top else 1) * np.sum(g * tau) * tau
        largest = max(largest, np.linalg.norm(force, axis=-1).max())
    assert r.residual <= 1e-6
    assert largest == pytest.approx(r.residual, abs=1e-8)
    if name not in ("spin", "meridian"):  # there the images lie on the path but for rounding
        assert largest == pytest.approx(r.residual, rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_result_fit_together(runs, name):
    energy, geometry, r = runs(name)
    P = r.path.shape[0]
    assert P == 14 == r.energies.size == r.position.size == r.slopes.size
    E, gradients = runs.forces(name)
    np.testing.assert_allclose(r.energies, E[:-1], atol=1e-9)
    lengths = jax.vmap(geometry.distance)(r.path[:-1], r.path[1:])
    np.testing.assert_allclose(np.diff(r.position), lengths, rtol=1e-5)
    assert r.barrier == pytest.approx(E[-1] - r.energies[0], abs=1e-9)
    assert r.barrier - r.reverse_barrier == pytest.approx(r.energies[-1] - r.energies[0], abs=1e-9)
    assert r.interpolated_barrier == pytest.approx(r.barrier, rel=1e-3)
    assert r.history.shape == (r.steps, 2) and r.evaluations > 3 * r.steps  # of five images, three move
    # the saddle is stationary, an image of the path, and has one negative mode
    sizes = np.linalg.norm(gradients, axis=-1).reshape(P + 1, -1).max(axis=1)
    assert sizes[-1] <= 1e-7
    assert jnp.min(jnp.max(jnp.abs(r.path - r.saddle).reshape(P, -1), axis=1)) < 1e-4
    if r.path.size < 500:  # few degrees of freedom compile fast
        modes = mm.lowest_modes(energy, r.saddle, geometry=geometry)
        assert modes.negative == 1
        np.testing.assert_allclose(modes.values, r.eigenvalues, atol=1e-6)
    assert sizes[0] <= 1e-8 and sizes[-2] <= 1e-8  # so are the ends, which are minima
    assert r.points[0].index == r.points[-1].index == 0


@pytest.mark.parametrize("name", ["meridian", "mueller brown", "chain 10", "skyrmion"])
def test_the_profile(runs, name):
    """It runs through the images with their slopes, and stays between the extrema of the path."""
    _, geometry, r = runs(name)
    np.testing.assert_allclose(r.profile(r.position), r.energies, atol=1e-10)
    h = 1e-5 * r.position[-1]
    slopes = (r.profile(r.position[1:-1] + h) - r.profile(r.position[1:-1] - h)) / (2 * h)
    np.testing.assert_allclose(slopes, r.slopes[1:-1], atol=1e-4 * np.ptp(r.energies))
    s = np.linspace(0, r.position[-1], 1001)
    assert np.all(np.isfinite(r.profile(s)))
    with pytest.raises(ValueError, match="the path goes from 0 to"):
        r.profile(r.position[-1] * 1.01)
    assert r.profile(s).max() - r.energies[0] == pytest.approx(r.interpolated_barrier, abs=1e-4 * np.ptp(r.energies))
    assert all(0 <= p.position <= r.position[-1] for p in r.points)
    # the slope is the derivative of the energy along the path
    n = 4
    direction = logarithm(np.asarray(r.path[n]), np.asarray(r.path[n + 1]), geometry)
    slope = np.sum(runs.forces(name)[1][n] * direction) / np.linalg.norm(direction)
    assert slope == pytest.approx(r.slopes[n], abs=0.3 * np.abs(r.slopes).max())


@pytest.mark.parametrize("name", ["mueller brown", "chain 10"])
def test_saved_and_loaded_it_is_the_same(runs, tmp_path, name):
    r = runs(name)[2]
    r.save(tmp_path / "result.npz")
    again = mm.MEP.load(tmp_path / "result.npz")
    for field in ("path", "energies", "position", "slopes", "saddle", "eigenvalues", "history"):
        np.testing.assert_array_equal(getattr(again, field), getattr(r, field), strict=True)
    simple = ("barrier", "reverse_barrier", "interpolated_barrier", "zero_modes", "residual", "steps", "evaluations")
    for field in (*simple, "converged", "message"):
        assert getattr(again, field) == getattr(r, field)
        assert type(getattr(again, field)) is type(getattr(r, field))
    assert len(again.points) == len(r.points)
    for p, q in zip(again.points, r.points, strict=True):
        assert (p.energy, p.position, p.index, p.zero_modes) == (q.energy, q.position, q.index, q.zero_modes)
        np.testing.assert_array_equal(p.state, q.state)
        np.testing.assert_array_equal(p.eigenvalues, q.eigenvalues)
    assert again.profile(0.1) == r.profile(0.1)


def test_other_files_are_not_loaded(tmp_path):
    np.savez(tmp_path / "other.npz", path=np.zeros(3))
    with pytest.raises(ValueError, match="is not a saved MEP: it has no .*barrier"):
        mm.MEP.load(tmp_path / "other.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="is not a saved MEP: it holds one array"):
        mm.MEP.load(tmp_path / "one.npy")
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        mm.MEP.load(tmp_path / "none.npz")


# Invariances, on a spin without symmetry

TILTED = np.diag([-1.0, 0.1, 1.5]), np.array([0.1, 0.2, -0.05])


def test_a_turn_of_energy_and_states_turns_the_path():
    A, b = TILTED
    r = find(spin(A, b), X, -X)
    R = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    # antipodal states choose their half circle by the axes: start from paths that are turned, too
    path = np.asarray(mm.straight_path(r.path[0], r.path[-1], 14, geometry=spheres))
    r = find(spin(A, b), X, -X, path=jnp.array(path))
    turned = find(spin(R @ A @ R.T, R @ b), R @ X, -R @ X, path=jnp.array(path @ R.T))
    assert r.converged and turned.converged
    assert turned.barrier == pytest.approx(r.barrier, abs=1e-10)
    assert turned.eigenvalues == pytest.approx(r.eigenvalues, abs=1e-6)
    np.testing.assert_allclose(turned.saddle, R @ np.asarray(r.saddle), atol=1e-6)
    np.testing.assert_allclose(turned.path, np.asarray(r.path) @ R.T, atol=1e-4)


def test_the_way_back_has_the_barriers_exchanged():
    A, b = TILTED
    there, back = find(spin(A, b), X, -X), find(spin(A, b), -X, X)
    assert there.converged and back.converged
    assert back.barrier == pytest.approx(there.reverse_barrier, abs=1e-10)
    assert back.reverse_barrier == pytest.approx(there.barrier, abs=1e-10)
    assert abs(there.barrier - there.reverse_barrier) > 0.1


@pytest.mark.parametrize("factor", [2.0**10, 2.0**-10])
def test_the_unit_of_energy_does_not_matter(factor):
    """Powers of two, so that nothing rounds otherwise and the steps are the same."""
    A, b = TILTED
    r = find(spin(A, b), X, -X, tol=1e-6, endpoint_tol=1e-8)
    scaled = find(spin(factor * A, factor * b), X, -X, tol=1e-6 * factor, endpoint_tol=1e-8 * factor)
    assert r.converged and scaled.converged and scaled.steps == r.steps
    assert scaled.barrier == pytest.approx(factor * r.barrier, rel=1e-10)
    assert scaled.eigenvalues == pytest.approx(factor * r.eigenvalues, rel=1e-5)
    np.testing.assert_allclose(scaled.path, r.path, atol=1e-6)
    assert scaled.residual == pytest.approx(factor * r.residual, rel=0.1)


def test_a_large_unit_of_energy_with_the_default_tolerances():
    r = find(spin(1e3 * np.diag([-1.0, 0.0, 2.0])), X, [-0.6, 0.8, 0.0])
    assert r.converged and r.barrier == pytest.approx(1000, rel=1e-10)


# Options


def test_every_method_converges(method):
    A, b = TILTED
    r = find(spin(A, b), X, -X, method=method)
    assert r.converged and r.residual <= 1e-6 and r.barrier == pytest.approx(find(spin(A, b), X, -X).barrier, abs=1e-10)


def test_params_are_the_method_of_the_paper():
    """Without climbing, the band is that of iterate with springs in the "scaled" reading, image by image."""
    path = meridian() + 0.1 * jnp.array([0.0, 1.0, 0.0])
    path = path / jnp.linalg.norm(path, axis=1, keepdims=True)
    path, params = path.at[0].set(X).at[-1].set(-X), mm.NEBParams(gamma=0.02, mu=1.0, beta=3.0)
    options = {"geometry": spheres, "tangent": "smooth", "spring": "scaled"}
    r = find(PAPER, X, -X, path=path, params=params, climb=False, relax_endpoints=False, max_steps=7)
    assert not r.converged and r.steps == 7
    np.testing.assert_allclose(r.path, mm.iterate(PAPER, path, params, 7, **options).path, atol=1e-12)
    r = find(PAPER, X, -X, path=path, params=params)
    assert r.converged and r.barrier == pytest.approx(1, abs=1e-10)


def test_without_climbing():
    A, b = TILTED
    r, other = find(spin(A, b), X, -X, climb=False), find(spin(A, b), X, -X)
    assert r.converged and r.barrier == pytest.approx(other.barrier, abs=1e-10)
    assert r.interpolated_barrier == pytest.approx(r.barrier, rel=1e-2)


@pytest.mark.parametrize("n_images", [3, np.int64(8)])
def test_number_of_images(n_images):
    r = find(PAPER, X, -X, n_images=n_images)
    assert r.converged and r.path.shape == (n_images, 3) and r.barrier == pytest.approx(1, abs=1e-10)


def test_ends_that_are_no_minima_are_relaxed():
    r = find(PAPER, [0.8, 0.6, 0.0], [-0.6, 0.8, 0.0])
    assert r.converged and r.barrier == pytest.approx(1, abs=1e-10)
    moves = [np.arccos(0.8), np.arccos(0.6)]
    for name, move in zip(("start", "end"), moves, strict=True):
        assert f"the {name} moved by {move:.3g} into its minimum" in r.message
    np.testing.assert_allclose(r.path[np.array([0, -1])], [X, -X], atol=2e-7)
    # a saddle as an end is left, and said to be one
    r = find(PAPER, Y, -X if find(PAPER, Y, Z).path[0][0] > 0 else X)
    assert r.converged and "the start moved by 1.57 into its minimum, off a saddle" in r.message


def test_ends_that_are_kept_as_they_are():
    start = jnp.array([0.8, 0.6, 0.0])
    r = find(PAPER, start, -X, relax_endpoints=False)
    assert r.converged and jnp.array_equal(r.path[0], start) and r.barrier == pytest.approx(0.64, abs=1e-10)


@pytest.mark.parametrize("climb", [True, False])
@pytest.mark.parametrize("angle", [1.7, 2.0, 2.6])
def test_a_saddle_beyond_an_end_does_not_count(angle, climb):
    """The saddle is at pi/2; from the start behind it the way to -x leads downhill."""
    start = jnp.array([np.cos(angle), np.sin(angle), 0.0])
    for ends in ((start, -X), (-X, start)):
        r = find(PAPER, *ends, relax_endpoints=False, climb=climb)
        assert not r.converged and "end" in r.message and "no minimum" in r.message
    assert find(PAPER, start, X, relax_endpoints=False, climb=climb).converged


# What goes wrong, in words


def test_iterations_that_are_used_up_are_reported():
    r = find(*chain(10), max_steps=3, tol=1e-6, method=mm.methods.FIRE())
    assert not r.converged and r.steps == 3 and len(r.history) == 3
    assert "after 3 iterations, wanted 1.0e-06" in r.message
    assert jnp.all(jnp.isfinite(r.path)) and np.isfinite(r.barrier) and r.eigenvalues.size == 0


def interrupt(monkeypatch, calls):
    """Ctrl-C when the bar of a search is drawn for the n-th time."""
    count = 0

    def update(self, n=1):
        nonlocal count
        count += 1
        if count == calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "update", update)


@pytest.mark.parametrize("calls", [3, 4])
def test_a_search_of_many_images_that_is_interrupted_returns_the_band_that_has_moved(monkeypatch, calls):
    """Iterations count once, and the path is not thrown away."""
    interrupt(monkeypatch, calls)
    r = find(*chain(10), n_images=30, method=mm.methods.FIRE())
    assert not r.converged and "interrupted" in r.message and np.isfinite(r.residual)
    assert len(r.history) == r.steps == sum(k for _, k in r.methods) > 0


def test_iterations_that_are_used_up_do_not_go_on_with_more_images():
    def ridge(x):
        return (x[0] ** 2 - 1) ** 2 + 20 * (x[1] - jnp.sin(14 * x[0])) ** 2

    ends = [-1.0, float(np.sin(-14.0))], [1.0, float(np.sin(14.0))]
    r = find(ridge, *ends, geometry=mm.Flat(), max_steps=10, relax_endpoints=False)
    assert not r.converged and r.steps <= 10 and np.isfinite(r.residual)
    straight = mm.straight_path(r.path[0], r.path[-1], len(r.path))
    assert float(jnp.max(jnp.abs(r.path - straight))) > 0.01


@pytest.mark.parametrize("calls, method", [(1, None), (1, mm.methods.FIRE()), (2, mm.methods.FIRE())])
def test_an_interrupted_search_returns_what_it_has(monkeypatch, tmp_path, calls, method):
    interrupt(monkeypatch, calls)
    r = find(PAPER, X, -X, path=meridian(), method=method)
    assert not r.converged and "interrupted" in r.message and len(r.history) == r.steps
    assert jnp.all(jnp.isfinite(r.path)) and np.isfinite(r.residual) and r.energies.size == 14
    r.save(tmp_path / "interrupted.npz")
    again = mm.MEP.load(tmp_path / "interrupted.npz")
    assert again.points == () == r.points and again.message == r.message


def test_both_ends_in_one_basin():
    r = find(PAPER, X, [0.6, 0.8, 0.0])
    assert not r.converged and "both ends relax into the same minimum" in r.message
    assert r.steps == 0 and r.barrier == pytest.approx(0, abs=1e-12) and jnp.all(jnp.isfinite(r.path))


def test_an_end_that_has_no_minimum():
    def slope(x):
        return x[0] + x[1] ** 2

    r = find(slope, [0.0, 0.0], [1.0, 0.0], geometry=mm.Flat())
    assert not r.converged and "the start is no minimum: the largest force is 1.0e+00" in r.message
    assert "the end is no minimum" in r.message and jnp.all(jnp.isfinite(r.path))


def test_energies_that_are_nan_between_the_ends():
    def hole(x):
        return jnp.where(jnp.abs(x[0]) < 0.5, jnp.nan, (x[0] ** 2 - 1) ** 2 + x[1] ** 2)

    r = find(hole, [-1.0, 0.0], [1.0, 0.0], geometry=mm.Flat())
    assert not r.converged and jnp.all(jnp.isfinite(r.path))
    image = re.search(r"the energy of image (\d+) became nan", r.message)
    assert image and abs(r.path[int(image[1]), 0]) < 0.5


def test_a_tolerance_beyond_single_precision_is_not_met():
    energy = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PAPER)
    start, end = jnp.array([1, 0, 0], jnp.float32), jnp.array([-0.6, 0.8, 0], jnp.float32)
    options = {"geometry": spheres, "progress": False, "max_steps": 60}
    r = mm.find_mep(energy, start, end, tol=1e-10, endpoint_tol=1e-5, **options)
    assert not r.converged and "wanted 1.0e-10" in r.message
    assert r.path.dtype == jnp.float32 and jnp.all(jnp.isfinite(r.path)) and np.isfinite(r.barrier)
    r = mm.find_mep(energy, start, end, tol=1e-4, endpoint_tol=1e-5, **options)
    assert r.converged and r.barrier == pytest.approx(1, abs=rounding(3, dtype=np.float32))


E1 = jnp.array(X)
MISTAKES = [
    (lambda: find(PAPER, 2 * X, -X), "start must hold unit vectors: the length of a spin is off by 1.0e"),
    (lambda: find(PAPER, X, [-1.001, 0, 0]), "end must hold unit vectors"),
    (lambda: find(PAPER, X, X), "start and end are the same state"),
    (lambda: find(PAPER, X * np.nan, -X), "start has coordinates that are not finite"),
    (lambda: find(PAPER, X, np.stack([X, X])), r"one shape and dtype, got \(3,\) of float64 and \(2, 3\) of float64"),
    (lambda: mm.find_mep(PAPER, E1, E1.astype(jnp.float32), geometry=spheres), "one shape and dtype"),
    (lambda: find(PAPER, X, -X, n_images=2), "n_images must be at least 3, a whole number, got 2"),
    (lambda: find(PAPER, X, -X, n_images=5.0), "n_images must be at least 3, a whole number, got 5.0"),
    (lambda: find(PAPER, X, -X, path=meridian()[:2]), r"P >= 3 images, got shape \(2, 3\)"),
    (lambda: find(PAPER, X, -X, path=meridian()[:, :2]), "path must hold spins"),
    (lambda: find(PAPER, X, -X, path=jnp.stack([meridian()] * 2, 1)), "the path must hold states of shape"),
    (lambda: find(PAPER, X, -X, path=meridian().astype(jnp.float32)), "the path must hold states of shape .*float64"),
    (lambda: find(PAPER, X, -X, path=meridian().at[5].set(meridian()[4])), "images 4 and 5 coincide"),
    (lambda: find(PAPER, X, -X, tangent="steep"), "tangent must be one of 'smooth', 'improved', 'central'"),
    (lambda: find(PAPER, X, -X, tangent="smooth"), "the smooth tangent needs its smoothness"),
    (lambda: find(PAPER, X, -X, tol=-1e-6), "tol must be a positive number, got -1e-06"),
    (lambda: find(PAPER, X, -X, tol=0), "tol must be a positive number, got 0"),
    (lambda: find(PAPER, X, -X, endpoint_tol=np.nan), "endpoint_tol must be a positive number, got nan"),
    (lambda: find(PAPER, X, -X, max_steps=0), "max_steps must be at least 1"),
    (lambda: find(PAPER, X, -X, params=mm.NEBParams(gamma=-1.0)), "gamma must be a finite number >= 0"),
    (lambda: mm.find_mep(PAPER, jnp.array([1, 0, 0]), jnp.array([-1, 0, 0])), "start must be a float array, got int"),
    (lambda: mm.find_mep(PAPER, [1.0, 0, 0], [-1.0, 0, 0]), "start must be a float array, got list"),
    (lambda: find(lambda x: x**2, -1.0, 1.0, geometry=mm.Flat()), "an array with one axis or more"),
    (lambda: find(lambda S: S, X, -X), "the energy must map an image of shape"),
    (lambda: find(lambda S: jnp.sum(S) * jnp.nan, X, -X), "the energy of image 0 is nan"),
    (lambda: find(SKYRMION, X, -X), "takes a state of shape"),
    (lambda: find(3.0, X, -X), "the energy must be callable"),
]


@pytest.mark.parametrize("call, message", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_values(runs):
    r = runs("spin")[2]
    assert replace(r, message="other").barrier == r.barrier
    with pytest.raises(AttributeError):
        r.barrier = 0.0


def test_spins_on_a_lattice_in_flat_coordinates_are_refused():
    chain = mm.Heisenberg((3,), [mm.Bond((1,), 1.0)])
    with pytest.raises(ValueError, match="pass geometry=Spheres"):
        mm.find_mep(chain, mm.ferromagnet((3,)), mm.ferromagnet((3,), (1, 0, 0)))
