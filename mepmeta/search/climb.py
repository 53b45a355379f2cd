"""Up to a saddle: quasi-Newton steps on the energy turned over along its lowest mode, then Newton steps."""

import numpy as np
from jax import Array

from mepmeta.problem import Problem
from mepmeta.search.descent import descend
from mepmeta.search.newton import STALE, Rule, Stationary, lowest_mode, newton

__all__ = ["climbed"]

#: Gradients between two looks at how it goes, and how many looks without a smaller force end it.
STRETCH, PATIENCE = 10, 8
#: A force is smaller when it is below this part of the smallest so far.
SMALLER = 0.7


def climbed(
    problem: Problem, x: Array, *, tol: float, max_steps: int, reach: float = np.inf, at_most: float = np.inf
) -> Stationary:
    r"""The saddle of index one near x, as :func:`~mepmeta.search.newton.newton` finds it, from the end of L-BFGS.

    .. math:: F = -(1 - 2\,v v^{\mathsf T})\,\partial E

    L-BFGS on this force costs one gradient a step, where the products of a Newton step cost two each; but the force
    has a potential only while the mode v stays, and nothing says that a step was good. Where it has not come to the
    tolerance, within ``reach`` of x, Newton steps begin at x itself. A glance has gradients for L-BFGS, ``at_most`` so
    many beside those of the modes, and none for Newton steps, each of which may take hundreds.
    """
    rule = lowest_mode(problem)
    near, evaluations, arrived = _quasi_newton(problem, x, rule, tol, reach, at_most)
    if not arrived and np.isfinite(at_most):
        return Stationary(x, problem.look(x)[1], evaluations + 1, 0, "steps")
    found = newton(problem, near, tol=tol, max_steps=max_steps, rule=rule, reach=reach)
    return found._replace(evaluations=found.evaluations + evaluations)


def _quasi_newton(
    problem: Problem, x: Array, rule: Rule, tol: float, reach: float, at_most: float
) -> tuple[Array, int, bool]:
    """A state where the largest force is below ``tol``, or x if that was not reached; gradients; whether it was."""
    start, mode, before = x, np.zeros(x.shape, x.dtype), None
    evaluations, steps, moved, least, waited = 1, 0, np.inf, np.inf, 0
    if problem.look(x)[1] <= tol:
        return x, evaluations, True
    while waited < PATIENCE and steps < at_most:
        if moved > STALE:
            mode, count, why = rule(x, mode)
            evaluations, moved = evaluations + count, 0.0
            if why:
                break
        down = descend(problem, x, tol, STRETCH, along=mode, before=before)
        evaluations, steps = evaluations + down.evaluations, steps + down.evaluations
        if not np.isfinite(down.residual) or problem.distance(start, down.state) > reach:
            break
        moved += problem.distance(x, down.state)
        x, before = down.state, down.march
        if down.residual <= tol:
            return x, evaluations, True
        waited = 0 if down.residual < SMALLER * least else waited + 1
        least = min(least, down.residual)
    return start, evaluations, False
