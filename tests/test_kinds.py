"""Kinds of input on which searches of this sort go wrong, with right values that were computed without this module.

Each kind has a case that users of such codes report, and variants.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mepmeta as mm

SPHERES = mm.Spheres()


def up_and_down(shape, direction=(0, 0, 1)):
    return mm.ferromagnet(shape, direction), mm.ferromagnet(shape, tuple(-d for d in direction))


# Units: constants in joule or in anything else


@pytest.mark.parametrize("u", [1.0, 1e-9, 2.7e-21, 4e12])
def test_one_spin_in_any_unit(u):
    """Minima at S_y = 0.4, over the side of the field: (1 - 0.4)^2 u."""
    spin = mm.Heisenberg((1,), anisotropy=[(u, (1, 0, 0)), (-2 * u, (0, 0, 1))], field=(0, 0.8 * u, 0))
    r = mm.find_mep(spin, *up_and_down((1,), (1, 0, 0)), geometry=SPHERES, progress=False)
    assert r.converged and r.barrier / u == pytest.approx(0.36, rel=1e-9)


@pytest.mark.parametrize("u", [1.602e-22, 1e6])
def test_a_film_in_any_unit(u):
    film = mm.Heisenberg((30, 30), mm.nearest_neighbours("square", J=u, D=0.3 * u), [(0.15 * u, (0, 0, 1))])
    start = mm.skyrmion((30, 30), center=(14, 14), radius=3.0, width=2.0)
    r = mm.find_mep(film, start, mm.ferromagnet((30, 30)), geometry=SPHERES, progress=False)
    assert r.converged and r.barrier / u == pytest.approx(1.0094899038, rel=1e-8)


@pytest.mark.parametrize("eV, angstrom", [(1.602e-19, 1e-10), (23.06, 1.8897)])
def test_a_molecule_in_si_or_atomic_units(eV, angstrom):
    """A well of 0.7 eV between minima 2.2 ångström apart: E = h (1 - (x/w)^2)^2, barrier h."""
    h, w = 0.7 * eV, 1.1 * angstrom

    def energy(x):
        return h * (1 - (x[0] / w) ** 2) ** 2 + 5 * h * (x[1] / w - 0.2 * (x[0] / w) ** 2) ** 2

    r = mm.find_mep(energy, jnp.array([-w, 0.2 * w]), jnp.array([w, 0.2 * w]), progress=False)
    assert r.converged and r.barrier / h == pytest.approx(1.0, rel=1e-9)


# Number of images


@pytest.mark.parametrize("n", [8, 12, 28])
def test_the_number_of_images_does_not_decide(n):
    """A skyrmion that collapses off its centre; the symmetric way leads over a saddle of index three."""
    K = 0.16
    bonds = mm.nearest_neighbours("square", 1.0, 0.93 * 4 / np.pi * (K / 2) ** 0.5)
    film = mm.Heisenberg((22, 22), bonds, [(K, (0, 0, 1))])
    start = mm.skyrmion((22, 22), center=(10, 11), radius=3.0, width=2.0)
    r = mm.find_mep(film, start, mm.ferromagnet((22, 22)), geometry=SPHERES, n_images=n, tol=1e-5, progress=False)
    assert r.converged and r.barrier == pytest.approx(2.4638732, rel=1e-6)
    assert len(r.points) == 3 and r.points[1].index == 1
    # Up to 810 for each image on three instruction sets: rounding decides where a long relaxation turns.
    assert n < 12 or r.evaluations < 1200 * (n - 2)


# Units of length


@pytest.mark.parametrize("a", [2.5, 0.25, 2.5e-10])
def test_saddles_of_an_egg_box_of_any_spacing(a):
    k = 2 * jnp.pi / a
    box = jax.tree_util.Partial(lambda k, x: -jnp.cos(k * x[0]) - 1.3 * jnp.cos(k * x[1]), k)
    found = mm.find_saddles(box, jnp.zeros(2), progress=False)
    np.testing.assert_allclose([s.barrier for s in found], [2.0, 2.0, 2.6, 2.6], rtol=1e-9)
    assert all(s.connected for s in found)


@pytest.mark.parametrize("a", [1e-12, 3e7])
def test_relaxing_far_from_the_origin_and_near_it(a):
    """A Morse well at 3a: the coordinates are as large as the length over which the energy changes, or not."""
    for offset in (0.0, 1e3 * a):
        morse = jax.tree_util.Partial(lambda a, o, x: (1 - jnp.exp(-((x[0] - o) / a - 3))) ** 2, a, offset)
        r = mm.relax(morse, jnp.array([3.7 * a + offset]))
        assert r.converged and float(r.state[0] - offset) / a == pytest.approx(3, rel=1e-6)


# Bands that have not converged are not given up


def gaussians(wells, width):
    def energy(x):
        return sum(-w * jnp.exp(-((x[0] - p) ** 2 + (x[1] - q) ** 2) / width) for p, q, w in wells) + 0.02 * jnp.sum(
            x**2
        )

    return energy


@pytest.mark.parametrize("n", [7, 14, 30])
def test_three_wells_on_a_bow(n):
    energy = gaussians(((-1.2, 0.0, 1.0), (0.0, 1.1, 0.8), (1.2, 0.0, 1.0)), 0.3)
    r = mm.find_mep(energy, jnp.array([-1.2, 0.0]), jnp.array([1.2, 0.0]), n_images=n, progress=False)
    assert r.converged and r.barrier == pytest.approx(0.788075, rel=1e-6)


@pytest.mark.parametrize("stiffness", [30.0, 3000.0])
def test_a_stiff_curved_valley(stiffness):
    """The straight first path has almost no force across it in units of the stiff direction; the barrier is 1."""

    def energy(x):
        return (x[0] ** 2 - 1) ** 2 + stiffness * (x[1] - x[0] ** 2) ** 2

    r = mm.find_mep(energy, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]), progress=False)
    assert r.converged and r.barrier == pytest.approx(1.0, rel=1e-9)


def test_an_easy_axis_chain_turned_over():
    """All spins turn together over a saddle of higher index; left, it is two walls that come in."""
    chain = mm.Heisenberg((40,), mm.nearest_neighbours("chain", 1.0), [(0.05, (0, 0, 1)), (-0.02, (1, 0, 0))])
    r = mm.find_mep(chain, *up_and_down((40,)), geometry=SPHERES, progress=False)
    assert r.converged and r.barrier == pytest.approx(1.250434, rel=1e-6)


# Several barriers on one path


def hops(x):
    return -jnp.cos(2 * jnp.pi * x[0]) + 0.15 * x[0] + 5 * (x[1] - 0.3 * jnp.sin(2 * jnp.pi * x[0])) ** 2


@pytest.mark.parametrize("n", [1, 6, 9])
def test_a_row_of_hops_gets_the_images_it_needs(n):
    r = mm.find_mep(hops, jnp.zeros(2), jnp.array([float(n), 0.0]), progress=False)
    assert r.converged and [p.index for p in r.points] == [k % 2 for k in range(2 * n + 1)]
    # All saddles alike, each 0.15 above the last: the last one is the highest.
    saddles = np.array([p.energy for p in r.points[1::2]])
    np.testing.assert_allclose(np.diff(saddles), 0.15, rtol=1e-7)
    assert r.barrier == pytest.approx(saddles[-1] - r.points[0].energy, rel=1e-9)


def test_too_few_images_are_named():
    r = mm.find_mep(hops, jnp.zeros(2), jnp.array([9.0, 0.0]), n_images=11, progress=False)
    assert not r.converged and "n_images" in r.message


# Single precision


def test_single_precision_is_said_and_is_enough_for_a_spin():
    with jax.enable_x64(False):
        spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))], field=(0, 0.8, 0))
        r = mm.find_mep(spin, *up_and_down((1,), (1, 0, 0)), geometry=SPHERES, progress=False)
    assert r.path.dtype == jnp.float32
    assert r.converged and "single precision" in r.message and r.barrier == pytest.approx(0.36, rel=1e-4)


def test_single_precision_of_a_landscape_in_joule():
    with jax.enable_x64(False):
        well = jax.tree_util.Partial(lambda h, x: h * ((x[0] ** 2 - 1) ** 2 + x[1] ** 2), 1e-21)
        r = mm.find_mep(well, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), progress=False)
    assert r.converged and "single precision" in r.message and r.barrier * 1e21 == pytest.approx(1, rel=1e-4)


# Transformations


def barrier(K, h=0.0):
    spin = mm.Heisenberg((1,), anisotropy=[(K, (1, 0, 0)), (-2.0, (0, 0, 1))], field=(0, h, 0))
    return mm.find_mep(spin, *up_and_down((1,), (1, 0, 0)), geometry=SPHERES, progress=False).barrier


def test_the_derivative_of_a_barrier_is_exact():
    """The barrier is (2K - h)^2 / 4K."""
    assert float(jax.grad(barrier)(1.0)) == pytest.approx(1.0, rel=1e-9)
    by_K, by_h = jax.grad(barrier, argnums=(0, 1))(1.0, 0.8)
    assert float(by_K) == pytest.approx(1 - 0.8**2 / 4, rel=1e-7) and float(by_h) == pytest.approx(-0.6, rel=1e-7)


def test_the_derivative_by_a_number_that_a_function_closes_over():
    def height(h):
        def energy(x):
            return h * (x[0] ** 2 - 1) ** 2 + x[1] ** 2

        return mm.find_mep(energy, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), progress=False).barrier

    assert float(jax.grad(height)(2.0)) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("transform", [jax.jit, lambda f: lambda K: jax.vmap(f)(jnp.stack([K, K]))])
def test_searches_refuse_to_be_compiled_or_mapped(transform):
    minimum = mm.ferromagnet((1,), (1, 0, 0))

    def relaxed(K):
        return mm.relax(mm.Heisenberg((1,), anisotropy=[(K, (1, 0, 0))]), minimum, geometry=SPHERES).energy

    def rate(K):
        spin = mm.Heisenberg((1,), anisotropy=[(K, (1, 0, 0)), (-2.0, (0, 0, 1))])
        return mm.transition_rate(spin, minimum, mm.ferromagnet((1,), (0, 1, 0)), damping=0.1).barrier

    for name, call in {"find_mep": barrier, "relax": relaxed, "transition_rate": rate}.items():
        with pytest.raises(ValueError, match=name):
            transform(call)(jnp.asarray(1.0))


# Constants that change behind a function


class Well:
    def __init__(self, K):
        self.K = K

    def energy(self, x):
        return self.K * ((x[0] ** 2 - 1) ** 2 + x[1] ** 2)


ENDS = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
HEIGHT = [1.0]


def test_a_changed_attribute_is_seen():
    well = Well(1.0)
    for K in (1.0, 3.0):
        well.K = K
        assert mm.find_mep(well.energy, *ENDS, progress=False).barrier == pytest.approx(K, rel=1e-9)


def test_a_changed_global_and_a_changed_array_are_seen():
    array = np.array([1.0, 1.0])

    def energy(x):
        return HEIGHT[0] * (x[0] ** 2 - 1) ** 2 + jnp.sum(jnp.asarray(array) * x**2 * jnp.array([0.0, 1.0]))

    assert mm.find_mep(energy, *ENDS, progress=False).barrier == pytest.approx(1.0, rel=1e-9)
    HEIGHT[0], array[1] = 2.5, 7.0
    r = mm.find_mep(energy, *ENDS, progress=False)
    assert r.barrier == pytest.approx(2.5, rel=1e-9) and r.eigenvalues[1] == pytest.approx(14.0, rel=1e-6)
    HEIGHT[0] = 1.0


def test_a_changed_constant_is_seen_by_the_band_and_by_training():
    path, height = mm.straight_path(*ENDS, 9), [1.0]

    def energy(x):
        return height[0] * ((x[0] ** 2 - 1) ** 2 + x[1] ** 2)

    assert float(mm.barrier(energy, path)) == pytest.approx(1.0)
    height[0] = 4.0
    assert float(mm.barrier(energy, path)) == pytest.approx(4.0)
    assert float(mm.overestimate(energy, path, 3.0)) == pytest.approx(1.0)


# Energies of another program: values and forces, no second derivatives


def outside(value, force):
    @jax.custom_vjp
    def energy(x):
        return jax.pure_callback(value, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential")

    def back(x, g):
        return (g * jax.pure_callback(force, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential"),)

    energy.defvjp(lambda x: (energy(x), x), back)
    return energy


@pytest.mark.parametrize("u", [1.0, 1e-18])
def test_an_energy_that_gives_forces_only(u):
    def value(x):
        return np.asarray(u * ((x[0] ** 2 - 1) ** 2 + 2 * (x[1] - 0.5 * x[0] ** 2) ** 2), x.dtype)

    def force(x):
        b = x[1] - 0.5 * x[0] ** 2
        return np.asarray([u * (4 * x[0] * (x[0] ** 2 - 1) - 4 * b * x[0]), u * 4 * b], x.dtype)

    r = mm.find_mep(outside(value, force), jnp.array([-1.0, 0.5]), jnp.array([1.0, 0.5]), progress=False)
    assert r.converged and r.barrier / u == pytest.approx(1.0, rel=1e-6) and "differences of forces" in r.message
    np.testing.assert_allclose(r.eigenvalues / u, [-4.0, 4.0], rtol=1e-5)


def test_two_programs_of_one_name_are_not_mixed_up():
    def of(height):
        def value(x):
            return np.asarray(height * (x[0] ** 2 - 1) ** 2 + x[1] ** 2, x.dtype)

        def force(x):
            return np.asarray([4 * height * x[0] * (x[0] ** 2 - 1), 2 * x[1]], x.dtype)

        return outside(value, force)

    found = [mm.find_mep(of(h), *ENDS, progress=False).barrier for h in (1.0, 2.0)]
    np.testing.assert_allclose(found, [1.0, 2.0], rtol=1e-6)


# Sites without a moment


def diluted(n, holes):
    live = np.ones((n, n))
    for hole in holes:
        live[hole] = 0.0
    bonds = [mm.Bond(o, J=jnp.asarray(live * np.roll(live, [-i for i in o], (0, 1)))) for o in ((1, 0), (0, 1))]
    axes = [(jnp.asarray(0.05 * live), (0, 0, 1)), (jnp.asarray(-0.1 * live), (0, 1, 0))]
    return mm.Heisenberg((n, n), bonds, axes), live


@pytest.mark.parametrize("holes", [((0, 0), (2, 1)), (), ((1, 1), (1, 2), (2, 1), (3, 3))])
def test_sites_without_a_moment(holes):
    """The live spins turn together: 0.05 of each is the barrier, and the dead ones have no part in the rate."""
    energy, live = diluted(4, holes)
    r = mm.find_mep(energy, *up_and_down((4, 4)), geometry=SPHERES, progress=False)
    assert r.converged and r.barrier == pytest.approx(0.05 * live.sum(), rel=1e-9) and r.zero_modes == 0
    k = mm.transition_rate(energy, r.path[0], r.saddle, damping=0.1)
    # Turning together: the uniform mode of the saddle is that of one spin with the constants of all.
    one = mm.Heisenberg((1,), anisotropy=[(0.05, (0, 0, 1)), (-0.1, (0, 1, 0))])
    alone = mm.transition_rate(one, *(mm.ferromagnet((1,), d) for d in ((0, 0, 1), (1, 0, 0))), damping=0.1)
    assert k.dynamical == pytest.approx(alone.dynamical, rel=1e-6)


def test_noise_does_not_turn_a_spin_without_a_moment():
    energy, live = diluted(4, ((0, 0), (2, 1)))
    start = mm.ferromagnet((4, 4))[None]
    r = mm.simulate(jax.random.key(0), energy, start, temperature=0.1, damping=0.3, dt=0.05, steps=50, progress=False)
    moved = np.linalg.norm(r.states[0] - start[0], axis=-1)
    assert np.all((moved > 1e-3) == (live > 0)) and np.all(moved[live == 0] == 0)


# First paths through a singularity


@pytest.mark.parametrize("n", [11, 14])
def test_two_particles_that_change_places(n):
    """The straight way leads through where they meet; the barrier is 1."""

    def energy(x):
        return x[0] ** 2 / 2 + 2 * x[1] ** 2 + 0.5 / (x[0] ** 2 + x[1] ** 2)

    r = mm.find_mep(energy, *ENDS, n_images=n, progress=False)
    assert r.converged and r.barrier == pytest.approx(1.0, rel=1e-6)


def test_a_hard_core_on_the_way():
    """A repulsion of the twelfth power in a soft valley of two wells; by symmetry the saddle is above or below it."""

    def energy(x):
        return 0.1 * ((x[0] ** 2 - 4) ** 2 + 4 * x[1] ** 2) + (0.25 / (x[0] ** 2 + x[1] ** 2)) ** 6

    grid = np.linspace(0.2, 2, 200001)
    right = min(energy((0.0, y)) for y in grid)
    r = mm.find_mep(energy, jnp.array([-2.0, 0.0]), jnp.array([2.0, 0.0]), n_images=13, progress=False)
    assert r.converged and r.barrier == pytest.approx(right - r.energies[0], rel=1e-6)
