"""The Hessian on the space of states as a sparse matrix, its log-determinant and its lowest modes."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import Array
from scipy.linalg import qr
from scipy.sparse.linalg import LinearOperator, SuperLU, eigsh, splu

from mepmeta._checks import as_pytree, check_state
from mepmeta.energies import Heisenberg
from mepmeta.geometry import Flat, Geometry, Spheres

__all__ = ["LogDeterminant", "hessian", "log_determinant", "lowest_eigenpairs"]

#: Any energy but Heisenberg's is dense here; a matrix of more rows than this is refused.
LARGEST_DENSE = 4000

#: A factorisation without pivoting has to solve a linear system to this relative residual; where only the signs count,
#: next to an eigenvalue, to the other one.
ACCURATE, SIGNS = 1e-9, 1e-3


class LogDeterminant(NamedTuple):
    """Logarithm of the magnitude of a determinant, and how many eigenvalues are negative."""

    value: float
    negative: int


@cache
def degrees_of_freedom(geometry: Geometry, shape: tuple[int, ...], dtype: jnp.dtype) -> int:
    """The dimension of the space of states."""
    x = jax.ShapeDtypeStruct(shape, dtype)
    return jax.eval_shape(geometry.coordinates, x, x).size


def hessian_product(energy: Callable, x: Array, v: Array, geometry: Geometry) -> Array:
    """Covariant Hessian times a tangent vector; the derivative of the projection is the curvature of the spheres."""

    def gradient(x: Array) -> Array:
        return geometry.project(x, jax.grad(energy)(x))

    return geometry.project(x, jax.jvp(gradient, (x,), (v,))[1])


def hessian_in_coordinates(energy: Callable, x: Array, c: Array, geometry: Geometry) -> Array:
    return geometry.coordinates(x, hessian_product(energy, x, geometry.tangent(x, c), geometry))


@partial(jax.jit, static_argnums=2)
def dense_hessian(energy: Callable, x: Array, geometry: Geometry) -> Array:
    identity = jnp.eye(geometry.coordinates(x, x).size, dtype=x.dtype)
    return jax.vmap(lambda c: hessian_in_coordinates(energy, x, c, geometry))(identity)


def hessian(energy: Callable[[Array], Array], x: Array, *, geometry: Geometry = Flat()) -> sp.csc_array:
    r"""The covariant Hessian at a state as a matrix, in the orthonormal basis of ``geometry.coordinates``.

    .. math:: \mathcal H_{ij} = B_i^{\mathsf T}\,\frac{\partial^2 E}{\partial S_i\,\partial S_j}\,B_j
        - \delta_{ij}\,\Big(\frac{\partial E}{\partial S_i}\cdot S_i\Big)\,\mathbb 1

    on spheres, where the 3x2 matrices :math:`B_i` hold two unit vectors across :math:`S_i`; the last term is the
    constraint :math:`|S_i| = 1`. The couplings of a :class:`~mepmeta.energies.Heisenberg` energy are local, and its
    matrix is assembled bond by bond, at a cost proportional to the number of spins. That of another energy is made of
    Hessian-vector products, one for each degree of freedom.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        x: state, better a stationary one.
        geometry: the space of the states.

    Returns:
        Symmetric sparse matrix, energy over squared coordinate, two rows for each spin on spheres.

    Raises:
        ValueError: for a bad state, a Hessian that is not finite, or more than 4000 degrees of freedom of an energy
            that is not a ``Heisenberg``.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> mm.hessian(mm.single_spin(), jnp.array([0.0, 0.0])).toarray().round(9).tolist()  # a minimum of the paper's spin
    [[6.0, 0.0], [0.0, 2.0]]
    """
    check_state(x, "the state")
    geometry.check(np.asarray(x), "the state")
    energy, x = as_pytree(energy), jnp.asarray(x)
    if is_local(energy, geometry):
        H = _local(energy, x, geometry)
    else:
        n = degrees_of_freedom(geometry, x.shape, x.dtype)
        if n > LARGEST_DENSE:
            raise ValueError(
                f"the dense Hessian of {n} degrees of freedom is too large, the limit is {LARGEST_DENSE}; "
                "a Heisenberg energy on Spheres() has a sparse one"
            )
        H = sp.csc_array(dense_hessian(energy, x, geometry))
    if not np.all(np.isfinite(H.data)):
        raise ValueError("the Hessian of the energy is not finite at this state")
    return H


def is_local(energy: Callable, geometry: Geometry) -> bool:
    """Whether :func:`hessian` makes a sparse matrix."""
    return isinstance(energy, Heisenberg) and isinstance(geometry, Spheres)


@partial(jax.jit, static_argnums=2)
def _gradient_and_frame(energy: Heisenberg, x: Array, geometry: Spheres) -> list[Array]:
    return [jnp.moveaxis(v, geometry.axis, -1) for v in (x, jax.grad(energy)(x), *geometry.frame(x))]


def _local(energy: Heisenberg, x: Array, geometry: Spheres) -> sp.csc_array:
    """Assembled bond by bond. Row ``a * N + i`` belongs to basis vector a of spin i, as in ``Spheres.coordinates``."""
    N, shape = int(np.prod(energy.shape)), energy.shape
    found = _gradient_and_frame(energy, x, geometry)
    spins, gradient, first, second = (np.asarray(v, float).reshape(N, 3) for v in found)
    basis = np.stack([first, second], axis=1)  # (N, 2, 3)
    rows, columns, entries = [], [], []

    def add(i: np.ndarray, j: np.ndarray, blocks: np.ndarray) -> None:
        """The block of spins i and j, each (n, 3, 3), seen in the bases."""
        seen = np.einsum("nac,ncd,nbd->abn", basis[i], blocks, basis[j])
        for a in range(2):
            for b in range(2):
                rows.append(a * N + i), columns.append(b * N + j), entries.append(seen[a, b])

    def sites(constant: Array, tail: int) -> np.ndarray:
        """A constant for each site, shape (N, 3) or (N,)."""
        constant, end = np.asarray(constant, float), (3,) * tail
        return np.broadcast_to(constant, (*shape, *end)).reshape(N, *end)

    for offset, J, D in energy.bonds:
        index, inside = np.indices(shape), np.ones(shape, bool)
        for axis, (step, wrap) in enumerate(zip(offset, energy.periodic, strict=True)):
            index[axis] += step
            inside &= wrap | ((index[axis] >= 0) & (index[axis] < shape[axis]))
        i = np.flatnonzero(inside)
        j = np.ravel_multi_index(tuple(index), shape, mode="wrap").ravel()[i]
        # -J S.S' - D.(S x S') = S.(-J + [D x]) S'
        blocks = -sites(J, 0)[i, None, None] * np.eye(3)
        if D is not None:
            blocks = blocks + np.cross(np.eye(3), sites(D, 1)[i, None, :])
        add(i, j, blocks)
        add(j, i, np.swapaxes(blocks, 1, 2))
    every, along = np.arange(N), np.sum(gradient * spins, axis=1)
    local = -along[:, None, None] * np.eye(3)
    for K, axis in energy.anisotropy:
        a = sites(axis, 1)
        local = local - 2 * sites(K, 0)[:, None, None] * a[:, :, None] * a[:, None, :]
    add(every, every, local)
    place = np.concatenate(rows), np.concatenate(columns)
    return sp.csc_array((np.concatenate(entries), place), shape=(2 * N, 2 * N))


def factorised(A: sp.csc_array, accurate: float = ACCURATE) -> SuperLU:
    r"""Sparse factors :math:`A = L\,U` without pivoting, rows and columns in one order of minimum degree.

    For a symmetric matrix this is :math:`L\,D\,L^{\mathsf T}`, and by Sylvester's law of inertia the signs of D are
    those of the eigenvalues.
    """
    lu = splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    probe = np.random.default_rng(0).standard_normal(A.shape[0])
    error = np.linalg.norm(A @ lu.solve(probe) - probe) / np.linalg.norm(probe)
    if not np.array_equal(lu.perm_r, lu.perm_c) or not error < accurate:
        raise ValueError(
            f"the matrix is singular or nearly so: a linear system is solved to {error:.0e} only. "
            "Zero modes have to be named (across=...)"
        )
    return lu


def log_determinant(H: sp.csc_array, across: np.ndarray | None = None) -> LogDeterminant:
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
        H: symmetric sparse matrix, shape ``(n, n)``; see :func:`hessian`.
        across: orthonormal columns Z, shape ``(n, k)``.

    Raises:
        ValueError: for a matrix that is not square or singular to working precision.

    Source: Sylvester's law of inertia; the same quantity by block elimination on a lattice: :cite:t:`potkina2020`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> H = mm.hessian(mm.single_spin(), jnp.array([0.0, jnp.pi / 2]))  # eigenvalues 4 and -2
    >>> d = mm.log_determinant(H)
    >>> round(d.value, 9) == round(float(jnp.log(8.0)), 9), d.negative
    (True, 1)
    """
    if H.ndim != 2 or H.shape[0] != H.shape[1]:
        raise ValueError(f"a determinant takes a square matrix, got shape {H.shape}")
    Z = np.zeros((H.shape[0], 0)) if across is None else np.asarray(across, float)
    k = Z.shape[1]
    if k == 0:
        pivots = factorised(H).U.diagonal()
        return LogDeterminant(float(np.sum(np.log(np.abs(pivots)))), int(np.sum(pivots < 0)))
    # The coordinates where the zero modes are large: with these held, none of them is free.
    held = qr(Z.T, pivoting=True, mode="economic")[2][:k]
    stiffness = float(np.abs(H.diagonal()).mean()) or 1.0
    E = sp.csc_array((np.ones(k), (held, np.arange(k))), shape=(H.shape[0], k))
    lu = factorised(sp.csc_array(H + stiffness * (E @ E.T)))
    V = np.hstack([Z, np.sqrt(stiffness) * E.toarray()])
    small = np.diag(np.repeat([0.0, 1.0], k)) - V.T @ lu.solve(V)
    pivots, extra = lu.U.diagonal(), np.linalg.eigvalsh((small + small.T) / 2)
    # Bordering by Z adds one eigenvalue of each sign for every column.
    negative = int(np.sum(pivots < 0)) + int(np.sum(extra < 0)) - k
    return LogDeterminant(float(np.sum(np.log(np.abs(pivots))) + np.sum(np.log(np.abs(extra)))), negative)


def lowest_eigenpairs(H: sp.csc_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k lowest eigenvalues of a sparse symmetric matrix, ascending, and their eigenvectors as columns.

    Lanczos with the inverse of H shifted to above zero. The signs of factors say that the shift suffices, and how many
    eigenvalues there are up to the highest one found: Lanczos sees one direction of a degenerate eigenspace, so it
    looks again, across what it has found, until none is missing. Small matrices are diagonalised.
    """
    n = H.shape[0]
    if n <= 600 or k > n // 4:
        values, vectors = np.linalg.eigh(H.toarray())
        return values[:k], vectors[:, :k]
    largest, one = float(np.max(np.abs(H).sum(axis=0))), sp.eye_array(n)  # a bound on the spectrum
    shift = 1e-2 * largest
    lu = factorised(sp.csc_array(H + shift * one))
    while np.any(lu.U.diagonal() < 0):
        shift *= 2
        lu = factorised(sp.csc_array(H + shift * one))
    values, vectors, missing, random = np.zeros(0), np.zeros((n, 0)), k, np.random.default_rng(0)
    while missing > 0:

        def inverse(v: np.ndarray, found: np.ndarray = vectors) -> np.ndarray:
            v = np.ravel(v)
            v = lu.solve(v - found @ (found.T @ v))
            return v - found @ (found.T @ v)

        operator, start = LinearOperator((n, n), matvec=inverse, dtype=float), random.standard_normal(n)
        more, columns = eigsh(operator, missing, which="LA", v0=start, ncv=min(n, 2 * missing + 20), tol=1e-11)
        values, vectors = np.append(values, 1 / more - shift), np.linalg.qr(np.hstack([vectors, columns]))[0]
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        # Just above the k-th: its own multiplet counts.
        up_to = values[k - 1] + 1e-7 * largest
        there = int(np.sum(factorised(sp.csc_array(H - up_to * one), SIGNS).U.diagonal() < 0))
        missing = there - int(np.sum(values < up_to))
    return values[:k], vectors[:, :k]
