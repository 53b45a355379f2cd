"""What a rate has to know of a Hessian: its lowest modes, its determinant, and solutions of linear systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy as sp
from jax import Array

from mepmeta.problem import Problem
from mepmeta.spectra.davidson import davidson
from mepmeta.spectra.eigenpairs import DENSE, ZERO, eigenpairs
from mepmeta.spectra.factors import factorised, log_determinant
from mepmeta.spectra.hessian import LARGEST_DENSE, is_local, matrix
from mepmeta.spectra.modes import live_coordinates, nearby

__all__ = ["Nearby", "Whole", "hessian_at"]

#: Lowest eigenvalues that are looked at: more than the six continuous symmetries of a crystal of spins.
LOWEST = 8
#: Those known one by one where the determinant of the rest is an estimate: in soft modes a rough Hessian is worst.
SOFT = 24
#: Random vectors of the estimate, and Lanczos steps from each at most.
SAMPLES, STEPS = 200, 40
#: The lowest eigenvalue of the matrix that the estimate compares with, in parts of the largest.
SOFTEST = 2e-3
#: Residual of linear systems.
SOLVED = 1e-12


class Whole(NamedTuple):
    """A Hessian of which all entries are known, a sparse matrix."""

    matrix: sp.sparse.csc_array

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self.matrix @ v

    @property
    def norm(self) -> float:
        """No eigenvalue is larger."""
        return float(abs(self.matrix).sum(axis=0).max())

    def scaled(self, c: np.ndarray) -> Whole:
        """The same in other coordinates: rows and columns times c."""
        return Whole(_scaled(self.matrix, c))

    def lowest(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The lowest eigenvalues, eigenvectors as columns, the largest curvature."""
        return eigenpairs(self.matrix, min(LOWEST, self.matrix.shape[0]))

    def log_determinant(self, values: np.ndarray, vectors: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, int]:
        """The log-determinant across zero modes, and the number of negative modes."""
        found = log_determinant(self.matrix, zero)
        return np.array([found.value]), found.negative

    def solve(self, more: sp.sparse.csc_array, v: np.ndarray) -> np.ndarray:
        """The solution of a system with another matrix added; a ``RuntimeError`` where the sum is singular."""
        return _solver(self.matrix + more)(v)


class Nearby(NamedTuple):
    r"""A Hessian H that is known by its products, and a sparse matrix A near it.

    Modes and linear systems come from iterations that A makes short. The determinant is that of all of H as far as
    that is not too large, else an estimate: with the random signs z of a number of samples

    .. math:: \ln\det H = \ln\det A + \big\langle z\cdot\ln(L^{-1} H L^{-\mathsf T})\,z\big\rangle,\qquad
        A = L\,L^{\mathsf T}

    by Gauss quadrature with Lanczos steps, where the lowest modes are known one by one, and shifted in H to where they
    are in A. The samples of two states have the same signs, so that what is random for both is for the most part the
    same: their difference is known better than either.

    Source: :cite:t:`ubaru2017`.
    """

    product: Callable[[np.ndarray], np.ndarray]
    rough: sp.sparse.csc_array

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self.product(v) if v.ndim == 1 else np.stack([self.product(c) for c in v.T], axis=1)

    @property
    def norm(self) -> float:
        """Hardly an eigenvalue is larger."""
        return 2 * float(abs(self.rough).sum(axis=0).max())

    def scaled(self, c: np.ndarray) -> Nearby:
        """The same in other coordinates: rows and columns times c."""
        return Nearby(lambda v: c * self.product(c * v), _scaled(self.rough, c))

    def lowest(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The lowest eigenvalues, eigenvectors as columns, the largest curvature of the rough matrix."""
        random = np.random.default_rng(0).standard_normal(self.rough.shape[0])
        largest = sp.sparse.linalg.eigsh(self.rough, 1, which="LM", v0=random, tol=1e-3, return_eigenvectors=False)
        scale = float(abs(largest[0]))
        found = davidson(self.product, self.rough, SOFT, 1e-2 * ZERO * scale)
        if found is None:
            raise ValueError("the lowest modes are not found: what is known of the Hessian is not near it")
        return found[0], found[1], scale

    def log_determinant(self, values: np.ndarray, vectors: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, int]:
        """The log-determinant across zero modes, in samples or one that is exact; the number of negative modes."""
        n, A = self.rough.shape[0], _positive(self.rough)
        moved = np.einsum("ik,ik->k", vectors, A @ vectors)
        kept = np.linalg.norm(zero.T @ vectors, axis=0) < 0.5
        known = np.sum(np.log(np.abs(values[kept]))) - np.sum(np.log(moved))

        def product(v: np.ndarray) -> np.ndarray:
            return self.product(v) + vectors @ ((moved - values) * (vectors.T @ v))

        if n <= LARGEST_DENSE:
            whole = np.stack([product(v) for v in np.eye(n)])
            rest = np.array([np.linalg.slogdet((whole + whole.T) / 2)[1]])
        else:
            rest = _log_determinants(product, A)
        return known + rest, int(np.sum(values[kept] < 0))

    def solve(self, more: sp.sparse.csc_array, v: np.ndarray) -> np.ndarray:
        """The solution of a system with another matrix added."""
        # Bordered by v, a system that is regular where the sum is singular and v lies along its null vector.
        n, border = v.size, sp.sparse.csc_array(v[:, None])
        near = sp.sparse.block_array([[self.rough + more, border], [border.T, None]])

        def product(c: np.ndarray) -> np.ndarray:
            c = np.ravel(c)
            return np.append(self.product(c[:n]) + more @ c[:n] + c[n] * v, v @ c[:n])

        near = sp.sparse.linalg.LinearOperator((n + 1, n + 1), _solver(near), dtype=float)
        whole = sp.sparse.linalg.LinearOperator((n + 1, n + 1), product, dtype=float)
        last = np.append(np.zeros(n), 1.0)
        x, failed = sp.sparse.linalg.gmres(whole, last, x0=near @ last, M=near, rtol=SOLVED, restart=60, maxiter=10)
        if failed:
            raise ValueError("a linear system with the Hessian of the saddle is not solved by iterations")
        if x[n] == 0:
            raise RuntimeError("exactly singular")
        return -x[:n] / x[n]


def _scaled(A: sp.sparse.csc_array, c: np.ndarray) -> sp.sparse.csc_array:
    by = sp.sparse.diags_array(c)
    return sp.sparse.csc_array(by @ A @ by)


def _solver(A: sp.sparse.csc_array) -> Callable[[np.ndarray], np.ndarray]:
    return sp.sparse.linalg.splu(sp.sparse.csc_array(A), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01).solve


def _positive(A: sp.sparse.csc_array) -> sp.sparse.csc_array:
    """A matrix with positive eigenvalues only: one with some on the diagonal added, where its lowest modes are."""
    values, modes, scale = eigenpairs(A, LOWEST)
    low = values < SOFTEST * scale
    where, more = np.sum(modes[:, low] ** 2, axis=1), SOFTEST * scale - values[0]
    while np.any(low):
        shifted = sp.sparse.csc_array(A + sp.sparse.diags_array(more * where / where.max()))
        if eigenpairs(shifted, 1)[0][0] > SOFTEST * scale / 2:
            return shifted
        more *= 2
    return A


def _log_determinants(product: Callable[[np.ndarray], np.ndarray], A: sp.sparse.csc_array) -> np.ndarray:
    """Samples of a log-determinant, both matrices positive: Lanczos steps in the scalar product of A."""
    n, lu = A.shape[0], factorised(A)
    pivots = lu.U.diagonal()
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (n, SAMPLES))
    upper = sp.sparse.csr_array(lu.L.T)
    starts = sp.sparse.linalg.spsolve_triangular(upper, signs / np.sqrt(pivots)[:, None], lower=False)[lu.perm_r]
    samples = np.zeros(SAMPLES)
    for sample, q in enumerate(starts.T):
        q = q / np.sqrt(n)
        p, before, beta, value = A @ q, 0.0, 0.0, 0.0
        alphas, betas = [], []
        while True:
            r = product(q) - beta * before
            alphas.append(float(r @ q))
            r = r - alphas[-1] * p
            nodes, weights = sp.linalg.eigh_tridiagonal(alphas, betas)
            last, value = value, float(weights[0] ** 2 @ np.log(nodes))
            if len(alphas) > 2 and abs(value - last) * n < 1e-3 or len(alphas) == STEPS:
                break
            w = lu.solve(r)
            beta = float(np.sqrt(max(w @ r, 0.0)))
            if beta < 1e-12:
                break
            betas.append(beta)
            before, p, q = p, r / beta, w / beta
        samples[sample] = n * value
    return samples + np.sum(np.log(pivots))


def hessian_at(problem: Problem, x: Array) -> tuple[Whole | Nearby, np.ndarray]:
    """The Hessian at a state of spins, of those with a moment; and the coordinates of these."""
    near = None if is_local(problem, problem.geometry) else nearby(problem, x, problem.geometry)
    if near is None or near[1].shape[0] <= DENSE:
        H = matrix(problem, x, problem.geometry)
        live = live_coordinates(problem, H.shape[0], problem.geometry)
        return Whole(sp.sparse.csc_array(H[live][:, live])), live
    return Nearby(*near[:2]), near[2]
