"""The Hessian on the space of states: products with a vector, and the whole of it as a sparse matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array

from mepmeta._checks import check_energy, check_state
from mepmeta._compiled import compiled
from mepmeta.geometry import Flat, Geometry, Spheres
from mepmeta.spectra.probing import RANGES, probed

__all__ = [
    "LARGEST_DENSE",
    "degrees_of_freedom",
    "finite_at",
    "hessian",
    "is_local",
    "matrix",
    "product",
    "product_in_coordinates",
    "rough_matrix",
]

#: An energy that does not tell its pairs has a dense matrix; one of more rows than this is refused.
LARGEST_DENSE = 4000


@cache
def degrees_of_freedom(geometry: Geometry, shape: tuple[int, ...], dtype: jnp.dtype) -> int:
    """The dimension of the space of states."""
    x = jax.ShapeDtypeStruct(shape, dtype)
    return jax.eval_shape(geometry.coordinates, x, x).size


def product(energy: Callable, x: Array, v: Array, geometry: Geometry) -> Array:
    """Covariant Hessian times a tangent vector; the derivative of the projection is the curvature of the spheres."""

    def gradient(x: Array) -> Array:
        return geometry.project(x, jax.grad(energy)(x))

    return geometry.project(x, jax.jvp(gradient, (x,), (v,))[1])


def product_in_coordinates(energy: Callable, x: Array, c: Array, geometry: Geometry) -> Array:
    return geometry.coordinates(x, product(energy, x, geometry.tangent(x, c), geometry))


@partial(compiled, static_argnums=2)
def _all_products(energy: Callable, x: Array, geometry: Geometry) -> Array:
    identity = jnp.eye(geometry.coordinates(x, x).size, dtype=x.dtype)
    return jax.vmap(lambda c: product_in_coordinates(energy, x, c, geometry))(identity)


def hessian(energy: Callable[[Array], Array], x: Array, *, geometry: Geometry = Flat()) -> sp.sparse.csc_array:
    r"""The covariant Hessian at a state as a matrix, in the orthonormal basis of ``geometry.coordinates``.

    .. math:: \mathcal H_{ij} = B_i^{\mathsf T}\,\frac{\partial^2 E}{\partial S_i\,\partial S_j}\,B_j
        - \delta_{ij}\,\Big(\frac{\partial E}{\partial S_i}\cdot S_i\Big)\,\mathbb 1

    on spheres, where the 3x2 matrices :math:`B_i` hold two unit vectors across :math:`S_i`; the last term is the
    constraint :math:`|S_i| = 1`. The couplings of a :class:`~mepmeta.magnets.heisenberg.Heisenberg` energy are local,
    and its matrix is assembled pair by pair, at a cost proportional to the number of spins. That of another energy is
    made of Hessian-vector products: one for each degree of freedom or, beyond 4000 of them, so many as find the matrix
    of spins that act on each other over a few cells only (:func:`~mepmeta.spectra.probing.probed`).

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar. One with a method ``pairs()``, see
            :meth:`~mepmeta.magnets.heisenberg.Heisenberg.pairs`, has a sparse matrix.
        x: state, better a stationary one.
        geometry: the space of the states.

    Returns:
        Symmetric sparse matrix, energy over squared coordinate, two rows for each spin on spheres.

    Raises:
        ValueError: for a bad state, an energy or a derivative of it that is not finite, or more than 4000 degrees of
            freedom of an energy that tells no pairs and is not local.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> H = mm.hessian(mm.single_spin(), jnp.array([0.0, 0.0])).toarray()  # a minimum of the paper's spin
    >>> (H.round(9) + 0.0).tolist()
    [[6.0, 0.0], [0.0, 2.0]]
    """
    check_state(x, "the state", geometry)
    x = jnp.asarray(x)
    return matrix(finite_at(check_energy(energy, x, geometry), x), x, geometry)


@compiled
def _value_and_gradient(energy: Callable, x: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(energy)(x)


def finite_at(energy: Callable, x: Array) -> Callable:
    """The energy, if it is finite, and its gradient: of a term without curvature that is not the Hessian is zero."""
    if not all(np.all(np.isfinite(part)) for part in _value_and_gradient(energy, x)):
        raise ValueError("the energy or its gradient is not finite at this state")
    return energy


def matrix(energy: Callable, x: Array, geometry: Geometry) -> sp.sparse.csc_array:
    """:func:`hessian`, unchecked."""
    if is_local(energy, geometry):
        H = _local(energy, energy.pairs(), x, geometry)
    else:
        n = degrees_of_freedom(geometry, x.shape, x.dtype)
        H = _dense(energy, x, geometry) if n <= LARGEST_DENSE else _probed(energy, x, geometry)
    if not np.all(np.isfinite(H.data)):
        raise ValueError("the Hessian of the energy is not finite at this state")
    return H


def _dense(energy: Callable, x: Array, geometry: Geometry) -> sp.sparse.csc_array:
    H = np.asarray(_all_products(energy, x, geometry), float)
    return sp.sparse.csc_array((H + H.T) / 2)


def _probed(energy: Callable, x: Array, geometry: Geometry) -> sp.sparse.csc_array:
    n, H = degrees_of_freedom(geometry, x.shape, x.dtype), None
    if isinstance(geometry, Spheres):
        shape = tuple(np.delete(x.shape, geometry.axis))
        H = probed(
            lambda c: np.asarray(_one_product(energy, x, c.astype(x.dtype), geometry), float), shape,
            float(jnp.finfo(x.dtype).eps),
        )  # fmt: skip
    if H is None:
        far = f" over more than {RANGES[-1]} cells" if isinstance(geometry, Spheres) else ""
        raise ValueError(
            f"the dense Hessian of {n} degrees of freedom is too large, the limit is {LARGEST_DENSE}, and there is no "
            f"sparse one: the energy has no pairs(), as Heisenberg has on Spheres(), and acts{far}"
        )
    return H


_one_product = partial(compiled, static_argnums=3)(product_in_coordinates)


def is_local(energy: Callable, geometry: Geometry) -> bool:
    """Whether :func:`hessian` makes a sparse matrix: the energy tells its pairs of spins."""
    return hasattr(energy, "pairs") and isinstance(geometry, Spheres)


def rough_matrix(energy: Callable, x: Array, geometry: Geometry) -> sp.sparse.csc_array | None:
    """A sparse matrix near the Hessian, by the ``rough_pairs`` of an energy that tells some; else None."""
    if not hasattr(energy, "rough_pairs") or not isinstance(geometry, Spheres):
        return None
    return _local(energy, energy.rough_pairs(), x, geometry)


@partial(compiled, static_argnums=2)
def _gradient_and_frame(energy: Callable, x: Array, geometry: Spheres) -> list[Array]:
    return [jnp.moveaxis(v, geometry.axis, -1) for v in (x, jax.grad(energy)(x), *geometry.frame(x))]


def _local(energy: Callable, pairs: Iterable, x: Array, geometry: Spheres) -> sp.sparse.csc_array:
    """Assembled pair by pair. Row ``a * N + i`` belongs to basis vector a of spin i, as in ``Spheres.coordinates``."""
    found = _gradient_and_frame(energy, x, geometry)
    spins, gradient, first, second = (np.asarray(v, float).reshape(-1, 3) for v in found)
    N, basis = spins.shape[0], np.stack([first, second], axis=1)  # (N, 2, 3)
    rows, columns, entries = [], [], []

    def add(i: np.ndarray, j: np.ndarray, blocks: np.ndarray) -> None:
        """The block of spins i and j, each (n, 3, 3), seen in the bases."""
        seen = np.einsum("nac,ncd,nbd->abn", basis[i], blocks, basis[j])
        for a in range(2):
            for b in range(2):
                rows.append(a * N + i), columns.append(b * N + j), entries.append(seen[a, b])

    for i, j, blocks in pairs:
        add(i, j, blocks)
        add(j, i, np.swapaxes(blocks, 1, 2))
    every, along = np.arange(N), np.sum(gradient * spins, axis=1)
    add(every, every, -along[:, None, None] * np.eye(3))
    place = np.concatenate(rows), np.concatenate(columns)
    return sp.sparse.csc_array((np.concatenate(entries), place), shape=(2 * N, 2 * N))
