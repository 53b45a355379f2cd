"""Truncated Newton steps to a stationary state: a minimum, or a saddle with one mode of negative curvature."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta._compiled import compiled
from mepmeta.problem import Problem
from mepmeta.spectra.hessian import product as hessian_product
from mepmeta.spectra.modes import softest

__all__ = ["STALE", "Rule", "Stationary", "Step", "lowest_mode", "newton", "newton_step", "sharper_mode"]

#: Products with the Hessian that one step may take.
PRODUCTS = 400
#: A step is solved to this part of the force, and better where the force is small: squares of it then follow.
FORCING = 0.1
#: The trust region, in units of length: at first, at most, and where it gives up.
RADIUS, WIDEST, NARROWEST = 0.5, 4.0, 1e-9
#: How often a mode is made sharper at one state.
SHARPER = 2
#: The mode that is followed is computed anew when the state has moved so far, in units of length.
STALE = 0.1


class Step(NamedTuple):
    """A tangent vector, the mode in the tangent space as a unit vector, or zero, and the products it took."""

    move: Array
    mode: Array
    products: Array


@compiled
def newton_step(problem: Problem, x: Array, g: Array, mode: Array, radius: Array, climb: Array, shift: Array) -> Step:
    r"""One Newton step of conjugate gradients in a trust region, with the energy turned over along ``mode``.

    .. math:: \big(P\mathcal H P + |v\cdot\mathcal H v|\,v v^{\mathsf T}\big)\,p
        = -(1 - 2\,v v^{\mathsf T})\,\partial E,\qquad P = 1 - v v^{\mathsf T}

    With :math:`v = 0` this leads to a minimum. With v the lowest mode of a state near a saddle of index one the
    turned energy has a minimum there. Isolated soft modes, such as the drift of a skyrmion across a lattice that
    hardly pins it, cost conjugate gradients a few products each, where a quasi-Newton method creeps along them. What
    exchange makes stiff is damped where the energy tells it (:meth:`~mepmeta.problem.Problem.damped`).

    Args:
        problem: the energy in its units.
        x: state, in these units.
        g: its gradient.
        mode: unit vector v, or zero; of a mode from a nearby state the part tangent at x counts.
        radius: largest length of the step. A direction of negative curvature is followed to there.
        climb: 1, or 0 for a step across ``mode``, which then leads neither up nor down along it.
        shift: curvature that is added across the mode, or 0.

    Source: :cite:t:`steihaug1983`; eigenvector following: :cite:t:`cerjan1981`.
    """
    geometry = problem.geometry
    # A part across the tangent space would be a direction without curvature, and the step would go far along it.
    mode = geometry.project(x, mode)
    mode = mode / jnp.maximum(jnp.linalg.norm(jnp.ravel(mode)), jnp.finfo(x.dtype).tiny)

    r = (1 + climb) * jnp.vdot(mode, g) * mode - g
    size = jnp.linalg.norm(jnp.ravel(r))
    stop = size * jnp.minimum(FORCING, jnp.sqrt(10 * size))
    tiny = jnp.finfo(x.dtype).tiny

    def conditioned(r: Array, stiffness: Array) -> Array:
        part = jnp.vdot(mode, r)
        z = problem.damped(x, r - part * mode)
        return z - (jnp.vdot(mode, z) - part / jnp.where(stiffness > 0, stiffness, 1)) * mode

    def to_edge(p: Array, d: Array) -> Array:
        """As far as the edge of the trust region along d."""
        a, b, c = jnp.vdot(d, d), jnp.vdot(p, d), jnp.vdot(p, p) - radius**2
        return p + (jnp.sqrt(jnp.maximum(b * b - a * c, 0)) - b) / jnp.maximum(a, tiny) * d

    def body(s: tuple) -> tuple:
        p, r, d, rz, stiffness, done, k = s
        # The first product is that of the mode, where there is one: so the product stands in the program once. Along
        # the mode the curvature is taken positive, whichever side of the inflection the state is on.
        first, part = stiffness < 0, jnp.vdot(mode, d)
        across = d - part * mode
        product = hessian_product(problem, x, jnp.where(first, mode, across), geometry)
        product = product + jnp.where(first, 0, shift) * across
        along = jnp.vdot(mode, product)
        Hd = product + (stiffness * part - along) * mode
        stiffness = jnp.where(first, jnp.abs(along), stiffness)
        curvature = jnp.vdot(d, Hd)
        alpha = rz / jnp.where(curvature > 0, curvature, 1)
        inner = p + alpha * d
        leaves = ~first & ((curvature <= 0) | (jnp.vdot(inner, inner) >= radius**2))
        r = jnp.where(first, r, r - alpha * Hd)
        done = ~first & (leaves | (jnp.linalg.norm(jnp.ravel(r)) <= stop))
        p = jnp.where(first, p, jnp.where(leaves, to_edge(p, d), inner))
        z = conditioned(r, stiffness)
        after = jnp.vdot(r, z)
        return p, r, z + jnp.where(first, 0, after / jnp.maximum(rz, tiny)) * d, after, stiffness, done, k + 1

    # The stiffness along the mode: below zero, not known yet.
    unknown = jnp.where(jnp.any(mode != 0), -jnp.ones((), x.dtype), 0)
    z, zero = conditioned(r, unknown), jnp.zeros((), jnp.int32)
    start = (jnp.zeros_like(x), r, z, jnp.vdot(r, z), unknown, size <= tiny, zero)
    p, *_, k = lax.while_loop(lambda s: ~s[5] & (s[6] < PRODUCTS), body, start)
    return Step(p, mode, k)


class Stationary(NamedTuple):
    """State, largest force on a particle there, gradients computed (a product counts two), steps, why it ended.

    ``ended`` is "converged", "far" (beyond ``reach``), "stuck" (the trust region has shrunk to nothing), "steps", or
    what the rule for the mode said.
    """

    state: Array
    residual: float
    evaluations: int
    steps: int
    ended: str


#: Which mode is turned over: from state and last mode, the mode, the gradients it took, and a reason to end or "".
Rule = Callable[[Array, Array], tuple[Array, int, str]]


def lowest_mode(problem: Problem) -> Rule:
    """The rule that climbs to a saddle of index one: the lowest mode, each time from what it was before."""
    known = None

    def rule(x: Array, last: Array) -> tuple[Array, int, str]:
        nonlocal known
        try:
            mode, known, products = softest(problem, x, known, problem.geometry)
        except ValueError as error:  # of a Hessian that is not finite, or singular but for rounding
            return last, 0, str(error)
        return mode, 2 * products, ""

    return rule


@compiled
def _sharper(problem: Problem, x: Array, mode: Array) -> Step:
    geometry = problem.geometry
    mode = geometry.project(x, mode)
    mode = mode / jnp.linalg.norm(jnp.ravel(mode))
    one, product = jnp.ones((), x.dtype), hessian_product(problem, x, mode, geometry)
    step = newton_step(problem, x, product, mode, one, 0 * one, jnp.maximum(-jnp.vdot(mode, product), 0))
    mode = mode + step.move
    return Step(step.move, mode / jnp.linalg.norm(jnp.ravel(mode)), step.products + 1)


def sharper_mode(problem: Problem) -> Rule:
    r"""The rule that keeps to a mode that is roughly known, at the price of a few products.

    .. math:: v \mapsto v - (P \mathcal H P - v\cdot\mathcal H v)^{-1} P \mathcal H v

    It is for a mode of negative curvature. What is wrong with v comes in squared; with a mode that is only nearly one,
    Newton steps gain a factor each and no digits.

    Source: :cite:t:`sleijpen1996`.
    """

    def rule(x: Array, last: Array) -> tuple[Array, int, str]:
        count = 0
        for _ in range(SHARPER):
            step = _sharper(problem, x, last)
            last, count = np.asarray(step.mode), count + 2 * int(step.products)
        return last, count, ""

    return rule


def downhill(mode: np.ndarray, p: np.ndarray, before: Array, after: Array) -> bool:
    """Whether the work along p of the force turned over along the mode, by its values at both ends, is positive."""
    both = np.asarray(before) + np.asarray(after)
    return bool(2 * np.vdot(mode, both) * np.vdot(mode, p) - np.vdot(both, p) >= 0)


def newton(
    problem: Problem,
    x: Array,
    *,
    tol: float,
    max_steps: int,
    rule: Rule | None = None,
    mode: Array | None = None,
    stale: float = STALE,
    widest: float = WIDEST,
    reach: float = np.inf,
) -> Stationary:
    """Newton steps until the largest force is below ``tol``: to a minimum, or with a ``rule`` up along a mode.

    The mode, ``mode`` at first, is asked for again when the state has moved by ``stale``; the search ends when it is
    farther than ``reach`` from where it began. The trust region is half a unit long at first, shrinks after a step
    against the turned force and grows after a good one to its edge. Work is computed from the forces at both ends of a
    step: the energy is too large to show it.
    """
    start, radius, evaluations, moved_since, steps = x, RADIUS, 1, np.inf, 0
    mode, one = np.zeros(x.shape, x.dtype) if mode is None else mode, np.ones((), x.dtype)
    _, residual, g = problem.look(x)
    while residual > tol and np.isfinite(residual):
        if steps == max_steps:
            return Stationary(x, residual, evaluations, steps, "steps")
        if radius < NARROWEST:
            return Stationary(x, residual, evaluations, steps, "stuck")
        if rule is not None and moved_since > stale:
            mode, count, why = rule(x, mode)
            evaluations, moved_since = evaluations + count, 0.0
            if why:
                return Stationary(x, residual, evaluations, steps, why)
        step = newton_step(problem, x, g, mode, np.asarray(radius, x.dtype), one, 0 * one)
        p, v = np.asarray(step.move), np.asarray(step.mode)
        after = problem.moved_by(x, p)
        _, size, g_after = problem.look(after)
        evaluations, steps = evaluations + 2 * int(step.products) + 1, steps + 1
        moved = float(np.linalg.norm(p))
        fine = bool(np.isfinite(size)) and (size <= residual or downhill(v, p, g, g_after))
        if fine:
            radius = min(2 * radius, widest) if moved > 0.7 * radius else radius
            x, g, residual, moved_since = after, g_after, size, moved_since + moved
            if np.isfinite(reach) and problem.distance(start, x) > reach:
                return Stationary(x, residual, evaluations, steps, "far")
        else:
            radius, moved_since = radius / 4, np.inf
    return Stationary(x, residual, evaluations, steps, "converged" if residual <= tol else "not finite")
