"""The loss: how fast a method lowers the overestimate of the barrier."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from mepmeta._checks import as_pytree, check_energy, check_params, check_path, check_state
from mepmeta.barrier import _highest_point
from mepmeta.geometry import Flat
from mepmeta.neb import NEBParams, Spring, _iterate

__all__ = ["loss", "overestimate", "rates"]

Energy = Callable[[Array], Array]


def _overestimate(energy: Energy, path: Array, reference: float | Array, geometry: Flat) -> Array:
    reference = jnp.asarray(reference, path.dtype)
    scale = jnp.maximum(jnp.abs(reference), jnp.abs(reference - energy(path[0])))
    floor = jnp.finfo(path.dtype).eps * scale
    return jnp.maximum(_highest_point(energy, path, geometry).value - reference, floor)


def overestimate(
    energy: Energy, path: Array, reference: float | Array, *, geometry: Flat = Flat()
) -> Array:
    r"""How much the path overestimates the barrier: :math:`\Delta = Q[S] - Q_0`, kept above rounding.

    A converged path has :math:`\Delta` of the size of the rounding of the energy, of either sign. It is
    therefore floored at machine epsilon times the larger of :math:`|Q_0|` and :math:`|Q_0 - E[S_1]|`
    (2.2e-16 for the paper's spin in double precision), so that its logarithm stays meaningful.

    Args:
        energy: differentiable callable, state to scalar.
        path: images, shape ``(P, *shape)``.
        reference: :math:`Q_0`, absolute energy of the saddle.
        geometry: the space of the states.

    Returns:
        :math:`\Delta > 0`, scalar, energy.

    Raises:
        ValueError: for a bad path, energy or reference.

    Source: Section 3 of :cite:t:`bushuev2020`; its floor is ours.
    """
    energy, path = as_pytree(energy), jnp.asarray(path)
    check_path(path, geometry)
    check_energy(energy, path)
    check_state(jnp.asarray(reference, path.dtype), "reference")
    return _overestimate(energy, path, reference, geometry)


def rates(overestimates: Array) -> Array:
    r"""Rates of convergence :math:`\rho(k) = \Delta(k+1)/\Delta(k)`.

    Args:
        overestimates: :math:`\Delta(0), \dots, \Delta(K)` along the last axis, shape ``(..., K + 1)``, positive.

    Returns:
        :math:`\rho`, shape ``(..., K)``; below 1 where the barrier improves.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> mm.rates(jnp.array([1.0, 0.5, 0.125])).tolist()
    [0.5, 0.25]
    """
    return overestimates[..., 1:] / overestimates[..., :-1]


def loss(
    energy: Energy,
    path: Array,
    params: NEBParams,
    *,
    steps: int = 5,
    reference: float | Array,
    geometry: Flat = Flat(),
    spring: Spring = "raw",
) -> Array:
    r"""The loss of one path: the mean logarithm of the rate over K iterations of :func:`mepmeta.neb_step`.

    .. math:: L = \frac1K\sum_{k=0}^{K-1}\ln\rho(k) = \frac{\ln\Delta(K) - \ln\Delta(0)}{K}

    The sum telescopes, so two barriers are computed and not K + 1. A path that diverges within K iterations
    is stopped where it last was finite and has a large positive loss.

    Args:
        energy: differentiable callable, state to scalar.
        path: images before the first iteration, shape ``(P, *shape)``.
        params: metaparameters :math:`(\gamma, \mu, \beta)`.
        steps: number of iterations K.
        reference: :math:`Q_0`, absolute energy of the saddle.
        geometry: the space of the states.
        spring: reading of the spring term, see :func:`mepmeta.neb_step`.

    Returns:
        :math:`L`, scalar. With -1 the error of the barrier falls by a factor e an iteration.

    Raises:
        ValueError: for a bad path, energy, reference, metaparameter, or ``steps`` below 1.

    Source: Section 3 of :cite:t:`bushuev2020`.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)
    >>> path = mm.perturbed_path(jax.random.key(0), mep)
    >>> L = [mm.loss(mm.single_spin(), path, mm.NEBParams(gamma), reference=0.0) for gamma in (0.01, 0.2)]
    >>> bool(L[1] < L[0] < 0)
    True
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    energy, path = as_pytree(energy), jnp.asarray(path)
    check_path(path, geometry)
    check_energy(energy, path)
    check_params(params)
    check_state(jnp.asarray(reference, path.dtype), "reference")
    before = jnp.log(_overestimate(energy, path, reference, geometry))
    after = _iterate(energy, path, params, steps, geometry, spring=spring).path
    return (jnp.log(_overestimate(energy, after, reference, geometry)) - before) / steps
