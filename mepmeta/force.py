"""What every method is given at the inner images of a path: force across it, stretch of the springs, tangents."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

from mepmeta import tangents
from mepmeta._vectorised import total
from mepmeta.geometry import Geometry

__all__ = ["TANGENTS", "Energy", "Parts", "Tangent", "between_ends", "dot", "each_image", "parts_of"]

Energy = Callable[[Array], Array]
Tangent = Literal["smooth", "improved", "central"]
TANGENTS = get_args(Tangent)


class Parts(NamedTuple):
    r"""What the moves of a band are put together from, at its N inner images.

    Args:
        force: :math:`-\partial E^\perp`, across the path; on a climbing image inverted along it, shape ``(N, *shape)``.
        stretch: :math:`e_n = \mathrm{dist}(S_{n+1}, S_n) - \mathrm{dist}(S_n, S_{n-1})`, broadcastable; 0 on a
            climbing image.
        tangent: :math:`\tau`, weighted, not of unit length.
        unit: :math:`\hat\tau`.
        turn: cosine of the angle between the ways to an image and on from it, shape ``(N,)``; 1 is straight on.
        lengths: distances of neighbours, shape ``(P - 1,)``.
        energies: of all P images, where they were needed, else None.
        slope: derivative of the energy by the distance along the path, shape ``(N,)``.
        soft: the force with its stiff waves damped, where that is known, see
            :meth:`~mepmeta.problem.Problem.damped`; else None.
    """

    force: Array
    stretch: Array
    tangent: Array
    unit: Array
    turn: Array
    lengths: Array
    energies: Array | None
    slope: Array | None = None
    soft: Array | None = None


def dot(u: Array, v: Array) -> Array:
    """Inner product image by image, kept broadcastable."""
    return jnp.sum(u * v, axis=tuple(range(1, u.ndim)), keepdims=True)


def between_ends(path: Array, inner: Array) -> Array:
    """The path with other inner images. Of images that are laid over devices each stays where it is."""
    image = lax.broadcasted_iota(jnp.int32, (path.shape[0],) + (1,) * (path.ndim - 1), 0)
    wide = jnp.pad(inner, [(1, 1)] + [(0, 0)] * (path.ndim - 1))
    return jnp.where((image == 0) | (image == path.shape[0] - 1), path, wide)


def each_image(f: Callable, batch: bool) -> Callable:
    """``f`` of every image: of a path (P, *shape) or of a batch (P, *shape, B).

    Paths of a batch are side by side in memory, so that the compiler does one operation on many of them at a time.
    """
    return jax.vmap(jax.vmap(f, -1, -1) if batch else f)


def parts_of(
    energy: Energy,
    path: Array,
    beta: float | Array,
    geometry: Geometry,
    tangent: Tangent,
    climb: bool = False,
    batch: bool = False,
) -> Parts:
    """The parts at the inner images of a path, or of a batch of paths side by side in memory."""
    each = partial(each_image, batch=batch)
    inner = path[1:-1]
    lengths, forward, back = each(geometry.connect)(path[:-1], path[1:])
    forward, backward = forward[1:], -back[:-1]
    energies = None
    # The smooth tangent without climbing needs no energy at all, as the paper points out.
    if not climb and tangent != "improved":
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
            ends = each(energy)(jnp.stack([path[0], path[-1]]))  # once in the program, which is compiled sooner
            energies = jnp.concatenate([ends[:1], energies, ends[1:]])

    stretch = lengths[1:] - lengths[:-1]
    remove = jnp.ones_like(stretch)  # how often the gradient along the path is removed
    if climb:
        image = lax.broadcasted_iota(jnp.int32, stretch.shape, 0)
        remove = jnp.where(image == lax.argmax(energies[1:-1], 0, jnp.int32), 2, remove)
        stretch = jnp.where(remove == 1, stretch, 0)

    if tangent == "smooth":
        weights = each(lambda *v: tangents.smooth_weight(*v, beta))(forward, backward, gradients)
    elif tangent == "improved":
        weights = tangents.improved_weight(energies)
    else:
        weights = jnp.full_like(stretch, 0.5)

    def across(a: Array, forward: Array, backward: Array, gradient: Array, remove: Array) -> tuple[Array, ...]:
        tau = a * forward + (1 - a) * backward
        length2, rise = total(tau * tau), total(gradient * tau)
        turn = total(forward * backward) / jnp.sqrt(total(forward * forward) * total(backward * backward))
        size = 1 / jnp.sqrt(length2)
        return (remove * rise / length2) * tau - gradient, tau, tau * size, turn, rise * size

    force, tau, unit, turn, slope = each(across)(weights, forward, backward, gradients, remove)
    stretch = jnp.expand_dims(stretch, tuple(range(1, path.ndim - batch)))
    return Parts(force, stretch, tau, unit, turn, lengths, energies, slope)
