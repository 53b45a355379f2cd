"""The nudged elastic band: fixed points, symmetries, the spring, stability, the climbing image, bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial
from rounding import rounding

import mepmeta as mm
from mepmeta import tangents

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
PAPER = mm.NEBParams(gamma=0.01, mu=1.0, beta=3.0)
TANGENTS = ("smooth", "improved", "central")
SPRINGS = ("raw", "unit", "scaled")
#: Two ways to make a few steps: coordinates of up to two pi over tangents that may be as short as a tenth.
SAME = rounding(100)

keys = st.integers(0, 2**31 - 1).map(jax.random.key)
params = st.builds(mm.NEBParams, st.floats(0.001, 0.3), st.floats(0.01, 1.5), st.floats(0.1, 10))
every_variant = pytest.mark.parametrize(
    "tangent, spring, climb", [(t, s, c) for t in TANGENTS for s in SPRINGS for c in (False, True)]
)


gradient = jax.jit(jax.grad(ENERGY))


def mep(P):
    return mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), P)


def perturbed(key, P=9, amplitude=0.05):
    return mm.perturbed_path(key, mep(P), amplitude)


def double_well(x):
    """Minima (-1, 0) and (1, 0) at 0, saddle (0, 0) at 1; the valley between them is bent."""
    return (x[0] ** 2 - 1) ** 2 + 2 * (x[1] - 0.5 * (1 - x[0] ** 2)) ** 2


def mueller_brown(x):
    """The test surface of Mueller and Brown, Theor. Chim. Acta 53, 75 (1979)."""
    A = jnp.array([-200.0, -100.0, -170.0, 15.0])
    a, b, c = jnp.array([-1.0, -1.0, -6.5, 0.7]), jnp.array([0.0, 0.0, 11.0, 0.6]), jnp.array([-10.0, -10.0, -6.5, 0.7])
    u, v = x[0] - jnp.array([1.0, 0.0, -0.5, -1.0]), x[1] - jnp.array([0.0, 0.5, 1.5, 1.0])
    return jnp.sum(A * jnp.exp(a * u**2 + b * u * v + c * v**2))


# Fixed points and symmetries


def test_default_parameters_are_the_ones_the_paper_starts_from():
    assert mm.NEBParams() == (0.01, 1.0, 3.0)


@every_variant
def test_the_minimum_energy_path_is_a_fixed_point(tangent, spring, climb):
    after = mm.neb_step(ENERGY, mep(9), PAPER, tangent=tangent, spring=spring, climb=climb)
    np.testing.assert_allclose(after, mep(9), atol=rounding(np.pi))


def test_without_an_image_on_the_saddle_only_the_climbing_one_moves():
    np.testing.assert_allclose(mm.neb_step(ENERGY, mep(8), PAPER), mep(8), atol=rounding(np.pi))
    after = mm.neb_step(ENERGY, mep(8), PAPER, climb=True)
    moved = jnp.abs(after - mep(8)).max(axis=1) > 1e-10
    assert moved.sum() == 1 and int(jnp.argmax(moved)) in (3, 4)


SYMMETRIES = {
    "path reversal": (lambda S: S[::-1], lambda S: S[::-1]),
    "rotation about z by pi": (lambda S: S + jnp.array([0.0, jnp.pi]),) * 2,
    "reflection of z": (lambda S: S * jnp.array([-1.0, 1.0]),) * 2,
    "reflection of y": (lambda S: S * jnp.array([1.0, -1.0]),) * 2,
    "reflection of x": (lambda S: jnp.array([0.0, jnp.pi]) + S * jnp.array([1.0, -1.0]),) * 2,
}


@every_variant
@given(keys, params, st.floats(0.001, 0.08))
@settings(max_examples=6)
def test_commutes_with_the_symmetries_of_the_spin(tangent, spring, climb, key, params, amplitude):
    """M(gS) = g M(S), to rounding, for every symmetry g of energy and band."""
    path = perturbed(key, amplitude=amplitude)
    step = partial(mm.neb_step, ENERGY, params=params, tangent=tangent, spring=spring, climb=climb)
    after = step(path)
    for name, (before_step, after_step) in SYMMETRIES.items():
        np.testing.assert_allclose(step(before_step(path)), after_step(after), atol=SAME, rtol=0, err_msg=name)


@given(keys, params, st.floats(0.5, 3))
@settings(max_examples=20)
def test_scaling_the_energy_is_scaling_the_parameters(key, params, factor):
    """E -> cE with gamma -> gamma/c and beta -> beta/c is the same step: the parameters have these units."""
    path = perturbed(key)
    scaled = mm.NEBParams(params.gamma / factor, params.mu, params.beta / factor)
    there = mm.neb_step(mm.single_spin(factor, -2.0 * factor), path, scaled)
    np.testing.assert_allclose(there, mm.neb_step(ENERGY, path, params), atol=SAME)


# One step by hand


@pytest.mark.parametrize("tangent", TANGENTS)
@pytest.mark.parametrize("spring", SPRINGS)
@given(keys, params)
@settings(max_examples=8)
def test_one_step_by_hand(tangent, spring, key, params):
    """Eqs. (1) and (2), image by image in numpy, with the three readings of the spring."""
    path = np.asarray(perturbed(key))
    theta, phi = path.T
    E = -(np.cos(theta) ** 2) * np.cos(phi) ** 2 + 2 * np.sin(theta) ** 2
    gamma, mu, beta = params
    expected = path.copy()
    for n in range(1, 8):
        g = np.asarray(gradient(path[n]))
        forward, backward = path[n + 1] - path[n], path[n] - path[n - 1]
        if tangent == "smooth":
            a = 1 / (1 + np.exp(-beta * g @ (path[n + 1] - path[n - 1])))
        elif tangent == "central":
            a = 0.5
        else:
            here = jnp.array(forward)[None], jnp.array(backward)[None], jnp.array(E[n - 1 : n + 2])
            tau = np.asarray(tangents.improved(*here)[0])
        if tangent != "improved":
            tau = a * forward + (1 - a) * backward
        unit = tau / np.linalg.norm(tau)
        across = g - (g @ unit) * unit
        e = np.linalg.norm(path[n + 1] - path[n]) - np.linalg.norm(path[n] - path[n - 1])
        expected[n] += {
            "raw": -gamma * across + mu * e * tau,
            "unit": -gamma * across + mu * e * unit,
            "scaled": -gamma * (across - mu * e * unit),
        }[spring]
    got = mm.neb_step(ENERGY, jnp.array(path), params, tangent=tangent, spring=spring)
    np.testing.assert_allclose(got, expected, atol=SAME)
    assert jnp.array_equal(got[jnp.array([0, -1])], path[[0, -1]])


@given(keys, params)
@settings(max_examples=15)
def test_springs_pull_towards_the_further_neighbour(key, params):
    path = perturbed(key).at[4, 1].add(0.2)
    for spring in SPRINGS:
        with_spring = mm.neb_step(ENERGY, path, params, spring=spring)
        without = mm.neb_step(ENERGY, path, params._replace(mu=0.0), spring=spring)
        lengths = jnp.linalg.norm(jnp.diff(path, axis=0), axis=1)
        # towards larger longitude where the gap ahead is the larger one
        assert jnp.all(jnp.sign(lengths[1:] - lengths[:-1]) == jnp.sign((with_spring - without)[1:-1, 1]))


def test_climbing_image_is_the_highest_it_ignores_springs_and_goes_uphill_along_the_path():
    path = perturbed(jax.random.key(2), P=8)
    top = int(jnp.argmax(jax.vmap(ENERGY)(path)))
    plain, climbing = (mm.neb_step(ENERGY, path, PAPER, climb=climb) for climb in (False, True))
    others = jnp.arange(8) != top
    np.testing.assert_allclose(plain[others], climbing[others], atol=SAME)
    g = jax.grad(ENERGY)(path[top])
    no_spring = mm.neb_step(ENERGY, path, PAPER._replace(mu=0.0))[top]  # -gamma (g - g_parallel)
    parallel = g - (path[top] - no_spring) / PAPER.gamma
    np.testing.assert_allclose(climbing[top], path[top] - PAPER.gamma * (g - 2 * parallel), atol=SAME)


# Stability of the springs: the multipliers of the linearised band


def spring_multipliers(P, spring, mu, gamma=0.01):
    """Eigenvalues of the derivative of one step at the minimum energy path, for shifts along it, ascending."""
    params = mm.NEBParams(gamma, mu, 3.0)
    step = lambda phi: mm.neb_step(ENERGY, mep(P).at[1:-1, 1].set(phi), params, spring=spring)[1:-1, 1]  # noqa: E731
    return np.sort(np.linalg.eigvals(np.asarray(jax.jacfwd(step)(mep(P)[1:-1, 1]))).real)


@pytest.mark.parametrize("spring", SPRINGS)
@pytest.mark.parametrize("P", [5, 8, 14])
def test_multipliers_of_the_springs(spring, P):
    mu, gamma = 0.7, 0.01
    stiffness = {"raw": mu * np.pi / (P - 1), "unit": mu, "scaled": gamma * mu}[spring]
    modes = np.arange(1, P - 1) * np.pi / (2 * (P - 1))
    expected = np.sort(1 - 4 * stiffness * np.sin(modes) ** 2)
    np.testing.assert_allclose(spring_multipliers(P, spring, mu, gamma), expected, atol=1e-12)


@pytest.mark.parametrize("P", [5, 6, 7, 8, 14])
def test_at_mu_1_the_raw_reading_is_stable_from_seven_images_on(P):
    """It fits the 8 to 14 images of the paper; the unit tangent would need mu <= 1/2."""
    assert (np.abs(spring_multipliers(P, "raw", 1.0)).max() < 1) == (P >= 7)
    assert np.abs(spring_multipliers(P, "unit", 1.0)).max() > 1
    assert np.abs(spring_multipliers(P, "unit", 0.5)).max() < 1


@pytest.mark.parametrize(
    "P, spring, mu, settles",
    [(5, "raw", 1.0, False), (6, "raw", 1.0, False), (7, "raw", 1.0, True), (8, "raw", 1.0, True)]
    + [(8, "unit", 0.5, True), (8, "unit", 0.55, False), (8, "unit", 1.0, False), (8, "scaled", 50.0, True)],
)
def test_stability_over_400_iterations(P, spring, mu, settles):
    """From 1e-4 off the path, springs that are unstable lose the band or leave it more than a hundredth off."""
    off = mep(P).at[1:-1, 1].add(1e-4 * jax.random.normal(jax.random.key(3), (P - 2,)))
    r = mm.iterate(ENERGY, off, mm.NEBParams(0.01, mu, 3.0), 400, spring=spring)
    error = jnp.abs(r.path - mep(P)).max()
    assert bool(~r.diverged & (error < 1e-10)) if settles else bool(r.diverged | (error > 0.01))


# Convergence to saddles


@pytest.mark.parametrize("P", [8, 14])
@pytest.mark.parametrize("tangent", TANGENTS)
def test_climbing_image_finds_the_saddle(P, tangent):
    """An even number of images has none on the saddle to begin with."""
    path = perturbed(jax.random.key(5), P)
    r = mm.iterate(ENERGY, path, mm.NEBParams(0.1, 1.0, 3.0), 150, climb=True, tangent=tangent)
    top = r.path[jnp.argmax(jax.vmap(ENERGY)(r.path))]
    assert not r.diverged and abs(ENERGY(top)) < 1e-10
    np.testing.assert_allclose(top, [0, jnp.pi / 2], atol=1e-5)


@pytest.mark.parametrize("tangent", ["smooth", "improved"])
def test_mueller_brown_saddle(tangent):
    """The higher of its two saddles is published at -40.66484, at (-0.822, 0.624)."""
    path = mm.straight_path(jnp.array([-0.558224, 1.441726]), jnp.array([0.623499, 0.028038]), 13)
    params = mm.NEBParams(gamma=2e-4, mu=1e3, beta=0.05)
    r = mm.iterate(mueller_brown, path, params, 1500, climb=True, spring="scaled", tangent=tangent)
    saddle = r.path[jnp.argmax(jax.vmap(mueller_brown)(r.path))]
    assert mueller_brown(saddle) == pytest.approx(-40.66484, abs=1e-5)
    np.testing.assert_allclose(saddle, [-0.822, 0.624], atol=1e-3)
    assert mm.barrier(mueller_brown, r.path) == pytest.approx(-40.66484, abs=1e-5)


@pytest.mark.parametrize("shape", [(2,), (3,), (2, 2)])
def test_any_coordinate_shape(shape):
    """A double well embedded in more dimensions and axes; the images in between lie in the bent valley."""
    size = int(np.prod(shape))

    def energy(x):
        x = jnp.ravel(x)
        return double_well(x[:2]) + 1.5 * jnp.sum(x[2:] ** 2)

    ends = jnp.zeros((2, size)).at[:, 0].set(jnp.array([-1.0, 1.0])).reshape(2, *shape)
    path = mm.perturbed_path(jax.random.key(1), mm.straight_path(*ends, 9), 0.05)
    r = mm.iterate(energy, path, mm.NEBParams(0.1, 0.2, 1.0), 400, climb=True)
    flat = r.path.reshape(9, -1)
    assert r.path.shape == (9, *shape) and not r.diverged
    assert jax.vmap(energy)(r.path).max() == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(flat[4, :2], [0.0, 0.5], atol=1e-6)
    assert jnp.abs(flat[:, 2:]).max(initial=0.0) < 1e-10


# Derivatives, batches, kinds of energies


def flat_step(values, path, spring):
    return mm.iterate(ENERGY, path, mm.NEBParams(*values), 5, spring=spring).path


@pytest.mark.parametrize("spring", SPRINGS)
def test_derivative_by_the_metaparameters(spring):
    path, values, h = perturbed(jax.random.key(4)), jnp.array([0.05, 0.4, 3.0]), 1e-5
    forward = jax.jacfwd(flat_step)(values, path, spring)
    if spring == "raw":
        np.testing.assert_allclose(forward, jax.jacrev(flat_step)(values, path, spring), atol=SAME)
    for i, shift in enumerate(h * jnp.eye(3)):
        difference = flat_step(values + shift, path, spring) - flat_step(values - shift, path, spring)
        np.testing.assert_allclose(forward[..., i], difference / (2 * h), atol=SAME / (2 * h))
    assert jnp.abs(forward).max(axis=(0, 1)).min() > 1e-5  # none of the three is without effect


def test_derivative_by_a_constant_of_the_energy():
    path = perturbed(jax.random.key(4))
    step = lambda K2: mm.neb_step(mm.single_spin(1.0, K2), path, PAPER)  # noqa: E731
    difference = (step(-2.0 + 1e-5) - step(-2.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jacfwd(step)(-2.0), difference, atol=rounding(np.pi) / 2e-5)
    assert jnp.abs(difference).max() > 1e-3


def test_a_mapped_batch_is_the_loop():
    paths = jnp.stack([perturbed(jax.random.key(i)) for i in range(5)])
    step = partial(mm.neb_step, ENERGY, params=PAPER, climb=True)
    np.testing.assert_allclose(jax.vmap(step)(paths), jnp.stack([step(p) for p in paths]), atol=SAME)
    run = lambda p: mm.iterate(ENERGY, p, mm.NEBParams(gamma=0.1), 7)  # noqa: E731
    mapped, loop = jax.vmap(run)(paths), [run(p) for p in paths]
    np.testing.assert_allclose(mapped.path, jnp.stack([r.path for r in loop]), atol=SAME)
    assert mapped.steps.tolist() == [7] * 5 and not mapped.diverged.any()


SPINS = [
    (ENERGY, mm.Flat(), lambda paths: paths),
    (mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))]), mm.Spheres(), mm.angles_to_spin),
]


@pytest.mark.parametrize("tangent", ["smooth", "improved", "central"])
@pytest.mark.parametrize("climb", [False, True])
@pytest.mark.parametrize("energy, geometry, states", SPINS, ids=["angles", "sphere"])
def test_a_batch_side_by_side_is_the_loop(energy, geometry, states, climb, tangent):
    paths = states(jnp.stack([perturbed(jax.random.key(i)) for i in range(5)]))
    paths = paths if geometry == mm.Flat() else paths[:, :, None]
    options = {"geometry": geometry, "tangent": tangent, "climb": climb, "spring": "scaled"}
    batch = mm.iterate_batch(energy, paths, mm.NEBParams(gamma=0.1), 7, **options)
    loop = [mm.iterate(energy, p, mm.NEBParams(gamma=0.1), 7, **options) for p in paths]
    np.testing.assert_allclose(batch.path, jnp.stack([r.path for r in loop]), atol=SAME)
    assert batch.steps.tolist() == [7] * 5 and not batch.diverged.any()


def test_of_a_batch_only_the_lost_bands_stop():
    paths = jnp.stack([perturbed(jax.random.key(i)) for i in range(3)])
    paths = paths.at[1].set(paths[1] * 1e3)  # its springs are unstable
    r, alone = (
        mm.iterate_batch(ENERGY, paths, mm.NEBParams(mu=1.0), 50),
        mm.iterate(ENERGY, paths[1], mm.NEBParams(), 50),
    )
    assert r.diverged.tolist() == [False, True, False] and bool(alone.diverged)
    assert r.steps.tolist() == [50, int(alone.steps), 50]
    assert jnp.all(jnp.isfinite(r.path))


def test_bad_batches_refused():
    paths = jnp.stack([perturbed(jax.random.key(i)) for i in range(3)])
    with pytest.raises(ValueError, match=r"\(B, P, \*shape\)"):
        mm.iterate_batch(ENERGY, paths[0], PAPER, 5)
    with pytest.raises(ValueError, match="finite"):
        mm.iterate_batch(ENERGY, paths.at[1, 2, 0].set(jnp.nan), PAPER, 5)
    with pytest.raises(ValueError, match="coincide"):
        mm.iterate_batch(ENERGY, paths.at[2, 3].set(paths[2, 4]), PAPER, 5)
    with pytest.raises(ValueError, match="three neighbouring images"):
        mirrored = paths.at[1, 1:4].set(jnp.array([[0.1, 0.5], [-0.1, 0.5], [0.1, -0.5]]))
        mm.iterate_batch(ENERGY, mirrored, PAPER, 5, tangent="improved")
    with pytest.raises(ValueError, match="steps"):
        mm.iterate_batch(ENERGY, paths, PAPER, 0)
    with pytest.raises(ValueError, match="image 2 of path 1 is nan"):
        mm.iterate_batch(lambda x: jnp.where(x[0] > 50, jnp.nan, ENERGY(x)), paths.at[1, 2, 0].set(60.0), PAPER, 5)


class Energy:
    """An energy that is an object with a method."""

    def __call__(self, x):
        return ENERGY(x)


def test_every_kind_of_callable_is_an_energy():
    path = perturbed(jax.random.key(6))
    K1 = jnp.array(1.0)

    def closure(x):
        return -K1 * jnp.cos(x[0]) ** 2 * jnp.cos(x[1]) ** 2 + 2 * jnp.sin(x[0]) ** 2

    expected = mm.neb_step(ENERGY, path, PAPER)
    for energy in (closure, lambda x: closure(x), Partial(closure), partial(closure), jax.jit(closure), Energy()):
        np.testing.assert_allclose(mm.neb_step(energy, path, PAPER), expected, atol=SAME)
    # the same check stands before the other calls
    r = mm.iterate(lambda x: closure(x), path, PAPER, 1)
    np.testing.assert_allclose(r.path, expected, atol=SAME)
    assert mm.barrier(lambda x: closure(x), path) == pytest.approx(float(mm.barrier(ENERGY, path)), abs=rounding(3))


def test_numpy_path_and_python_numbers_do():
    path = perturbed(jax.random.key(6))
    after = mm.neb_step(ENERGY, np.asarray(path), mm.NEBParams(gamma=0, mu=1, beta=3))
    assert isinstance(after, jax.Array)
    np.testing.assert_allclose(after, mm.neb_step(ENERGY, path, mm.NEBParams(0.0, 1.0, 3.0)), atol=SAME)


# iterate


def test_iterate_is_repeated_steps_and_observes_every_path():
    path = perturbed(jax.random.key(7))
    r = mm.iterate(ENERGY, path, mm.NEBParams(0.1), 6, observe=lambda p: {"path": p, "top": jnp.max(p)})
    expected = [path]
    for _ in range(6):
        expected.append(mm.neb_step(ENERGY, expected[-1], mm.NEBParams(0.1)))
    np.testing.assert_allclose(r.history["path"], jnp.stack(expected), atol=SAME)
    np.testing.assert_array_equal(r.history["top"], r.history["path"].max(axis=(1, 2)))
    assert r.history["top"].shape == (7,) and jnp.array_equal(r.path, r.history["path"][-1])
    assert (int(r.steps), bool(r.diverged)) == (6, False)
    assert mm.iterate(ENERGY, path, PAPER, 1).history is None


@pytest.mark.parametrize("gamma, mu", [(0.01, 50.0), (1e300, 1.0), (0.01, 1e200)])
def test_divergence_is_flagged_and_finite(gamma, mu):
    path = perturbed(jax.random.key(8))
    length = float(mm.paths.arc_length(path)[-1])
    r = mm.iterate(ENERGY, path, mm.NEBParams(gamma, mu), 100, observe=lambda p: p)
    assert r.diverged and 0 <= r.steps < 100
    assert jnp.all(jnp.isfinite(r.path)) and jnp.all(jnp.isfinite(r.history))
    assert float(mm.paths.arc_length(r.path)[-1]) < 1000 * length
    assert r.history.shape == (101, 9, 2)
    assert jnp.array_equal(r.history[int(r.steps)], r.path) and jnp.array_equal(r.history[-1], r.path)


def test_one_lost_path_does_not_touch_the_others_of_its_batch():
    paths = jnp.stack([perturbed(jax.random.key(i)) for i in range(3)])
    gammas = jnp.array([0.1, 1e300, 0.1])
    r = jax.vmap(lambda p, g: mm.iterate(ENERGY, p, mm.NEBParams(g), 50))(paths, gammas)
    assert r.diverged.tolist() == [False, True, False] and r.steps.tolist() == [50, 0, 50]
    assert jnp.array_equal(r.path[1], paths[1])
    np.testing.assert_allclose(r.path[2], mm.iterate(ENERGY, paths[2], mm.NEBParams(0.1), 50).path, atol=1e-12)


# Bad input

GOOD = mep(8)
BAD_PATHS = {
    "two images": (GOOD[:2], r"P >= 3 images, got shape \(2, 2\)"),
    "scalar states": (GOOD[:, 1], r"P >= 3 images, got shape \(8,\)"),  # a state has at least one axis
    "coincident images": (GOOD.at[3].set(GOOD[2]), "images 2 and 3 coincide"),
    "nan": (GOOD.at[3, 0].set(jnp.nan), "path has coordinates that are not finite"),
    "infinity": (GOOD.at[3, 0].set(jnp.inf), "path has coordinates that are not finite"),
    "integers": (jnp.arange(16).reshape(8, 2), "path must be a float array, got int"),
    "complex": (GOOD.astype(complex), "path must be a float array, got complex"),
    "list": (np.asarray(GOOD).tolist(), "path must be a float array, got list"),
    "other states": (jnp.zeros((8, 3)) + jnp.arange(8.0)[:, None], r"shape \(2,\), got shape \(3,\)"),
}
BAD_ENERGIES = {
    "number": (3.0, "the energy must be callable, x -> scalar, got float"),
    "vector": (lambda x: x, r"must map an image of shape \(2,\) to a float scalar"),
    "integer": (lambda x: jnp.sum(x > 0), "to a float scalar"),
    "shapes inside": (lambda x: jnp.sum(x + jnp.ones(3)), r"does not take an image of shape \(2,\)"),
    "index": (lambda x: x[0, 0], r"does not take an image of shape \(2,\)"),
    "nan": (lambda x: jnp.log(x[0] - 1), "energy of image 0 is nan: energies must be finite"),
    "infinity": (lambda x: 1 / (x[1] - GOOD[4, 1]), "energy of image 4 is inf: energies must be finite"),
}
BAD_PARAMS = {
    "negative gamma": (mm.NEBParams(gamma=-0.01), "gamma must be a finite number >= 0, got -0.01"),
    "negative mu": (mm.NEBParams(mu=-1.0), "mu must be a finite number >= 0"),
    "negative beta": (mm.NEBParams(beta=-3.0), "beta must be a finite number >= 0"),
    "nan": (mm.NEBParams(gamma=float("nan")), "gamma must be a finite number >= 0, got nan"),
    "infinity": (mm.NEBParams(mu=float("inf")), "mu must be a finite number >= 0, got inf"),
    "array": (mm.NEBParams(gamma=jnp.ones(2)), r"gamma must be a finite number >= 0, a scalar, got shape \(2,\)"),
}
both = pytest.mark.parametrize(
    "call", [mm.neb_step, lambda e, s, p, **k: mm.iterate(e, s, p, 3, **k)], ids=["neb_step", "iterate"]
)


@both
@pytest.mark.parametrize("path, words", BAD_PATHS.values(), ids=BAD_PATHS)
def test_bad_path(call, path, words):
    with pytest.raises(ValueError, match=words):
        call(ENERGY, path, PAPER)


@both
@pytest.mark.parametrize("energy, words", BAD_ENERGIES.values(), ids=BAD_ENERGIES)
def test_bad_energy(call, energy, words):
    with pytest.raises(ValueError, match=words):
        call(energy, GOOD, PAPER)


@both
@pytest.mark.parametrize("params, words", BAD_PARAMS.values(), ids=BAD_PARAMS)
def test_bad_params(call, params, words):
    with pytest.raises(ValueError, match=words):
        call(ENERGY, GOOD, params)


@both
def test_bad_options(call):
    with pytest.raises(ValueError, match="tangent must be one of 'smooth', 'improved', 'central', got 'spline'"):
        call(ENERGY, GOOD, PAPER, tangent="spline")
    with pytest.raises(ValueError, match="spring must be one of 'raw', 'unit', 'scaled', got 'soft'"):
        call(ENERGY, GOOD, PAPER, spring="soft")


@both
def test_three_equal_energies_in_a_row_leave_equation_3_without_a_tangent(call):
    flat = lambda x: jnp.maximum(x[1] - 1.0, 0.0)  # noqa: E731
    with pytest.raises(ValueError, match="three neighbouring images have equal energies"):
        call(flat, GOOD, PAPER, tangent="improved")
    call(flat, GOOD, PAPER, tangent="smooth")  # the others do not need energies


def test_bad_number_of_steps():
    with pytest.raises(ValueError, match="steps must be at least 1, a whole number, got 0"):
        mm.iterate(ENERGY, GOOD, PAPER, 0)


def test_a_step_without_a_tangent_or_beyond_all_numbers_is_refused():
    there_and_back = jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="the step is not finite"):
        mm.neb_step(ENERGY, there_and_back, PAPER, tangent="central")
    with pytest.raises(ValueError, match="the step size overflows"):
        mm.neb_step(mm.single_spin(1e3, -1e3), perturbed(jax.random.key(0)), mm.NEBParams(gamma=1e308))
    # the same inside iterate is divergence
    assert mm.iterate(ENERGY, there_and_back, PAPER, 3, tangent="central").diverged
