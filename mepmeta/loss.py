"""The loss: how fast a method lowers the overestimate of the barrier."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_count, check_number, check_option, known, shown
from mepmeta._checks import check_batch, check_energies, check_energy, check_params, check_path, check_state
from mepmeta._compiled import compiled
from mepmeta.barrier import summit
from mepmeta.geometry import Flat, Geometry
from mepmeta.methods.loop import LOST, repeat
from mepmeta.neb import SPRINGS, NEBParams, Spring, iterated_batch, path_length, step

__all__ = ["convergence_rates", "loss", "loss_and_gradient", "overestimate"]

Energy = Callable[[Array], Array]


def _overestimate(energy: Energy, path: Array, reference: float | Array, geometry: Geometry) -> Array:
    reference = jnp.asarray(reference, path.dtype)
    scale = jnp.maximum(jnp.abs(reference), jnp.abs(reference - energy(path[0])))
    floor = jnp.finfo(path.dtype).eps * scale
    return jnp.maximum(summit(energy, path, geometry).value - reference, floor)


def log_overestimates(energy: Energy, paths: Array, reference: float | Array, geometry: Geometry) -> Array:
    return jax.vmap(lambda path: jnp.log(_overestimate(energy, path, reference, geometry)))(paths)


def losses(
    energy: Energy,
    paths: Array,
    before: Array,
    params: Any,
    steps: int,
    reference: float | Array,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
) -> Array:
    """Losses of a batch of paths, whose log-overestimates ``before`` the iterations are known already."""
    after = iterated_batch(energy, paths, params, steps, geometry, "smooth", spring)
    L = (log_overestimates(energy, after.path, reference, geometry) - before) / steps
    return jnp.where(after.diverged, jnp.log(jnp.asarray(LOST, paths.dtype)), L)


def losses_and_gradients(
    energy: Energy,
    paths: Array,
    before: Array,
    params: Any,
    steps: int,
    reference: float | Array,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
) -> tuple[Array, Any]:
    # Forward mode: the derivatives of the path by the few parameters ride along with the iterations, and nothing is
    # kept of an iteration that is over. They are written out one by one, and not mapped over, because the compiler
    # then computes the undifferentiated part once for all of them.
    leaves, structure = jax.tree.flatten(params)
    values = jnp.stack([jnp.asarray(leaf, paths.dtype) for leaf in leaves])
    directions = jnp.eye(len(leaves), dtype=values.dtype)

    def moved(paths: Array, values: Array) -> Array:
        params = jax.tree.unflatten(structure, list(values))
        return step(energy, paths, params, geometry, spring=spring, batch=True)[0]

    def carried(state: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        paths, slopes = state
        after = [jax.jvp(moved, (paths, values), along) for along in zip(slopes, directions, strict=True)]
        return after[0][0], [slope for _, slope in after]

    start = jnp.moveaxis(paths, 0, -1)  # of a batch, the iterations want the paths side by side
    state = start, [jnp.zeros_like(start)] * len(leaves)
    (last, slopes), done, _ = repeat(carried, state, steps, lambda s: path_length(s[0], geometry, True))

    def log_delta(path: Array) -> Array:
        return jnp.log(_overestimate(energy, path, reference, geometry))

    after, slopes_of_delta = jax.vmap(jax.value_and_grad(log_delta), in_axes=-1, out_axes=(0, -1))(last)
    L = jnp.where(done < 0, jnp.log(jnp.asarray(LOST, paths.dtype)), (after - before) / steps)
    gradients = [
        jnp.where(done < 0, 0, jnp.sum(slopes_of_delta * slope, axis=tuple(range(slope.ndim - 1)))) / steps
        for slope in slopes
    ]
    return L, jax.tree.unflatten(structure, gradients)


def overestimate(energy: Energy, path: Array, reference: float | Array, *, geometry: Geometry = Flat()) -> Array:
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
    energy, path = check_problem(energy, path, reference, geometry), jnp.asarray(path)
    over = _overestimate_jit(energy, path, reference, geometry)
    check_overestimates(over, energy, [path])
    return over


def convergence_rates(overestimates: Array) -> Array:
    r"""Rates of convergence :math:`\rho(k) = \Delta(k+1)/\Delta(k)`.

    Args:
        overestimates: :math:`\Delta(0), \dots, \Delta(K)` along the last axis, shape ``(..., K + 1)``, positive.

    Returns:
        :math:`\rho`, shape ``(..., K)``; below 1 where the barrier improves.

    Raises:
        ValueError: for overestimates that are not positive, or fewer than two.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> mm.convergence_rates(jnp.array([1.0, 0.5, 0.125])).tolist()
    [0.5, 0.25]
    """
    check_state(overestimates, "the overestimates", axes=1)
    if overestimates.shape[-1] < 2 or (known(overestimates) and not np.all(np.asarray(overestimates) > 0)):
        raise ValueError(f"rates are those of two positive overestimates or more, got {shown(overestimates)}")
    with np.errstate(all="ignore"):
        rates = overestimates[..., 1:] / overestimates[..., :-1]
    if known(rates) and not np.all(np.isfinite(rates)):
        raise ValueError("two overestimates have a ratio that is no number")
    return rates


def loss(
    energy: Energy,
    path: Array,
    params: NEBParams,
    *,
    steps: int = 5,
    reference: float | Array,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
) -> Array:
    r"""The loss of one path: the mean logarithm of the rate over K iterations of :func:`~mepmeta.neb.neb_step`.

    .. math:: L = \frac1K\sum_{k=0}^{K-1}\ln\rho(k) = \frac{\ln\Delta(K) - \ln\Delta(0)}{K}

    The sum telescopes, so two barriers are computed and not K + 1. A band that is lost within K iterations, see
    :class:`~mepmeta.neb.Iteration`, counts as :math:`\ln 1000`: finite, and worse than any band that is not.

    Args:
        energy: differentiable callable, state to scalar.
        path: images before the first iteration, shape ``(P, *shape)``.
        params: metaparameters :math:`(\gamma, \mu, \beta)`.
        steps: number of iterations K.
        reference: :math:`Q_0`, absolute energy of the saddle.
        geometry: the space of the states.
        spring: reading of the spring term, see :func:`~mepmeta.neb.neb_step`.

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
    check_params(params)
    steps = check_count("steps", steps)
    energy, path = check_problem(energy, path, reference, geometry, spring), jnp.asarray(path)
    before, L = _loss_jit(energy, path, params, steps, reference, geometry, spring)
    check_overestimates(before, energy, [path])
    return L


def loss_and_gradient(
    energy: Energy,
    paths: Array,
    params: NEBParams,
    *,
    steps: int = 5,
    reference: float | Array,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
) -> tuple[Array, NEBParams]:
    r"""Loss and its derivative by every metaparameter, path by path.

    The derivative is carried forward along the iterations: for the three metaparameters it costs about four
    plain runs, and its memory does not depend on K. Derivatives of single paths are heavy-tailed, because
    :math:`\partial L \propto \partial\Delta(K)/\Delta(K)` has no bound where a path comes close to the saddle;
    their plain mean over a batch is dominated by a few paths. See :func:`~mepmeta.training.train` for the cure.

    Args:
        energy: differentiable callable, state to scalar.
        paths: a batch of B paths, shape ``(B, P, *shape)``.
        params: metaparameters, scalars.
        steps, reference, geometry, spring: as in :func:`loss`.

    Returns:
        Losses, shape ``(B,)``, and a :class:`~mepmeta.neb.NEBParams` of derivatives, each of shape ``(B,)``.

    Raises:
        ValueError: as :func:`loss`.
    """
    check_batch(paths, geometry)
    paths = jnp.asarray(paths)
    first = np.asarray(paths)[0] if known(paths) else paths[0]  # NumPy compiles nothing
    check_params(params)
    steps = check_count("steps", steps)
    energy = check_problem(energy, first, reference, geometry, spring)
    before, result = _losses_and_gradients_jit(energy, paths, params, steps, reference, geometry, spring)
    check_overestimates(before, energy, paths)
    return result


# One program each for the log-overestimates before the iterations and for what follows from them.


@partial(compiled, static_argnums=(3, 5, 6))
def _loss_jit(energy: Energy, path: Array, params: Any, steps: int, reference: Array, *how: Any) -> tuple[Array, Array]:
    before = log_overestimates(energy, path[None], reference, how[0])
    return before, losses(energy, path[None], before, params, steps, reference, *how)[0]


@partial(compiled, static_argnums=(3, 5, 6))
def _losses_and_gradients_jit(
    energy: Energy, paths: Array, params: Any, steps: int, reference: Array, *how: Any
) -> tuple[Array, Any]:
    before = log_overestimates(energy, paths, reference, how[0])
    return before, losses_and_gradients(energy, paths, before, params, steps, reference, *how)


def check_overestimates(overestimates: Array, energy: Energy, paths: Array | list[Array]) -> None:
    """An overestimate that is not finite comes from an energy that is not."""
    if known(overestimates) and not np.all(np.isfinite(overestimates)):
        E = np.array([[energy(x) for x in path] for path in paths])
        check_energies(E[0] if len(E) == 1 else E)
        raise ValueError("the energy is not finite between two images")


def check_problem(
    energy: Energy,
    path: Array,
    reference: float | Array,
    geometry: Geometry,
    spring: Spring = "raw",
) -> Energy:
    check_option("spring", spring, SPRINGS)
    check_path(path, geometry)
    energy = check_energy(energy, path, geometry, axes=1)
    check_number("reference", reference, "one energy")
    check_state((np if known(reference) else jnp).asarray(reference, path.dtype), "reference")
    return energy


_overestimate_jit = partial(compiled, static_argnums=3)(_overestimate)
log_overestimates_jit = partial(compiled, static_argnums=3)(log_overestimates)
