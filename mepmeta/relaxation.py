"""Relaxation of one state into a minimum, with a check that it is one."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta import _compiled
from mepmeta._checks import as_pytree, check_count, check_energy, check_state
from mepmeta.geometry import Flat, Geometry
from mepmeta.methods import LBFGS, limited
from mepmeta.modes import POWER_STEPS, Modes, curvature_scale, lowest_modes
from mepmeta.newton import newton

__all__ = ["Relaxed", "relax"]

#: A gradient is one: nothing has to be feared from its growth, and steps nearly across it may be right.
MINIMISER = LBFGS(angle=1e-3, growth=jnp.inf, memory=8)

#: Largest move of a particle in the kick off a stationary state that is no minimum.
KICK = 0.1
KICKS = 8


class Relaxed(NamedTuple):
    """What :func:`relax` returns.

    Args:
        state: the relaxed state, shape ``shape``.
        energy: its energy.
        residual: largest force on a particle, energy over coordinate.
        moved: distance from the state that came in.
        kicks: how often a stationary state turned out to be no minimum and was left along its lowest mode.
        modes: lowest modes of the last state, :class:`~mepmeta.modes.Modes`.
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


@partial(jax.jit, static_argnums=5)
def _descend(
    energy: Callable, x: Array, scale: Array, unit: Array, tol: Array, geometry: Geometry, steps: int
) -> tuple[Array, Array, Array]:
    """Quasi-Newton descent to the force ``tol``: the state, its largest force, the iterations."""

    def force(x: Array) -> Array:
        return -geometry.project(x, jax.grad(energy)(x))

    def body(s: tuple) -> tuple:
        x, memory, F, _, k = s
        move, memory = MINIMISER.update(F[None] / scale, memory, x[None], geometry)
        after = geometry.retract(x, limited(move, geometry, unit)[0])
        F = force(after)
        residual = jnp.max(geometry.sizes(F))
        return jnp.where(jnp.isfinite(residual), after, x), memory, F, residual, k + 1

    def going_on(s: tuple) -> Array:
        return (s[3] > tol) & jnp.isfinite(s[3]) & (s[4] < steps)

    F = force(x)
    start = (x, MINIMISER.init(x[None]), F, jnp.max(geometry.sizes(F)), jnp.zeros((), jnp.int32))
    x, _, _, residual, k = lax.while_loop(going_on, body, start)
    return x, residual, k


def kick_sign(mode: Array) -> Array:
    """A mode with its sign fixed, its largest component positive, so that a kick is the same on every machine."""
    flat = jnp.ravel(mode)
    return mode * jnp.sign(flat[jnp.argmax(jnp.abs(flat) > 0.999 * jnp.max(jnp.abs(flat)))])


def relax(
    energy: Callable[[Array], Array],
    state: Array,
    *,
    geometry: Geometry = Flat(),
    tol: float = 1e-8,
    max_steps: int = 5000,
    unit: float | Array = 1.0,
) -> Relaxed:
    r"""Descend to the minimum whose basin a state lies in, and make sure that it is a minimum.

    L-BFGS until the largest force on a particle is below ``tol``. A symmetric start can end on a saddle; so the
    lowest eigenvalues of the Hessian decide, and a negative one means a kick along its mode and a new descent.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        state: where to start.
        geometry: the space of the states.
        tol: largest force on a particle, energy over coordinate (over radian for spins).
        max_steps: iterations in all.
        unit: a length of the coordinates over which the energy changes its shape; for spins one radian.

    Returns:
        :class:`Relaxed`.

    Raises:
        ValueError: for a bad state, energy, or count.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> r = mm.relax(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]))  # exactly on the saddle
    >>> r.converged, r.kicks, round(r.energy, 9)
    (True, 1, -1.0)
    """
    check_state(state, "the state")
    geometry.check(np.asarray(state), "the state")
    check_count("max_steps", max_steps)
    energy, x = as_pytree(energy), jnp.asarray(state)
    check_energy(energy, x[None])
    x = _compiled.moved(x, jnp.zeros_like(x), geometry)  # to unit length, to the last digit
    start, real = x, partial(jnp.asarray, dtype=x.dtype)
    scale = curvature_scale(energy, x, geometry=geometry) or 1.0
    kicks, evaluations, minimum = 0, 2 * POWER_STEPS, False
    modes = Modes(np.zeros(0), jnp.zeros((0, *x.shape), x.dtype), 0.0, 0)
    # Quasi-Newton while it is fast; where it creeps, or close to the minimum, Newton steps.
    x, residual, k = _descend(energy, x, real(scale), real(unit), real(max(tol, 1e-5 * scale)), geometry, max_steps)
    evaluations, steps = evaluations + int(k), int(k)
    while np.isfinite(residual):
        left = max_steps - steps
        x, residual, used, more = newton(
            energy, x, climb=False, geometry=geometry, tol=tol, unit=float(unit), max_steps=left
        )
        modes = lowest_modes(energy, x, geometry=geometry)
        evaluations, steps = evaluations + used + 2 * modes.products, steps + more
        minimum = modes.negative == 0
        if not residual <= tol or minimum or kicks == KICKS:
            break
        mode = kick_sign(modes.vectors[0])
        x = _compiled.moved(x, mode * (KICK * unit / jnp.max(geometry.sizes(mode))), geometry)
        kicks += 1
    value, moved = float(_compiled.energies(energy, x[None])[0]), float(_compiled.distance(start, x, geometry))
    finite = bool(np.isfinite(residual) and np.isfinite(value))
    converged = finite and bool(residual <= tol) and minimum
    if converged:
        message = "a minimum" + (f", reached after {kicks} kicks off a saddle" if kicks else "")
    elif not finite:
        message = "the energy or its gradient is not finite along the descent"
    elif residual > tol:
        message = f"the largest force is {float(residual):.1e} after {steps} steps, wanted {tol:.1e}"
    else:
        message = f"a stationary state with {modes.negative} negative eigenvalues that {kicks} kicks did not leave"
    return Relaxed(x, value, float(residual), moved, kicks, modes, evaluations, converged, message)
