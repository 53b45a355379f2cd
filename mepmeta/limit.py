"""The limit of the rate: by how much one iteration lowers the error of the barrier in the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array

from mepmeta._arguments import check_option
from mepmeta._checks import check_energy, check_params, check_path, check_untraced
from mepmeta._compiled import compiled
from mepmeta.force import TANGENTS, Tangent, dot, parts_of
from mepmeta.geometry import Flat, Geometry
from mepmeta.neb import SPRINGS, NEBParams, Spring, step
from mepmeta.spectra.hessian import finite_at

__all__ = ["rate_limit"]

#: Up to this many coordinates of a band all eigenvalues are computed, and beyond the largest ones by products.
DENSE = 600


def rate_limit(
    energy: Callable[[Array], Array],
    path: Array,
    params: NEBParams,
    *,
    geometry: Geometry = Flat(),
    tangent: Tangent = "smooth",
    spring: Spring = "raw",
) -> Array:
    r"""The limit of :math:`\rho(k)` for :math:`k \to \infty`: the square of a spectral radius.

    .. math:: \rho_\infty = \Big(\max_i|\lambda_i|\Big)^2,\qquad
        \lambda_i\ \text{of}\ P\,\frac{\partial M}{\partial S}\,P,\qquad P_n = 1 - \hat\tau_n\hat\tau_n^{\mathsf T}

    Near a minimum energy path one iteration multiplies what the path is off by with the derivative of the map M. What
    counts is what lies across the path: images that slide along it leave the barrier as it is, if the springs hold them
    in place. The barrier errs by the square of that, hence the square. Unlike the loss of a few iterations this has no
    start and no noise; it does not see how long it takes until the slowest mode is alone.

    By ``params`` it can be differentiated once: with left and right eigenvectors :math:`l, r`

    .. math:: \mathrm d\lambda = \frac{l^{\mathsf H}\,\mathrm d(P\,\partial M\,P)\,r}{l^{\mathsf H} r}

    Args:
        energy: twice differentiable callable, state to scalar.
        path: the path that the iteration converges to, shape ``(P, *shape)``.
        params: metaparameters :math:`(\gamma, \mu, \beta)`.
        geometry: the space of the states.
        tangent, spring: as in :func:`~mepmeta.neb.neb_step`.

    Returns:
        :math:`\rho_\infty`, scalar; above 1 the iteration does not converge to this path.

    Raises:
        ValueError: for a bad path, energy or metaparameter, or one that is not finite; under ``jit`` or ``vmap``.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 11)
    >>> round(float(mm.rate_limit(mm.single_spin(), mep, mm.NEBParams(0.1, 1.0, 3.0))), 3)
    0.36
    """
    check_path(path, geometry)
    check_option("tangent", tangent, TANGENTS)
    check_option("spring", spring, SPRINGS)
    check_params(params)
    check_untraced("rate_limit", path)
    energy, path = check_energy(energy, path, geometry, axes=1), jnp.asarray(path)
    for image in np.asarray(path):
        finite_at(energy, image)
    how, found = (geometry, tangent, spring), []

    @jax.custom_jvp
    def limit(params: NEBParams) -> Array:
        check_untraced("rate_limit", params)

        def product(one: Callable) -> Callable:
            def of(v: np.ndarray) -> np.ndarray:
                found = np.asarray(one(energy, path, params, np.asarray(v, path.dtype), *how))
                if not np.all(np.isfinite(found)):
                    raise ValueError("the energy, or a derivative of it, is not finite on the path")
                return found

            return of

        found[:] = _slowest(product(_forward), product(_backward), path[1:-1].size)
        return jnp.asarray(abs(found[0]) ** 2, path.dtype)

    @limit.defjvp
    def rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        value, (eigenvalue, left, right) = limit(*primals), found
        parts = jnp.asarray([right.real, right.imag])

        def moved(params: NEBParams) -> Array:
            return jax.vmap(lambda v: _across(energy, path, params, v, *how))(parts)

        _, (real, imaginary) = jax.jvp(moved, primals, tangents)
        weight = eigenvalue.conjugate() / (left.conj() @ right) * left.conj()
        return value, 2 * (jnp.vdot(jnp.asarray(weight.real), real) - jnp.vdot(jnp.asarray(weight.imag), imaginary))

    return limit(jax.tree.map(lambda p: jnp.asarray(p, path.dtype), params))


def _across(energy: Callable, path: Array, params: NEBParams, v: Array, *how: Any) -> Array:
    """The derivative of the map across the path, times a vector, as a flat array."""
    geometry, tangent, spring = how
    inner = path[1:-1]
    unit = parts_of(energy, path, params.beta, geometry, tangent).unit

    def across(v: Array) -> Array:
        v = jax.vmap(geometry.project)(inner, v)
        return v - dot(v, unit) * unit

    def moved(v: Array) -> Array:
        after = step(energy, path.at[1:-1].set(jax.vmap(geometry.retract)(inner, v)), params, geometry, tangent, spring)
        return jax.vmap(lambda x, y: geometry.connect(x, y)[1])(inner, after[0][1:-1])

    change = jax.jvp(moved, (jnp.zeros_like(inner),), (across(v.reshape(inner.shape)),))[1]
    return jnp.ravel(across(change))


@partial(compiled, static_argnums=(4, 5, 6))
def _forward(energy: Callable, path: Array, params: NEBParams, v: Array, *how: Any) -> Array:
    return _across(energy, path, params, v, *how)


@partial(compiled, static_argnums=(4, 5, 6))
def _backward(energy: Callable, path: Array, params: NEBParams, v: Array, *how: Any) -> Array:
    return jax.vjp(lambda u: _across(energy, path, params, u, *how), v)[1](v)[0]


def _slowest(forward: Callable, backward: Callable, n: int) -> tuple[complex, np.ndarray, np.ndarray]:
    """The eigenvalue of largest magnitude, and its left and right eigenvectors."""
    if n <= DENSE:
        values, left, right = sp.linalg.eig(np.stack([forward(e) for e in np.eye(n)], axis=1), left=True)
        k = np.argmax(np.abs(values))
        return complex(values[k]), left[:, k], right[:, k]
    start = np.random.default_rng(0).standard_normal(n)
    operators = (sp.sparse.linalg.LinearOperator((n, n), f, dtype=float) for f in (forward, backward))
    (values, right), (conjugates, left) = (sp.sparse.linalg.eigs(A, 4, which="LM", v0=start) for A in operators)
    k = np.argmax(np.abs(values))
    return complex(values[k]), left[:, np.argmin(np.abs(conjugates - values[k].conj()))], right[:, k]
