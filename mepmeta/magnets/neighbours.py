"""What the partners of a spin add up to: all bonds of a lattice in one look at the neighbours."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

__all__ = ["bond_field"]


def _cross(u: Sequence, v: Sequence) -> list:
    return [u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)]


def _components(v: Array) -> list:
    return [v[..., i] for i in range(3)]


def _product(A: Array, planes: Sequence[Array]) -> Array:
    """A matrix, the same everywhere or one at every cell, times a vector: components first."""
    A = jnp.moveaxis(A, (-2, -1), (0, 1))
    A = A.reshape(3, 3, *(A.shape[2:] or (1,) * planes[0].ndim))
    return sum(A[:, i] * plane for i, plane in enumerate(planes))


def bond_field(structure: tuple, couplings: tuple, S: list[Array]) -> list[Array]:
    r"""The sum over the bonds of every spin, of :math:`J\,S' + S'\times\mathbf D + \mathbf A\,S'`, by components.

    All neighbours are read from one copy of the lattice with a margin, so that every bond is a slice of it.

    Args:
        structure: offsets of the bonds, and which axes are periodic.
        couplings: :math:`J`, :math:`\mathbf D` and :math:`\mathbf A` of each bond, arrays or None, the same everywhere
            or one at every cell where a bond starts.
        S: the three components of the state, each over the lattice.
    """
    offsets, periodic = structure
    shape = S[0].shape
    margin = [max((abs(offset[a]) for offset in offsets), default=0) for a in range(len(shape))]

    def widen(plane: Array) -> Array:
        for a, wrap in enumerate(periodic):
            pad = [(margin[a], margin[a]) if axis == a else (0, 0) for axis in range(len(shape))]
            plane = jnp.pad(plane, pad, mode="wrap") if wrap else jnp.pad(plane, pad)
        return plane

    def at(plane: Array, offset: tuple[int, ...]) -> Array:
        start = [m + o for m, o in zip(margin, offset, strict=True)]
        return lax.slice(plane, start, [s + n for s, n in zip(start, shape, strict=True)])

    # The barrier keeps the compiler from making the copy anew in every loop that reads it.
    wide = lax.optimization_barrier([widen(plane) for plane in S])
    field, tensors = [jnp.zeros_like(S[0])] * 3, jnp.zeros((), S[0].dtype)
    for offset, (J, D, A) in zip(offsets, couplings, strict=True):
        back = tuple(-o for o in offset)
        T, U = [at(plane, offset) for plane in wide], [at(plane, back) for plane in wide]

        def start(constant: Array, tail: int, offset: tuple[int, ...] = offset) -> Array:
            """The constants of the bond that ends at a spin stand where it starts; where none does, U is zero."""
            axes = [a for a, o in enumerate(offset) if o]
            return jnp.roll(constant, [offset[a] for a in axes], axes) if constant.ndim > tail else constant

        J_back = start(J, 0)
        field = [h + J * t + J_back * u for h, t, u in zip(field, T, U, strict=True)]
        if D is not None:
            D_back = start(D, 1)
            turned = zip(field, _cross(T, _components(D)), _cross(_components(D_back), U), strict=True)
            field = [h + t + u for h, t, u in turned]
        if A is not None:
            tensors = tensors + _product(A, T) + _product(jnp.swapaxes(start(A, 2), -1, -2), U)
    return [h + tensors[i] for i, h in enumerate(field)] if tensors.ndim else field
