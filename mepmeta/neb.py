"""The nudged elastic band as a differentiable map from path to path."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta import tangents
from mepmeta._checks import (
    as_pytree,
    check_batch,
    check_count,
    check_energy,
    check_option,
    check_params,
    check_path,
    known,
)
from mepmeta._vectorised import total
from mepmeta.geometry import Flat, Geometry

__all__ = ["Iteration", "NEBParams", "iterate", "iterate_batch", "neb_step"]

Energy = Callable[[Array], Array]
Tangent = Literal["smooth", "improved", "central"]
Spring = Literal["raw", "unit", "scaled"]
TANGENTS, SPRINGS = get_args(Tangent), get_args(Spring)

#: A band this many times longer than at the start is lost: its springs are unstable and it only grows.
LOST = 1e3


class NEBParams(NamedTuple):
    r"""The three metaparameters of Eq. (2) of :cite:t:`bushuev2020`; a pytree.

    Args:
        gamma: step size :math:`\gamma`, squared coordinate over energy.
        mu: spring stiffness :math:`\mu`; its unit depends on the reading of the spring term.
        beta: smoothness :math:`\beta` of the tangent, 1/energy; only the smooth tangent uses it.
    """

    gamma: float | Array = 0.01
    mu: float | Array = 1.0
    beta: float | Array = 3.0


class Iteration(NamedTuple):
    """What :func:`iterate` returns; :func:`iterate_batch` returns it with an axis for the paths in front.

    Args:
        path: the last path, shape ``(P, *shape)``; always finite.
        steps: iterations that were carried out, an integer scalar; fewer than asked only after divergence.
        diverged: whether the band was lost: an iteration made it infinite or a thousand times longer.
        history: ``observe(path)`` before the first and after every iteration, stacked, length ``steps + 1``
            as asked for; None without ``observe``. After divergence it repeats the last finite path.
    """

    path: Array
    steps: Array
    diverged: Array
    history: Any


class _Band(NamedTuple):
    """What every reading of Eq. (2) is put together from, at the inner images."""

    perpendicular: Array  # gradient across the path; inverted along it on the climbing image
    stretch: Array  # e_n = dist(S_{n+1}, S_n) - dist(S_n, S_{n-1}), broadcastable; 0 on the climbing image
    tangent: Array  # weighted, not unit
    unit: Array
    energies: Array | None  # of all images, where they were needed


def _dot(u: Array, v: Array) -> Array:
    """Inner product image by image, kept broadcastable."""
    return jnp.sum(u * v, axis=tuple(range(1, u.ndim)), keepdims=True)


def _each(f: Callable, batch: bool) -> Callable:
    """``f`` of every image: of a path (P, *shape) or of a batch (P, *shape, B).

    Paths of a batch are side by side in memory, so that the compiler does one operation on many of them at a time.
    """
    return jax.vmap(jax.vmap(f, -1, -1) if batch else f)


def _band(
    energy: Energy,
    path: Array,
    beta: float | Array,
    geometry: Geometry,
    tangent: Tangent,
    climb: bool | Array,
    batch: bool = False,
) -> _Band:
    """``climb`` may say for each inner image how often the gradient along the path is removed: 2 climbs, 0 descends."""
    each = partial(_each, batch=batch)
    inner = path[1:-1]
    lengths, forward, back = each(geometry.connect)(path[:-1], path[1:])
    forward, backward = forward[1:], -back[:-1]
    energies = None
    # The smooth tangent without climbing needs no energy at all, as the paper points out.
    if climb is False and tangent != "improved":
        gradients = each(lambda x: geometry.project(x, jax.grad(energy)(x)))(inner)
    else:

        def rise(x: Array) -> tuple[Array, Array]:
            value, gradient = jax.value_and_grad(energy)(x)
            return value, geometry.project(x, gradient)

        if batch:  # of small states, the gradients at the ends cost less than an array put together from three
            energies, gradients = each(rise)(path)
            gradients = gradients[1:-1]
        else:
            energies, gradients = each(rise)(inner)
            energies = jnp.concatenate([each(energy)(path[:1]), energies, each(energy)(path[-1:])])

    stretch = lengths[1:] - lengths[:-1]
    remove = jnp.ones_like(stretch)
    if climb is not False:
        if climb is True:
            image = lax.broadcasted_iota(jnp.int32, stretch.shape, 0)
            climb = jnp.where(image == lax.argmax(energies[1:-1], 0, jnp.int32), 2, remove)
        remove, stretch = climb, jnp.where(climb == 1, stretch, 0)

    if tangent == "smooth":
        weights = each(lambda *v: tangents.smooth_weight(*v, beta))(forward, backward, gradients)
    elif tangent == "improved":
        weights = tangents.improved_weight(energies)
    else:
        weights = jnp.full_like(stretch, 0.5)

    def across(a: Array, forward: Array, backward: Array, gradient: Array, remove: Array) -> tuple[Array, ...]:
        tau = a * forward + (1 - a) * backward
        length2, rise = total(tau * tau), total(gradient * tau)
        return gradient - (remove * rise / length2) * tau, tau, tau * (1 / jnp.sqrt(length2))

    perpendicular, tau, unit = each(across)(weights, forward, backward, gradients, remove)
    stretch = jnp.expand_dims(stretch, tuple(range(1, path.ndim - batch)))
    return _Band(perpendicular, stretch, tau, unit, energies)


def _neb_step(
    energy: Energy,
    path: Array,
    params: NEBParams,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
    batch: bool = False,
) -> Array:
    band = _band(energy, path, params.beta, geometry, tangent, climb, batch)
    if spring == "raw":
        move = -params.gamma * band.perpendicular + params.mu * band.stretch * band.tangent
    elif spring == "unit":
        move = -params.gamma * band.perpendicular + params.mu * band.stretch * band.unit
    else:
        move = -params.gamma * (band.perpendicular - params.mu * band.stretch * band.unit)
    return path.at[1:-1].set(_each(geometry.retract, batch)(path[1:-1], move))


def neb_step(
    energy: Energy,
    path: Array,
    params: NEBParams,
    *,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
) -> Array:
    r"""The map :math:`M`: one iteration of the nudged elastic band.

    .. math:: S_n \mapsto S_n - \gamma\,\partial E^\perp[S_n] + \mu\,e_n\,\tau_n,\qquad
        e_n = \mathrm{dist}(S_{n+1}, S_n) - \mathrm{dist}(S_{n-1}, S_n)

    :math:`\partial E^\perp = \partial E - (\partial E\cdot\hat\tau)\hat\tau` always uses the unit tangent
    :math:`\hat\tau`. Equation (2) does not say which tangent carries the spring. ``spring`` chooses:

    ========  ==================================================================  =========================
    reading   move                                                                unit of :math:`\mu`
    ========  ==================================================================  =========================
    raw       :math:`-\gamma\,\partial E^\perp + \mu\,e\,\tau`                    1/coordinate
    unit      :math:`-\gamma\,\partial E^\perp + \mu\,e\,\hat\tau`                1
    scaled    :math:`-\gamma\,(\partial E^\perp - \mu\,e\,\hat\tau)`              energy/coordinate²
    ========  ==================================================================  =========================

    "raw" is the only one in which the paper's :math:`\mu = 1` is stable together with its numbers of images.

    Args:
        energy: differentiable callable, state of shape ``shape`` to scalar.
        path: images :math:`S_n`, shape ``(P, *shape)``, P >= 3; the ends stay where they are.
        params: :class:`NEBParams`.
        geometry: the space of the states.
        tangent: "smooth", "improved" or "central", see :mod:`mepmeta.tangents`.
        spring: reading of the spring term, see above.
        climb: let the inner image of highest energy climb: no spring acts on it, and the component of its
            gradient along the path is inverted instead of removed.

    Returns:
        The next path, same shape. For many paths: ``jax.vmap``, or :func:`iterate_batch`.

    Raises:
        ValueError: fewer than three images, coincident neighbours, coordinates or energies that are not finite
            floats, an energy of the wrong shape, a negative metaparameter, an unknown option, three equal
            energies in a row with the improved tangent, or a step that overflows.

    Source: Eqs. (1)-(2) of :cite:t:`bushuev2020`; climbing image: :cite:t:`henkelman2000climbing`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> path = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 9)
    >>> after = mm.neb_step(mm.single_spin(), path, mm.NEBParams(gamma=0.01, mu=1.0, beta=3.0))
    >>> bool(jnp.allclose(after, path))  # the minimum energy path is a fixed point
    True
    """
    energy, path = _checked(energy, path, params, geometry, tangent, spring)
    after = _neb_step_jit(energy, path, params, geometry, tangent, spring, climb)
    if known(after) and not np.all(np.isfinite(after)):
        raise ValueError(
            "the step is not finite: an image lies exactly between two coincident neighbours, so that its "
            "tangent is zero, or the step size overflows"
        )
    return after


def _checked(
    energy: Energy, path: Array, params: NEBParams, geometry: Geometry, tangent: str, spring: str, batch: bool = False
) -> tuple:
    check_option("tangent", tangent, TANGENTS)
    check_option("spring", spring, SPRINGS)
    energy = as_pytree(energy)
    (check_batch if batch else check_path)(path, geometry)
    check_energy(energy, path, distinct=tangent == "improved", batch=batch)
    check_params(params)
    return energy, jnp.asarray(path)


def _length(path: Array, geometry: Geometry, batch: bool) -> Array:
    return jnp.sum(_each(geometry.distance, batch)(path[:-1], path[1:]), axis=0)


def _repeat(
    step: Callable[[Any], Any],
    state: Any,
    steps: int,
    geometry: Geometry,
    observe: Callable[[Array], Any] | None = None,
    batch: bool = False,
) -> tuple[Any, Array, Any]:
    """Repeat a step of a state (path, ...) until the band is lost: the state, the iterations done, the history."""
    bound = LOST * _length(lax.stop_gradient(state[0]), geometry, batch)

    def body(carry: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], Any]:
        state, done = carry
        after = step(state)
        # One comparison answers for NaN, infinity and growth. A lost band stays where it last made sense.
        fine = _length(lax.stop_gradient(after[0]), geometry, batch) < bound
        fine = fine & (done >= 0)
        state = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, state)
        done = jnp.where(fine, done + 1, jnp.where(done >= 0, -done - 1, done))
        return (state, done), observe(state[0]) if observe else None

    # `done` counts iterations; it turns to -done - 1 when the band is lost, which then ends the counting.
    (last, done), history = lax.scan(body, (state, jnp.zeros(bound.shape, jnp.int32)), length=steps)
    return last, done, history


def _iterate(
    energy: Energy,
    path: Array,
    params: NEBParams,
    steps: int,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
    observe: Callable[[Array], Any] | None = None,
    batch: bool = False,
) -> Iteration:
    def step(state: tuple[Array]) -> tuple[Array]:
        return (_neb_step(energy, state[0], params, geometry, tangent, spring, climb, batch),)

    (last,), done, history = _repeat(step, (path,), steps, geometry, observe, batch)
    if observe:
        history = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), observe(path), history)
    return Iteration(last, jnp.where(done < 0, -done - 1, done), done < 0, history)


def iterate(
    energy: Energy,
    path: Array,
    params: NEBParams,
    steps: int,
    *,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
    observe: Callable[[Array], Any] | None = None,
) -> Iteration:
    r"""Apply :func:`neb_step` ``steps`` times, compiled as one loop: :math:`S^{(k+1)} = M S^{(k)}`.

    Args:
        energy, path, params, geometry, tangent, spring, climb: as in :func:`neb_step`.
        steps: number of iterations, at least 1.
        observe: a function of the path, its value is recorded at every iteration; for example
            ``lambda path: mm.barrier(energy, path)``. Pass one and the same function object to compile once.

    Returns:
        :class:`Iteration`. A band that diverges is flagged and returned as it last was finite.

    Raises:
        ValueError: as :func:`neb_step`, and for ``steps`` below 1.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 9)
    >>> path = mm.bent_path(jax.random.key(0), mep)
    >>> r = mm.iterate(mm.single_spin(), path, mm.NEBParams(gamma=0.2), 100)
    >>> bool(jnp.allclose(r.path, mep, atol=1e-4)), bool(r.diverged)
    (True, False)
    """
    check_count("steps", steps)
    energy, path = _checked(energy, path, params, geometry, tangent, spring)
    return _iterate_jit(energy, path, params, steps, geometry, tangent, spring, climb, observe)


def iterate_batch(
    energy: Energy,
    paths: Array,
    params: NEBParams,
    steps: int,
    *,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
) -> Iteration:
    r"""Apply :func:`neb_step` ``steps`` times to many paths at once, the paths side by side in memory.

    The result is that of ``jax.vmap`` over :func:`iterate`, up to rounding. For states of a few numbers it is several
    times faster; a path of large states has enough to do by itself.

    Args:
        energy, params, steps, geometry, tangent, spring, climb: as in :func:`iterate`, common to all paths.
        paths: a batch of B paths, shape ``(B, P, *shape)``.

    Returns:
        :class:`Iteration` with paths ``(B, P, *shape)``, and ``steps`` and ``diverged`` for each.

    Raises:
        ValueError: as :func:`iterate`.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 9)
    >>> paths = jax.vmap(lambda key: mm.bent_path(key, mep))(jax.random.split(jax.random.key(0), 100))
    >>> r = mm.iterate_batch(mm.single_spin(), paths, mm.NEBParams(gamma=0.2), 100)
    >>> r.path.shape, bool(jnp.allclose(r.path, mep, atol=1e-4)), int(r.diverged.sum())
    ((100, 9, 2), True, 0)
    """
    check_count("steps", steps)
    energy, paths = _checked(energy, paths, params, geometry, tangent, spring, batch=True)
    return _iterate_batch_jit(energy, paths, params, steps, geometry, tangent, spring, climb)


def _iterate_batch(energy: Energy, paths: Array, *options: Any) -> Iteration:
    r = _iterate(energy, jnp.moveaxis(paths, 0, -1), *options, batch=True)
    return r._replace(path=jnp.moveaxis(r.path, -1, 0))


_neb_step_jit = partial(jax.jit, static_argnums=(3, 4, 5, 6))(_neb_step)
_iterate_jit = partial(jax.jit, static_argnums=(3, 4, 5, 6, 7, 8))(_iterate)
_iterate_batch_jit = partial(jax.jit, static_argnums=(3, 4, 5, 6, 7))(_iterate_batch)
