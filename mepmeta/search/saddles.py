"""Minimum-mode following: from one minimum up to the saddles around it, when the final state is not known."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta._arguments import check_answers, check_count
from mepmeta._checks import check_energy, check_positive, check_state, check_untraced
from mepmeta.geometry import Flat, Geometry
from mepmeta.problem import Problem, pose, tolerance
from mepmeta.search.newton import Rule, newton
from mepmeta.search.relaxation import ENDPOINT_TOL, off, relaxed
from mepmeta.spectra.modes import Modes, lowest

__all__ = ["NearbySaddle", "find_saddles"]

#: Modes among which the one that is followed is looked for at every step.
CANDIDATES = 8
#: First step off the minimum, and the step down from a saddle: largest move of a particle, in units of length.
OFF, DOWN = 0.1, 0.05
#: Two states less than this many units apart are one.
SAME = 1e-3
#: A state with a larger force, in units of the problem, is no minimum.
STATIONARY = 1e-5


class NearbySaddle(NamedTuple):
    """A saddle that was found from a minimum.

    Args:
        state: the saddle, shape ``shape``.
        energy: its energy.
        barrier: its energy above the minimum.
        eigenvalues: lowest eigenvalues of the Hessian there, exactly one of them negative.
        residual: largest force on a particle.
        other: the minimum on its other side; if it is not connected, that on one of its sides.
        connected: whether its near side leads down to the minimum that the search began at.
        mode: number of the mode of the minimum that was followed up, the softest being 0.
        sign: the direction along that mode.
    """

    state: Array
    energy: float
    barrier: float
    eigenvalues: np.ndarray
    residual: float
    other: Array
    connected: bool
    mode: int
    sign: int


def find_saddles(
    energy: Callable[[Array], Array],
    minimum: Array,
    *,
    geometry: Geometry = Flat(),
    modes: int = 4,
    tol: float | None = None,
    max_steps: int = 200,
    unit: float | None = None,
    progress: bool = True,
) -> tuple[NearbySaddle, ...]:
    r"""The saddles around a minimum that its softest modes lead up to.

    From the minimum the search goes off along one of its modes, in both directions, and then takes Newton steps for
    the energy turned over along the mode v that continues the last one,

    .. math:: \big(P\mathcal H P + |v\cdot\mathcal H v|\,v v^{\mathsf T}\big)\,p
        = -(1 - 2\,v v^{\mathsf T})\,\partial E,\qquad P = 1 - v v^{\mathsf T}

    up along v, down across it, until the force is zero. What is found is kept if exactly one eigenvalue of the Hessian
    is negative there. The states on both sides are relaxed, to see where the saddle leads from and to.

    Nothing makes sure that all saddles are found. A mode of the minimum may lead to a state of higher index, or to no
    stationary state at all, and a saddle may lie where no mode leads to.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        minimum: the state to start from, a minimum.
        geometry: the space of the states.
        modes: how many of its softest modes are followed, each up and down. Zero modes are left out.
        tol: largest force on a particle at a saddle, energy over coordinate (over radian for spins). By default 1e-9
            of the largest curvature times ``unit``, or what rounding allows.
        max_steps: Newton steps for each search.
        unit: a length of the coordinates over which the energy changes its shape; for spins one radian. By default it
            is measured, from how the curvature changes at the minimum.
        progress: show a bar.

    Returns:
        The saddles in order of their energies, each once. An interruption (Ctrl-C) returns those found so far.

    Raises:
        ValueError: for a bad state or energy, and for a start that is no minimum.

    Source: :cite:t:`cerjan1981`, :cite:t:`henkelman1999`; for magnets :cite:t:`muller2018`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    >>> found = mm.find_saddles(spin, jnp.array([[1.0, 0.0, 0.0]]), geometry=mm.Spheres(), progress=False)
    >>> sorted((saddle.sign, round(saddle.barrier, 9), saddle.eigenvalues.round(6).tolist()) for saddle in found)
    [(-1, 1.0, [-2.0, 4.0]), (1, 1.0, [-2.0, 4.0])]
    """
    check_untraced("find_saddles", minimum)
    check_state(minimum, "the minimum", geometry, axes=1)
    check_answers(progress=progress)
    modes = check_count("modes", modes)
    max_steps = check_count("max_steps", max_steps)
    check_positive(**{name: value for name, value in {"tol": tol, "unit": unit}.items() if value is not None})
    energy = check_energy(energy, minimum, geometry)
    check_untraced("find_saddles", energy)
    problem = pose(energy, geometry, minimum, unit=unit)
    x, (_, _, F) = problem.inside(minimum), problem.units
    wanted = tolerance(tol, ENDPOINT_TOL, problem, x.dtype)
    around, residual = lowest(problem, x, modes + CANDIDATES, problem.geometry), problem.look(x)[1]
    if around.negative or residual > STATIONARY:
        value = around.values[0] * F / problem.units[1]
        raise ValueError(
            f"the state is no minimum: its lowest eigenvalue is {value:.3g}, the largest force {residual * F:.1e}"
        )
    softest = [k for k in range(around.values.size) if around.values[k] > around.nothing][:modes]
    # A relaxed state is off by its force over the softest curvature.
    softness = np.sqrt(x.size) / min((around.values[k] for k in softest), default=1.0)
    near = max(SAME, 10 * wanted * softness)
    found: list[NearbySaddle] = []
    with tqdm(total=2 * len(softest), disable=not progress, desc="saddles") as bar:
        try:
            for k in softest:
                for sign in (1, -1):
                    saddle = _follow(problem, x, sign * around.vectors[k], wanted, max_steps)
                    if saddle is not None and not any(problem.distance(saddle[0], f.state) < near for f in found):
                        found.append(_described(problem, x, *saddle, k, sign, near))
                    bar.update()
        except KeyboardInterrupt:
            pass
    return tuple(_public(problem, f) for f in sorted(found, key=lambda f: f.energy))


def _continued(problem: Problem) -> Rule:
    """The rule that follows one mode: the one most like the last."""

    def rule(x: Array, last: Array) -> tuple[Array, int, str]:
        modes = lowest(problem, x, CANDIDATES, problem.geometry)
        last = np.ravel(last)
        return modes.vectors[np.argmax(np.abs(modes.vectors.reshape(-1, last.size) @ last))], 0, ""

    return rule


def _follow(problem: Problem, x: Array, mode: Array, tol: float, max_steps: int) -> tuple[Array, Modes, float] | None:
    """Up along a mode to a saddle of index one: state, lowest modes, the force left."""
    x, rule = off(problem, x, mode, OFF), _continued(problem)
    found = newton(problem, x, tol=tol, max_steps=max_steps, rule=rule, mode=mode, stale=-1.0, widest=2.0)
    if found.ended != "converged":
        return None
    modes = lowest(problem, found.state, CANDIDATES, problem.geometry)
    return (found.state, modes, found.residual) if modes.negative == 1 else None


def _described(
    problem: Problem, minimum: Array, x: Array, modes: Modes, residual: float, mode: int, sign: int, near: float
) -> NearbySaddle:
    sides = [relaxed(problem, off(problem, x, s * modes.vectors[0], DOWN), None, 5000).state for s in (1, -1)]
    back = [problem.distance(side, minimum) < near for side in sides]
    E0, E = (problem.look(state)[0] for state in (minimum, x))
    other = sides[1] if back[0] else sides[0]
    return NearbySaddle(x, E, E - E0, modes.values, residual, other, any(back), mode, sign)


def _public(problem: Problem, f: NearbySaddle) -> NearbySaddle:
    """The saddle in the arrays and units of the caller."""
    E, length, F = problem.units
    return f._replace(
        state=problem.outside(f.state), energy=f.energy * E, barrier=f.barrier * E,
        eigenvalues=f.eigenvalues * (E / length**2), residual=f.residual * F, other=problem.outside(f.other),
    )  # fmt: skip
