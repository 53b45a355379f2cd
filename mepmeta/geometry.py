"""Geometries: what distance, direction and straight line mean in the space a state lives in."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_static

__all__ = ["Flat", "angles_to_spin", "spin_to_angles"]


@register_static
@dataclass(frozen=True)
class Flat:
    r"""Euclidean space of any coordinate shape; the paper uses it on the angles :math:`(\theta, \varphi)`.

    Every method takes single states ``x``, ``y`` of one shape and works in the units of the coordinates.
    """

    def displacement(self, x: Array, y: Array) -> Array:
        """The vector at ``x`` that points to ``y`` and is as long as their distance: ``y - x``."""
        return y - x

    def distance(self, x: Array, y: Array) -> Array:
        r"""Euclidean distance :math:`\lVert y - x\rVert`, a scalar."""
        return jnp.linalg.norm(jnp.ravel(y - x))

    def project(self, x: Array, v: Array) -> Array:
        """The part of ``v`` in the tangent space at ``x``: all of it."""
        return v

    def retract(self, x: Array, v: Array) -> Array:
        """The state reached from ``x`` by the tangent vector ``v``: ``x + v``."""
        return x + v

    def interpolate(self, x: Array, y: Array, t: Array) -> Array:
        """The state a fraction ``t`` in [0, 1] of the straight way from ``x`` to ``y``."""
        # Not x + t (y - x): this form returns x and y themselves at t = 0 and 1, so an image on the
        # barrier has the same energy whichever of its two segments it is read from.
        return (1 - t) * x + t * y


def angles_to_spin(x: Array) -> Array:
    r"""The paper's chart: :math:`S = (\cos\varphi\cos\theta, \sin\varphi\cos\theta, \sin\theta)`.

    Args:
        x: latitude and longitude :math:`(\theta, \varphi)` in radian, shape ``(..., 2)``.

    Returns:
        Unit vectors, shape ``(..., 3)``. The poles :math:`\theta = \pm\pi/2` are :math:`\pm z`.

    Source: Section 2 of :cite:t:`bushuev2020`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> x = jnp.array([0.3, -2.0])
    >>> bool(jnp.allclose(mm.spin_to_angles(mm.angles_to_spin(x)), x))
    True
    """
    if jnp.shape(x)[-1:] != (2,):
        raise ValueError(f"angles_to_spin takes (theta, phi), shape (..., 2), got shape {jnp.shape(x)}")
    theta, phi = x[..., 0], x[..., 1]
    return jnp.stack([jnp.cos(phi) * jnp.cos(theta), jnp.sin(phi) * jnp.cos(theta), jnp.sin(theta)], axis=-1)


def spin_to_angles(S: Array) -> Array:
    r"""Inverse of the chart: :math:`\theta = \mathrm{atan2}(S_z, \sqrt{S_x^2 + S_y^2})`,
    :math:`\varphi = \mathrm{atan2}(S_y, S_x)`.

    Args:
        S: vectors of any positive length, shape ``(..., 3)``.

    Returns:
        :math:`(\theta, \varphi)` in radian, shape ``(..., 2)``, :math:`\theta \in [-\pi/2, \pi/2]` and
        :math:`\varphi \in (-\pi, \pi]`. At a pole :math:`\varphi` is arbitrary and comes out as 0.
    """
    if jnp.shape(S)[-1:] != (3,):
        raise ValueError(f"spin_to_angles takes vectors, shape (..., 3), got shape {jnp.shape(S)}")
    x, y, z = S[..., 0], S[..., 1], S[..., 2]
    # arctan2 and not arcsin: it keeps all digits next to the poles.
    return jnp.stack([jnp.arctan2(z, jnp.hypot(x, y)), jnp.arctan2(y, x)], axis=-1)
