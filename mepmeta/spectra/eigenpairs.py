"""Lowest eigenpairs of a symmetric matrix, sparse or small: none is missed, as the signs of its factors say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy as sp

from mepmeta._arguments import check_count
from mepmeta.spectra.factors import ACCURATE, SIGNS, checked_matrix, factorised, one_thread

__all__ = ["DENSE", "ZERO", "eigenpairs", "lowest_eigenpairs", "near_lowest", "reproducible"]

#: Up to this many rows a matrix is diagonalised as a whole.
DENSE = 600
#: An eigenvalue within this fraction of the largest one, by magnitude, counts as zero.
ZERO = 1e-7
#: Eigenvalues within this part of each other belong to one space, in which the modes are chosen by their coordinates.
DEGENERATE = 1e-4
#: Solves that a rough lowest mode takes, at least and at most.
FEWEST, SOLVES = 3, 30
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
    check_count("k", k)
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
    eigsh, start = sp.sparse.linalg.eigsh, random.standard_normal(n)
    largest = float(abs(eigsh(H, 1, which="LM", v0=start, tol=1e-3, return_eigenvectors=False)[0]))
    rough, _, off = _lanczos(lambda v: -(H @ v), start, 1, FEW)
    lu, shift = _below(H, min(0.0, -rough[0]), max(off, 1e-2 * largest), ACCURATE)
    values, vectors, missing = np.zeros(0), np.zeros((n, 0)), k
    while missing > 0:

        def inverse(v: np.ndarray, found: np.ndarray = vectors) -> np.ndarray:
            v = lu.solve(v - found @ (found.T @ v))
            return v - found @ (found.T @ v)

        more, columns, _ = _lanczos(inverse, random.standard_normal(n), missing, n)
        values, vectors = np.append(values, 1 / more + shift), np.hstack([vectors, columns])
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        # Just below the k-th: whatever else is in its own multiplet is as good.
        below = values[k - 1] - ZERO * largest
        missing = min(_lower(H, below) - int(np.sum(values < below)), k)
    return values[:k], vectors[:, :k], largest


def _lanczos(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, k: int, most: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """The k highest eigenvalues of a symmetric operator and their vectors as columns, and the residual of the last.

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
            values, small = values[: -k - 1 : -1], small[:, : -k - 1 : -1]
            off = size * np.abs(small[-1])
            if end or np.all(off <= LANCZOS * np.abs(values)):
                break
        beside.append(size)
        v = w / size
    return values, basis[: j + 1].T @ small, float(off[-1])


@one_thread
def near_lowest(H: sp.sparse.csc_array, v: np.ndarray | None) -> np.ndarray:
    """The lowest eigenvector of a sparse symmetric matrix, to a twentieth of its eigenvalue, from near it or nothing.

    Within the residual of v there is an eigenvalue; a shift to below that, which the signs of factors confirm, makes
    every solve bring v nearer to the lowest one that it has a part along. Of another symmetry it has none along the
    lowest one, so two vectors of no symmetry come along.
    """
    n, value, off = H.shape[0], 0.0, 1e-2 * abs(H).sum(axis=0).max()
    some = np.random.default_rng(0).standard_normal((n, 3)) / np.sqrt(n)
    if v is not None:
        some[:, 0] = v = v / np.linalg.norm(v)
        value = v @ (H @ v)
        off = np.linalg.norm(H @ v - value * v) + 1e-3 * abs(H).max()
    lu, shift = _below(H, value, off, SIGNS)
    for turn in range(SOLVES):
        some = np.linalg.qr(lu.solve(some))[0]
        values, turned = np.linalg.eigh(some.T @ (H @ some))
        some = some @ turned
        v = some[:, 0]
        if turn >= FEWEST and np.linalg.norm(H @ v - values[0] * v) <= 0.05 * abs(values[0]):
            break
    # In a dense spectrum even these may not see it; there is none below the shift.
    lower = values[0] - 0.1 * abs(values[0])
    return eigenpairs(H, 1)[1][:, 0] if shift < lower and _lower(H, lower) else v


def _shifted(H: sp.sparse.csc_array, value: float) -> sp.sparse.csc_array:
    return sp.sparse.csc_array(H - value * sp.sparse.eye_array(H.shape[0]))


def _lower(H: sp.sparse.csc_array, value: float) -> int:
    """How many eigenvalues are lower than a value."""
    return int(np.sum(factorised(_shifted(H, value), SIGNS).U.diagonal() < 0))


def _below(H: sp.sparse.csc_array, value: float, off: float, accurate: float) -> tuple[sp.sparse.linalg.SuperLU, float]:
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
