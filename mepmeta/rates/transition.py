"""Rates of transitions between magnetic states: harmonic transition state theory and Langer's theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy as sp
from jax import Array

from mepmeta._arguments import check_count, check_number
from mepmeta._checks import (
    check_damping,
    check_energy,
    check_held,
    check_moments,
    check_positive,
    check_state,
    check_temperature,
    check_untraced,
)
from mepmeta.geometry import Spheres
from mepmeta.problem import Problem, pose
from mepmeta.rates.hessians import LOWEST, Nearby, Whole, hessian_at
from mepmeta.rates.zero_modes import ZeroModes, zero_modes
from mepmeta.spectra.eigenpairs import ZERO, reproducible

__all__ = ["TransitionRate", "time_unit", "transition_rate"]

#: The largest force at a stationary state, as a part of the largest curvature.
STATIONARY = 1e-5


@dataclass(frozen=True)
class TransitionRate:
    r"""The rate of a transition as a function of temperature; :func:`transition_rate` makes it.

    .. math:: \kappa(T) = n\,\frac{\kappa_{dyn}\,\kappa_{ent}}{2\pi}\,(2\pi k_BT)^p\,e^{-\Delta E/k_BT}

    Times are in units of :math:`\mu/\gamma` over the unit of energy, see :func:`time_unit`.

    Args:
        barrier: :math:`\Delta E`, energy of the saddle above the minimum.
        log_entropy: :math:`\ln\kappa_{ent}`, volumes of zero modes included.
        log_entropy_error: standard error of that where determinants are estimates; zero where they are exact.
        power: :math:`p`, half the number of zero modes of the minimum less that of the saddle.
        dynamical: :math:`\kappa_{dyn}` of Langer's theory at ``damping``: the growth rate :math:`\lambda_+`.
        harmonic: :math:`\kappa_{dyn}` of harmonic transition state theory, which knows no damping.
        damping: :math:`\alpha`.
        multiplicity: :math:`n`, number of equivalent saddles.
        minimum_eigenvalues, saddle_eigenvalues: the lowest eigenvalues of the Hessians, ascending.
        minimum_zero_modes, saddle_zero_modes: names of the zero modes, for example "rotation about (0, 0, 1)".
    """

    barrier: float
    log_entropy: float
    log_entropy_error: float
    power: float
    dynamical: float
    harmonic: float
    damping: float
    multiplicity: int
    minimum_eigenvalues: np.ndarray
    saddle_eigenvalues: np.ndarray
    minimum_zero_modes: tuple[str, ...]
    saddle_zero_modes: tuple[str, ...]

    def _prefactor(self, temperature: float | np.ndarray, dynamical: float) -> np.ndarray:
        check_temperature(temperature)
        volume = self.power * np.log(2 * np.pi * np.asarray(temperature, float))
        return self.multiplicity * dynamical / (2 * np.pi) * np.exp(self.log_entropy + volume)

    def prefactor(self, temperature: float | np.ndarray) -> np.ndarray:
        r"""The attempt frequency of Langer's theory: the rate without :math:`e^{-\Delta E/k_BT}`.

        Args:
            temperature: :math:`k_BT`, energy; a number or an array.
        """
        return self._prefactor(temperature, self.dynamical)

    def rate(self, temperature: float | np.ndarray) -> np.ndarray:
        """Langer's rate at a temperature :math:`k_BT` (energy), a number or an array."""
        return self.prefactor(temperature) * np.exp(-self.barrier / np.asarray(temperature, float))

    def harmonic_rate(self, temperature: float | np.ndarray) -> np.ndarray:
        """The rate of harmonic transition state theory at a temperature :math:`k_BT` (energy)."""
        attempts = self._prefactor(temperature, self.harmonic)
        return attempts * np.exp(-self.barrier / np.asarray(temperature, float))

    def lifetime(self, temperature: float | np.ndarray) -> np.ndarray:
        r"""Mean time :math:`1/\kappa` until the transition, by Langer's theory.

        Infinite where the rate is less than any number.
        """
        with np.errstate(divide="ignore"):
            return 1 / self.rate(temperature)


def transition_rate(
    energy: Callable[[Array], Array],
    minimum: Array,
    saddle: Array,
    *,
    damping: float,
    moments: float | Array = 1.0,
    multiplicity: int = 1,
    soft: float | None = None,
) -> TransitionRate:
    r"""The rate at which a magnetic state is left over a saddle.

    .. math:: \kappa = \frac{\kappa_{dyn}\,\kappa_{ent}}{2\pi}\,e^{-\Delta E/k_BT},\qquad
        \kappa_{ent} = \sqrt{\frac{\det\mathcal H_{MS}}{|\det\mathcal H_{TS}|}}

    with the Hessians on the product of spheres, all modes included. Langer's dynamical prefactor is the growth rate of
    the saddle, the one positive eigenvalue of the linearised Landau-Lifshitz-Gilbert equation,

    .. math:: \kappa_{dyn} = \lambda_+\big[\tfrac{1}{1+\alpha^2}(\mathcal J - \alpha)\,M^{-1}\mathcal H_{TS}\big],\qquad
        \mathcal J v = S\times v

    where M holds the moments. Harmonic transition state theory counts every passage through the plane across the
    unstable mode w (:math:`\mathcal H w = \lambda_- w`) as a transition, whatever the damping:

    .. math:: \kappa_{dyn} = \sqrt{|\lambda_-|\;b\cdot\mathcal H_{TS}\,b},\qquad b = M^{-1}\mathcal J w

    Nothing else depends on moments: they tell how fast a spin moves, not where it is found.

    For one spin this is the limit of Langer's for :math:`\alpha\to 0`. The integral over a zero mode is not Gaussian:
    it is the volume of the states that the symmetry leads to, and gives the rate a power of the temperature.

    Args:
        energy: twice differentiable callable, spins of shape ``(*shape, 3)`` to scalar. A
            :class:`~mepmeta.magnets.heisenberg.Heisenberg` may have 100 000 spins and more, another energy 2000, or
            more if it acts over a few cells only (:func:`~mepmeta.spectra.hessian.hessian`). With a
            :class:`~mepmeta.magnets.dipolar.Dipolar` added to it, determinants are exact up to 2000 spins, too; of more
            they are estimates (:class:`~mepmeta.rates.hessians.Nearby`), with an error that is stated.
        minimum: the metastable state MS, unit vectors, shape ``(*shape, 3)``.
        saddle: the transition state TS, likewise; for example ``r.saddle`` of :func:`~mepmeta.search.mep.find_mep`.
        damping: Gilbert damping :math:`\alpha \ge 0`.
        moments: moments of the spins, in units of the one that the unit of time has (:func:`time_unit`); a number, or
            an array that broadcasts to ``shape``. Pinned spins and sites without a moment may have any.
        multiplicity: how many equivalent saddles lead out, not counting those that a zero mode of the saddle leads to.
            Where only the minimum moves freely, every cell of the lattice has its own saddles.
        soft: translations with an eigenvalue up to this magnitude count as zero modes, energy; by default 1e-7 of the
            largest curvature, as for rotations. A skyrmion that the lattice hardly pins moves freely as soon as
            :math:`k_BT` is above what pins it, however little that is: then its translations are to be named so.

    Returns:
        :class:`TransitionRate`.

    Raises:
        ValueError: states that are not stationary (the residual is stated), a minimum with a negative mode, a saddle
            with none or several, a saddle below the minimum, zero modes that no rotation or translation explains, a
            negative damping, moments that are not positive.

    Source: Section 2 of :cite:t:`bushuev2020`; :cite:t:`langer1969`; :cite:t:`bessarab2012`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])  # the spin of the paper
    >>> x, y = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])
    >>> k = mm.transition_rate(spin, x, y, damping=0.5, multiplicity=2)
    >>> round(k.barrier, 8), round(k.dynamical, 8), round(float(k.rate(0.125)), 10)
    (1.0, 2.16124969, 0.0002826473)
    """
    check_damping(damping)
    multiplicity = check_count("multiplicity", multiplicity)
    if soft is not None:
        check_number("soft", soft, "an eigenvalue, a finite number >= 0", 0)
    check_untraced("transition_rate", minimum, saddle)
    for name, x in {"minimum": minimum, "saddle": saddle}.items():
        check_state(x, f"the {name}", Spheres())
    if minimum.shape != saddle.shape or minimum.dtype != saddle.dtype:
        kinds = f"{minimum.shape} of {minimum.dtype} and {saddle.shape} of {saddle.dtype}"
        raise ValueError(f"minimum and saddle must have one shape and dtype, got {kinds}")
    check_held(energy, the_minimum=minimum, the_saddle=saddle)
    energy = check_energy(energy, minimum)
    check_untraced("transition_rate", energy)
    sites = energy.live() if hasattr(energy, "live") else np.ones(minimum.shape[:-1], bool)
    m = check_moments(moments, sites)
    problem = pose(energy, Spheres(), minimum, saddle)
    unit, states = problem.units[0], [problem.inside(x) for x in (minimum, saddle)]
    E0, E1 = (problem.look(x)[0] for x in states)
    if not E1 > E0:
        raise ValueError(
            f"the saddle lies at {E1 * unit:.6g}, not above the minimum at {E0 * unit:.6g}: they do not belong together"
        )
    soft = None if soft is None else soft / unit
    MS, TS = (
        _stationary(problem, x, name, index, soft)
        for x, name, index in zip(states, ("minimum", "saddle"), (0, 1), strict=True)
    )
    m, clock = np.tile(np.ravel(m), 2)[TS.live], float(unit / np.max(m))
    m = m / np.max(m)  # in a unit of their own: squares of moments in any other may be no numbers
    b, power = _turned(TS.mode) / m, (len(MS.zero.names) - len(TS.zero.names)) / 2
    # Samples, or one that is exact.
    logarithms = (MS.log_determinant - TS.log_determinant) / 2
    log_entropy = float(np.mean(logarithms)) + TS.zero.log_volume - MS.zero.log_volume
    return TransitionRate(
        barrier=float(E1 - E0) * unit,
        log_entropy=log_entropy - power * np.log(unit),
        log_entropy_error=float(np.std(logarithms) / np.sqrt(max(logarithms.size - 1, 1))),
        power=power,
        dynamical=_growth_rate(TS, m, damping) * clock,
        # b is across the only negative mode: below zero there is rounding.
        harmonic=float(np.sqrt(abs(TS.values[0]) * max(b @ (TS.hessian @ b), 0.0))) * clock,
        damping=float(damping),
        multiplicity=int(multiplicity),
        minimum_eigenvalues=MS.values * unit,
        saddle_eigenvalues=TS.values * unit,
        minimum_zero_modes=MS.zero.names,
        saddle_zero_modes=TS.zero.names,
    )


class _Stationary(NamedTuple):
    """Hessian of a state, on coordinates of spins with a moment; lowest eigenvalues and mode; zero modes, and the
    log-determinant across these."""

    hessian: Whole | Nearby
    live: np.ndarray
    values: np.ndarray
    mode: np.ndarray
    zero: ZeroModes
    log_determinant: np.ndarray


def _stationary(problem: Problem, x: Array, name: str, index: int, soft: float | None) -> _Stationary:
    """A state that has to be what its name says: stationary, with ``index`` negative modes."""
    H, live = hessian_at(problem, x)
    values, vectors, scale = H.lowest()
    vectors = reproducible(values, vectors, scale)
    unit, residual = problem.units[0], problem.look(x)[1]
    if residual > STATIONARY * scale:
        raise ValueError(
            f"the {name} is not stationary: the largest force on a spin is {residual * unit:.1e}, "
            f"wanted {STATIONARY * scale * unit:.1e}"
        )
    few = np.abs(values) <= (ZERO * scale if soft is None else max(soft, ZERO * scale))
    zero = zero_modes(problem.energy, problem.outside(x), H, live, values[few], vectors[:, few], ZERO * scale)
    determinant, negative = H.log_determinant(values, vectors, zero.vectors)
    if negative != index:
        wanted = "none" if index == 0 else "exactly one"
        lowest = ", ".join(f"{v:.3g}" for v in values[:3] * unit)
        raise ValueError(f"the {name} has {negative} negative modes, wanted {wanted}: lowest eigenvalues {lowest}")
    return _Stationary(H, live, values[:LOWEST], vectors[:, 0], zero, determinant)


def _turned(v: np.ndarray) -> np.ndarray:
    """S x v in the coordinates of ``Spheres``: first all components along e, then all along S x e."""
    first, second = np.split(v, 2)
    return np.concatenate([-second, first])


def _growth_rate(TS: _Stationary, m: np.ndarray, damping: float) -> float:
    r"""Langer's rate of spins of moments m: in coordinates :math:`\sqrt m\,v` all moments are 1."""
    H = TS.hessian.scaled(1 / np.sqrt(m))
    return growth_rate(H, TS.mode if np.all(m == m[0]) else H.lowest()[1][:, 0], damping)


def growth_rate(H: Whole | Nearby, w: np.ndarray, damping: float) -> float:
    r"""Langer's :math:`\lambda_+` at a saddle with Hessian H and unstable mode w, without any other eigenvalue.

    :math:`(\mathcal J - \alpha)^{-1} = -(\mathcal J + \alpha)/(1 + \alpha^2)`, so the eigenvalue is the root of

    .. math:: g(\lambda) = \frac{1}{w\cdot A(\lambda)^{-1}w},\qquad
        A(\lambda) = \mathcal H + \lambda\,(\alpha + \mathcal J)

    which is :math:`\lambda_-` at zero and grows with :math:`\lambda`. Every value is one sparse linear system. Less
    than a millionth of :math:`|\lambda_-|` counts as zero: without damping nothing crosses a saddle that is the same
    all around an axis. No eigenvalue is larger than the norm of H.
    """
    n = w.size // 2
    one = sp.sparse.eye_array(n, format="csc")
    turn = sp.sparse.csc_array(sp.sparse.block_array([[damping * one, -one], [one, damping * one]]))

    def g(rate: float) -> float:
        try:
            answer = H.solve(rate * turn, w)
        except RuntimeError:  # exactly singular: this is the root
            return 0.0
        response = float(w @ answer)
        # What rounding of H may add to it: with an undamped zero mode there is nothing else, and g has no bound.
        nothing = abs(response) <= min(1 / curvature, rounding * (answer @ answer))
        return curvature / eps if nothing else 1 / response

    curvature, eps = abs(float(w @ (H @ w))), float(np.finfo(float).eps)
    low, high, largest = 1e-6 * curvature, curvature, H.norm
    rounding = 100 * eps * largest
    if g(low) >= 0:
        return 0.0
    while g(high) < 0:
        if high > largest:
            return 0.0
        low, high = high, 2 * high
    return float(sp.optimize.brentq(g, low, high, xtol=1e-13 * high, rtol=1e-13))


def time_unit(moment: float, energy: float) -> float:
    r"""Seconds in one unit of time, :math:`\mu/(\gamma\,\epsilon) = m\hbar/(g_e\,\epsilon)`.

    Args:
        moment: magnetic moment m of a spin, Bohr magnetons; of several, the one in units of which ``moments`` count.
        energy: the unit :math:`\epsilon` in which the energy counts, joule.

    Returns:
        Seconds: a rate of 1 is one in so many seconds.

    Raises:
        ValueError: for a moment or an energy that is not positive.

    >>> import mepmeta as mm
    >>> f"{mm.time_unit(moment=3.0, energy=1.602176634e-22):.3e} s"  # three Bohr magnetons, energies in meV
    '9.862e-13 s'
    """
    check_positive(moment=moment, energy=energy)
    return moment * sp.constants.value("Bohr magneton") / (sp.constants.value("electron gyromag. ratio") * energy)
