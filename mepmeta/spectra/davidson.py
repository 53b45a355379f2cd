"""Lowest modes from products with the Hessian and a sparse matrix near it, whose own modes they start from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy as sp

from mepmeta.spectra.eigenpairs import eigenpairs
from mepmeta.spectra.factors import factorised, one_thread

__all__ = ["davidson"]

#: Modes of the rough matrix that come along, and vectors of no symmetry.
MORE, RANDOM = 3, 2
#: The shift lies so much of the norm of the rough matrix below its lowest eigenvalue, and the width of those known.
OFF = 1e-3
#: Width of the space in which modes are looked for, in numbers of modes, and rounds at most.
WIDTH, ROUNDS = 8, 100


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
    n, random, count = rough.shape[0], np.random.default_rng(0), 0
    values, start, scale = eigenpairs(rough, min(k + MORE, n))
    shift = values[0] - (values[-1] - values[0]) - OFF * scale
    lu = factorised(sp.sparse.csc_array(rough - shift * sp.sparse.eye_array(n)))
    start = np.column_stack([start, random.standard_normal((n, RANDOM)), *([] if guess is None else [guess])])
    V = HV = np.zeros((n, 0))
    for _ in range(ROUNDS):
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
        start = lu.solve(residuals[:, off])
    return None
