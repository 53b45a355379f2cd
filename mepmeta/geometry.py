"""Geometries: what distance, direction and straight line mean in the space a state lives in."""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_static

__all__ = ["Flat", "Geometry", "Spheres", "angles_to_spin", "spin_to_angles"]


class Geometry(Protocol):
    """What the band asks of the space of states; methods take single states of one shape. See :class:`Flat`."""

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]: ...
    def project(self, x: Array, v: Array) -> Array: ...
    def retract(self, x: Array, v: Array) -> Array: ...
    def interpolate(self, x: Array, y: Array, t: Array) -> Array: ...
    def coordinates(self, x: Array, v: Array) -> Array: ...
    def tangent(self, x: Array, c: Array) -> Array: ...
    def sizes(self, v: Array) -> Array: ...
    def unit(self, x: Array, y: Array) -> Array: ...
    def check(self, x: np.ndarray, name: str) -> None: ...


@register_static
@dataclass(frozen=True)
class Flat:
    r"""Euclidean space of any coordinate shape; the paper uses it on the angles :math:`(\theta, \varphi)`.

    Every method takes single states ``x``, ``y`` of one shape and works in the units of the coordinates.
    """

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        r"""Distance :math:`\lVert y - x\rVert`, the vector at ``x`` that points to ``y``, the one at ``y`` to ``x``."""
        return jnp.linalg.norm(jnp.ravel(y - x)), y - x, x - y

    def distance(self, x: Array, y: Array) -> Array:
        r"""Euclidean distance :math:`\lVert y - x\rVert`, a scalar."""
        return self.connect(x, y)[0]

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

    def coordinates(self, x: Array, v: Array) -> Array:
        """Coordinates of a tangent vector in an orthonormal basis at ``x``, as a flat array."""
        return jnp.ravel(v)

    def tangent(self, x: Array, c: Array) -> Array:
        """The tangent vector at ``x`` with coordinates ``c``."""
        return c.reshape(x.shape)

    def sizes(self, v: Array) -> Array:
        """Length of ``v`` for each particle, the last axis holding its coordinates."""
        return jnp.sqrt(jnp.sum(v * v, axis=-1))

    def unit(self, x: Array, y: Array) -> Array:
        """A length to measure moves by: the farthest that a particle is from ``x`` to ``y``."""
        return jnp.max(self.sizes(y - x))

    def check(self, x: np.ndarray, name: str) -> None:
        """Every finite state is good."""


@register_static
@dataclass(frozen=True)
class Spheres:
    r"""Product of unit spheres: one spin :math:`S_i`, :math:`|S_i| = 1`, at every site.

    A path is made of great circles, one for each spin, run through at constant speed. The distance is

    .. math:: \mathrm{dist}(S, S') = \Big(\sum_i \vartheta_i^2\Big)^{1/2},\qquad
        \vartheta_i = 2\,\mathrm{atan2}(|S_i - S'_i|,\ |S_i + S'_i|)

    which keeps all digits for parallel and for antipodal spins, where an arccos loses half of them. Between
    antipodal spins every great circle is a shortest one. Then the one is taken that leads over the coordinate axis
    to which the spin is most nearly perpendicular, the first of those in the order x, y, z.

    Args:
        axis: where the three components are in the array of a state. It is -1 for the arrays of the public calls.
    """

    axis: int = -1

    def _dot(self, u: Array, v: Array) -> Array:
        return jnp.sum(u * v, axis=self.axis, keepdims=True)

    def _detour(self, x: Array) -> Array:
        """Unit vectors perpendicular to ``x``: the way out towards an antipodal spin."""
        shape = [1] * x.ndim
        shape[self.axis] = 3
        # The offsets decide between equal components; an argmin would break up the loop over the spins.
        size = jnp.abs(x) + jnp.finfo(x.dtype).eps * jnp.arange(3, dtype=x.dtype).reshape(shape)
        v = self.project(x, (size == jnp.min(size, axis=self.axis, keepdims=True)).astype(x.dtype))
        return v / jnp.sqrt(self._dot(v, v))

    def _angles(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Squares of chord, sum and angle; angle over its sine; whether antipodal. Smooth at 0 and free of 0/0."""
        eps = jnp.finfo(x.dtype).eps
        chord2, sum2 = self._dot(x - y, x - y), self._dot(x + y, x + y)
        near, antipodal = chord2 < eps**2, sum2 < (64 * eps) ** 2
        chord, total = jnp.sqrt(jnp.where(near, 1, chord2)), jnp.sqrt(jnp.where(antipodal, 1, sum2))
        angle = 2 * jnp.arctan2(chord, jnp.where(antipodal, 0, total))
        ratio = jnp.where(near | antipodal, 1, 2 * angle / (chord * total))
        return chord2, sum2, jnp.where(near, chord2, angle**2), ratio, antipodal

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """Geodesic distance, the tangent vector at ``x`` that leads to ``y``, the one at ``y`` that leads to ``x``."""
        chord2, sum2, angle2, ratio, antipodal = self._angles(x, y)
        # Projected from the smaller of y - x and y + x, so that no digits cancel.
        far = sum2 < chord2
        there, back = self.project(x, jnp.where(far, x + y, y - x)), self.project(y, jnp.where(far, x + y, x - y))
        out = jnp.pi * self._detour(x)  # at the other end of the half circle the direction is the same, reversed
        there, back = jnp.where(antipodal, out, ratio * there), jnp.where(antipodal, out, ratio * back)
        return jnp.sqrt(jnp.sum(angle2)), there, back

    def distance(self, x: Array, y: Array) -> Array:
        """Geodesic distance, radian, a scalar."""
        return jnp.sqrt(jnp.sum(self._angles(x, y)[2]))

    def project(self, x: Array, v: Array) -> Array:
        r"""The part of ``v`` tangent to the spheres at ``x``: :math:`v_i - (v_i\cdot S_i)S_i`."""
        return v - self._dot(v, x) * x

    def retract(self, x: Array, v: Array) -> Array:
        r"""The state reached from ``x`` by the tangent vector ``v``: :math:`(S_i + v_i)/|S_i + v_i|`."""
        moved = x + v
        return moved / jnp.sqrt(self._dot(moved, moved))

    def interpolate(self, x: Array, y: Array, t: Array) -> Array:
        """The state a fraction ``t`` in [0, 1] of the way: every spin on its great circle."""
        chord2, sum2, angle2, ratio, antipodal = self._angles(x, y)
        way = ratio * self.project(x, jnp.where(sum2 < chord2, x + y, y - x))
        way = jnp.where(antipodal, jnp.pi * self._detour(x), way)
        near = angle2 < jnp.finfo(x.dtype).eps ** 2
        angle = jnp.sqrt(jnp.where(near, 1, angle2))
        return jnp.cos(t * jnp.where(near, 0, angle)) * x + jnp.where(near, t, jnp.sin(t * angle) / angle) * way

    def frame(self, x: Array) -> tuple[Array, Array]:
        """Two fields of unit vectors that span the tangent planes."""
        first = self._detour(x)
        return first, jnp.cross(x, first, axis=self.axis)

    def coordinates(self, x: Array, v: Array) -> Array:
        """Coordinates of a tangent vector in an orthonormal basis at ``x``, two for each spin, as a flat array."""
        return jnp.concatenate([jnp.ravel(self._dot(e, v)) for e in self.frame(x)])

    def tangent(self, x: Array, c: Array) -> Array:
        """The tangent vector at ``x`` with coordinates ``c``."""
        first, second = self.frame(x)
        a, b = (part.reshape(self._dot(x, x).shape) for part in jnp.split(c, 2))
        return a * first + b * second

    def sizes(self, v: Array) -> Array:
        """Length of ``v`` for each spin."""
        return jnp.sqrt(jnp.sum(v * v, axis=self.axis))

    def unit(self, x: Array, y: Array) -> Array:
        """A length to measure moves by: one radian."""
        return jnp.ones((), x.dtype)

    def check(self, x: np.ndarray, name: str) -> None:
        """Every spin has three components and the length 1, to the five digits that states stored as text keep."""
        if x.ndim < 1 or x.shape[self.axis] != 3:
            raise ValueError(f"{name} must hold spins, three components along axis {self.axis}, got shape {x.shape}")
        wrong = np.abs(np.linalg.norm(x, axis=self.axis) - 1)
        if wrong.max() > 1e-5:
            raise ValueError(f"{name} must hold unit vectors: the length of a spin is off by {wrong.max():.1e}")


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
