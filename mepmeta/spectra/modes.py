"""Modes: the lowest eigenvalues of the Hessian on the space of states, which tell minima from saddles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array, lax

from mepmeta._arguments import check_count
from mepmeta._checks import check_energy, check_state
from mepmeta._compiled import compiled
from mepmeta.geometry import Flat, Geometry
from mepmeta.spectra.davidson import Near, davidson, near_lowest
from mepmeta.spectra.eigenpairs import DENSE, ZERO, eigenpairs, reproducible
from mepmeta.spectra.hessian import (
    degrees_of_freedom,
    finite_at,
    is_local,
    matrix,
    product_in_coordinates,
    rough_matrix,
)

__all__ = [
    "LANCZOS_STEPS",
    "Modes",
    "curvature_scale",
    "largest_curvature",
    "live_coordinates",
    "lowest",
    "lowest_modes",
    "nearby",
    "rough",
    "softest",
]

#: In single precision an eigenvalue within so many roundings of the largest curvature counts as zero.
ROUNDINGS = 50
#: Products that the largest curvature takes.
LANCZOS_STEPS = 7


class Modes(NamedTuple):
    """The lowest modes of a state.

    Args:
        values: eigenvalues in ascending order, energy over squared coordinate, shape ``(k,)``.
        vectors: unit tangent vectors, shape ``(k, *shape)``. Their signs, and the basis where several have one
            eigenvalue, are the same on every machine; not so where the k-th is one of several and others are left out.
        scale: largest curvature of the energy there, by magnitude.
        products: Hessian-vector products it took; a sparse Hessian counts as one.
    """

    values: np.ndarray
    vectors: Array
    scale: float
    products: int

    @property
    def nothing(self) -> float:
        """The magnitude up to which an eigenvalue counts as zero: 1e-7 of the largest curvature."""
        return max(ZERO, ROUNDINGS * float(jnp.finfo(self.vectors.dtype).eps)) * self.scale

    @property
    def negative(self) -> int:
        """How many eigenvalues are below zero by more than that, the index of the state as far as k reaches."""
        return int(np.sum(self.values < -self.nothing))

    @property
    def zero(self) -> int:
        """How many eigenvalues count as zero, directions of a continuous symmetry."""
        return int(np.sum(np.abs(self.values) <= self.nothing))


def rough(n: int, dtype: jnp.dtype) -> np.ndarray:
    """A vector with a part along everything, the same in every run."""
    # In double precision: the squares of large numbers have no fraction left in single.
    return (np.mod(0.6180339887498949 * np.arange(1, n + 1, dtype=float) ** 2, 1) - 0.5).astype(dtype)


_product = partial(compiled, static_argnums=3)(product_in_coordinates)


@partial(compiled, static_argnums=2)
def largest_curvature(energy: Callable, x: Array, geometry: Geometry) -> Array:
    """:func:`curvature_scale`, unchecked."""
    start = rough(geometry.coordinates(x, x).size, x.dtype)
    start, tiny = start / jnp.linalg.norm(start), jnp.finfo(x.dtype).tiny

    def body(k: int, s: tuple[Array, Array]) -> tuple[Array, Array]:
        basis, H = s
        c = product_in_coordinates(energy, x, basis[k], geometry)
        row = basis @ c
        # Divided by the largest entry first: a curvature may be so small that its square is zero.
        most = jnp.max(jnp.abs(c))
        c = c / jnp.maximum(most, tiny)
        size = jnp.linalg.norm(c)
        for _ in range(2):  # what rounding leaves along the basis is taken out once more
            c = c - (basis @ c) @ basis
        left = jnp.linalg.norm(c)
        # Where the products stay in the space that is known, what is left is rounding.
        c = jnp.where(left > 100 * jnp.finfo(x.dtype).eps * size, c / jnp.maximum(left, tiny), 0)
        return basis.at[k + 1].set(c), H.at[k].set(row)

    basis = jnp.zeros((LANCZOS_STEPS + 1, start.size), x.dtype).at[0].set(start)
    _, H = lax.fori_loop(0, LANCZOS_STEPS, body, (basis, jnp.zeros((LANCZOS_STEPS + 1,) * 2, x.dtype)))
    most = jnp.max(jnp.abs(H))
    H = (H / jnp.where(most > 0, most, 1))[:LANCZOS_STEPS, :LANCZOS_STEPS]
    # Of every vector the products with those before it are known.
    return most * jnp.max(jnp.abs(jnp.linalg.eigvalsh(jnp.tril(H) + jnp.tril(H, -1).T)))


def curvature_scale(energy: Callable[[Array], Array], x: Array, *, geometry: Geometry = Flat()) -> float:
    """The largest curvature of the energy at a state, by magnitude, to a few per cent (Lanczos iteration).

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        x: state.
        geometry: the space of the states.

    Returns:
        Largest eigenvalue of the Hessian by magnitude, energy over squared coordinate.

    Raises:
        ValueError: for a bad state, or an energy or a derivative of it that is not finite.
    """
    check_state(x, "the state", geometry)
    x = jnp.asarray(x)
    scale = float(largest_curvature(finite_at(check_energy(energy, x, geometry), x), x, geometry))
    if not np.isfinite(scale):
        raise ValueError("the Hessian of the energy is not finite at this state")
    return scale


def lowest_modes(energy: Callable[[Array], Array], x: Array, k: int = 4, *, geometry: Geometry = Flat()) -> Modes:
    r"""The k lowest eigenvalues of the Hessian at a state, and their modes.

    .. math:: \mathcal H v = P\,\mathrm D\big(P\,\partial E\big)[v]

    with the projection P on the tangent space. At a stationary state this is the Hessian of the energy on the
    space of states; on spheres it contains the term :math:`-(\partial E\cdot S)\,v` of the constraint. Up to 600
    degrees of freedom all of it is made. A larger one that is sparse (:func:`~mepmeta.spectra.hessian.hessian`) is
    factorised; else iterations use products with :math:`\mathcal H`: those of Davidson where a sparse matrix near it is
    known, as of a sum of short-ranged and dipolar energies, and of Lanczos (ARPACK) elsewhere. Spins of sites
    without a moment (:meth:`~mepmeta.magnets.heisenberg.Heisenberg.live`) have no modes.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        x: state, better a stationary one.
        k: number of modes; all of them when the state has no more.
        geometry: the space of the states.

    Returns:
        :class:`Modes`.

    Raises:
        ValueError: for a bad state, k below 1, or an energy or a derivative of it that is not finite.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> modes = mm.lowest_modes(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]), 2)  # the saddle of the paper's spin
    >>> modes.values.round(9).tolist(), modes.negative
    ([-2.0, 4.0], 1)
    """
    check_state(x, "the state", geometry)
    k = check_count("k", k)
    x = jnp.asarray(x)
    return lowest(finite_at(check_energy(energy, x, geometry), x), x, k, geometry)


def lowest(energy: Callable, x: Array, k: int, geometry: Geometry) -> Modes:
    """:func:`lowest_modes`, unchecked."""
    values, columns, scale, products = _spectrum(energy, x, k, geometry)
    return Modes(np.asarray(values), tangents(x, columns, geometry), scale, products)


def _spectrum(energy: Callable, x: Array, k: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Lowest modes: eigenvalues, coordinates as columns, largest curvature, products."""
    n = degrees_of_freedom(geometry, x.shape, x.dtype)
    if n <= DENSE or is_local(energy, geometry):
        products, live = 1 if is_local(energy, geometry) else n, live_coordinates(energy, n, geometry)
        values, some, scale = eigenpairs(matrix(energy, x, geometry)[live][:, live], k)
        columns = np.zeros((n, values.size))
        columns[live] = some
    else:
        scale = float(largest_curvature(energy, x, geometry))
        if not np.isfinite(scale):
            raise ValueError("the Hessian of the energy is not finite at this state")
        # The tolerance of an eigenvalue is the square of that of its mode.
        nearby = _from_nearby(energy, x, k, geometry, ZERO * scale)
        values, columns, products = nearby or _lanczos(
            energy, x, k, geometry, scale, live_coordinates(energy, n, geometry)
        )
        products += LANCZOS_STEPS
    return values, reproducible(values, columns, scale), scale, products


def softest(energy: Callable, x: Array, before: Near | None, geometry: Geometry) -> tuple[Array, Near, int]:
    """The lowest mode, roughly, from what is known of it near by: it, what is known now, and the products."""
    n = degrees_of_freedom(geometry, x.shape, x.dtype)
    guess, factors = before or Near(None)
    if n > DENSE and is_local(energy, geometry):
        live, c, products = live_coordinates(energy, n, geometry), np.zeros(n), 1
        known = None if guess is None else Near(guess[live], factors)
        c[live], factors = near_lowest(matrix(energy, x, geometry)[live][:, live], known)
    else:
        found = _from_nearby(energy, x, 1, geometry, 0.0, 0.05, guess) if n > DENSE else None
        if found is None:
            values, columns, _, products = _spectrum(energy, x, 1, geometry)
            found = values, columns, products
        c, products = found[1][:, 0], found[2]
    return tangents(x, c[:, None], geometry)[0], Near(c, factors), products


def live_coordinates(energy: Callable, n: int, geometry: Geometry) -> np.ndarray:
    """Which of the n coordinates of tangent vectors belong to spins with a moment: all, if the energy does not tell."""
    sites = np.ravel(energy.live()) if hasattr(energy, "live") else np.ones(1, bool)
    spread = np.repeat if isinstance(geometry, Flat) else np.tile  # the coordinates of a particle follow each other
    return np.flatnonzero(spread(sites, n // sites.size)) if sites.any() else np.arange(n)


def tangents(x: Array, columns: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Tangent vectors with coordinates in columns, one for each row; made four at a time, in one program."""
    n, k = columns.shape
    rows = np.zeros((-k % 4 + k, n), x.dtype)
    rows[:k] = columns.T
    made = [_tangents(x, some, geometry) for some in rows.reshape(-1, 4, n)]
    return np.concatenate(made)[:k]


@partial(compiled, static_argnums=2)
def _tangents(x: Array, coordinates: Array, geometry: Geometry) -> Array:
    return jax.vmap(lambda c: geometry.tangent(x, c))(coordinates)


def nearby(energy: Callable, x: Array, geometry: Geometry) -> tuple[Callable, sp.sparse.csc_array, np.ndarray] | None:
    """Products with the Hessian and a sparse matrix near it, both on the coordinates of spins with a moment, and these.

    None of an energy that tells no rough pairs.
    """
    rough = rough_matrix(energy, x, geometry)
    if rough is None:
        return None
    live, c = live_coordinates(energy, rough.shape[0], geometry), np.zeros(rough.shape[0])

    def product(v: np.ndarray) -> np.ndarray:
        c[live] = v
        return np.asarray(_product(energy, x, jnp.asarray(c, x.dtype), geometry), float)[live]

    return product, sp.sparse.csc_array(rough[live][:, live]), live


def _from_nearby(
    energy: Callable,
    x: Array,
    k: int,
    geometry: Geometry,
    tolerance: float,
    part: float = 0.0,
    guess: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Lowest modes of an energy that tells rough pairs: eigenvalues, columns, products; None where there are none."""
    near = nearby(energy, x, geometry)
    if near is None:
        return None
    product, rough, live = near
    tolerance = max(tolerance, ROUNDINGS * float(jnp.finfo(x.dtype).eps) * abs(rough).max())
    guess = None if guess is None else guess[live]
    found = davidson(product, rough, k, tolerance, part, guess)
    if found is None:
        return None
    columns = np.zeros((degrees_of_freedom(geometry, x.shape, x.dtype), k))
    columns[live] = found[1]
    return found[0], columns, found[2]


def _lanczos(
    energy: Callable, x: Array, k: int, geometry: Geometry, scale: float, live: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Lowest modes from products alone: eigenvalues, columns, products."""
    size, n, count = degrees_of_freedom(geometry, x.shape, x.dtype), live.size, 0
    tolerance = max(1e-8, 10 * float(jnp.finfo(x.dtype).eps))

    def lanczos(k: int, found: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The k lowest modes across those found. Shifted so that the wanted end of the spectrum is the one of largest
        magnitude: the tolerance of ARPACK is relative, and would never be met for an eigenvalue of zero."""

        def shifted(c: np.ndarray) -> np.ndarray:
            nonlocal count
            c, whole, count = c.reshape(-1), np.zeros(size, x.dtype), count + 1
            whole[live] = c
            Hc = np.asarray(_product(energy, x, whole, geometry))[live] / scale
            return Hc - 1.5 * c + 3 * (found @ (found.T @ c))

        operator = sp.sparse.linalg.LinearOperator((n, n), matvec=shifted, dtype=x.dtype)
        values, vectors = sp.sparse.linalg.eigsh(
            operator, k, which="SA", tol=tolerance, v0=start, ncv=min(n, max(4 * k, 24))
        )
        return values + 1.5, vectors

    values, vectors = lanczos(min(k, n - 1), np.zeros((n, 0), x.dtype), rough(n, x.dtype))
    # From one start Lanczos sees one direction of every degenerate eigenspace. So it looks again, across what it has
    # found, until nothing new is lower than the highest of that.
    for turn in range(k):  # each from another start: the last one has no part left along what is missing
        value, vector = lanczos(1, vectors, np.random.default_rng(turn).standard_normal(n).astype(x.dtype))
        if value[0] > values.max() - 1e-9:
            break
        values, vectors = np.append(values, value), np.append(vectors, vector, axis=1)
    order = np.argsort(values)[:k]
    columns = np.zeros((size, order.size))
    columns[live] = vectors[:, order]
    return scale * values[order], columns, count
