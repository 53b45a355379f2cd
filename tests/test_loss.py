"""Overestimate, rates and loss: telescoping, floor, derivatives in both modes, the known values, memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from mepmeta.loss import losses_and_gradients

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
PAPER = mm.NEBParams(gamma=0.01, mu=1.0, beta=3.0)
LOST = np.log(1000)
SAME = rounding(3)  # energies of at most |K1| + |K2|

keys = st.integers(0, 2**31 - 1).map(jax.random.key)


def mep(P):
    return mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), P)


@partial(jax.jit, static_argnums=(0, 1))
def draw(P, n, seed=0):
    return jax.vmap(lambda key: mm.perturbed_path(key, mep(P)))(jax.random.split(jax.random.key(seed), n))


PATHS = draw(8, 40)


@jax.jit
def losses(paths, params):
    return jax.vmap(lambda path: mm.loss(ENERGY, path, params, reference=0.0))(paths)


@jax.jit
def tops(paths, params):
    """The highest points after five iterations."""
    after = jax.vmap(lambda path: mm.iterate(ENERGY, path, params, 5).path)(paths)
    return jax.vmap(partial(mm.highest_point, ENERGY))(after)


# Overestimate and rates


@given(keys, st.floats(-3, 3))
@settings(max_examples=20)
def test_overestimate_is_the_barrier_above_the_reference_whatever_the_zero_of_energy(key, shift):
    path = mm.perturbed_path(key, mep(8))
    delta = mm.overestimate(ENERGY, path, 0.0)
    assert delta == pytest.approx(float(mm.barrier(ENERGY, path)), abs=SAME) and delta > 0
    # a constant added to the energy goes into the reference
    assert mm.overestimate(shifted, path, SHIFT) == pytest.approx(float(delta), abs=rounding(3 + SHIFT))


SHIFT = 7.5


def shifted(x):
    return ENERGY(x) + SHIFT


def test_floor_of_a_converged_path():
    """Machine epsilon times the larger of the saddle energy and the barrier, never zero or negative."""
    eps = np.finfo(float).eps
    assert mm.overestimate(ENERGY, mep(9), 0.0) == eps
    assert mm.overestimate(mm.single_spin(20.0, -2.0), mep(9), 0.0) == 20 * eps
    assert mm.overestimate(shifted, mep(9), SHIFT) == SHIFT * eps
    assert mm.overestimate(ENERGY, mep(9), 0.5) == 1.5 * eps  # a reference above the barrier


@given(st.lists(st.floats(1e-12, 1e3), min_size=2, max_size=10))
def test_rates_multiply_up_to_the_whole_gain(deltas):
    rho = mm.convergence_rates(jnp.array(deltas))
    assert rho.shape == (len(deltas) - 1,)
    assert np.sum(np.log(rho)) == pytest.approx(np.log(deltas[-1] / deltas[0]), abs=rounding(35, 10))  # of logarithms


def test_rates_run_along_the_last_axis():
    deltas = jnp.array([[8.0, 4.0, 1.0], [1.0, 2.0, 6.0]])
    assert mm.convergence_rates(deltas).tolist() == [[0.5, 0.25], [2.0, 3.0]]
    with pytest.raises(ValueError, match="no number"):
        mm.convergence_rates(jnp.array([1e-320, 1.0]))


# The loss


def delta_of(path):
    return mm.overestimate(ENERGY, path, 0.0)


@pytest.mark.parametrize("gamma", [0.01, 0.2])
def test_loss_is_the_mean_logarithm_of_the_rates(gamma):
    """Two barriers, and K + 1 recorded on the way, give the same: the sum telescopes."""
    params = mm.NEBParams(gamma)
    for path in PATHS[:4]:
        deltas = mm.iterate(ENERGY, path, params, 5, observe=delta_of).history
        assert deltas.shape == (6,)
        expected = jnp.mean(jnp.log(mm.convergence_rates(deltas)))
        assert mm.loss(ENERGY, path, params, reference=0.0) == pytest.approx(
            float(expected), abs=SAME / float(deltas.min())
        )


@pytest.mark.parametrize("spring", ["unit", "scaled"])
def test_loss_follows_the_reading_of_the_spring(spring):
    path, params = PATHS[0], mm.NEBParams(0.1, 0.4, 3.0)
    after = mm.iterate(ENERGY, path, params, 5, spring=spring).path
    gain = mm.overestimate(ENERGY, after, 0.0) / mm.overestimate(ENERGY, path, 0.0)
    L = mm.loss(ENERGY, path, params, reference=0.0, spring=spring)
    assert L == pytest.approx(float(jnp.log(gain) / 5), abs=SAME / float(mm.overestimate(ENERGY, after, 0.0)))


def test_loss_does_not_depend_on_the_unit_of_energy():
    c = 50.0
    E = mm.single_spin(c, -2 * c)
    scaled = mm.loss(E, PATHS[0], mm.NEBParams(0.1 / c, 1.0, 3.0 / c), reference=0.0)
    least = mm.overestimate(ENERGY, mm.iterate(ENERGY, PATHS[0], mm.NEBParams(0.1), 5).path, 0.0)
    one = mm.loss(ENERGY, PATHS[0], mm.NEBParams(0.1), reference=0.0)
    assert scaled == pytest.approx(float(one), abs=SAME / float(least))


@pytest.mark.parametrize("P, known", [(8, -0.152), (9, -0.080), (11, -0.087), (14, -0.139)])
def test_loss_at_the_parameters_of_the_paper(P, known):
    """Mean over 4000 paths at (0.01, 1, 3), K = 5, against values measured before on as many other paths."""
    L = losses(draw(P, 4000, seed=1), PAPER)
    error = L.std() / np.sqrt(len(L))
    assert L.mean() == pytest.approx(known, abs=min(0.02, 4 * np.sqrt(2) * float(error)))


def test_scatter_of_single_losses():
    """The large variation between random samples that the paper reports: a standard deviation of about 0.25."""
    assert 0.15 < losses(draw(8, 4000, seed=1), PAPER).std() < 0.5


def test_a_lost_band_counts_as_ln_1000_and_touches_no_other():
    lost = mm.NEBParams(gamma=1e200)
    assert mm.loss(ENERGY, PATHS[0], lost, reference=0.0) == pytest.approx(LOST)
    L, slopes = mm.loss_and_gradient(ENERGY, PATHS, lost, reference=0.0)
    np.testing.assert_allclose(L, LOST)
    assert all(jnp.all(jnp.isfinite(slope)) for slope in slopes)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 1.2, 3.0])
def test_losses_and_gradients_are_finite_where_bands_diverge(gamma):
    L, slopes = mm.loss_and_gradient(ENERGY, PATHS, mm.NEBParams(gamma, 2.0, 3.0), reference=0.0)
    assert jnp.all(jnp.isfinite(L)) and L.max() <= LOST
    assert not any(jnp.any(jnp.isnan(slope)) for slope in slopes)


def test_converged_paths_have_a_finite_loss():
    L, slopes = mm.loss_and_gradient(ENERGY, PATHS.at[:].set(mep(8)), PAPER, reference=0.0)
    assert jnp.all(L == 0) and all(jnp.all(slope == 0) for slope in slopes)


# Its derivative

SETTINGS = [mm.NEBParams(0.01, 1.0, 3.0), mm.NEBParams(0.077, 1.0, 3.0), mm.NEBParams(0.1, 0.5, 5.0)]
each_setting = pytest.mark.parametrize("params", SETTINGS, ids=lambda p: f"gamma={p.gamma}")


@each_setting
def test_losses_of_a_batch_are_those_of_its_paths(params):
    L, slopes = mm.loss_and_gradient(ENERGY, PATHS, params, reference=0.0)
    assert L.shape == (40,) and all(slope.shape == (40,) for slope in slopes) and isinstance(slopes, mm.NEBParams)
    np.testing.assert_allclose(L, losses(PATHS, params), atol=SAME / 1e-3)  # next to zero, where a barrier stays high


reverse = jax.jit(jax.vmap(jax.grad(lambda p, path: mm.loss(ENERGY, path, p, reference=0.0)), (None, 0)))


@each_setting
def test_forward_mode_is_reverse_mode(params):
    _, slopes = mm.loss_and_gradient(ENERGY, PATHS, params, reference=0.0)
    for forward, backward in zip(slopes, reverse(params, PATHS), strict=True):
        np.testing.assert_allclose(forward, backward, rtol=1e-8, atol=1e-10)


@each_setting
def test_gradient_is_that_of_central_differences_where_the_loss_is_smooth(params):
    """Where the highest point is inside a segment and stays there while the parameters change a little."""
    _, slopes = mm.loss_and_gradient(ENERGY, PATHS, params, reference=0.0)
    top = tops(PATHS, params)
    smooth = (top.t > 0.02) & (top.t < 0.98) & (top.value > 1e-5)
    for i, slope in enumerate(slopes):
        h = 1e-5 * params[i]
        up, down = (params._replace(**{params._fields[i]: params[i] + sign * h}) for sign in (1, -1))
        same = smooth & (tops(PATHS, up).segment == tops(PATHS, down).segment)
        assert same.sum() >= 10
        difference = (losses(PATHS, up) - losses(PATHS, down)) / (2 * h)
        scale = 1e-3 / params[i]  # of a derivative by a parameter that changes the loss by 0.001 as it doubles
        assert jnp.where(same, jnp.abs(slope - difference) / jnp.maximum(jnp.abs(slope), scale), 0).max() < 1e-4
        assert jnp.abs(slope).max() > scale


def test_memory_does_not_grow_with_the_number_of_iterations():
    compiled = jax.jit(partial(losses_and_gradients, ENERGY), static_argnums=3)
    before = jnp.zeros(40)
    sizes = {
        K: compiled.lower(PATHS, before, PAPER, K, 0.0).compile().memory_analysis().temp_size_in_bytes
        for K in (5, 500, 5000)
    }
    assert sizes[5] == sizes[500] == sizes[5000] > 0


def test_many_iterations_converge_to_the_floor():
    L = mm.loss(ENERGY, PATHS[0], mm.NEBParams(gamma=0.2), steps=500, reference=0.0)
    delta = mm.overestimate(ENERGY, PATHS[0], 0.0)
    assert L == pytest.approx(float(jnp.log(np.finfo(float).eps / delta) / 500), abs=1e-12)


# Bad input

CALLS = {
    "loss": lambda energy, path, params=PAPER, reference=0.0, steps=5: mm.loss(
        energy, path, params, reference=reference, steps=steps
    ),
    "loss_and_gradient": lambda energy, path, params=PAPER, reference=0.0, steps=5: mm.loss_and_gradient(
        energy, jnp.stack([path, path]), params, reference=reference, steps=steps
    ),
    "overestimate": lambda energy, path, reference=0.0: mm.overestimate(energy, path, reference),
}
GOOD = mep(8)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_bad_path_energy_and_reference(call):
    with pytest.raises(ValueError, match="P >= 3"):
        call(ENERGY, GOOD[:2])
    with pytest.raises(ValueError, match="images 2 and 3 coincide"):
        call(ENERGY, GOOD.at[3].set(GOOD[2]))
    with pytest.raises(ValueError, match="float array, got int"):
        call(ENERGY, jnp.arange(16).reshape(8, 2))
    with pytest.raises(ValueError, match="coordinates that are not finite"):
        call(ENERGY, GOOD.at[3, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="to a float scalar"):
        call(lambda x: x, GOOD)
    with pytest.raises(ValueError, match="energy of image 0 (of path 0 )?is nan"):
        call(lambda x: jnp.log(x[0] - 1), GOOD)
    with pytest.raises(ValueError, match="reference"):
        call(ENERGY, GOOD, reference=float("nan"))


@pytest.mark.parametrize("call", [CALLS["loss"], CALLS["loss_and_gradient"]], ids=["loss", "loss_and_gradient"])
def test_bad_params_and_steps(call):
    with pytest.raises(ValueError, match="gamma must be a finite number >= 0, got -0.1"):
        call(ENERGY, GOOD, params=PAPER._replace(gamma=-0.1))
    with pytest.raises(ValueError, match="mu must be a finite number >= 0, got nan"):
        call(ENERGY, GOOD, params=PAPER._replace(mu=float("nan")))
    with pytest.raises(ValueError, match="steps must be at least 1, a whole number, got 0"):
        call(ENERGY, GOOD, steps=0)
    with pytest.raises(ValueError, match="steps must be at least 1, a whole number, got 2.5"):
        call(ENERGY, GOOD, steps=2.5)
    with pytest.raises(ValueError, match="reference must be one energy, a scalar"):
        call(ENERGY, GOOD, reference=jnp.zeros(2))


@pytest.mark.parametrize("call, paths", [(mm.loss, GOOD), (mm.loss_and_gradient, PATHS)])
def test_no_metaparameters_are_refused(call, paths):
    with pytest.raises(ValueError, match="NEBParams"):
        call(ENERGY, paths, None, reference=0.0)


def test_unknown_spring():
    for call, paths in ((mm.loss, GOOD), (mm.loss_and_gradient, PATHS)):
        with pytest.raises(ValueError, match="spring must be one of 'raw', 'unit', 'scaled', got 'soft'"):
            call(ENERGY, paths, PAPER, reference=0.0, spring="soft")


def test_every_path_of_a_batch_is_checked():
    """Not only the first."""
    bad = PATHS.at[7, 3].set(PATHS[7, 2])
    with pytest.raises(ValueError, match="coincide"):
        mm.loss_and_gradient(ENERGY, bad, PAPER, reference=0.0)
    with pytest.raises(ValueError, match="not finite"):
        mm.loss_and_gradient(ENERGY, PATHS.at[7, 3].set(jnp.nan), PAPER, reference=0.0)
    with pytest.raises(ValueError, match=r"\(B, P, \*shape\), got shape \(8, 2\)"):
        mm.loss_and_gradient(ENERGY, GOOD, PAPER, reference=0.0)
    pit = lambda x: ENERGY(x) + 0 * jnp.log((x[1] - PATHS[7, 3, 1]) ** 2)  # noqa: E731
    with pytest.raises(ValueError, match="energies must be finite"):
        mm.loss_and_gradient(pit, PATHS, PAPER, reference=0.0)


def test_single_precision_stays_single_precision():
    """Also where the numbers that JAX makes are double."""
    single, params = PATHS.astype(jnp.float32), mm.NEBParams(*(jnp.float32(p) for p in PAPER))
    energy = mm.single_spin(jnp.float32(1.0), jnp.float32(-2.0))
    loss = mm.loss(energy, single[0], params, reference=0.0)
    each, gradients = mm.loss_and_gradient(energy, single, params, reference=0.0)
    Q = mm.barrier(energy, single[0])
    assert {x.dtype for x in (loss, each, Q, *gradients)} == {jnp.dtype(jnp.float32)}
    eps = float(jnp.finfo(jnp.float32).eps)
    assert Q == pytest.approx(float(mm.barrier(ENERGY, PATHS[0])), abs=100 * eps)
    overestimates = jax.vmap(lambda path: mm.overestimate(ENERGY, path, reference=0.0))(PATHS)
    np.testing.assert_allclose(each, losses(PATHS, PAPER), atol=1000 * eps / float(overestimates.min()))
