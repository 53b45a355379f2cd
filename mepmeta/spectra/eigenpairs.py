"""Lowest eigenpairs of a symmetric matrix, sparse or small: none is missed, as the signs of its factors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy as sp

from mepmeta._arguments import check_count
from mepmeta.spectra.factors import ACCURATE, SIGNS, checked_matrix, factorised, one_thread

__all__ = ["DENSE", "ZERO", "Near", "eigenpairs", "lowest_eigenpairs", "near_lowest", "reproducible"]

#: Up to this many rows a matrix is diagonalised as a whole.
DENSE = 600
#: An eigenvalue within this fraction of the largest one, by magnitude, counts as zero.
ZERO = 1e-7
#: Eigenvalues within this part of each other belong to one space, in which the modes are chosen by their coordinates.
DEGENERATE = 1e-4
#: Rounds that a rough lowest mode takes, at least and at most; and at most with factors of a matrix near by.
FEWEST, SOLVES, AGAIN = 3, 30, 12
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


class Near(NamedTuple):
    """A rough lowest eigenvector, and factors of the matrix near it that found it."""

    vector: np.ndarray
    factors: sp.sparse.linalg.SuperLU | None = None


@one_thread
def near_lowest(H: sp.sparse.csc_array, before: Near | None) -> Near:
    """The lowest eigenvector of a sparse symmetric matrix, to a twentieth of its eigenvalue, from that of one near it.

    Factors of the matrix near it serve again: they are what is dear, and a rough eigenvector only needs to be led to.
    Where they do not suffice, or there are none: within the residual of v there is an eigenvalue, and H is shifted to
    below that, which the signs of its factors confirm. Of another symmetry v has no part along the lowest one, so two
    vectors of no symmetry come along; and signs say that there is none below.
    """
    if before is None:
        some = np.random.default_rng(0).standard_normal(H.shape[0])
        before = Near(_lanczos(lambda v: -(H @ v), some, 1, FEW)[1][:, 0])
    found = None if before.factors is None else _led(H, before.factors, before.vector, False)
    lu, shift = before.factors, -np.inf
    if found is None:
        v = before.vector / np.linalg.norm(before.vector)
        value = v @ (H @ v)
        off = np.linalg.norm(H @ v - value * v) + 1e-3 * abs(H).max()
        lu, shift = _below(H, value, off, SIGNS)
        found = _led(H, lu, v, True)
    if found is not None:
        lower = (value := found @ (H @ found)) - 0.1 * abs(value)
        if shift >= lower or not _lower(H, lower):
            return Near(found, lu)
    return Near(eigenpairs(H, 1)[1][:, 0], lu)


def _led(H: sp.sparse.csc_array, lu: sp.sparse.linalg.SuperLU, v: np.ndarray, own: bool) -> np.ndarray | None:
    """The lowest eigenvector that factors, H's ``own`` or of a matrix near it, lead to from v; None if not soon."""
    some = np.column_stack([v, np.random.default_rng(0).standard_normal((v.size, 2))])
    V = np.linalg.qr(lu.solve(some))[0]
    for turn in range(SOLVES if own else AGAIN):
        values, turned = np.linalg.eigh(V.T @ (H @ V))
        values, some = values[:3], V @ turned[:, :3]
        off = H @ some - some * values
        if turn >= FEWEST and np.linalg.norm(off[:, 0]) <= 0.05 * abs(values[0]):
            return some[:, 0]
        # With factors of H itself a step of inverse iteration; with others, the best in the space of all steps.
        V = np.linalg.qr(some - lu.solve(off) if own else np.hstack([V, lu.solve(off)]))[0]
    return None


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
