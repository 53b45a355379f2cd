"""The limit of the rate, against long runs, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mepmeta as mm
from mepmeta import limit
from mepmeta.neb import SPRINGS

SPIN = mm.single_spin()
MEP = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 11)
SETS = [mm.NEBParams(0.1, 1.0, 3.0), mm.NEBParams(0.2, 0.3, 3.0), mm.NEBParams(0.05, 0.4, 1.0)]


@pytest.mark.parametrize("spring", SPRINGS)
@pytest.mark.parametrize("params", [mm.NEBParams(0.1, 0.3, 3.0), SETS[2]], ids=["0.1", "0.05"])
def test_long_runs_come_to_it(params, spring):
    """From a path so near that rounding is reached only after the slowest mode is alone."""
    expected = float(mm.rate_limit(SPIN, MEP, params, spring=spring))
    path = mm.perturbed_path(jax.random.key(1), MEP)
    run = mm.iterate(SPIN, path, params, 60, spring=spring, observe=lambda p: mm.overestimate(SPIN, p, reference=0.0))
    over = np.asarray(run.history)
    k = np.flatnonzero(over > 1e-11)[-1]  # the energy is known to 1e-16 of 1
    assert over[k] / over[k - 1] == pytest.approx(expected, rel=3e-3)
    assert (over[k] / over[k - 6]) ** (1 / 6) == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("spring", SPRINGS)
@pytest.mark.parametrize("params", SETS, ids=str)
def test_derivative_by_the_metaparameters(params, spring):
    found = jax.grad(lambda p: mm.rate_limit(SPIN, MEP, p, spring=spring))(mm.NEBParams(*map(jnp.asarray, params)))
    h = 1e-5
    for name in params._fields:
        ends = (params._replace(**{name: getattr(params, name) + s * h}) for s in (1, -1))
        up, down = (mm.rate_limit(SPIN, MEP, p, spring=spring) for p in ends)
        assert getattr(found, name) == pytest.approx(float(up - down) / (2 * h), abs=1e-7)


def quadratic(A, b, x):
    return -b * jnp.cos(x[0]) + x[1:] @ A @ x[1:] / 2


@pytest.mark.parametrize("gamma", [0.05, 0.3, 0.6])
def test_a_channel_of_constant_width(gamma):
    r"""Across a straight channel with curvatures :math:`h` the map is :math:`1 - \gamma h`.

    A slope b along it couples an image to its neighbours, whose distance turns the central tangent:
    :math:`F_n = -h\,y_n + b_n\,(y_{n+1} - y_{n-1})/2d`.
    """
    h = jnp.array([0.5, 2.0, 4.0])
    energy = jax.tree_util.Partial(quadratic, jnp.diag(h), jnp.asarray(0.3))
    path = mm.straight_path(jnp.zeros(4), jnp.array([2 * jnp.pi, 0, 0, 0]), 9)
    found = mm.rate_limit(energy, path, mm.NEBParams(gamma, 0.1, 2.0), tangent="central")
    slope = 0.3 * np.sin(np.asarray(path[1:-1, 0])) / (2 * np.pi / 4)
    turned = slope[:, None] * (np.eye(7, k=1) - np.eye(7, k=-1))
    radius = max(np.abs(np.linalg.eigvals(np.eye(7) + gamma * (turned - k * np.eye(7)))).max() for k in h)
    assert found == pytest.approx(radius**2, rel=1e-9)
    flat = jax.tree_util.Partial(quadratic, jnp.diag(h), jnp.asarray(0.0))
    found = mm.rate_limit(flat, path, mm.NEBParams(gamma, 0.1, 2.0), tangent="central")
    assert found == pytest.approx(float(jnp.max((1 - gamma * h) ** 2)), abs=1e-12)
    assert (found > 1) == (gamma == 0.6)


def test_products_find_what_the_whole_matrix_has(monkeypatch):
    params = mm.NEBParams(0.1, 0.5, 3.0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    energy = jax.tree_util.Partial(
        lambda Q, x: quadratic(jnp.diag(jnp.linspace(1, 5, 5)), 0.3, Q @ x), jnp.asarray(turn)
    )
    path = mm.straight_path(jnp.zeros(6), jnp.asarray(2 * np.pi * turn[0]), 9)
    value = jax.value_and_grad(lambda p: mm.rate_limit(energy, path, p))
    whole = value(mm.NEBParams(*map(jnp.asarray, params)))
    monkeypatch.setattr(limit, "DENSE", 0)
    few = value(mm.NEBParams(*map(jnp.asarray, params)))
    np.testing.assert_allclose(np.asarray(jax.tree.leaves(few)), np.asarray(jax.tree.leaves(whole)), atol=1e-9)


def test_turned_spins_and_axes_change_nothing():
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0])
    found = [
        mm.rate_limit(
            jax.tree_util.Partial(lambda A, S: S @ A @ S, R @ jnp.diag(jnp.array([-1.0, 0.0, 2.0])) @ R.T),
            mm.angles_to_spin(MEP) @ R.T, SETS[1], geometry=mm.Spheres(),
        )
        for R in (jnp.eye(3), turn)
    ]  # fmt: skip
    assert found[1] == pytest.approx(float(found[0]), abs=1e-9)


def test_it_is_refused_inside_a_program():
    with pytest.raises(ValueError, match="cannot run under jax.jit"):
        jax.jit(lambda path: mm.rate_limit(SPIN, path, SETS[0]))(MEP)
    with pytest.raises(ValueError, match="tangent"):
        mm.rate_limit(SPIN, MEP, SETS[0], tangent="none")
