"""From one minimum to the saddles around it."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import mepmeta as mm
from mepmeta.problem import pose
from mepmeta.search.newton import newton, sharper_mode


def test_the_papers_saddles_in_both_charts():
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    found = mm.find_saddles(spin, jnp.array([[1.0, 0.0, 0.0]]), geometry=mm.Spheres(), progress=False)
    states = sorted((f.state[0].round(8) + 0.0).tolist() for f in found)
    np.testing.assert_allclose(states, [[0, -1, 0], [0, 1, 0]], atol=1e-8)
    # The poles are maxima. In angles, where the longitude means nothing there, they pass for saddles of the other mode.
    flat = mm.find_saddles(mm.single_spin(), jnp.array([0.0, 0.0]), modes=1, progress=False)
    np.testing.assert_allclose(sorted(float(f.state[1]) for f in flat), [-np.pi / 2, np.pi / 2], atol=1e-8)
    for saddle in (*found, *flat):
        assert saddle.barrier == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(saddle.eigenvalues, [-2, 4], atol=1e-8)
        assert saddle.connected and saddle.residual < 1e-8
    np.testing.assert_allclose([f.other[0, 0] for f in found], [-1, -1], atol=1e-8)


def test_muller_brown_from_its_middle_minimum():
    A, a = jnp.array([-200.0, -100.0, -170.0, 15.0]), jnp.array([-1.0, -1.0, -6.5, 0.7])
    b, c = jnp.array([0.0, 0.0, 11.0, 0.6]), jnp.array([-10.0, -10.0, -6.5, 0.7])
    x0, y0 = jnp.array([1.0, 0.0, -0.5, -1.0]), jnp.array([0.0, 0.5, 1.5, 1.0])

    def energy(r):
        x, y = r[0] - x0, r[1] - y0
        return jnp.sum(A * jnp.exp(a * x**2 + b * x * y + c * y**2))

    minimum = mm.relax(energy, jnp.array([-0.05, 0.47]), unit=0.3).state
    found = mm.find_saddles(energy, minimum, tol=1e-7, progress=False)
    np.testing.assert_allclose([f.energy for f in found if f.connected], [-72.249, -40.665], atol=1e-3)


def test_a_skyrmion_collapses_and_moves():
    film = mm.Heisenberg((20, 20), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    start = mm.skyrmion((20, 20), center=(10, 10), radius=3.0, width=2.0)
    r = mm.find_mep(film, start, mm.ferromagnet((20, 20)), geometry=mm.Spheres(), progress=False)
    found = mm.find_saddles(film, r.path[0], geometry=mm.Spheres(), modes=3, progress=False)
    for saddle in found:
        values = mm.lowest_modes(film, saddle.state, 3, geometry=mm.Spheres()).values
        assert np.sum(values < -1e-6) == 1 and saddle.residual < 1e-8
    # Soft modes may lead to higher saddles, too.
    collapse = min(found, key=lambda saddle: abs(saddle.barrier - r.barrier))
    assert collapse.barrier == pytest.approx(r.barrier, abs=1e-8) and collapse.connected
    assert float(jnp.min(collapse.other[..., 2])) > 0.999  # the ferromagnet is on its other side
    hops = [saddle for saddle in found if saddle.connected and saddle.barrier < 0.01 * r.barrier]
    shifted = [jnp.roll(r.path[0], shift, axis) for shift in (1, -1) for axis in (0, 1)]
    assert hops
    for saddle in hops:  # to a neighbouring cell
        assert min(float(jnp.linalg.norm(saddle.other - x)) for x in shifted) < 0.05


def test_refused():
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    for start in ([[0.0, 1.0, 0.0]], [[0.6, 0.8, 0.0]]):
        with pytest.raises(ValueError, match="no minimum"):
            mm.find_saddles(spin, jnp.array(start), geometry=mm.Spheres(), progress=False)
    with pytest.raises(ValueError, match="unit vectors"):
        mm.find_saddles(spin, jnp.array([[2.0, 0.0, 0.0]]), geometry=mm.Spheres(), progress=False)
    with pytest.raises(ValueError, match="modes"):
        mm.find_saddles(spin, jnp.array([[1.0, 0.0, 0.0]]), geometry=mm.Spheres(), modes=0, progress=False)


def test_with_a_rough_mode_steps_gain_a_factor_with_a_sharp_one_digits():
    """A saddle whose soft modes the rough mode has a part along."""
    stiff, rng = jnp.array([-1.0, 0.01, 0.05, 0.3, 1.0, 4.0]), np.random.default_rng(3)
    energy = Partial(saddle, stiff)
    problem = pose(energy, mm.Flat(), np.zeros(6), np.ones(6), unit=1.0)
    rough = np.eye(6)[0] + 0.1 * rng.normal(size=6)
    rough, x = rough / np.linalg.norm(rough), 0.1 * rng.normal(size=6)
    sharp, _, why = sharper_mode(problem)(np.zeros(6), rough)
    assert why == "" and np.linalg.norm(sharp[1:]) < 0.05 * np.linalg.norm(rough[1:])
    count = {
        name: newton(problem, x, tol=1e-10, max_steps=500, mode=rough, rule=rule)
        for name, rule in {"rough": None, "sharp": sharper_mode(problem)}.items()
    }
    assert count["sharp"].ended == "converged"
    assert count["sharp"].evaluations < count["rough"].evaluations / 2


def saddle(stiff, x):
    return jnp.sum(stiff * x**2) / 2 + jnp.sum(x**4) / 4
