"""Paths and the two random ensembles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from mepmeta.paths import arc_length

START, END = jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi])
MEP = mm.straight_path(START, END, 11)
#: A path with unequal steps that turns a corner, and one of another coordinate shape.
CORNER = jnp.array([[0.0, 0.0], [0.5, 0.1], [1.0, 0.0], [1.0, 2.0], [1.2, 2.1]])
MATRICES = mm.straight_path(jnp.zeros((2, 3)), jnp.arange(6.0).reshape(2, 3) - 2.0, 7)
PATHS = {"mep": MEP, "corner": CORNER, "matrices": MATRICES}

keys = st.integers(0, 2**31 - 1).map(jax.random.key)
amplitudes = st.floats(0, 2)
names = st.sampled_from(sorted(PATHS))
ensembles = pytest.mark.parametrize("ensemble", [mm.perturbed_path, mm.bent_path])


@partial(jax.jit, static_argnums=(0, 3))
def draw(ensemble, path, amplitude, n=4000):
    return jax.vmap(lambda key: ensemble(key, path, amplitude))(jax.random.split(jax.random.key(5), n))


@pytest.mark.parametrize("P", [3, 4, 8, 11, 14, 40])
def test_straight_path_is_equidistant_from_start_to_end(P):
    path = mm.straight_path(START, END, P)
    assert path.shape == (P, 2)
    assert jnp.array_equal(path[0], START) and jnp.array_equal(path[-1], END)
    np.testing.assert_allclose(jnp.diff(arc_length(path)), jnp.pi / (P - 1), atol=rounding(np.pi, P))


def test_straight_path_of_the_spin_has_no_force_across():
    gradients = jax.vmap(jax.grad(mm.single_spin()))(MEP)
    assert jnp.all(gradients[:, 0] == 0)


def test_arc_length_adds_up_and_does_not_depend_on_the_shape_of_a_state():
    assert arc_length(CORNER)[0] == 0
    np.testing.assert_allclose(
        arc_length(CORNER), np.r_[0, np.cumsum(np.linalg.norm(np.diff(CORNER, axis=0), axis=1))], rtol=rounding()
    )
    np.testing.assert_allclose(arc_length(MATRICES), arc_length(MATRICES.reshape(7, 6)), rtol=rounding())


@ensembles
@given(keys, names, amplitudes)
def test_ends_stay(ensemble, key, name, amplitude):
    path = ensemble(key, PATHS[name], amplitude)
    assert path.shape == PATHS[name].shape and path.dtype == PATHS[name].dtype
    assert jnp.array_equal(path[0], PATHS[name][0]) and jnp.array_equal(path[-1], PATHS[name][-1])


@ensembles
@given(keys, names)
def test_amplitude_zero_is_the_path_itself(ensemble, key, name):
    assert jnp.array_equal(ensemble(key, PATHS[name], 0.0), PATHS[name])


@ensembles
@given(keys, names, amplitudes)
def test_a_key_fixes_the_path_and_the_amplitude_scales_it(ensemble, key, name, amplitude):
    path = PATHS[name]
    assert jnp.array_equal(ensemble(key, path, amplitude), ensemble(key, path, amplitude))
    single, double = ensemble(key, path, amplitude) - path, ensemble(key, path, 2 * amplitude) - path
    np.testing.assert_allclose(double, 2 * single, atol=rounding(40))


@ensembles
def test_another_key_gives_another_path(ensemble):
    assert not jnp.array_equal(ensemble(jax.random.key(0), MEP), ensemble(jax.random.key(1), MEP))


@given(keys, names, amplitudes)
def test_perturbation_moves_no_coordinate_further_than_its_amplitude(key, name, amplitude):
    path = PATHS[name]
    shift = jnp.abs(mm.perturbed_path(key, path, amplitude) - path)[1:-1]
    bound = amplitude * float(arc_length(path)[-1])
    assert shift.max() <= bound + rounding(5 + bound)
    assert bound < 1e-10 or shift.max() > 1e-3 * bound


def test_perturbation_is_uniform_and_independent():
    n, bound = 4000, 0.05 * np.pi
    u = np.asarray((draw(mm.perturbed_path, MEP, 0.05, n) - MEP)[:, 1:-1]) / bound
    u = u.reshape(n, -1)  # 18 coordinates
    assert u.max() > 0.999 and u.min() < -0.999
    deviations = 4.5  # of the mean of n; 18 + 18 + 153 numbers are looked at
    assert np.abs(u.mean(0)).max() < deviations * np.sqrt(1 / 3 / n)
    assert np.abs((u**2).mean(0) - 1 / 3).max() < deviations * np.sqrt((1 / 5 - 1 / 9) / n)
    assert np.abs(np.corrcoef(u.T) - np.eye(18)).max() < deviations / np.sqrt(n)


@given(keys, names, st.floats(0.01, 2))
def test_bend_is_across_the_way_from_start_to_end(key, name, amplitude):
    path = PATHS[name]
    shift = (mm.bent_path(key, path, amplitude) - path).reshape(path.shape[0], -1)
    direction = jnp.ravel(path[-1] - path[0])
    along = shift @ direction / jnp.linalg.norm(direction)
    assert jnp.abs(along).max() < rounding(100, 6)  # bends of at most 90
    assert jnp.abs(shift).max() > 1e-4 * amplitude
    # every mode is at most a whole amplitude in every coordinate before the projection
    most = amplitude * float(arc_length(path)[-1]) * (1 + 1 / 2 + 1 / 3) * np.sqrt(direction.size)
    assert jnp.linalg.norm(shift, axis=1).max() <= most


@given(keys)
def test_bend_is_smooth(key):
    """The profile is three sine modes: any number of images sample the same curve, and the fourth mode is absent."""
    coarse, fine = (mm.bent_path(key, mm.straight_path(START, END, P), 0.3) for P in (9, 65))
    np.testing.assert_allclose(coarse, fine[::8], atol=rounding(np.pi))
    s = np.arange(1, 64) / 64
    sines = np.sin(np.pi * np.outer(np.arange(1, 64), s))
    modes = 2 / 64 * sines @ np.asarray(fine)[1:-1, 0] / (0.3 * np.pi)
    assert np.abs(modes[3:]).max() < rounding(np.pi)
    assert np.all(np.abs(modes[:3]) <= 1 / np.arange(1, 4)) and np.all(modes[:3] != 0) and np.abs(modes[2]) > 1e-9


def test_bend_is_as_often_left_as_right():
    n = 4000
    theta = np.asarray(draw(mm.bent_path, MEP, 0.1, n))[:, 1:-1, 0]
    assert np.abs(theta.mean(0) / theta.std(0)).max() < 4.5 / np.sqrt(n)


@ensembles
def test_numpy_paths_and_traced_calls_do_the_same(ensemble):
    key = jax.random.key(3)
    expected = ensemble(key, MEP, 0.2)
    assert jnp.array_equal(ensemble(key, np.asarray(MEP), 0.2), expected)
    np.testing.assert_allclose(jax.jit(ensemble)(key, MEP, 0.2), expected, atol=rounding(np.pi))
    slope = jax.jacfwd(lambda a: ensemble(key, MEP, a))(0.2)
    np.testing.assert_allclose(slope, (expected - MEP) / 0.2, atol=rounding(np.pi / 0.2))  # linear in its amplitude


@ensembles
@pytest.mark.parametrize(
    "path, amplitude, words",
    [
        (MEP[:2], 0.1, "P >= 3"),
        (jnp.zeros(5), 0.1, "P >= 3"),
        (MEP.at[4].set(MEP[3]), 0.1, "images 3 and 4 coincide"),
        (MEP.at[4, 0].set(jnp.nan), 0.1, "not finite"),
        (jnp.arange(6).reshape(3, 2), 0.1, "float array, got int"),
        ([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]], 0.1, "float array, got list"),
        (MEP, -0.1, "amplitude must be a finite number >= 0"),
        (MEP, float("nan"), "amplitude must be a finite number >= 0"),
        (MEP, float("inf"), "amplitude must be a finite number >= 0"),
    ],
)
def test_bad_input_to_an_ensemble(ensemble, path, amplitude, words):
    with pytest.raises(ValueError, match=words):
        ensemble(jax.random.key(0), path, amplitude)


def test_a_closed_path_has_no_direction_to_bend_across():
    loop = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="ends"):
        mm.bent_path(jax.random.key(0), loop)


@pytest.mark.parametrize(
    "start, end, n, words",
    [
        (START, END, 2, "n_images must be at least 3, a whole number, got 2"),
        (START, START, 8, "coincide"),
        (START, jnp.zeros(3), 8, r"one shape, got \(2,\) and \(3,\)"),
        (START, jnp.array([0.0, jnp.inf]), 8, "end has coordinates that are not finite"),
        (jnp.array([jnp.nan, 0.0]), END, 8, "start has coordinates that are not finite"),
        (jnp.array([0, 0]), END, 8, "start must be a float array, got int"),
        (0.0, 1.0, 8, "start must be a float array"),
        (jnp.array(0.0), jnp.array(1.0), 8, r"got shape \(8,\)"),  # a state has at least one axis
    ],
)
def test_bad_input_to_a_straight_path(start, end, n, words):
    with pytest.raises(ValueError, match=words):
        mm.straight_path(start, end, n)


def test_distances_beyond_all_numbers_are_refused():
    with pytest.raises(ValueError, match="too large"):
        mm.paths.arc_length(jnp.array([[-1e300, 0.0], [1e300, 1.0]]))
