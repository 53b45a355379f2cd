"""Lowest eigenpairs of a symmetric matrix, sparse or small: none is missed, as the signs of its factors say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy as sp

from mepmeta._arguments import check_count
from mepmeta.spectra.factors import ACCURATE, SIGNS, checked_matrix, factorised, one_thread

__all__ = [
    "DENSE",
    "FEW",
    "ZERO",
    "eigenpairs",
    "lanczos",
    "lower",
    "lowest_eigenpairs",
    "reproducible",
    "shifted_below",
]

#: Up to this many rows a matrix is diagonalised as a whole.
DENSE = 600
#: An eigenvalue within this fraction of the largest one, by magnitude, counts as zero.
ZERO = 1e-7
#: Eigenvalues within this part of each other belong to one space, in which the modes are chosen by their coordinates.
DEGENERATE = 1e-4
#: Eigenvalues of an inverse are found to this part; and products for a rough lowest one.
LANCZOS, FEW = 1e-11, 24


def lowest_eigenpairs(H: sp.sparse.csc_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k lowest eigenvalues of a sparse symmetric matrix, ascending, and their eigenvectors as columns.

    Args:
        H: symmetric sparse matrix, shape ``(n, n)``; see :func:`~mepmeta.spectra.hessian.hessian`.
        k: how many. None is missed where several are equal, as the signs of factors tell.

    Raises:
        ValueError: for a matrix that is not square, symmetric and finite, or k below 1.
    """
    k = check_count("k", k)
    H = checked_matrix(H)
    return eigenpairs(H, min(k, H.shape[0]))[:2]


@one_thread
def eigenpairs(H: sp.sparse.csc_array, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The k lowest eigenvalues of a sparse symmetric matrix, ascending; their eigenvectors as columns; its norm.

    Lanczos with the inverse of H shifted to above zero. The signs of factors say that the shift suffices, and how many
    eigenvalues there are below the highest one: Lanczos sees one direction of a degenerate eigenspace, so it looks
    again, across what it has found, until none is missing. Small matrices are diagonalised.
    """
    n = H.shape[0]
    if n <= DENSE or k > n // 4:
        values, vectors = np.linalg.eigh(H.toarray())
        return values[:k], vectors[:, :k], float(np.abs(values).max())
    random = np.random.default_rng(0)
    rough, _, off, largest = lanczos(lambda v: -(H @ v), random.standard_normal(n), 1, FEW)
    lu, shift = shifted_below(H, min(0.0, -rough[0]), max(off, 1e-2 * largest), ACCURATE)
    values, vectors, missing = np.zeros(0), np.zeros((n, 0)), k
    while missing > 0:

        def inverse(v: np.ndarray, found: np.ndarray = vectors) -> np.ndarray:
            v = lu.solve(v - found @ (found.T @ v))
            return v - found @ (found.T @ v)

        more, columns, *_ = lanczos(inverse, random.standard_normal(n), missing, n)
        values, vectors = np.append(values, 1 / more + shift), np.hstack([vectors, columns])
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        # Just below the k-th: whatever else is in its own multiplet is as good.
        below = values[k - 1] - ZERO * largest
        missing = min(lower(H, below) - int(np.sum(values < below)), k)
    return values[:k], vectors[:, :k], largest


def lanczos(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, k: int, most: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """The k highest eigenvalues of a symmetric operator, their vectors as columns, the residual of the last, its norm.

    The norm is that which the products have shown, to a few per cent after two dozens of them.

    Every vector is made orthogonal to all before, of which there are a few dozen: where products are cheap, ARPACK
    takes longer than they do. At ``most`` products.
    """
    basis, diagonal, beside = np.empty((min(most, 2 * FEW), start.size)), [], []
    v = start / np.linalg.norm(start)
    for j in range(most):
        if j == len(basis):
            basis = np.concatenate([basis, np.empty((min(most, 2 * j) - j, start.size))])
        basis[j] = v
        w = product(v)
        part = basis[: j + 1] @ w
        w = w - part @ basis[: j + 1]
        w = w - (basis[: j + 1] @ w) @ basis[: j + 1]
        size = np.linalg.norm(w)
        diagonal.append(part[-1])
        end = j + 1 == most or size <= LANCZOS * abs(diagonal[0])
        if j + 1 >= k and (end or j % 4 == 3):
            values, small = sp.linalg.eigh_tridiagonal(diagonal, beside)
            norm = max(abs(values[0]), abs(values[-1]))
            values, small = values[: -k - 1 : -1], small[:, : -k - 1 : -1]
            off = size * np.abs(small[-1])
            if end or np.all(off <= LANCZOS * np.abs(values)):
                break
        beside.append(size)
        v = w / size
    return values, basis[: j + 1].T @ small, float(off[-1]), float(norm)


def _shifted(H: sp.sparse.csc_array, value: float) -> sp.sparse.csc_array:
    return sp.sparse.csc_array(H - value * sp.sparse.eye_array(H.shape[0]))


def lower(H: sp.sparse.csc_array, value: float) -> int:
    """How many eigenvalues are lower than a value."""
    return int(np.sum(factorised(_shifted(H, value), SIGNS).U.diagonal() < 0))


def shifted_below(
    H: sp.sparse.csc_array, value: float, off: float, accurate: float
) -> tuple[sp.sparse.linalg.SuperLU, float]:
    """Factors of H shifted to above zero, and the shift: ``off`` below a value, or so much farther that it suffices."""
    while True:
        try:
            lu = factorised(_shifted(H, value - off), accurate)
            if not np.any(lu.U.diagonal() < 0):
                return lu, value - off
        except ValueError:
            # With eigenvalues of both signs, factors without pivoting may lose digits: farther down they keep them.
            if not off < 4 * abs(H).sum(axis=0).max():
                raise
        off *= 4


def reproducible(values: np.ndarray, vectors: np.ndarray, scale: float) -> np.ndarray:
    """The modes, columns, with signs and, where several have one eigenvalue, in a basis that every machine chooses.

    Each is the part of the mode space along the coordinate that has the largest part there, so its sign is fixed, too.
    """
    vectors, done = vectors.copy(), 0
    while done < values.size:
        same = np.flatnonzero(np.abs(values - values[done]) <= DEGENERATE * abs(values[done]) + ZERO * scale)
        same = same[same >= done]
        space = vectors[:, same]
        for k in same:
            size = np.linalg.norm(space, axis=1)
            v = space @ space[np.argmax(size > 0.999 * size.max())]
            vectors[:, k] = v / np.linalg.norm(v)
            space = space - np.outer(vectors[:, k], vectors[:, k] @ space)
        done = same[-1] + 1
    return vectors
