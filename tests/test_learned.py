"""The learned method: L-BFGS where its last layer is zero, the same iterations where only names change, and safe."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm
from benchmarks import rules
from mepmeta.force import Parts
from mepmeta.methods.gram import Gram, Strength, compact
from mepmeta.methods.learned import FALL, MOST, Weights, corrections, untrained

STEPS, CELLS = 12, 6
rng = np.random.default_rng(5)
J = rng.normal(size=(CELLS, CELLS))
J = jnp.asarray(3 * np.eye(CELLS) + J @ J.T / CELLS)  # what every spin does to every other, not a lattice
PULL = jnp.asarray(rng.normal(size=(CELLS, 3)))
START = rng.normal(size=(1, CELLS, 3)) + 3 * np.asarray(PULL)
START = jnp.asarray(START / np.linalg.norm(START, axis=-1, keepdims=True))
spheres = mm.Spheres()


def loud(seed=1):
    """Weights whose factors are far from 1."""
    outer = np.random.default_rng(seed).normal(size=(5, 3)) / 2
    return Weights(untrained(seed).inner, outer)


def zeros():
    return untrained(3)


def energy(x, J=J, pull=PULL, unit=1.0):
    return unit * (0.1 * jnp.sum((J @ x) * x) - jnp.sum(pull * x))


def run(method, start=START, J=J, pull=PULL, unit=1.0, steps=STEPS):
    """States after every step of the method on spins, the force in units of the energy's."""

    @jax.jit
    def states(method, start, J, pull, unit):
        def body(s, _):
            x, memory = s
            slope = jax.vmap(lambda x: spheres.project(x, jax.grad(energy)(x, J, pull, unit)))(x)
            zero = jnp.zeros((1, 1, 1))
            parts = Parts(-slope / unit, zero, None, jnp.zeros_like(x), None, None, None)
            move, memory = method.update(parts, memory, x, spheres)
            move = mm.methods.limited(move, spheres, jnp.array(1.0))
            after = jax.vmap(spheres.retract)(x, move)
            return (after, memory), after

        return jax.lax.scan(body, (start, method.init(start)), length=steps)[1]

    return states(method, start, J, pull, jnp.asarray(unit))


def amplified(states):
    """What a rounding may grow to on the way: every step solves with what it has learned."""
    return rounding(1e4, states.size)


def test_a_last_layer_of_zeros_is_lbfgs_to_rounding():
    classical, learned = run(mm.methods.LBFGS()), run(mm.methods.Learned(weights=zeros()))
    np.testing.assert_allclose(learned, classical, atol=amplified(classical))
    assert np.max(np.abs(run(mm.methods.Learned(weights=loud())) - classical)) > 1e-3


@pytest.mark.parametrize("kind", rules.KINDS)
def test_every_rule_that_is_compared_begins_as_lbfgs(kind):
    """And leaves it with other weights; the force falls with them, too."""
    weights = rules.untrained(kind, 3, np.zeros(3))
    rule, classical = rules.KINDS[kind](weights=weights), run(mm.methods.LBFGS())
    np.testing.assert_allclose(run(rule), classical, atol=amplified(classical))
    other = run(replace(rule, weights=weights._replace(outer=loud().outer)))
    assert np.max(np.abs(other - classical)) > 1e-3
    force = [jnp.linalg.norm(spheres.project(x[0], jax.grad(energy)(x[0]))) for x in (other[0], other[-1])]
    assert force[1] < 0.1 * force[0]


@given(st.integers(0, 10**6))
def test_a_mixed_secant_update_is_symmetric_and_keeps_its_last_pair(seed):
    """Of the inverse H the coefficients tell H F, here for every F of a basis."""
    rng = np.random.default_rng(seed)
    n, m = 5, 3
    A = rng.normal(size=(n, n))
    A = A @ A.T + np.eye(n)
    moves = rng.normal(size=(m, n))
    changes, newest = moves @ A, rng.integers(m)
    curvatures, mixed = np.sum(moves * changes, axis=1), rng.uniform(-0.5, 0.5, m)
    H = []
    for F in np.eye(n):
        products = curvatures, moves @ changes.T, changes @ changes.T, moves @ F, changes @ F
        gram = Gram(*map(jnp.asarray, products), jnp.asarray(newest, jnp.int32), jnp.asarray(0.3))
        first, along, back = rules.updated(gram, jnp.asarray(F @ F), jnp.asarray(mixed))
        H.append(first * F + along @ moves + back @ changes)
    H = np.array(H)
    size = np.linalg.norm(H) * np.linalg.cond(A) * 1e3
    np.testing.assert_allclose(H, H.T, atol=rounding(size, n * m))
    np.testing.assert_allclose(H @ changes[newest], moves[newest], atol=rounding(size * np.linalg.norm(changes), n * m))


@pytest.mark.parametrize("weights", [zeros(), loud(), loud(2)], ids=["zeros", "loud", "louder"])
def test_turned_spins_permuted_cells_and_other_units_are_the_same_iterations(weights):
    method = mm.methods.Learned(weights=weights)
    states = run(method)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0])
    np.testing.assert_allclose(run(method, START @ turn, J, PULL @ turn), states @ turn, atol=amplified(states))
    order = np.random.default_rng(3).permutation(CELLS)
    moved = run(method, START[:, order], J[order][:, order], PULL[order])
    np.testing.assert_allclose(moved, states[:, :, order], atol=amplified(states))
    np.testing.assert_allclose(run(method, unit=1e20), states, atol=amplified(states))


def test_a_public_search_is_the_same_in_other_units():
    method = replace(mm.methods.Learned(weights=loud()), memory=10)
    film = (mm.single_spin(c, -2 * c) for c in (1.0, 1e-21))
    ends = jnp.array([0.1, 0.1]), jnp.array([0.1, jnp.pi - 0.1])
    one, other = (mm.find_mep(E, *ends, method=method, n_images=9, progress=False) for E in film)
    assert one.converged and other.converged and one.steps == other.steps
    assert other.barrier == pytest.approx(1e-21 * one.barrier, rel=rounding(1, 1000))


@given(st.integers(0, 10**6))
def test_whatever_it_answers_the_step_leads_along_the_force(seed):
    """The inverse it stands for is positive: force times move is, for pairs of a potential."""
    rng = np.random.default_rng(seed)
    n, m = 6, 4
    A = rng.normal(size=(n, n))
    A = A @ A.T + 0.1 * np.eye(n)  # second derivatives
    moves = rng.normal(size=(m, n))
    changes, F = moves @ A, rng.normal(size=n)
    curvatures = np.sum(moves * changes, axis=1)
    newest = rng.integers(m)
    scale = curvatures[newest] / (changes[newest] @ changes[newest])
    gram = Gram(
        *(jnp.asarray(x)[None] for x in (curvatures, moves @ changes.T, changes @ changes.T, moves @ F, changes @ F)),
        jnp.array([newest], jnp.int32), jnp.array([scale]),
    )  # fmt: skip
    square = jnp.array([F @ F])
    told = Strength(jnp.sqrt(square), jnp.sqrt(square), square, jnp.array(False))
    pair, whole, first = corrections(loud(seed), gram, told, 2 * told.force)
    assert all(np.all(np.abs(x) <= MOST) for x in (pair, whole, first))
    # the oldest first: R is the upper triangle of moves with changes in that order
    order = (newest + 1 + np.arange(m)) % m
    R = np.triu((moves @ changes.T)[order][:, order])
    W = np.exp(np.asarray(pair)[0, order]) * curvatures[order]
    gamma = scale * np.exp(float(first[0]))
    Y, S = changes[order], moves[order]
    Ri = np.linalg.inv(R)
    H = gamma * np.eye(n) + S.T @ Ri.T @ (np.diag(W) + gamma * Y @ Y.T) @ Ri @ S
    H -= gamma * (S.T @ Ri.T @ Y + Y.T @ Ri @ S)
    along, back = compact(gram._replace(scale=jnp.array([gamma])), jnp.exp(pair))
    q = gamma * F + np.asarray(along)[0] @ moves + np.asarray(back)[0] @ changes
    size = np.linalg.cond(R) ** 2 * np.linalg.norm(H @ F)
    np.testing.assert_allclose(q, H @ F, atol=rounding(size, n * m))
    assert np.linalg.eigvalsh(H).min() > -rounding(np.linalg.norm(H) * np.linalg.cond(R) ** 2, n * m)


def test_pairs_below_the_floor_do_not_count():
    """No cosine is above 2: without a pair every step is the first one, along the force."""
    bare, descent = mm.methods.LBFGS(floor=2.0, growth=1e9), mm.methods.SteepestDescent(step=0.3, spring=0.0)
    states = run(bare)
    np.testing.assert_allclose(states, run(descent), atol=amplified(states))
    assert np.max(np.abs(run(mm.methods.LBFGS(growth=1e9)) - states)) > 1e-3


def test_where_the_average_does_not_fall_the_step_is_the_classical_one():
    """From one and the same memory: corrected below 0.95 of the average, classical above."""
    learned, classical = mm.methods.Learned(weights=loud()), mm.methods.LBFGS()
    x = jnp.zeros((1, 4))
    forces = [jnp.array([[1.0, 2.0, -1.0, 0.5]]), jnp.array([[0.7, 1.2, -0.7, 0.4]])]

    def second(method, factor):
        memory = method.init(x)
        parts = (Parts(F, jnp.zeros((1, 1)), None, jnp.zeros_like(F), None, None, None) for F in forces)
        move, memory = method.update(next(parts), memory, x, mm.Flat())
        if memory.own is not None:
            now = jnp.linalg.norm(forces[1])
            memory = memory._replace(own=jnp.array([1.0]) * now / (FALL * factor))
        return method.update(next(parts), memory, x + move, mm.Flat())

    (move, after), (expected, _) = second(learned, 1.01), second(classical, 1.01)
    np.testing.assert_allclose(move, expected, rtol=rounding(100))
    assert np.linalg.norm(second(learned, 0.99)[0] - expected) > 0.01 * np.linalg.norm(expected)
    # an average that did not hold stays, one that did falls
    now = float(np.linalg.norm(forces[1]))
    assert float(after.own[0]) == pytest.approx(now / (FALL * 1.01))
    assert float(second(learned, 0.99)[1].own[0]) < now / (FALL * 0.99)


def test_what_is_shipped_has_its_record():
    method = mm.methods.Learned()
    assert [w.shape for w in method.weights] == [(8, 4), (5, 3)]
    assert all(np.all(np.isfinite(w)) for w in method.weights)
