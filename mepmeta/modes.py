"""Modes: the lowest eigenvalues of the Hessian on the space of states, which tell minima from saddles."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy.sparse.linalg import LinearOperator, eigsh

from mepmeta import _compiled
from mepmeta._checks import as_pytree, check_count, check_state
from mepmeta.geometry import Flat, Geometry
from mepmeta.hessian import degrees_of_freedom, dense_hessian, hessian, hessian_in_coordinates, is_local

__all__ = ["Modes", "curvature_scale", "lowest_modes"]

#: Up to this many degrees of freedom the whole Hessian is made; beyond, Lanczos works with products.
DENSE = 400

#: An eigenvalue within this fraction of the largest curvature counts as zero.
ZERO = 1e-7


class Modes(NamedTuple):
    """The lowest modes of a state.

    Args:
        values: eigenvalues in ascending order, energy over squared coordinate, shape ``(k,)``.
        vectors: unit tangent vectors, shape ``(k, *shape)``.
        scale: largest curvature of the energy there, by magnitude.
        products: Hessian-vector products it took; a sparse Hessian counts as one.
    """

    values: np.ndarray
    vectors: Array
    scale: float
    products: int

    @property
    def negative(self) -> int:
        """How many eigenvalues are below -1e-7 of the largest curvature, the index of the state as far as k reaches."""
        return int(np.sum(self.values < -ZERO * self.scale))

    @property
    def zero(self) -> int:
        """How many eigenvalues are within 1e-7 of the largest curvature, directions of a continuous symmetry."""
        return int(np.sum(np.abs(self.values) <= ZERO * self.scale))


def _rough(n: int, dtype: jnp.dtype) -> Array:
    """A vector with a part along everything, the same in every run."""
    return jnp.mod(0.6180339887498949 * jnp.arange(n, dtype=dtype) ** 2, 1) - 0.5


@partial(jax.jit, static_argnums=2)
def _largest_curvature(energy: Callable, x: Array, geometry: Geometry) -> Array:
    def body(_: int, c: Array) -> Array:
        return _product(energy, x, c / jnp.maximum(jnp.linalg.norm(c), jnp.finfo(c.dtype).tiny), geometry)

    start = _rough(geometry.coordinates(x, x).size, x.dtype)
    return jnp.linalg.norm(lax.fori_loop(0, POWER_STEPS, body, start))


POWER_STEPS = 12
_product = partial(jax.jit, static_argnums=3)(hessian_in_coordinates)


def curvature_scale(energy: Callable[[Array], Array], x: Array, *, geometry: Geometry = Flat()) -> float:
    """The largest curvature of the energy at a state, by magnitude, to a few per cent (power iteration).

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        x: state.
        geometry: the space of the states.

    Returns:
        Largest eigenvalue of the Hessian by magnitude, energy over squared coordinate.
    """
    return float(_largest_curvature(as_pytree(energy), x, geometry))


def lowest_modes(energy: Callable[[Array], Array], x: Array, k: int = 4, *, geometry: Geometry = Flat()) -> Modes:
    r"""The k lowest eigenvalues of the Hessian at a state, and their modes.

    .. math:: \mathcal H v = P\,\mathrm D\big(P\,\partial E\big)[v]

    with the projection P on the tangent space. At a stationary state this is the Hessian of the energy on the
    space of states; on spheres it contains the term :math:`-(\partial E\cdot S)\,v` of the constraint. Up to 400
    degrees of freedom all of it is made; beyond, Lanczos iterations (ARPACK) use products with :math:`\mathcal H`
    only. That of a :class:`~mepmeta.energies.Heisenberg` energy on spheres is a sparse matrix; others multiply by
    derivatives.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        x: state, better a stationary one.
        k: number of modes; all of them when the state has no more.
        geometry: the space of the states.

    Returns:
        :class:`Modes`.

    Raises:
        ValueError: for a bad state, k below 1, or a Hessian that is not finite.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> modes = mm.lowest_modes(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]), 2)  # the saddle of the paper's spin
    >>> modes.values.round(9).tolist(), modes.negative
    ([-2.0, 4.0], 1)
    """
    check_state(x, "the state")
    geometry.check(np.asarray(x), "the state")
    check_count("k", k)
    energy, x = as_pytree(energy), jnp.asarray(x)
    n = degrees_of_freedom(geometry, x.shape, x.dtype)
    if n <= DENSE:
        H = np.asarray(dense_hessian(energy, x, geometry))
        if not np.all(np.isfinite(H)):
            raise ValueError("the Hessian of the energy is not finite at this state")
        values, vectors = np.linalg.eigh((H + H.T) / 2)
        scale, products = float(np.abs(values).max()), n
        values, vectors = values[:k], vectors[:, :k]
    else:
        H = hessian(energy, x, geometry=geometry) if is_local(energy, geometry) else None
        count = int(H is not None)

        def product(c: np.ndarray) -> np.ndarray:
            nonlocal count
            if H is not None:
                return (H @ c.reshape(-1)).astype(x.dtype, copy=False)
            count += 1
            return np.asarray(_product(energy, x, jnp.asarray(c.reshape(-1), x.dtype), geometry))

        scale = curvature_scale(energy, x, geometry=geometry)
        if not np.isfinite(scale):
            raise ValueError("the Hessian of the energy is not finite at this state")
        tolerance = max(1e-8, 10 * float(jnp.finfo(x.dtype).eps))

        def lanczos(k: int, found: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """The k lowest modes across those found. Shifted so that the wanted end of the spectrum is the one of
            largest magnitude: the tolerance of ARPACK is relative, and would never be met for an eigenvalue of zero."""

            def shifted(c: np.ndarray) -> np.ndarray:
                c = c.reshape(-1)
                return product(c) - 1.5 * scale * c + 3 * scale * (found @ (found.T @ c))

            operator = LinearOperator((n, n), matvec=shifted, dtype=x.dtype)
            values, vectors = eigsh(operator, k, which="SA", tol=tolerance, v0=start, ncv=min(n, max(4 * k, 24)))
            return values + 1.5 * scale, vectors

        start = np.asarray(_rough(n, x.dtype))
        values, vectors = lanczos(min(k, n - 1), np.zeros((n, 0), x.dtype), start)
        # From one start Lanczos sees one direction of every degenerate eigenspace. So it looks again, across what it
        # has found, until nothing new is lower than the highest of that.
        for turn in range(k):  # each from another start: the last one has no part left along what is missing
            value, vector = lanczos(1, vectors, np.random.default_rng(turn).standard_normal(n).astype(x.dtype))
            if value[0] > values.max() - 1e-9 * scale:
                break
            values, vectors = np.append(values, value), np.append(vectors, vector, axis=1)
        order = np.argsort(values)[:k]
        values, vectors, products = values[order], vectors[:, order], count + POWER_STEPS
    modes = _compiled.tangents(x, jnp.asarray(vectors.T, x.dtype), geometry)
    return Modes(np.asarray(values), modes, scale, products)
