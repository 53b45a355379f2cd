"""Relaxation of one state into a minimum, with a check that it is one."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_count
from mepmeta._checks import check_energy, check_positive, check_state, check_untraced
from mepmeta._compiled import compiled
from mepmeta.geometry import Flat, Geometry
from mepmeta.problem import ROUNDINGS, Problem, pose, tolerance
from mepmeta.search.descent import descend
from mepmeta.search.newton import newton
from mepmeta.spectra.modes import LANCZOS_STEPS, Modes, lowest

__all__ = ["ENDPOINT_TOL", "Relaxed", "downhill", "relax", "relaxed"]

#: The force to reach, in units of the problem.
ENDPOINT_TOL = 1e-9
#: From this force on quasi-Newton steps have so many gradients more; then Newton steps take over.
NEAR, LAST = 1e-5, 0
#: After so many gradients of a descent Newton steps take over wherever it is: it creeps, as along a valley that bends.
CREEPS = 200
#: Largest move of a particle in the kick off a stationary state that is no minimum, and how many there are.
KICK, KICKS = 0.1, 8
#: Energies at two states that differ by less than this, in units of the problem, do not say which is lower.
LEVEL = 1e-9


class Relaxed(NamedTuple):
    """What :func:`relax` returns.

    Args:
        state: the relaxed state, shape ``shape``.
        energy: its energy.
        residual: largest force on a particle, energy over coordinate.
        moved: distance from the state that came in.
        kicks: how often a stationary state turned out to be no minimum and was left along its lowest mode.
        modes: lowest modes of the last state, :class:`~mepmeta.spectra.modes.Modes`.
        evaluations: gradients of a state that were computed; a Hessian-vector product counts two.
        converged: whether this is a minimum, to the tolerance.
        message: how it ended, in words.
    """

    state: Array
    energy: float
    residual: float
    moved: float
    kicks: int
    modes: Modes
    evaluations: int
    converged: bool
    message: str


@compiled
def off(problem: Problem, x: Array, mode: Array, size: float) -> Array:
    """The state off another one along a mode, no particle moving by more than ``size``."""
    return problem.geometry.retract(x, mode * (size / jnp.max(problem.geometry.sizes(mode))).astype(x.dtype))


def downhill(problem: Problem, x: Array, mode: Array, size: float) -> Array:
    """The state off a stationary one along a mode, to its lower side, no particle moving by more than ``size``."""
    one, other = off(problem, x, mode, size), off(problem, x, -mode, size)
    return other if problem.look(other)[0] < problem.look(one)[0] - LEVEL else one


def relaxed(problem: Problem, x: Array, tol: float | None, max_steps: int) -> Relaxed:
    """:func:`relax` of a state in units of the problem, unchecked; its numbers are in the units of the caller."""
    start = x
    wanted = tolerance(tol, ENDPOINT_TOL, problem, x.dtype)
    kicks, evaluations, minimum = 0, 2 * LANCZOS_STEPS, False
    modes = Modes(np.zeros(0), np.zeros((0, *x.shape), x.dtype), 0.0, 0)
    steps, cliffs, before = 0, 0, None
    # A quasi-Newton step costs a gradient, a product of Newton steps two; but where it is soft the first creeps.
    for force, at_most in ((NEAR, CREEPS), (wanted, LAST)):
        down = descend(problem, x, max(wanted, force), min(at_most, max_steps - steps) + 1, before=before)
        x, residual, before, cliffs = down.state, down.residual, down.march, cliffs + down.refused
        steps, evaluations = steps + down.evaluations - 1, evaluations + down.evaluations
        if not wanted < residual <= NEAR or not LAST:
            break
    while np.isfinite(residual):
        found = newton(problem, x, tol=wanted, max_steps=max_steps - steps)
        x, residual, why = found.state, found.residual, found.ended
        modes = lowest(problem, x, 4, problem.geometry)
        evaluations, steps = evaluations + found.evaluations + 2 * modes.products, steps + found.steps
        minimum = modes.negative == 0
        if tol is None:
            # The unit of force is that of the minimum, which may be softer than where it began; and far from the origin
            # a coordinate has fewer digits.
            digits = ROUNDINGS * float(np.max(np.abs(np.asarray(x))) * jnp.finfo(x.dtype).eps) * modes.scale
            least = max(tolerance(None, ENDPOINT_TOL * modes.scale, problem, x.dtype), digits)
            if minimum and residual <= wanted and least < min(wanted, residual):
                found, wanted = newton(problem, x, tol=least, max_steps=max_steps - steps), least
                x, residual, why = found.state, found.residual, found.ended
                evaluations, steps = evaluations + found.evaluations, steps + found.steps
            wanted = max(digits, wanted)
        if not residual <= wanted or minimum or kicks == KICKS:
            break
        x = downhill(problem, x, modes.vectors[0], KICK)
        kicks += 1
    value, moved = problem.look(x)[0], problem.distance(start, x)
    finite = bool(np.isfinite(residual) and np.isfinite(value))
    converged = finite and bool(residual <= wanted) and minimum
    E, length, F = problem.units
    if converged:
        message = "a minimum" + (f", reached after {kicks} kicks off a saddle" if kicks else "")
    elif not finite:
        message = "the energy or its gradient is not finite along the descent"
    elif residual > wanted:
        message = f"the largest force is {residual * F:.1e} after {steps} steps, wanted {wanted * F:.1e}"
        if why == "stuck" and x.dtype == jnp.float32:
            message += ": single precision ends there"
        if cliffs:
            message += f"; {cliffs} moves were taken back, to where the energy is not finite"
    else:
        message = f"a stationary state with {modes.negative} negative eigenvalues that {kicks} kicks did not leave"
    return Relaxed(x, value * E, residual * F, moved * length, kicks, modes, evaluations, converged, message)


def relax(
    energy: Callable[[Array], Array],
    state: Array,
    *,
    geometry: Geometry = Flat(),
    tol: float | None = None,
    max_steps: int = 5000,
    unit: float | None = None,
) -> Relaxed:
    r"""Descend to the minimum whose basin a state lies in, and make sure that it is a minimum.

    L-BFGS until the largest force on a particle is small, then Newton steps until it is below ``tol``. A symmetric
    start can end on a saddle; so the lowest eigenvalues of the Hessian decide, and a negative one means a kick along
    its mode and a new descent.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        state: where to start.
        geometry: the space of the states.
        tol: largest force on a particle, energy over coordinate (over radian for spins). By default 1e-9 of the largest
            curvature times ``unit``, or what rounding allows.
        max_steps: iterations in all.
        unit: a length of the coordinates over which the energy changes its shape; for spins one radian. By default it
            is measured, from how the curvature changes at the start.

    Returns:
        :class:`Relaxed`.

    Raises:
        ValueError: for a bad state, energy, tolerance or count, and under ``jit`` or ``vmap``.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> r = mm.relax(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]))  # exactly on the saddle
    >>> r.converged, r.kicks, round(r.energy, 9)
    (True, 1, -1.0)
    """
    check_untraced("relax", state)
    check_state(state, "the state", geometry, axes=1)
    max_steps = check_count("max_steps", max_steps)
    check_positive(**{name: x for name, x in {"tol": tol, "unit": unit}.items() if x is not None})
    energy = check_energy(energy, state, geometry)
    check_untraced("relax", energy)
    problem = pose(energy, geometry, state, unit=unit)
    x = problem.inside(state)
    found = relaxed(problem, problem.moved_by(x, jnp.zeros_like(x)), tol, max_steps)
    return public(problem, found)


def public(problem: Problem, r: Relaxed) -> Relaxed:
    """The result in the arrays and units of the caller."""
    E, length, _ = problem.units
    vectors = problem.unscaled(r.modes.vectors)
    modes = Modes(r.modes.values * (E / length**2), vectors, r.modes.scale * E / length**2, r.modes.products)
    return r._replace(state=problem.outside(r.state), modes=modes)
