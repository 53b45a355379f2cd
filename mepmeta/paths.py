"""Paths: arrays of images ``(P, *shape)`` with fixed ends, and the random ensembles of the paper."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta._arguments import check_count, check_floats, check_key, check_number, known
from mepmeta._checks import check_geometry, check_path, check_state
from mepmeta._compiled import compiled
from mepmeta.geometry import Flat, Geometry

__all__ = ["arc_length", "bent_path", "lengths_along", "perturbed_path", "straight_path"]

#: Number of sine modes in a bent path: enough for an S and a W shape, still smooth at eight images.
BEND_MODES = 3


def straight_path(start: Array, end: Array, n_images: int, *, geometry: Geometry = Flat()) -> Array:
    r"""Equidistant images on the shortest way between two states.

    For the paper's spin from :math:`(0, 0)` to :math:`(0, \pi)` this is the minimum energy path itself.

    Args:
        start: first image, shape ``shape``, unit of the coordinates.
        end: last image, the same shape.
        n_images: number of images P, both ends included, at least 3.
        geometry: the space of the states.

    Returns:
        Path, shape ``(P, *shape)``.

    Raises:
        ValueError: when the ends differ in shape, coincide, or are not finite floats, or when P < 3.
    """
    check_state(start, "start", geometry)
    check_state(end, "end", geometry)
    if jnp.shape(start) != jnp.shape(end):
        raise ValueError(f"start and end must have one shape, got {jnp.shape(start)} and {jnp.shape(end)}")
    n_images = check_count("n_images", n_images, 3)
    if start.dtype != end.dtype:
        raise ValueError(f"start and end must have one precision, got {start.dtype} and {end.dtype}")
    path = _straight(jnp.asarray(start), jnp.asarray(end), n_images, geometry)
    check_path(path, geometry)
    return path


@partial(compiled, static_argnums=(2, 3))
def _straight(start: Array, end: Array, n_images: int, geometry: Geometry) -> Array:
    t = jnp.linspace(0, 1, n_images, dtype=start.dtype)
    return jax.vmap(lambda t: geometry.interpolate(start, end, t))(t)


def arc_length(path: Array, *, geometry: Geometry = Flat()) -> Array:
    r"""Distance along the path from its start, :math:`s_n = \sum_{k<n}\mathrm{dist}(S_k, S_{k+1})`.

    Args:
        path: images, shape ``(P, *shape)``.
        geometry: the space of the states.

    Returns:
        :math:`s`, shape ``(P,)``, unit of the coordinates; ``s[-1]`` is the length of the path.

    Raises:
        ValueError: for images that are not finite floats or of another geometry, or fewer than two; for distances that
            are not finite.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> mm.paths.arc_length(jnp.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
    [0.0, 5.0, 6.0]
    """
    check_floats("path", path)
    check_geometry(geometry)
    if path.ndim < 2 or path.shape[0] < 2:
        raise ValueError(f"a path is an array (P, *shape) of images, two or more, got shape {path.shape}")
    if known(path):
        geometry.check(np.asarray(path), "path")
    along = lengths_along(jnp.asarray(path), geometry)
    if known(along) and not np.all(np.isfinite(along)):
        raise ValueError("the distances between images are too large for a number")
    return along


def lengths_along(path: Array, geometry: Geometry = Flat()) -> Array:
    """:func:`arc_length`, unchecked."""
    steps = jax.vmap(geometry.distance)(path[:-1], path[1:])
    return jnp.concatenate([jnp.zeros_like(steps[:1]), jnp.cumsum(steps)])


def perturbed_path(key: Array, path: Array, amplitude: float | Array = 0.05) -> Array:
    r"""The paper's training ensemble: each coordinate of each inner image moved at random.

    .. math:: S_n \mapsto S_n + a\,\ell\,u_n,\qquad u_n \sim \mathcal{U}(-1, 1)\ \text{per coordinate}

    Args:
        key: random key.
        path: the path to perturb, shape ``(P, *shape)``, flat coordinates.
        amplitude: largest shift :math:`a` as a fraction of the length :math:`\ell` of the path.

    Returns:
        Path of the same shape; its ends are unchanged.

    Raises:
        ValueError: for a bad path or a negative amplitude.

    Source: Section 3 of :cite:t:`bushuev2020`: "no more than 5% of the path length".
    """
    return _finite(_perturbed(key, _check_ensemble(key, path, amplitude), amplitude))


@compiled
def _perturbed(key: Array, path: Array, amplitude: float | Array) -> Array:
    inner = path[1:-1]
    shift = jax.random.uniform(key, inner.shape, inner.dtype, minval=-1, maxval=1)
    return path.at[1:-1].add(amplitude * lengths_along(path)[-1] * shift)


def bent_path(key: Array, path: Array, amplitude: float | Array = 0.1) -> Array:
    r"""The benchmark ensemble: a path bent sideways by a smooth random profile.

    .. math:: S_n \mapsto S_n + a\,\ell\sum_{m=1}^{3} \frac{u_m - (u_m\cdot d)\,d}{m}\sin(m\pi s_n/\ell),
        \qquad u_m \sim \mathcal{U}(-1, 1)\ \text{per coordinate}

    where :math:`d` is the unit vector from the first to the last image: only the part of the bend across that
    direction is kept, so that images stay in order at any amplitude. The paper shows results for bent paths
    and does not define them; this definition is ours.

    Args:
        key: random key.
        path: the path to bend, shape ``(P, *shape)``, flat coordinates, its ends apart.
        amplitude: size :math:`a` of the bend as a fraction of the length :math:`\ell` of the path.

    Returns:
        Path of the same shape; its ends are unchanged.

    Raises:
        ValueError: for a bad path, one with coincident ends, or a negative amplitude.
    """
    path = _check_ensemble(key, path, amplitude)
    if known(path) and np.array_equal(path[0], path[-1]):
        raise ValueError("the ends of the path coincide: there is no direction to bend it across")
    return _finite(_bent(key, path, amplitude))


@compiled
def _bent(key: Array, path: Array, amplitude: float | Array) -> Array:
    s = lengths_along(path)
    direction = (path[-1] - path[0]) / jnp.linalg.norm(jnp.ravel(path[-1] - path[0]))
    modes = jnp.arange(1, BEND_MODES + 1, dtype=path.dtype)
    u = jax.random.uniform(key, (BEND_MODES, *path.shape[1:]), path.dtype, minval=-1, maxval=1)
    across = u - jnp.tensordot(u, direction, direction.ndim).reshape((-1,) + (1,) * direction.ndim) * direction
    profile = jnp.sin(jnp.pi * modes * s[1:-1, None] / s[-1]) / modes
    return path.at[1:-1].add(amplitude * s[-1] * jnp.tensordot(profile, across, 1))


def balanced(lengths: Array, pinned: Array) -> tuple[Array, Array]:
    """Position of every image along the path, and where it would be with equal distances between pinned ones."""
    s = jnp.concatenate([jnp.zeros_like(lengths[:1]), jnp.cumsum(lengths)])
    n = jnp.arange(s.size)
    left = lax.cummax(jnp.where(pinned, n, 0))
    right = lax.cummin(jnp.where(pinned, n, s.size - 1), reverse=True)
    part = (n - left) / jnp.maximum(right - left, 1)
    return s, jnp.where(pinned, s, s[left] + part.astype(s.dtype) * (s[right] - s[left]))


def redistributed(path: Array, pinned: Array, geometry: Geometry) -> Array:
    """The path with equal distances between pinned images."""
    s, wanted = balanced(jax.vmap(geometry.distance)(path[:-1], path[1:]), pinned)
    return path.at[1:-1].set(at_positions(path, s, wanted[1:-1], geometry))


@partial(compiled, static_argnums=2)
def unfolded(path: Array, pinned: Array, geometry: Geometry) -> Array:
    """The path with images at which it turns back put between their neighbours, and all at equal distances again."""

    def once(turn: int, path: Array) -> Array:
        _, forward, back = jax.vmap(geometry.connect)(path[:-1], path[1:])
        axes = tuple(range(1, path.ndim))
        back_turned = (jnp.sum(forward[1:] * back[:-1], axis=axes) > 0) & ~pinned[1:-1]
        between = jax.vmap(lambda x, y: geometry.interpolate(x, y, jnp.asarray(0.5, path.dtype)))(path[:-2], path[2:])
        # Every other image at a time: what a neighbour is put between does not move meanwhile.
        back_turned = back_turned & (jnp.arange(path.shape[0] - 2) % 2 == turn % 2)
        column = back_turned.reshape((-1,) + (1,) * (path.ndim - 1))
        return path.at[1:-1].set(jnp.where(column, between, path[1:-1]))

    return redistributed(lax.fori_loop(0, path.shape[0], once, path), pinned, geometry)


@partial(compiled, static_argnums=(1, 2))
def resampled(path: Array, n_images: int, geometry: Geometry) -> Array:
    """So many images at equal distances along a path."""
    s = lengths_along(path, geometry)
    return at_positions(path, s, jnp.linspace(0, s[-1], n_images, dtype=path.dtype), geometry)


def at_positions(path: Array, s: Array, wanted: Array, geometry: Geometry) -> Array:
    """The states at distances along a path whose images are at ``s``."""
    k = jnp.clip(jnp.searchsorted(s, wanted, side="right") - 1, 0, s.size - 2)
    return jax.vmap(geometry.interpolate)(path[k], path[k + 1], (wanted - s[k]) / (s[k + 1] - s[k]))


def bent(path: Array, top: int, v: Array, geometry: Geometry) -> Array:
    """The path moved by v at image ``top``, and by less and less towards its ends."""
    flat = np.asarray(path).reshape(path.shape[0], -1)
    s = np.append(0, np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1)))
    weight = np.sin(np.pi / 2 * np.where(s < s[top], s / s[top], (s[-1] - s) / (s[-1] - s[top])))
    return _moved(path, weight.astype(path.dtype), v, geometry)


@partial(compiled, static_argnums=3)
def _moved(path: Array, weight: Array, v: Array, geometry: Geometry) -> Array:
    move = lambda x, w: geometry.retract(x, geometry.project(x, w * v))  # noqa: E731
    return path.at[1:-1].set(jax.vmap(move)(path, weight)[1:-1])


def _finite(path: Array) -> Array:
    if known(path) and not np.all(np.isfinite(path)):
        raise ValueError("the amplitude is too large for this path: images are not finite")
    return path


def _check_ensemble(key: Array, path: Array, amplitude: float | Array) -> Array:
    check_key(key)
    check_path(path, Flat())
    check_number("amplitude", amplitude, "a finite number >= 0", 0)
    if known(path):
        step, info = np.max(np.abs(np.diff(np.asarray(path), axis=0))), np.finfo(path.dtype)
        if not info.tiny**0.5 < step < info.max**0.5:  # its length would be zero or infinite
            raise ValueError(f"the path is too short or too long, images are {step:.1e} apart: take another unit")
    return jnp.asarray(path)
