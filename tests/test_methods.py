"""Methods: first steps by hand, convergence, derivatives by the step, and the traps of L-BFGS."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import rounding

import mepmeta as mm
from mepmeta import methods
from mepmeta.force import Parts

flat, spheres = mm.Flat(), mm.Spheres()

# A quadratic with largest curvature 1 whose axes are not those of the coordinates, and its minimum.
Q = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
A = jnp.array(Q @ np.diag([1.0, 0.7, 0.4, 0.2]) @ Q.T)
MINIMUM = jnp.array([0.3, -1.0, 2.0, 0.5])
X0 = jnp.zeros((1, 4))
PULL = jnp.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])  # two spins, each in a field of its own


def force(x):
    return -(x - MINIMUM) @ A


def parts(force):
    """What a method is given of a band whose springs are at rest, tangents and lengths left out."""
    stretch = jnp.zeros((force.shape[0],) + (1,) * (force.ndim - 1), force.dtype)
    return Parts(force, stretch, None, jnp.zeros_like(force), None, None, None)


def update(method, force, memory, x, geometry=flat):
    return method.update(parts(force), memory, x, geometry)


def run(method, steps):
    """Positions and memories of the method on the quadratic, after every step."""

    def body(s, _):
        x, memory = s
        move, memory = update(method, force(x), memory, x)
        return (x + move, memory), x + move

    return jax.lax.scan(body, (X0, method.init(X0)), length=steps)[1]


many = jax.jit(run, static_argnums=1)


def test_converges_to_the_minimum_of_a_quadratic(method):
    np.testing.assert_allclose(many(method, 600)[-1, 0], MINIMUM, atol=1e-9)


def test_on_spheres_moves_are_tangent_and_lead_to_the_minimum(method):
    """E = -sum b.S for two images of two spins; every b is 1 long, and so is every curvature at the minimum."""
    start = np.random.default_rng(2).normal(size=(2, 2, 3))
    start = jnp.array(start / np.linalg.norm(start, axis=-1, keepdims=True))

    @jax.jit
    def spins(method):
        def body(s, _):
            x, memory = s
            move, memory = update(method, jax.vmap(spheres.project)(x, PULL[None] + 0 * x), memory, x, spheres)
            across = jnp.max(jnp.abs(jnp.sum(move * x, axis=-1)))
            move = methods.limited(move, spheres, jnp.array(1.0))
            return (jax.vmap(spheres.retract)(x, move), memory), across

        (x, _), across = jax.lax.scan(body, (start, method.init(start)), length=600)
        return x, jnp.max(across)

    x, across = spins(method)
    assert across < 1e-12  # rounding: some 1e-16 in every term of every product
    np.testing.assert_allclose(x, jnp.stack([PULL, PULL]), atol=1e-8)


def test_an_update_depends_on_its_arguments_only(method):
    """Called twice it gives the same, compiled or not; what it was given is not changed."""
    memory = method.init(X0)
    move, after = update(method, force(X0), memory, X0)
    again = update(method, force(X0), memory, X0)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, (move, after), again))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, memory, method.init(X0)))
    same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, memory, after)
    assert jax.tree.all(same)  # a memory that a compiled loop can carry
    x1 = X0 + move
    expected = update(method, force(x1), after, x1)[0]
    np.testing.assert_allclose(many(method, 2)[1], x1 + expected, atol=rounding(10))


def test_a_method_is_a_pytree_of_its_numbers(method):
    assert len(jax.tree.leaves(method)) >= 1
    doubled = jax.tree.map(lambda number: 2 * number, method)
    assert doubled.step == 2 * method.step and type(doubled) is type(method)
    assert method.spacing in ("springs", "tangential", "redistribution")


# First steps by hand


@pytest.mark.parametrize(
    "method, factor",
    [
        (methods.SteepestDescent(0.8), 0.8),
        (methods.Momentum(0.8, 0.1), 0.8),
        (methods.VelocityProjection(0.8), 0.64),  # v = dt F, x = dt v
        (methods.FIRE(0.5), 0.0625),  # at rest: dt is halved
        (methods.StringMethod(0.8), 0.8),
        (methods.ConjugateGradient(0.3), 0.3),
        (methods.LBFGS(0.3), 0.3),
        (methods.Anderson(0.3), 0.3),
    ],
    ids=lambda m: type(m).__name__,
)
def test_first_step_by_hand(method, factor):
    F = force(X0)
    move, _ = update(method, F, method.init(X0), X0)
    np.testing.assert_allclose(move, factor * F, rtol=rounding(1, 10))


def two_steps(method, F0, F1):
    """Second move, for a second force that needs no potential."""
    F0, F1 = jnp.array([F0]), jnp.array([F1])
    x = jnp.zeros_like(F0)
    move, memory = update(method, F0, method.init(x), x)
    return np.asarray(update(method, F1, memory, x + move)[0][0])


def test_second_step_of_momentum_and_velocity_projection_by_hand():
    F0, F1 = np.array([1.0, 2.0]), np.array([2.0, 0.5])
    np.testing.assert_allclose(two_steps(methods.Momentum(0.5, 0.2), F0, F1), 0.8 * 0.5 * F0 + 0.5 * F1)
    v = 0.5 * F0
    expected = 0.5 * ((v @ F1) / (F1 @ F1) + 0.5) * F1
    np.testing.assert_allclose(two_steps(methods.VelocityProjection(0.5), F0, F1), expected)
    # the velocity is forgotten when it points against the force
    np.testing.assert_allclose(two_steps(methods.VelocityProjection(0.5), F0, -F1), -0.25 * F1)


def test_second_step_of_fire_by_hand():
    F0, F1 = np.array([1.0, 2.0]), np.array([2.0, 0.5])
    v = 0.25 * F0  # the step was halved at rest
    turned = 0.9 * v + 0.1 * np.linalg.norm(v) * F1 / np.linalg.norm(F1)
    np.testing.assert_allclose(two_steps(methods.FIRE(0.5), F0, F1), 0.25 * (turned + 0.25 * F1))
    np.testing.assert_allclose(two_steps(methods.FIRE(0.5), F0, -F1), -0.125 * 0.125 * F1)


def test_fire_speeds_up_while_the_force_lasts_and_not_beyond_its_limit():
    method, F, x = methods.FIRE(step=0.5, largest_step=0.4), jnp.ones((1, 2)), jnp.zeros((1, 2))
    memory, steps = method.init(x), []
    for _ in range(14):
        _, memory = update(method, F, memory, x)
        steps.append(float(memory.step))
    # halved at rest, five downhill iterations of patience, then a tenth more in each
    expected = [0.25] * 6 + [min(0.25 * 1.1**k, 0.4) for k in range(1, 9)]
    np.testing.assert_allclose(steps, expected)
    assert float(memory.mixing) == pytest.approx(0.1 * 0.99**8)


def test_second_step_of_conjugate_gradients_by_hand():
    F0, H = np.array([1.0, 2.0]), np.diag([1.0, 0.5])
    s = 0.3 * F0
    F1 = F0 - H @ s
    beta = F1 @ (F1 - F0) / (F0 @ F0)
    d = F1 + max(beta, 0) * F0
    c = s @ (F0 - F1) / (s @ s)
    np.testing.assert_allclose(two_steps(methods.ConjugateGradient(0.3), F0, F1), F1 @ d / (c * d @ d) * d)


# Derivatives


def test_derivative_by_the_step(method):
    """Of six steps, one after the other, forwards and backwards."""
    method = replace(method, memory=2) if hasattr(method, "memory") else method

    def path(step):
        return run(replace(method, step=step), 6)

    h, step = 1e-6, 0.31
    low, here, high = (many(replace(method, step=s), 6) for s in (step - h, step, step + h))
    difference = (high - low) / (2 * h)
    forward = jax.jit(lambda step: jax.jvp(path, (step,), (1.0,))[1])(step)
    np.testing.assert_allclose(forward, difference, atol=rounding(10) / (2 * h))
    reverse = jax.jit(jax.grad(lambda step: jnp.sum(path(step) ** 2)))(step)
    assert reverse == pytest.approx(float(2 * jnp.sum(here * difference)), abs=2e-6)
    assert jnp.abs(forward[0]).max() > 0.01


# Members of one family: steps in the span of the force, the last moves, and what they did to the force


def test_anderson_mixing_is_gmres_on_a_linear_force():
    """Its (k+1)-th point is one step of steepest descent from the k-th of GMRES (Walker and Ni, Theorem 2.2)."""
    rng = np.random.default_rng(5)
    n, step = 6, 0.3
    B, b = np.eye(n) + 0.4 * rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal(n)  # no potential
    method = methods.Anderson(step=step, growth=jnp.inf, memory=n)
    x = jnp.zeros((1, n))
    memory = method.init(x)
    for k in range(4):
        move, memory = update(method, b - x @ B.T, memory, x)
        x = x + move
        krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(B, j) @ b for j in range(k)], axis=1))[0] if k else None
        best = krylov @ np.linalg.lstsq(B @ krylov, b, rcond=None)[0] if k else np.zeros(n)
        np.testing.assert_allclose(x[0], best + step * (b - B @ best), atol=1e-8)


def test_anderson_mixing_keeps_no_move_that_changes_nothing():
    """Its place stays empty, and no product of an older move stands there."""
    method = methods.Anderson(memory=2)
    x, memory = X0, method.init(X0)
    for F in (force(X0), 0.6 * force(X0) + 0.1, 0.3 * force(X0) - 0.1, 0.3 * force(X0) - 0.1):
        move, memory = update(method, F, memory, x)
        x = x + move
    stored = memory.changes @ memory.changes.T
    np.testing.assert_allclose(memory.gram, stored, atol=rounding(10))
    assert memory.gram[memory.newest, memory.newest] == 0


def test_anderson_mixing_forgets_where_the_force_has_grown_much():
    method = methods.Anderson(step=0.3, growth=2.0)
    x = jnp.zeros((1, 2))
    move, memory = update(method, jnp.array([[1.0, 0.0]]), method.init(x), x)
    larger = jnp.array([[0.0, 2.1]])
    again, memory = update(method, larger, memory, x + move)
    np.testing.assert_allclose(again, 0.3 * larger)
    assert not np.any(memory.gram)


@pytest.mark.parametrize(
    "method", [methods.ConjugateGradient(), methods.Momentum(), methods.LBFGS(), methods.Anderson()]
)
def test_a_step_lies_in_the_span_of_force_moves_and_changes(method):
    """So turning coordinates turns the steps."""
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(6).normal(size=(4, 4)))[0])
    memories, x, steps = [method.init(X0), method.init(X0)], [X0, X0], []
    for _ in range(8):
        forces = force(x[0]), force(x[1] @ turn.T) @ turn
        for k in range(2):
            move, memories[k] = update(method, forces[k], memories[k], x[k])
            x[k] = x[k] + move
        steps.append(x[0])
        np.testing.assert_allclose(x[1] @ turn.T, x[0], atol=rounding(1e3))
    span = np.stack([X0[0], *(np.asarray(force(y))[0] for y in [X0, *steps[:1]])])
    assert np.linalg.matrix_rank(np.vstack([span, np.asarray(steps[1])]), tol=1e-9) <= 2


# L-BFGS

LBFGS = methods.LBFGS()


def vectors(*rows):
    return [jnp.array([row]) for row in rows]


def test_lbfgs_is_exact_on_a_small_quadratic_after_few_steps():
    """With as many pairs as dimensions it knows the whole curvature; steepest descent is nowhere near by then."""
    error = np.abs(many(replace(LBFGS, memory=8), 30)[:, 0] - MINIMUM).max(axis=1)
    assert error[14] < 1e-5 and error[-1] < 1e-12
    assert np.abs(many(methods.SteepestDescent(0.3), 15)[-1, 0] - MINIMUM).max() > 0.1


def test_lbfgs_takes_the_step_of_one_pair_by_hand():
    """One pair in one dimension is the secant: the step goes to the zero of the force."""
    x0, F0 = vectors([0.0], [1.0])
    move, memory = update(LBFGS, F0, LBFGS.init(x0), x0)
    again, _ = update(LBFGS, 1 - 0.25 * move, memory, x0 + move)
    assert float((x0 + move + again)[0, 0]) == pytest.approx(4.0, rel=rounding(1, 10))


def test_lbfgs_starts_with_a_step_along_the_force_to_the_last_bit():
    x0, F0 = vectors([0.3, -0.2], [0.123456789, -3.3])
    move, memory = update(LBFGS, F0, LBFGS.init(x0), x0)
    assert jnp.array_equal(move, LBFGS.step * F0)
    assert not jnp.any(memory.curvatures) and not jnp.any(memory.moves) and jnp.all(jnp.isinf(memory.limit))


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("method", [LBFGS, methods.Anderson()], ids=["L-BFGS", "Anderson"])
def test_the_memory_is_changed_in_place(method, images):
    """It is the largest array of a search; the compiler copies it in every iteration where its shape does not suit."""
    path = jnp.ones((images, 3, 111))

    def step(_, s):
        move, memory = update(method, -s[0], s[1], s[0])
        return s[0] + move, memory

    iterate = jax.jit(lambda path: jax.lax.fori_loop(0, 9, step, (path, method.init(path))))
    program = iterate.lower(path).compile().as_text().split("ENTRY")[0]  # what is done once comes behind
    arrays = re.findall(r"= f64\[([\d,]+)\]\S* ([\w-]+)\(", program)
    made = [op for shape, op in arrays if np.prod(list(map(int, shape.split(",")))) == method.memory * path.size]
    assert "dynamic-update-slice" in made or "scatter" in made
    assert "copy" not in made


def test_lbfgs_keeps_no_pair_of_negative_curvature():
    x0, F0 = vectors([0.0, 0.0], [1.0, 2.0])
    move, memory = update(LBFGS, F0, LBFGS.init(x0), x0)
    F1 = 1.1 * F0  # grows on the way: the curvature is negative
    move1, memory = update(LBFGS, F1, memory, x0 + move)
    assert not jnp.any(memory.curvatures) and not jnp.any(memory.moves)
    np.testing.assert_allclose(move1, LBFGS.step * F1, rtol=rounding(1, 10))
    # the next good pair is kept, and is the only one
    _, memory = update(LBFGS, 0.5 * F1, memory, x0 + move + move1)
    np.testing.assert_allclose(memory.moves[memory.newest[0]], move1[0], atol=1e-13)
    np.testing.assert_allclose(np.sort(memory.curvatures[0]), [0, 0, 0, 0, jnp.vdot(move1, 0.5 * F1)])


def test_lbfgs_keeps_no_pair_that_is_mostly_across():
    """A change of the force nearly across the move tells of the turning field, not of a curvature."""
    x0, x1, F0, F1 = vectors([0.0, 0.0], [1.0, 0.0], [0.005, 1.0], [0.0, 0.0])
    _, memory = update(LBFGS, F0, LBFGS.init(x0), x0)
    _, memory = update(LBFGS, F1, memory, x1)
    assert not jnp.any(memory.curvatures)


def test_lbfgs_forgets_when_its_step_is_across_the_force():
    """The pair s = (1, 0), y = (0.02, 1) is just sound and turns the force (0, 1) into (-1, 0.02)."""
    x0, x1, F0, F1 = vectors([0.0, 0.0], [1.0, 0.0], [0.02, 2.0], [0.0, 1.0])
    for angle, kept in ((0.03, False), (0.001, True)):
        method = replace(LBFGS, angle=angle)
        _, memory = update(method, F0, method.init(x0), x0)
        move, memory = update(method, F1, memory, x1)
        assert bool(jnp.any(memory.curvatures)) == kept
        np.testing.assert_allclose(
            move, np.array([[-1.0, 0.02]]) / 1.0004 if kept else LBFGS.step * F1, atol=rounding(1, 10)
        )


def test_lbfgs_halves_its_moves_where_the_force_has_grown_and_recovers():
    x0, F0 = vectors([0.0, 0.0], [1.0, 0.0])
    move, memory = update(LBFGS, F0, LBFGS.init(x0), x0)  # 0.3 long
    x1, F1 = x0 + move, jnp.array([[0.0, 1.5]])
    move, memory = update(LBFGS, F1, memory, x1)
    assert float(memory.limit[0]) == pytest.approx(0.15) and jnp.linalg.norm(move) <= 0.15 * (1 + rounding(1, 10))
    x, limits, moves = x1, [], []
    for _ in range(12):  # from now on the force stays what it is
        x = x + move
        move, memory = update(LBFGS, F1, memory, x)
        limits.append(float(memory.limit[0]))
        moves.append(float(jnp.linalg.norm(move)))
    np.testing.assert_allclose(limits, 0.15 * 1.5 ** np.arange(1, 13))
    assert np.all(moves <= np.array(limits) * (1 + rounding(1, 10))) and moves[0] == pytest.approx(limits[0])
    assert moves[-1] == pytest.approx(moves[2]) and moves[2] > 1.1 * moves[0] and moves[-1] < limits[-1]  # free again


@pytest.mark.parametrize("factor, kept", [(1.1, True), (1.5, True), (2.0, True), (2.2, False)])
def test_lbfgs_forgets_where_the_force_has_grown_much(factor, kept):
    """At growth**4 = 2.07 of its last size."""
    x0, F0 = vectors([0.0, 0.0], [1.0, 0.0])
    move, memory = update(LBFGS, F0, LBFGS.init(x0), x0)
    _, memory = update(LBFGS, 0.8 * F0, memory, x0 + move)  # a good pair
    assert int(jnp.sum(memory.curvatures > 0)) == 1
    move, memory = update(LBFGS, 0.8 * factor * F0, memory, x0 + 1.5 * move)
    assert bool(jnp.any(memory.curvatures)) == kept


def test_limited_moves_keep_their_direction():
    move = jnp.array([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.1], [0.0, 0.0]]])
    np.testing.assert_allclose(methods.limited(move, flat, jnp.array(1.0)), move * 0.2 / 5)
    assert jnp.array_equal(methods.limited(0.01 * move, flat, jnp.array(1.0)), 0.01 * move)
    assert not jnp.any(methods.limited(0 * move, flat, jnp.array(1.0)))
