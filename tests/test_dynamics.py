"""Stochastic dynamics: conservation, precession in closed form, the Boltzmann distribution, exact rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rounding import rounding
from scipy.integrate import quad
from scipy.stats import chi2

import mepmeta as mm

SPIN = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
QUIET = {"progress": False}


def random_spins(seed, shape):
    S = np.random.default_rng(seed).normal(size=(*shape, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def test_energy_and_length_without_noise_and_damping():
    for energy, shape in [(SPIN, (1,)), (mm.Heisenberg((4, 3), mm.nearest_neighbours("square", 1.0, 0.3)), (4, 3))]:
        start = random_spins(0, (20, *shape))
        end = mm.simulate(
            jax.random.key(0), energy, start, temperature=0.0, damping=0.0, dt=0.01, steps=2000, **QUIET
        ).states
        before, after = jax.vmap(energy)(start), jax.vmap(energy)(end)
        assert float(jnp.max(jnp.abs(end - start))) > 0.5
        assert float(jnp.max(jnp.abs(after - before))) < 1e-6
        assert float(jnp.max(jnp.abs(jnp.linalg.norm(end, axis=-1) - 1))) < 1e-10


def test_length_with_strong_noise_and_a_long_step():
    end = mm.simulate(
        jax.random.key(1), SPIN, random_spins(1, (50, 1)), temperature=5.0, damping=1.0, dt=0.1, steps=500, **QUIET
    ).states
    assert float(jnp.max(jnp.abs(jnp.linalg.norm(end, axis=-1) - 1))) < 1e-10


def test_larmor_precession_and_its_sense():
    # dS/dt = -S x b: a spin along x in a field along z turns towards +y, S = (cos bt, sin bt, 0).
    field, b, t = mm.Heisenberg((1,), field=(0, 0, 0.7)), 0.7, 3.0
    start = jnp.array([[[1.0, 0.0, 0.0]]])
    end = mm.simulate(jax.random.key(0), field, start, temperature=0.0, damping=0.0, dt=0.001, steps=3000, **QUIET)
    np.testing.assert_allclose(end.states[0, 0], [np.cos(b * t), np.sin(b * t), 0], atol=1e-6)
    assert end.time == pytest.approx(t)


def test_damped_spin_in_a_field_in_closed_form():
    # S_z = tanh(α b t / (1 + α²) + artanh S_z(0))
    b, damping, t = 0.7, 0.4, 2.0
    field = mm.Heisenberg((1,), field=(0, 0, b))
    start = jnp.array([[[np.sqrt(1 - 0.04), 0.0, -0.2]]])
    end = mm.simulate(jax.random.key(0), field, start, temperature=0.0, damping=damping, dt=0.001, steps=2000, **QUIET)
    expected = np.tanh(damping * b * t / (1 + damping**2) + np.arctanh(-0.2))
    assert float(end.states[0, 0, 2]) == pytest.approx(expected, abs=1e-6)


def test_midpoint_rule_is_of_second_order():
    def end(dt):
        start = random_spins(2, (5, 1))
        return mm.simulate(
            jax.random.key(0), SPIN, start, temperature=0.0, damping=0.3, dt=dt, steps=round(2 / dt), **QUIET
        ).states

    exact = end(0.0005)
    errors = [float(jnp.max(jnp.abs(end(dt) - exact))) for dt in (0.04, 0.02)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.5)


def boltzmann(axis, temperature, edges):
    """Exact probabilities of a component of the spin to lie between the edges."""
    K = {0: 1.0, 1: 0.0, 2: -2.0}
    others = [i for i in range(3) if i != axis]

    def density(s):
        # Over the circle at this component: S_i² = (1 - s²) cos², S_j² = (1 - s²) sin².
        mean, half = (K[others[0]] + K[others[1]]) / 2, (K[others[0]] - K[others[1]]) / 2
        phi = np.linspace(0, np.pi, 400, endpoint=False)
        weights = np.exp((K[axis] * s**2 + (1 - s**2) * (mean + half * np.cos(2 * phi))) / temperature)
        return weights.mean()

    parts = np.array([quad(density, a, b)[0] for a, b in zip(edges[:-1], edges[1:], strict=True)])
    return parts / parts.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("damping", [0.1, 1.0])
def test_boltzmann_distribution(temperature, damping):
    n, edges = 8000, np.linspace(-1, 1, 21)
    start = random_spins(5, (n, 1))  # uniform on the sphere
    end = mm.simulate(
        jax.random.key(7), SPIN, start, temperature=temperature, damping=damping, dt=0.02, steps=1000, **QUIET
    ).states[:, 0]
    for axis in (0, 2):
        expected = n * boltzmann(axis, temperature, edges)
        seen = np.histogram(np.asarray(end[:, axis]), edges)[0]
        keep = expected > 5
        statistic = np.sum((seen[keep] - expected[keep]) ** 2 / expected[keep])
        # Once in a million by chance: another processor draws, in effect, other numbers.
        assert statistic < chi2.isf(1e-6, keep.sum() - 1), (axis, statistic, keep.sum())


def core(temperature, S):
    return jnp.where(SPIN(S) < -1 + 2 * temperature, jnp.sign(S[0, 0]).astype(jnp.int32), 0)


def side(S):
    return jnp.where(S[0, 0] > 0, 1, -1)


def test_escapes_against_the_exact_rate():
    temperature, damping = 1 / 6, 0.5
    start = jnp.tile(jnp.array([[[1.0, 0.0, 0.0]]]), (2048, 1, 1))
    found = mm.count_escapes(
        jax.random.key(3), SPIN, start, Partial(core, temperature), temperature=temperature, damping=damping,
        dt=0.02, steps=10_000, **QUIET,
    )  # fmt: skip
    exact = mm.relaxation_rates(SPIN, temperature, damping)[0] / 2
    assert found.count > 200 and found.completed
    # Five standard deviations, and what the time step and the early escapes may add.
    assert found.rate == pytest.approx(exact, rel=0.03 + 5 / found.count**0.5)
    assert found.time == pytest.approx(2048 * 10_000 * 0.02)


def test_crossings_of_the_dividing_surface_over_count():
    start = jnp.tile(jnp.array([[[1.0, 0.0, 0.0]]]), (256, 1, 1))
    run = {"temperature": 0.25, "damping": 0.5, **QUIET}
    coarse = mm.count_escapes(jax.random.key(0), SPIN, start, Partial(side), dt=0.05, steps=4000, **run)
    fine = mm.count_escapes(jax.random.key(0), SPIN, start, Partial(side), dt=0.01, steps=20_000, **run)
    cores = mm.count_escapes(jax.random.key(0), SPIN, start, Partial(core, 0.25), dt=0.01, steps=20_000, **run)
    assert fine.rate > 1.1 * coarse.rate > 1.1 * cores.rate


def test_interval_is_that_of_a_poisson_process():
    found = mm.Escapes(100, 50.0, jnp.zeros(()), True)
    low, high = found.interval
    assert found.rate == 2
    # Exact quantiles for 100 events: 81.36 to 121.63.
    assert low * 50 == pytest.approx(81.36, abs=0.01) and high * 50 == pytest.approx(121.63, abs=0.01)
    assert mm.Escapes(0, 50.0, jnp.zeros(()), True).interval[0] == 0
    nothing = mm.Escapes(0, 0.0, jnp.zeros(()), False)  # interrupted at once
    assert nothing.rate == 0 and nothing.interval == (0, np.inf)


def test_keys_decide_and_records_are_kept():
    start = random_spins(3, (7, 2, 2))
    energy = mm.Heisenberg((2, 2), mm.nearest_neighbours("square", 1.0), periodic=False)
    run = {"temperature": 0.3, "damping": 0.2, "dt": 0.01, "steps": 50, **QUIET}
    a, b, c = (mm.simulate(jax.random.key(k), energy, start, **run).states for k in (0, 0, 1))
    assert jnp.array_equal(a, b) and not jnp.allclose(a, c)
    watched = mm.simulate(jax.random.key(0), energy, start, observe=jnp.mean, every=7, **run).states
    np.testing.assert_allclose(a, watched, atol=rounding(1, 50))  # how often one looks changes nothing
    r = mm.simulate(jax.random.key(0), energy, start, observe=jax.vmap(energy), every=20, **run)
    assert r.history.shape == (4, 7) and r.completed  # at 0, 20, 40 and 50
    np.testing.assert_allclose(r.history[0], jax.vmap(energy)(start))
    np.testing.assert_allclose(r.history[-1], jax.vmap(energy)(r.states))


def test_an_interruption_keeps_what_there_is(monkeypatch):
    calls = []

    def observe(states):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return jnp.mean(states)

    run = {"temperature": 0.3, "damping": 0.2, "dt": 0.01, "steps": 50, "every": 10, **QUIET}
    r = mm.simulate(jax.random.key(0), SPIN, random_spins(3, (4, 1)), observe=observe, **run)
    assert not r.completed and r.history.shape == (2,) and bool(jnp.all(jnp.isfinite(r.states)))


def test_any_energy_is_good():
    plain = mm.simulate(
        jax.random.key(0), lambda S: -S[0, 0] ** 2 + 2 * S[0, 2] ** 2, random_spins(4, (3, 1)),
        temperature=0.1, damping=0.1, dt=0.01, steps=100, **QUIET,
    )  # fmt: skip
    same = mm.simulate(
        jax.random.key(0), SPIN, random_spins(4, (3, 1)), temperature=0.1, damping=0.1, dt=0.01, steps=100, **QUIET
    )
    np.testing.assert_allclose(plain.states, same.states, atol=1e-9)


def test_refused():
    start, good = random_spins(0, (2, 1)), {"temperature": 0.1, "damping": 0.1, "dt": 0.01, "steps": 5, **QUIET}
    for name, bad in [("temperature", -1.0), ("damping", -0.1), ("dt", 0.0), ("steps", 0)]:
        with pytest.raises(ValueError, match=name):
            mm.simulate(jax.random.key(0), SPIN, start, **(good | {name: bad}))
    with pytest.raises(ValueError, match="too long"):
        mm.simulate(jax.random.key(0), SPIN, start, **(good | {"dt": 0.5}))
    with pytest.raises(ValueError, match="whose square is one"):
        mm.simulate(jax.random.key(0), SPIN, start, **(good | {"damping": 1e300}))
    above, hot = jnp.zeros((2, 1, 3)).at[..., 2].set(1), {"temperature": 10.0, "damping": 1.0, "steps": 300}
    with pytest.raises(ValueError, match="not finite any more"):
        mm.simulate(jax.random.key(0), lambda S: 1e-3 * jnp.sum(jnp.sqrt(S[..., 2])), above, **(good | hot))
    for few, dt in [(start, 5e-324), (start.astype(jnp.float32), 1e-42)]:
        with pytest.raises(ValueError, match="too short"):
            mm.simulate(jax.random.key(0), SPIN, few, **(good | {"dt": dt}))
    with pytest.raises(ValueError, match="unit vectors"):
        mm.simulate(jax.random.key(0), SPIN, 2 * start, **good)
    with pytest.raises(ValueError, match="shape"):
        mm.simulate(jax.random.key(0), SPIN, start[0], **good)
    with pytest.raises(ValueError, match="whole number"):
        mm.count_escapes(jax.random.key(0), SPIN, start, lambda S: S[0, 0], **good)
    with pytest.raises(ValueError, match="outside the cores"):
        mm.count_escapes(jax.random.key(0), SPIN, start, lambda S: jnp.zeros((), jnp.int32), **good)
