"""Spin dynamics: the stochastic Landau-Lifshitz-Gilbert equation for thousands of trajectories at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array, lax
from tqdm import tqdm

from mepmeta._arguments import check_answers, check_count, check_function, check_key, check_number
from mepmeta._checks import check_damping, check_energy, check_moments, check_positive, check_record, check_state
from mepmeta._compiled import compiled
from mepmeta._trace import traced
from mepmeta.geometry import Spheres
from mepmeta.spectra.modes import largest_curvature

__all__ = ["Escapes", "Trajectories", "count_escapes", "simulate"]

#: Evaluations of the field in one step. The fixed point of the midpoint rule gains a factor of dt |H| / 2 with each.
SWEEPS = 4
#: The longest step, times the largest curvature: beyond it the sweeps do not converge, and the energy runs away.
LONGEST = 1.0
#: Steps in one compiled call: what an interruption may lose.
CHUNK = 1000


class Trajectories(NamedTuple):
    """What :func:`simulate` returns.

    Args:
        states: the last states, shape ``(B, *shape, 3)``.
        time: time that has passed, units of mu/gamma over the unit of energy.
        history: ``observe(states)`` at the start and after every ``every`` steps, stacked; None without ``observe``.
        completed: whether all steps were made; False after an interruption.
    """

    states: Array
    time: float
    history: Any
    completed: bool


class Escapes(NamedTuple):
    r"""What :func:`count_escapes` returns.

    Args:
        count: how often a trajectory arrived in another core.
        time: the time of all trajectories together.
        states: the last states, shape ``(B, *shape, 3)``.
        completed: whether all steps were made; False after an interruption.
    """

    count: int
    time: float
    states: Array
    completed: bool

    @property
    def rate(self) -> float:
        """Arrivals per time, the estimate of largest likelihood of the rate of a Poisson process."""
        return self.count / self.time if self.time else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the rate, exact for a Poisson process (from quantiles of chi squared)."""
        if not self.time:
            return 0.0, np.inf
        low = sp.special.gammaincinv(self.count, 0.025) if self.count else 0.0
        return float(low / self.time), float(sp.special.gammaincinv(self.count + 1, 0.975) / self.time)


def _cross(u: Array, v: Array) -> Array:
    return jnp.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


def _step(gradient: Callable, S: Array, noise: Array, damping: Array, dt: Array) -> Array:
    """One step of the implicit midpoint rule, components on the first axis and trajectories on the last.

    The rule reads S' - S = dt w x (S + S')/2 with w taken at the midpoint. Given w it is a rotation (Cayley's form),
    so that lengths are kept to rounding whether or not the fixed point for w has been reached.
    """
    middle = S
    for _ in range(SWEEPS):
        field = noise - gradient(middle)
        w = (field + damping * _cross(middle, field)) * (dt / 2 / (1 + damping**2))
        along, square = jnp.sum(w * S, axis=0), jnp.sum(w * w, axis=0)
        # Half of the rotated vector plus half of the old one.
        middle = (S + along * w + _cross(w, S)) / (1 + square)
    return 2 * middle - S


def _stepper(
    energy: Callable, temperature: Array, damping: Array, dt: Array, live: Array
) -> Callable[[Array, Array], Array]:
    """The step as a function of states ``(3, *shape, B)`` and a random key; spins of sites without a moment stay.

    A spin of moment m moves in the time dt as one of moment 1 does in dt/m, noise included. So there is one ``dt``, or
    one for each site, ``(*shape, 1)``.
    """
    if hasattr(energy, "component_first"):
        single = jax.grad(energy.component_first())
    else:

        def single(S: Array) -> Array:
            return jax.grad(lambda S: energy(jnp.moveaxis(S, 0, -1)))(S)

    gradient = jax.vmap(single, in_axes=-1, out_axes=-1)
    strength = jnp.sqrt(2 * damping * temperature / dt)

    def step(S: Array, key: Array) -> Array:
        # Normals in single precision: they take most of the time, and only their distribution counts. The barrier
        # keeps the compiler from drawing them anew in every sweep.
        normals = lax.optimization_barrier(jax.random.normal(key, S.shape, jnp.float32))
        return jnp.where(live[None, ..., None], _step(gradient, S, strength * normals.astype(S.dtype), damping, dt), S)

    return step


@compiled
def _advance(energy: Callable, S: Array, key: Array, constants: tuple[Array, ...], begin: Array, end: Array) -> Array:
    step = _stepper(energy, *constants)
    return lax.fori_loop(begin, end, lambda i, S: step(S, jax.random.fold_in(key, i)), S)


@compiled
def _count(
    energy: Callable,
    carry: tuple[Array, Array, Array],
    key: Array,
    constants: tuple[Array, ...],
    core: Callable,
    begin: Array,
    end: Array,
) -> tuple[Array, Array, Array]:
    step = _stepper(energy, *constants)
    label = jax.vmap(lambda S: core(jnp.moveaxis(S, 0, -1)), in_axes=-1)

    def body(i: Array, carry: tuple) -> tuple:
        S, home, count = carry
        S = step(S, jax.random.fold_in(key, i))
        at = label(S)
        arrived = (at != 0) & (at != home)
        return S, jnp.where(arrived, at, home), count + jnp.sum(arrived).astype(count.dtype)

    return lax.fori_loop(begin, end, body, carry)


def simulate(
    key: Array,
    energy: Callable[[Array], Array],
    states: Array,
    *,
    temperature: float,
    damping: float,
    dt: float,
    steps: int,
    moments: float | Array = 1.0,
    observe: Callable[[Array], Any] | None = None,
    every: int = CHUNK,
    progress: bool = True,
) -> Trajectories:
    r"""Trajectories of the stochastic Landau-Lifshitz-Gilbert equation, in the sense of Stratonovich.

    .. math:: \dot S_n = -\frac{1}{1+\alpha^2}\,S_n\times\big[f_n + \alpha\,S_n\times f_n\big],\qquad
        f_n = -\frac{1}{m_n}\frac{\partial E}{\partial S_n} + \xi_n(t),\qquad
        \langle\xi_n^i(t)\,\xi_k^j(t')\rangle = \frac{2\alpha k_BT}{m_n}\,\delta_{nk}\delta_{ij}\,\delta(t - t')

    with time in units of :math:`\mu/\gamma` over the unit of energy (:func:`~mepmeta.rates.transition.time_unit`); a
    spin with :math:`m_n = 1` has the moment :math:`\mu`. The noise is part of the field, so it turns spins and never
    changes their length; added to :math:`\dot S`, as Section 2 of :cite:t:`bushuev2020` prints it, it would. The
    implicit midpoint rule keeps :math:`|S_n|` to rounding, and without noise and damping the energy where that is
    quadratic, up to the accuracy of four sweeps of its fixed point. Where spins are found does not depend on moments.

    Args:
        key: random key; the same key gives the same trajectories.
        energy: differentiable callable, spins ``(*shape, 3)`` to scalar.
        states: where the B trajectories start, unit vectors, shape ``(B, *shape, 3)``.
        temperature: :math:`k_BT \ge 0`, energy.
        damping: :math:`\alpha \ge 0`.
        dt: step, units of time, at most the inverse of the largest curvature of the energy, times the least moment.
        steps: number of steps.
        moments: :math:`m_n`, moments of the spins in units of the one that the unit of time has; a number, or an
            array that broadcasts to ``shape``. Pinned spins and sites without a moment may have any.
        observe: function of all states, shape ``(B, *shape, 3)``; its value is recorded.
        every: steps between two records.
        progress: show a bar.

    Returns:
        :class:`Trajectories`. An interruption (Ctrl-C) returns what there is.

    Raises:
        ValueError: for bad states, a negative temperature or damping, moments that are not positive, a step that is
            not positive or too long for the fixed point of the midpoint rule.

    Source: :cite:t:`brown1963`; midpoint rule: :cite:t:`daquino2006`.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    >>> start = jnp.array([[[0.6, 0.0, 0.8]]])
    >>> free = mm.simulate(jax.random.key(0), spin, start, temperature=0.0, damping=0.0, dt=0.01, steps=2000)
    >>> bool(abs(spin(free.states[0]) - spin(start[0])) < 1e-6)  # precession keeps the energy
    True
    """
    steps = check_count("steps", steps)
    energy, S, constants = _checked(key, energy, states, temperature, damping, dt, moments, progress)
    every = check_count("every", every)
    if observe is not None:
        check_function("observe", observe)

    def record(S: Array) -> Any:
        return observe(jnp.moveaxis(S, (0, -1), (-1, 0))) if observe else None

    try:
        history, done, completed = [record(S)], 0, True
    except Exception as error:  # of whatever kind: it is the function of somebody else
        raise ValueError(f"observe does not take states of shape {states.shape}: {error!r}") from error
    with tqdm(total=steps, disable=not progress, desc="steps") as bar:
        try:
            while done < steps:
                n = min(every if observe else CHUNK, steps - done)
                S = _advance(energy, S, key, constants, jnp.asarray(done), jnp.asarray(done + n))
                done += n
                history.append(record(S))
                bar.update(n)
        except KeyboardInterrupt:
            completed = False
    _check_finite(S)
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *history) if observe else None
    return Trajectories(jnp.moveaxis(S, (0, -1), (-1, 0)), done * float(dt), stacked, completed)


def count_escapes(
    key: Array,
    energy: Callable[[Array], Array],
    states: Array,
    core: Callable[[Array], Array],
    *,
    temperature: float,
    damping: float,
    dt: float,
    steps: int,
    moments: float | Array = 1.0,
    progress: bool = True,
) -> Escapes:
    r"""How often thermal noise carries a state from one well into the core of another.

    .. math:: \kappa = \frac{\text{arrivals in another core}}{\text{time of all trajectories}}

    A trajectory belongs to the core where it was last. An escape is its first arrival in another one, from where it
    goes on. What lies between the cores belongs to neither: a trajectory that crosses the saddle and comes back has
    not escaped, where counting crossings of a dividing surface would count it, and more often the smaller the step.
    The time until the end of a trajectory that did not escape counts, too, so censoring brings no bias. What is on its
    way between two cores counts as still at home: over low barriers the count falls short of the exact rate by that.

    Args:
        key, energy, states, temperature, damping, dt, steps, moments, progress: as in :func:`simulate`.
        core: function of one state, shape ``(*shape, 3)``: a whole number that names the core it is in, 0 for none.

    Returns:
        :class:`Escapes`, with ``rate`` and its 95 % ``interval``. An interruption (Ctrl-C) returns what there is.

    Raises:
        ValueError: as :func:`simulate`, and when ``core`` is not a whole number or a trajectory starts in none.
    """
    steps = check_count("steps", steps)
    energy, S, constants = _checked(key, energy, states, temperature, damping, dt, moments, progress)
    check_record("core", core, states[0])
    core = traced(core, states[0])
    out = jax.eval_shape(core, states[0])
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.integer):
        raise ValueError(f"core must map a state to a whole number, 0 outside the cores, got {out}")
    home = jax.vmap(core)(states)
    if not np.all(np.asarray(home)):
        raise ValueError(f"{int(np.sum(np.asarray(home) == 0))} trajectories start outside the cores")
    carry, done, completed = (S, home, jnp.zeros((), jnp.int32)), 0, True
    with tqdm(total=steps, disable=not progress, desc="steps") as bar:
        try:
            while done < steps:
                n = min(CHUNK, steps - done)
                carry = _count(energy, carry, key, constants, core, jnp.asarray(done), jnp.asarray(done + n))
                carry[2].block_until_ready()
                done += n
                bar.update(n)
        except KeyboardInterrupt:
            completed = False
    S, _, count = carry
    _check_finite(S)
    time = done * float(dt) * states.shape[0]
    return Escapes(int(count), time, jnp.moveaxis(S, (0, -1), (-1, 0)), completed)


def _check_finite(S: Array) -> None:
    """A trajectory on which the field was not finite says nothing."""
    if not np.all(np.isfinite(S)):
        raise ValueError("the states are not finite any more: the field of the energy, or the noise, is too strong")


def _checked(
    key: Array,
    energy: Callable,
    states: Array,
    temperature: float,
    damping: float,
    dt: float,
    moments: float | Array,
    progress: bool,
) -> tuple[Callable, Array, tuple[Array, ...]]:
    check_key(key)
    check_answers(progress=progress)
    check_state(states, "the batch of states", Spheres())
    if states.ndim < 3:
        raise ValueError(f"the states of B trajectories have shape (B, *shape, 3), got {states.shape}")
    check_number("the temperature k_BT", temperature, "an energy >= 0", 0)
    check_damping(damping)
    check_positive(dt=dt)
    states = jnp.asarray(states)
    energy = check_energy(energy, states, axes=1)
    live = energy.live() if hasattr(energy, "live") else np.ones(states.shape[1:-1], bool)
    m = check_moments(moments, live)
    stiffness = float(dt) / float(m.min()) * float(largest_curvature(energy, states[0], Spheres()))
    if not np.isfinite(stiffness):
        raise ValueError("the curvature of the energy is not finite at the first state")
    if stiffness > LONGEST:
        over = "" if np.all(m == 1) else " over the least moment"
        raise ValueError(
            f"the step dt = {dt} is too long: times the largest curvature{over} it is {stiffness:.2g}, above 1"
        )
    S = jnp.moveaxis(states, (-1, 0), (0, -1))
    S = S / jnp.sqrt(jnp.sum(S * S, axis=0))
    steps = float(dt) / (m.flat[0] if np.all(m == m.flat[0]) else m[..., None])
    # The strength of the noise has to be a number of that precision, and the step no number that processors take for 0.
    least, limits = np.min(steps), jnp.finfo(S.dtype)
    if least < limits.tiny or 2 * float(damping) * float(temperature) > least * float(limits.max):
        raise ValueError(f"the step dt = {dt} is too short for numbers of {S.dtype}")
    return energy, S, (*(jnp.asarray(c, S.dtype) for c in (temperature, damping, steps)), jnp.asarray(live))
