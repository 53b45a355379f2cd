r"""How converged a band is: one measure, evaluated here in double precision on what any of the codes returns.

.. math:: R = \max_{n,i}\,\big|(g_n - r_n\,(g_n\cdot\hat\tau_n)\,\hat\tau_n)_i\big|,\qquad g_n = \partial E[S_n]

with :math:`r_n = 2` on the highest inner image and 1 on the others, the largest being taken over particles i. Springs
do not count. The tangent is the improved one. On spheres there are two conventions for the difference of neighbouring
images: the geodesic one (mepmeta) and the chord, projected to the tangent plane (Spirit). Bands that are converged
with one are off by the curvature of the path with the other. So R is computed with both and the smaller one counts.

The force on the highest image alone, where inversion changes no length at a saddle, depends on no tangent at all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mepmeta as mm
from mepmeta import tangents

__all__ = ["Residuals", "measure", "spread"]


class Residuals(NamedTuple):
    """What :func:`measure` returns; energy over coordinate, for spins over radian.

    Args:
        band: R, with the convention of tangents that gives the smaller value.
        across: the same with r = 1 everywhere: how far a band is converged that does not climb.
        top: largest force on a particle of the highest inner image.
        barrier: its energy above the first image.
        image: its number.
    """

    band: float
    across: float
    top: float
    barrier: float
    image: int


@jax.jit
def _spheres(energy, path):
    geometry = mm.Spheres()
    energies, gradients = jax.vmap(jax.value_and_grad(energy))(path)
    inner = path[1:-1]
    g = jax.vmap(geometry.project)(inner, gradients[1:-1])
    _, there, back = jax.vmap(geometry.connect)(path[:-1], path[1:])
    chord = jnp.diff(path, axis=0)
    project = jax.vmap(geometry.project)
    return energies, [
        _largest(g, tangents.improved(forward, backward, energies), energies)
        for forward, backward in (
            (there[1:], -back[:-1]),
            (project(inner, chord[1:]), project(inner, chord[:-1])),
        )
    ]


def _flat(energy, path):
    energies, gradients = jax.vmap(jax.value_and_grad(energy))(path)
    d = jnp.diff(path, axis=0)
    return energies, [_largest(gradients[1:-1], tangents.improved(d[1:], d[:-1], energies), energies)]


_flat = jax.jit(_flat, static_argnums=0)


def _largest(g, tau, energies):
    """R, R without climbing, and the force on the highest image."""
    axes = tuple(range(1, g.ndim))
    dot = lambda u, v: jnp.sum(u * v, axis=axes, keepdims=True)  # noqa: E731
    unit = tau / jnp.sqrt(dot(tau, tau))
    top = jnp.argmax(energies[1:-1])
    remove = jnp.ones((g.shape[0],) + (1,) * len(axes)).at[top].set(2)
    along = dot(g, unit) * unit
    return [jnp.max(jnp.linalg.norm(v, axis=-1)) for v in (g - remove * along, g - along, g[top])]


def measure(energy, path: np.ndarray, geometry) -> Residuals:
    """Measure a band of double precision, shape ``(P, *shape)``. One that is not finite is infinitely far off."""
    path = jnp.asarray(path, jnp.float64)
    if not np.all(np.isfinite(path)):
        return Residuals(np.inf, np.inf, np.inf, np.nan, 1)
    if isinstance(geometry, mm.Spheres):
        path = path / jnp.linalg.norm(path, axis=-1, keepdims=True)
        energies, found = _spheres(energy, path)
    else:
        energies, found = _flat(energy, path)
    found = np.nan_to_num(np.array(found, float), nan=np.inf).min(axis=0)
    image = 1 + int(np.argmax(energies[1:-1]))
    return Residuals(*found.tolist(), float(energies[image] - energies[0]), image)


def spread(values) -> tuple[float, float, float]:
    """Median, and the quartiles around it."""
    low, middle, high = np.percentile(np.asarray(values, float), [25, 50, 75])
    return float(middle), float(low), float(high)
