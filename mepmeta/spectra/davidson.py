"""Lowest modes from products with the Hessian and factors of a sparse matrix near it, or of itself a step before."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy as sp

from mepmeta.spectra.eigenpairs import FEW, eigenpairs, lanczos, lower, shifted_below
from mepmeta.spectra.factors import ACCURATE, SIGNS, one_thread

__all__ = ["Near", "davidson", "near_lowest"]

#: Modes of the rough matrix that come along, and vectors of no symmetry.
MORE, RANDOM = 3, 2
#: The shift lies so much of the norm of the rough matrix below its lowest eigenvalue, and the width of those known.
OFF = 1e-3
#: Width of the space in which modes are looked for, in numbers of modes, and rounds at most.
WIDTH, ROUNDS = 8, 100
#: A rough lowest mode is one to this part of its eigenvalue; rounds that it takes, at least and at most, and at most
#: with factors of a matrix near by.
ROUGH, FEWEST, SOLVES, AGAIN = 0.05, 3, 30, 12


@one_thread
def davidson(
    product: Callable[[np.ndarray], np.ndarray],
    rough: sp.sparse.csc_array,
    k: int,
    tolerance: float,
    part: float = 0.0,
    guess: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, int] | None:
    r"""The k lowest eigenpairs of a symmetric matrix H of which products are known, and a sparse matrix A near it.

    The space in which they are looked for begins with the lowest eigenvectors of A, and grows by

    .. math:: (A - \sigma)^{-1}\,(H x - \lambda x),\qquad \sigma < \min\operatorname{spec} A

    for the Ritz pairs that are not there yet. Several modes of one eigenvalue come along as they do in A.

    Args:
        product: H times a vector of n components.
        rough: A, shape ``(n, n)``.
        k: how many.
        tolerance: length of the residual of a pair that is found; or where that is more,
        part: its length over the magnitude of the eigenvalue.
        guess: a vector to start from, too.

    Returns:
        Eigenvalues, ascending; eigenvectors as columns; number of products. None if they are not found.

    Source: :cite:t:`davidson1975`.
    """
    n, random = rough.shape[0], np.random.default_rng(0)
    values, start, scale = eigenpairs(rough, min(k + MORE, n))
    lu, _ = shifted_below(rough, values[0], values[-1] - values[0] + OFF * scale, ACCURATE)
    start = np.column_stack([start, random.standard_normal((n, RANDOM)), *([] if guess is None else [guess])])
    return _expanded(product, lu.solve, start, k, tolerance, part, ROUNDS)


def _expanded(
    product: Callable[[np.ndarray], np.ndarray],
    solve: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    k: int,
    tolerance: float,
    part: float,
    rounds: int,
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """:func:`davidson` from columns to start with, and what solves with the factors."""
    V = HV = np.zeros((len(start), 0))
    count = 0
    for _ in range(rounds):
        for _ in range(2):  # twice is enough
            start = np.linalg.qr(start - V @ (V.T @ start))[0]
        V, HV = np.hstack([V, start]), np.hstack([HV, np.stack([product(v) for v in start.T], axis=1)])
        count += start.shape[1]
        values, turned = np.linalg.eigh((V.T @ HV + HV.T @ V) / 2)
        V, HV = V @ turned, HV @ turned
        residuals = HV[:, :k] - V[:, :k] * values[:k]
        off = np.linalg.norm(residuals, axis=0) > np.maximum(tolerance, part * np.abs(values[:k]))
        if not np.any(off):
            return values[:k], V[:, :k], count
        if V.shape[1] > WIDTH * (k + MORE):
            V, HV = V[:, : 2 * (k + MORE)], HV[:, : 2 * (k + MORE)]
        start = solve(residuals[:, off])
    return None


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
    some = np.random.default_rng(0).standard_normal((H.shape[0], 2))
    if before is None:
        before = Near(lanczos(lambda v: -(H @ v), some[:, 0], 1, FEW)[1][:, 0])
    v, lu = before
    some, shift, found = np.column_stack([v / np.linalg.norm(v), some]), -np.inf, None
    if lu is not None:
        led = _expanded(lambda v: H @ v, lu.solve, lu.solve(some), 1, 0.0, ROUGH, AGAIN)
        found = None if led is None else led[1][:, 0]
    if found is None:
        v = some[:, 0]
        value = v @ (H @ v)
        off = np.linalg.norm(H @ v - value * v) + 1e-3 * abs(H).max()
        lu, shift = shifted_below(H, value, off, SIGNS)
        found = _by_inverse(H, lu, some)
    if found is not None:
        level = (value := found @ (H @ found)) - 2 * ROUGH * abs(value)
        if shift >= level or not lower(H, level):
            return Near(found, lu)
    return Near(eigenpairs(H, 1)[1][:, 0], lu)


def _by_inverse(H: sp.sparse.csc_array, lu: sp.sparse.linalg.SuperLU, some: np.ndarray) -> np.ndarray | None:
    """The lowest eigenvector by inverse iteration, which unlike a wider space leaves little of any other one."""
    for turn in range(SOLVES):
        some = np.linalg.qr(lu.solve(some))[0]
        values, turned = np.linalg.eigh(some.T @ (H @ some))
        some = some @ turned
        v = some[:, 0]
        if turn >= FEWEST and np.linalg.norm(H @ v - values[0] * v) <= ROUGH * abs(values[0]):
            return v
    return None
