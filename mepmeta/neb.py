"""The nudged elastic band as a differentiable map from path to path."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from mepmeta._arguments import check_answers, check_count, check_option, known
from mepmeta._checks import check_batch, check_energies, check_energy, check_params, check_path, check_record
from mepmeta._compiled import compiled
from mepmeta.force import TANGENTS, Energy, Parts, Tangent, between_ends, each_image, parts_of
from mepmeta.geometry import Flat, Geometry
from mepmeta.methods.loop import repeat

__all__ = ["NEB", "SPRINGS", "Iteration", "NEBParams", "Spring", "iterate", "iterate_batch", "neb_step"]

Spring = Literal["raw", "unit", "scaled"]
SPRINGS = get_args(Spring)


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


@partial(register_dataclass, data_fields=["params"], meta_fields=["spring"])
@dataclass(frozen=True)
class NEB:
    r"""The paper's step as a method like those of :mod:`mepmeta.methods`: Eq. (2), without memory.

    Args:
        params: :class:`NEBParams`.
        spring: reading of the spring term, see :func:`neb_step`.
    """

    spacing: ClassVar[str] = "springs"
    params: NEBParams
    spring: Spring = "raw"

    def init(self, path: Array) -> None:
        return None

    def update(self, parts: Parts, memory: None, path: Array, geometry: Geometry) -> tuple[Array, None]:
        gamma, mu, _ = self.params
        if self.spring == "raw":
            return gamma * parts.force + mu * parts.stretch * parts.tangent, None
        if self.spring == "unit":
            return gamma * parts.force + mu * parts.stretch * parts.unit, None
        return gamma * (parts.force + mu * parts.stretch * parts.unit), None


def step(
    energy: Energy,
    path: Array,
    params: NEBParams,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
    climb: bool = False,
    batch: bool = False,
) -> tuple[Array, Array | None]:
    """One iteration, unchecked: the next path, and the energies where the tangent or the climbing image needs them."""
    parts = parts_of(energy, path, params.beta, geometry, tangent, climb, batch)
    move, _ = NEB(params, spring).update(parts, None, path[1:-1], geometry)
    return between_ends(path, each_image(geometry.retract, batch)(path[1:-1], move)), parts.energies


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
    energy, path = _checked(energy, path, params, geometry, tangent, spring, climb)
    after, energies = _step_jit(energy, path, params, geometry, tangent, spring, climb)
    _judge(energies, tangent)
    if known(after) and not np.all(np.isfinite(after)):
        raise ValueError(
            "the step is not finite: an image lies exactly between two coincident neighbours, so that its "
            "tangent is zero, or the step size overflows"
        )
    return after


def _checked(
    energy: Energy,
    path: Array,
    params: NEBParams,
    geometry: Geometry,
    tangent: str,
    spring: str,
    climb: bool,
    batch: bool = False,
) -> tuple:
    check_option("tangent", tangent, TANGENTS)
    check_option("spring", spring, SPRINGS)
    check_answers(climb=climb)
    (check_batch if batch else check_path)(path, geometry)
    check_params(params)
    return check_energy(energy, path, geometry, axes=1 + batch), jnp.asarray(path)


def path_length(path: Array, geometry: Geometry, batch: bool) -> Array:
    return jnp.sum(each_image(geometry.distance, batch)(path[:-1], path[1:]), axis=0)


def iterated(
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
    """Many iterations of one path, or of paths side by side in memory, unchecked."""

    def next_path(state: tuple[Array]) -> tuple[Array]:
        return (step(energy, state[0], params, geometry, tangent, spring, climb, batch)[0],)

    def length(state: tuple[Array]) -> Array:
        return path_length(state[0], geometry, batch)

    (last,), done, history = repeat(next_path, (path,), steps, length, (lambda s: observe(s[0])) if observe else None)
    if observe:
        first = jax.tree.map(jnp.asarray, observe(path))
        history = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), first, history)
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
    steps = check_count("steps", steps)
    energy, path = _checked(energy, path, params, geometry, tangent, spring, climb)
    if observe is not None:
        observe = check_record("observe", observe, path)
    r, energies = _iterate_jit(energy, path, params, steps, geometry, tangent, spring, climb, observe)
    _judge(energies, tangent)
    return r


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
    steps = check_count("steps", steps)
    energy, paths = _checked(energy, paths, params, geometry, tangent, spring, climb, batch=True)
    r, energies = _iterate_batch_jit(energy, paths, params, steps, geometry, tangent, spring, climb)
    _judge(energies, tangent)
    return r


def iterated_batch(energy: Energy, paths: Array, *options: Any) -> Iteration:
    """:func:`iterated` of a batch ``(B, P, *shape)``."""
    r = iterated(energy, jnp.moveaxis(paths, 0, -1), *options, batch=True)
    return r._replace(path=jnp.moveaxis(r.path, -1, 0))


def _judge(energies: Array, tangent: str) -> None:
    """The energies that the iterations began with are finite."""
    if known(energies):
        check_energies(energies, distinct=tangent == "improved")


def _judged(f: Callable, batch: bool = False) -> Callable:
    """What f makes of a path, and the energies there, by which it is judged: one program."""

    def both(energy: Energy, paths: Array, *options: Any) -> tuple[Any, Array]:
        return f(energy, paths, *options), jax.vmap(jax.vmap(energy) if batch else energy)(paths)

    return both


def _next(*arguments: Any) -> Array:
    return step(*arguments)[0]


_step_jit = compiled(_judged(_next), static_argnums=(3, 4, 5, 6))
_iterate_jit = compiled(_judged(iterated), static_argnums=(3, 4, 5, 6, 7, 8))
_iterate_batch_jit = compiled(_judged(iterated_batch, batch=True), static_argnums=(3, 4, 5, 6, 7))
