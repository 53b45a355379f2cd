"""Truncated Newton steps to a stationary state: a minimum, or a saddle with one mode of negative curvature."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mepmeta import _compiled
from mepmeta.geometry import Geometry
from mepmeta.hessian import hessian_product
from mepmeta.modes import lowest_modes

__all__ = ["Stationary", "newton", "newton_step"]

#: Products with the Hessian that one step may take.
PRODUCTS = 400
STEPS = 300


@partial(jax.jit, static_argnums=4)
def newton_step(
    energy: Callable[[Array], Array], x: Array, mode: Array, radius: Array, geometry: Geometry
) -> tuple[Array, Array, Array, Array]:
    r"""One Newton step of conjugate gradients in a trust region, with the energy turned over along ``mode``.

    .. math:: \big(P\mathcal H P + |v\cdot\mathcal H v|\,v v^{\mathsf T}\big)\,p
        = -(1 - 2\,v v^{\mathsf T})\,\partial E,\qquad P = 1 - v v^{\mathsf T}

    With :math:`v = 0` this leads to a minimum. With v the lowest mode of a state near a saddle of index one the
    turned energy has a minimum there. Isolated soft modes, such as the drift of a skyrmion across a lattice that
    hardly pins it, cost conjugate gradients a few products each, where a quasi-Newton method creeps along them.

    Args:
        energy: twice differentiable callable.
        x: state.
        mode: unit vector v, or zero; of a mode from a nearby state the part tangent at x counts.
        radius: largest length of the step. A direction of negative curvature is followed to there.
        geometry: the space of the states.

    Returns:
        The next state; the work of the turned force on the way, which is positive for a good step; the largest
        force on a particle at the next state; the products it took.

    Source: :cite:t:`steihaug1983`; eigenvector following: :cite:t:`cerjan1981`.
    """

    # A part across the tangent space would be a direction without curvature, and the step would go far along it.
    mode = geometry.project(x, mode)
    mode = mode / jnp.maximum(jnp.linalg.norm(jnp.ravel(mode)), jnp.finfo(x.dtype).tiny)

    def turned(v: Array) -> Array:
        return v - 2 * jnp.vdot(mode, v) * mode

    def product(v: Array) -> Array:
        return hessian_product(energy, x, v, geometry)

    # Along the mode the curvature is taken positive, whichever side of the inflection the state is on.
    stiffness = jnp.abs(jnp.vdot(mode, product(mode)))

    def turned_product(v: Array) -> Array:
        part = jnp.vdot(mode, v)
        across = product(v - part * mode)
        return across - jnp.vdot(mode, across) * mode + stiffness * part * mode

    g = geometry.project(x, jax.grad(energy)(x))
    r = -turned(g)
    size = jnp.linalg.norm(jnp.ravel(r))
    stop = size * jnp.minimum(0.1, jnp.sqrt(size / (1 + size)))
    tiny = jnp.finfo(x.dtype).tiny

    def to_edge(p: Array, d: Array) -> Array:
        """As far as the edge of the trust region along d."""
        a, b, c = jnp.vdot(d, d), jnp.vdot(p, d), jnp.vdot(p, p) - radius**2
        return p + (jnp.sqrt(jnp.maximum(b * b - a * c, 0)) - b) / jnp.maximum(a, tiny) * d

    def body(s: tuple) -> tuple:
        p, r, d, done, k = s
        Hd = turned_product(d)
        curvature, rr = jnp.vdot(d, Hd), jnp.vdot(r, r)
        alpha = rr / jnp.where(curvature > 0, curvature, 1)
        inner = p + alpha * d
        leaves = (curvature <= 0) | (jnp.vdot(inner, inner) >= radius**2)
        after = r - alpha * Hd
        done = leaves | (jnp.linalg.norm(jnp.ravel(after)) <= stop)
        d_after = after + jnp.vdot(after, after) / jnp.maximum(rr, tiny) * d
        return jnp.where(leaves, to_edge(p, d), inner), after, d_after, done, k + 1

    zero = jnp.zeros_like(x)
    start = (zero, r, r, size <= tiny, jnp.zeros((), jnp.int32))
    p, _, _, _, k = lax.while_loop(lambda s: ~s[3] & (s[4] < PRODUCTS), body, start)
    after = geometry.retract(x, p)
    g_after = geometry.project(after, jax.grad(energy)(after))
    work = -jnp.vdot(turned(g + geometry.project(x, g_after)), p) / 2
    return after, work, jnp.max(geometry.sizes(g_after)), k


class Stationary(NamedTuple):
    """State, largest force on a particle there, gradients computed (a product counts two), steps."""

    state: Array
    residual: float
    evaluations: int
    steps: int


def newton(
    energy: Callable[[Array], Array],
    x: Array,
    *,
    climb: bool,
    geometry: Geometry,
    tol: float,
    unit: float,
    max_steps: int = STEPS,
) -> Stationary:
    """Newton steps until the largest force is below ``tol``: to a minimum, or with ``climb`` to a saddle of index one.

    The trust region is half a unit long at first, shrinks after a step against the turned force and grows after a
    good one to its edge. Work is computed from the forces at both ends of a step: the energy is too large to show it.
    """
    radius, evaluations, stale, steps = 0.5 * unit, 1, np.inf, 0
    mode, residual = jnp.zeros_like(x), float(_compiled.force(energy, x, geometry))
    while steps < min(STEPS, max_steps) and residual > tol and np.isfinite(residual) and radius >= 1e-9 * unit:
        if climb and stale > 0.1 * unit:
            modes = lowest_modes(energy, x, 1, geometry=geometry)
            mode, stale, evaluations = modes.vectors[0], 0.0, evaluations + 2 * modes.products
        after, work, size, products = newton_step(energy, x, mode, jnp.asarray(radius, x.dtype), geometry)
        evaluations, steps = evaluations + 2 * int(products) + 2, steps + 1
        if np.isfinite(size) and (work >= 0 or size <= residual):
            moved = float(_compiled.distance(x, after, geometry))
            radius = min(2 * radius, 4 * unit) if moved > 0.7 * radius else radius
            x, residual, stale = after, float(size), stale + moved
        else:
            radius, stale = radius / 4, np.inf
    return Stationary(x, residual, evaluations, steps)
