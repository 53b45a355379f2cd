"""Sparse factors of a symmetric matrix: signs of its eigenvalues, and its log-determinant."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import NamedTuple

import numpy as np
import scipy as sp
from threadpoolctl import ThreadpoolController

from mepmeta._arguments import check_numbers, shown

__all__ = ["ACCURATE", "SIGNS", "LogDeterminant", "checked_matrix", "factorised", "log_determinant", "one_thread"]

#: A factorisation without pivoting has to solve a linear system to this relative residual; where only the signs count,
#: next to an eigenvalue, to the other one.
ACCURATE, SIGNS = 1e-9, 1e-3


@cache
def _blas() -> ThreadpoolController:
    sp.sparse.linalg  # noqa: B018  (SciPy loads its BLAS with it)
    return ThreadpoolController()


def one_thread(f: Callable) -> Callable:
    """``f`` with one thread of BLAS: the blocks of sparse factors are small, and more threads wait for each other."""

    @wraps(f)
    def call(*args: object, **kwargs: object) -> object:
        with _blas().limit(limits=1, user_api="blas"):
            return f(*args, **kwargs)

    return call


class LogDeterminant(NamedTuple):
    """Logarithm of the magnitude of a determinant, and how many eigenvalues are negative."""

    value: float
    negative: int


def factorised(A: sp.sparse.csc_array, accurate: float = ACCURATE) -> sp.sparse.linalg.SuperLU:
    r"""Sparse factors :math:`A = L\,U` without pivoting, rows and columns in one order of minimum degree.

    For a symmetric matrix this is :math:`L\,D\,L^{\mathsf T}`, and by Sylvester's law of inertia the signs of D are
    those of the eigenvalues.
    """
    try:
        lu = sp.sparse.linalg.splu(
            A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
    except RuntimeError as error:  # a pivot is zero
        raise ValueError("the matrix is singular. Zero modes have to be named (across=...)") from error
    probe = np.random.default_rng(0).standard_normal(A.shape[0])
    error = np.linalg.norm(A @ lu.solve(probe) - probe) / np.linalg.norm(probe)
    if not np.array_equal(lu.perm_r, lu.perm_c) or not error < accurate:
        raise ValueError(
            f"the matrix is singular or nearly so: a linear system is solved to {error:.0e} only. "
            "Zero modes have to be named (across=...)"
        )
    return lu


def checked_matrix(H: sp.sparse.csc_array) -> sp.sparse.csc_array:
    """A symmetric sparse matrix of finite numbers, by columns."""
    if not sp.sparse.issparse(H) or H.ndim != 2 or H.shape[0] != H.shape[1] or 0 in H.shape:
        raise ValueError(f"the matrix must be square and sparse, as that of mepmeta.hessian, got {shown(H)}")
    if H.dtype.kind not in "iuf" or not np.all(np.isfinite(H.data)):
        raise ValueError(f"the matrix must have entries that are finite real numbers, got {H.dtype}")
    H = sp.sparse.csc_array(H, dtype=float)
    if abs(H - H.T).max() > 1e-6 * abs(H).max():
        raise ValueError("the matrix must be symmetric")
    return H


@one_thread
def log_determinant(H: sp.sparse.csc_array, across: np.ndarray | None = None) -> LogDeterminant:
    r"""The log-determinant of a symmetric matrix, and its number of negative eigenvalues, without an eigenvalue.

    .. math:: \ln|\det H| = \sum_i \ln |D_{ii}|,\qquad H = L D L^{\mathsf T}

    With ``across``, orthonormal columns Z, it is that of H on the vectors across Z. There H may be singular along Z.
    The matrix is then made regular by k entries :math:`s` on its diagonal, which a determinant of 2k rows takes back:

    .. math:: \det H_{\perp Z} = (-1)^k\det H'\;
        \det\left[\begin{pmatrix} 0 & 0\\ 0 & 1\end{pmatrix} - V^{\mathsf T} H'^{-1} V\right],\qquad
        H' = H + s\,E E^{\mathsf T},\quad V = (Z,\ \sqrt s\,E)

    On lattices in the plane the sparse factors of N spins take about :math:`N^{3/2}` operations and
    :math:`N\ln N` numbers; in a chain both are proportional to N.

    Args:
        H: symmetric sparse matrix, shape ``(n, n)``; see :func:`~mepmeta.spectra.hessian.hessian`.
        across: orthonormal columns Z, shape ``(n, k)``.

    Raises:
        ValueError: for a matrix that is not square, symmetric and finite, or singular to working precision; for columns
            that are not orthonormal.

    Source: Sylvester's law of inertia; the same quantity by block elimination on a lattice: :cite:t:`potkina2020`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> H = mm.hessian(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]))  # eigenvalues 4 and -2
    >>> d = mm.log_determinant(H)
    >>> round(d.value, 9) == round(float(jnp.log(8.0)), 9), d.negative
    (True, 1)
    """
    H = checked_matrix(H)
    Z = np.zeros((H.shape[0], 0)) if across is None else check_numbers("across", across)
    if Z.ndim != 2 or len(Z) != len(H.indptr) - 1 or np.max(np.abs(Z.T @ Z - np.eye(Z.shape[1])), initial=0) > 1e-6:
        raise ValueError(f"across must be orthonormal columns of {H.shape[0]} numbers, got shape {Z.shape}")
    k = Z.shape[1]
    if k == 0:
        pivots = factorised(H).U.diagonal()
        return LogDeterminant(float(np.sum(np.log(np.abs(pivots)))), int(np.sum(pivots < 0)))
    # The coordinates where the zero modes are large: with these held, none of them is free.
    held = sp.linalg.qr(Z.T, pivoting=True, mode="economic")[2][:k]
    stiffness = float(np.abs(H.diagonal()).mean()) or 1.0
    E = sp.sparse.csc_array((np.ones(k), (held, np.arange(k))), shape=(H.shape[0], k))
    lu = factorised(sp.sparse.csc_array(H + stiffness * (E @ E.T)))
    V = np.hstack([Z, np.sqrt(stiffness) * E.toarray()])
    small = np.diag(np.repeat([0.0, 1.0], k)) - V.T @ lu.solve(V)
    pivots, extra = lu.U.diagonal(), np.linalg.eigvalsh((small + small.T) / 2)
    # Bordering by Z adds one eigenvalue of each sign for every column.
    negative = int(np.sum(pivots < 0)) + int(np.sum(extra < 0)) - k
    return LogDeterminant(float(np.sum(np.log(np.abs(pivots))) + np.sum(np.log(np.abs(extra)))), negative)
