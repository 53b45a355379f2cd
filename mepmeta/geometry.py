"""Geometries: what distance, direction and straight line mean in the space a state lives in."""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import register_static

from mepmeta._arguments import check_floats, known
from mepmeta._vectorised import arctan_ratio, total

__all__ = ["Flat", "Geometry", "Spheres", "angles_to_spin", "spin_to_angles"]

#: Spins whose sum is shorter than this are antipodal: the great circle between them means nothing.
OPPOSITE = 1e-4


class Geometry(Protocol):
    """What the band asks of the space of states; methods take single states of one shape. See :class:`Flat`."""

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]: ...
    def distance(self, x: Array, y: Array) -> Array: ...
    def project(self, x: Array, v: Array) -> Array: ...
    def retract(self, x: Array, v: Array) -> Array: ...
    def interpolate(self, x: Array, y: Array, t: Array) -> Array: ...
    def ambiguous(self, x: Array, y: Array) -> Array: ...
    def through(self, x: Array, y: Array, v: Array, t: Array, wide: Array) -> Array: ...
    def coordinates(self, x: Array, v: Array) -> Array: ...
    def tangent(self, x: Array, c: Array) -> Array: ...
    def sizes(self, v: Array) -> Array: ...
    def unit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray: ...
    def scaled(self, x: Array, factor: Array) -> Array: ...
    def check(self, x: np.ndarray, name: str) -> None: ...


@register_static
@dataclass(frozen=True)
class Flat:
    r"""Euclidean space of any coordinate shape; the paper uses it on the angles :math:`(\theta, \varphi)`.

    Every method takes single states ``x``, ``y`` of one shape and works in the units of the coordinates.
    """

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        r"""Distance :math:`\lVert y - x\rVert`, the vector at ``x`` that points to ``y``, the one at ``y`` to ``x``."""
        way = y - x
        return jnp.sqrt(total(way * way)), way, -way

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

    def ambiguous(self, x: Array, y: Array) -> Array:
        """Whether there are several shortest ways: never."""
        return jnp.asarray(False)

    def through(self, x: Array, y: Array, v: Array, t: Array, wide: Array) -> Array:
        """:meth:`interpolate`; a ``wide`` way is an arc to the side of ``v``, half as high as it is long."""
        way, v = y - x, jnp.asarray(v)
        aside = v - total(v * way) / total(way * way) * way
        size = total(aside * aside)
        bend = jnp.where(wide & (size > 0), jnp.sqrt(total(way * way) / jnp.where(size > 0, size, 1)) / 2, 0)
        return self.interpolate(x, y, t) + bend * jnp.sin(jnp.pi * t) * aside

    def coordinates(self, x: Array, v: Array) -> Array:
        """Coordinates of a tangent vector in an orthonormal basis at ``x``, as a flat array."""
        return jnp.ravel(v)

    def tangent(self, x: Array, c: Array) -> Array:
        """The tangent vector at ``x`` with coordinates ``c``."""
        return c.reshape(x.shape)

    def sizes(self, v: Array) -> Array:
        """Length of ``v`` for each particle, the last axis holding its coordinates."""
        return jnp.sqrt(jnp.sum(v * v, axis=-1))

    def unit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A length to measure moves by: the farthest that a particle is from ``x`` to ``y``."""
        return np.max(np.linalg.norm(np.asarray(y) - np.asarray(x), axis=-1)).astype(x.dtype)

    def scaled(self, x: Array, factor: Array) -> Array:
        """The state in another unit of length."""
        return factor * x

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

    def __post_init__(self):
        if not isinstance(self.axis, int) or isinstance(self.axis, bool) or abs(self.axis) > 64:  # the most of NumPy
            raise ValueError(f"the axis of the components must be a whole number, got {self.axis!r}")

    def _planes(self, x: Array) -> list[Array]:
        """The three components, each with an axis of length one in their place."""
        return lax.split(x, (1, 1, 1), self.axis % x.ndim)

    def _arcs(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """Squares of the angles between spins, the vectors at ``x`` that lead to ``y`` and those at ``y`` to ``x``."""
        # Numbers of a spin are computed from planes, vectors from whole arrays: then it takes few loops.
        X, Y = self._planes(x), self._planes(y)
        both = [a + b for a, b in zip(X, Y, strict=True)]
        chord2, both2 = _square([b - a for a, b in zip(X, Y, strict=True)]), _square(both)
        far, antipodal = both2 < chord2, both2 < (64 * jnp.finfo(both2.dtype).eps) ** 2
        # The tangent of half the angle or, if it is above a right one, of half of what is missing to half a turn.
        tan2 = jnp.where(far, both2, chord2) / jnp.where(far, chord2, both2)
        arc = arctan_ratio(tan2)
        axis, least = self._detour(x)  # the way out towards an antipodal spin
        # Up to a right angle no root is needed, and nothing is singular where the spins are parallel.
        root = jnp.sqrt(jnp.where(antipodal, 1 - least**2, jnp.where(far, tan2, 1)))
        angle = jnp.pi - jnp.where(antipodal, 0, 2 * root * arc)
        angle2 = jnp.where(far, angle**2, 4 * tan2 * arc**2)
        # Angle over its sine. A quotient comes last: the compiler keeps it, and makes cheaper things anew for each use.
        ratio = jnp.where(antipodal, jnp.pi, jnp.where(far, angle, arc) * (1 + tan2))
        ratio = ratio / jnp.where(antipodal, root, jnp.where(far, 2 * root, 1))
        # What of y or -y is perpendicular to x, from the smaller of their sum and difference, so that no digits cancel.
        # At the other end of half a turn the direction is the same, reversed.
        along = jnp.where(far, _dot(both, X), -chord2 / 2)
        along_back = jnp.where(far, both2 - along, along)
        there = jnp.where(antipodal, axis, jnp.where(far, x + y, y - x)) - jnp.where(antipodal, least, along) * x
        back = jnp.where(antipodal, axis, jnp.where(far, x + y, x - y)) - jnp.where(antipodal, -least, along_back) * y
        return angle2, ratio * there, ratio * back

    def _detour(self, x: Array) -> tuple[Array, Array]:
        """The coordinate axes to which spins are most nearly perpendicular, as vectors, and the components there."""
        X = self._planes(x)
        first, second, third = (jnp.abs(a) for a in X)
        # Of components that are equal but for rounding, the first: one axis, and the same one on every machine.
        tie = jnp.finfo(x.dtype).eps ** 0.5
        pick = [(first <= second + tie) & (first <= third + tie), second <= third + tie]
        number = jnp.where(pick[0], 0, jnp.where(pick[1], 1, 2)).astype(jnp.int32)
        axis = lax.broadcasted_iota(jnp.int32, x.shape, self.axis % x.ndim) == number
        return axis.astype(x.dtype), jnp.where(pick[0], X[0], jnp.where(pick[1], X[1], X[2]))

    def connect(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """Geodesic distance, the tangent vector at ``x`` that leads to ``y``, the one at ``y`` that leads to ``x``."""
        angle2, there, back = self._arcs(x, y)
        return jnp.sqrt(jnp.sum(angle2)), there, back

    def distance(self, x: Array, y: Array) -> Array:
        """Geodesic distance, radian, a scalar."""
        return jnp.sqrt(jnp.sum(self._arcs(x, y)[0]))

    def project(self, x: Array, v: Array) -> Array:
        r"""The part of ``v`` tangent to the spheres at ``x``: :math:`v_i - (v_i\cdot S_i)S_i`."""
        return v - _dot(self._planes(v), self._planes(x)) * x

    def retract(self, x: Array, v: Array) -> Array:
        r"""The state reached from ``x`` by the tangent vector ``v``: :math:`(S_i + v_i)/|S_i + v_i|`."""
        length2 = _square([a + b for a, b in zip(self._planes(x), self._planes(v), strict=True)])
        return (x + v) * (1 / jnp.sqrt(length2))

    def interpolate(self, x: Array, y: Array, t: Array) -> Array:
        """The state a fraction ``t`` in [0, 1] of the way: every spin on its great circle."""
        angle2, way, _ = self._arcs(x, y)
        return self._turned(x, way, angle2, t)

    def _turned(self, x: Array, way: Array, angle2: Array, t: Array, longer: Array | bool = False) -> Array:
        """:meth:`interpolate`, given the way to the other end and the square of its angle; or the longer way round."""
        way = self.project(x, way)
        near = angle2 < jnp.finfo(angle2.dtype).eps ** 2
        angle = jnp.sqrt(jnp.where(near, 1, angle2))
        turn = t * jnp.where(longer, angle - 2 * jnp.pi, angle)
        keep, go = jnp.cos(jnp.where(near, 0, turn)), jnp.where(near, t, jnp.sin(turn) / angle)
        keep, go = lax.optimization_barrier((keep, go))  # else the compiler makes both anew for each component
        return keep * x + go * way

    def _opposite(self, x: Array, y: Array) -> Array:
        """Which spins are antipodal but for what relaxing them leaves."""
        return _square([a + b for a, b in zip(self._planes(x), self._planes(y), strict=True)]) < OPPOSITE**2

    def ambiguous(self, x: Array, y: Array) -> Array:
        """Whether there are several shortest ways: some spins are antipodal."""
        return jnp.any(self._opposite(x, y))

    def through(self, x: Array, y: Array, v: Array, t: Array, wide: Array) -> Array:
        """:meth:`interpolate`; antipodal spins turn through the direction of ``v``, a tangent vector at ``x``.

        On a ``wide`` way other spins turn the longer way round where that leads to the side of ``v`` and the shorter
        one, of more than a right angle, to the other side.
        """
        size = jnp.sqrt(_square(self._planes(v)))
        opposite = self._opposite(x, y)
        lead = opposite & (size > 1e-3 * jnp.max(size))
        middle = v / jnp.where(size > 0, size, 1)
        turned = jnp.cos(jnp.pi * t) * x + jnp.sin(jnp.pi * t) * middle
        angle2, way, _ = self._arcs(x, y)
        longer = wide & ~opposite & (angle2 > (jnp.pi / 2) ** 2) & (_dot(self._planes(v), self._planes(way)) < 0)
        return jnp.where(lead, turned, self._turned(x, way, angle2, t, longer))

    def frame(self, x: Array) -> tuple[Array, Array]:
        """Two fields of unit vectors that span the tangent planes."""
        first = self.project(x, self._detour(x)[0])
        first = first / jnp.sqrt(_square(self._planes(first)))
        return first, jnp.cross(x, first, axis=self.axis)

    def coordinates(self, x: Array, v: Array) -> Array:
        """Coordinates of a tangent vector in an orthonormal basis at ``x``, two for each spin, as a flat array."""
        return jnp.concatenate([jnp.ravel(jnp.sum(e * v, axis=self.axis)) for e in self.frame(x)])

    def tangent(self, x: Array, c: Array) -> Array:
        """The tangent vector at ``x`` with coordinates ``c``."""
        first, second = self.frame(x)
        shape = list(x.shape)
        shape[self.axis] = 1
        a, b = (part.reshape(shape) for part in jnp.split(c, 2))
        return a * first + b * second

    def sizes(self, v: Array) -> Array:
        """Length of ``v`` for each spin."""
        return jnp.squeeze(jnp.sqrt(_square(self._planes(v))), self.axis)

    def unit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A length to measure moves by: one radian."""
        return np.ones((), x.dtype)

    def scaled(self, x: Array, factor: Array) -> Array:
        """The state itself: an angle has no other unit."""
        return x

    def check(self, x: np.ndarray, name: str) -> None:
        """Every spin has three components and the length 1, to the five digits that states stored as text keep."""
        if not -x.ndim <= self.axis < x.ndim or x.shape[self.axis] != 3:
            raise ValueError(f"{name} must hold spins, three components along axis {self.axis}, got shape {x.shape}")
        wrong = np.abs(np.linalg.norm(x, axis=self.axis) - 1)
        if wrong.max() > 1e-5:
            raise ValueError(f"{name} must hold unit vectors: the length of a spin is off by {wrong.max():.1e}")


def _dot(u: list[Array], v: list[Array]) -> Array:
    """Inner product spin by spin. A sum over an axis of length three would be a loop of its own."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _square(v: list[Array]) -> Array:
    return _dot(v, v)


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
    check_floats("the angles", x)
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
    check_floats("the vectors", S)
    if jnp.shape(S)[-1:] != (3,):
        raise ValueError(f"spin_to_angles takes vectors, shape (..., 3), got shape {jnp.shape(S)}")
    if known(S) and not np.all(np.any(np.asarray(S) != 0, axis=-1)):
        raise ValueError("spin_to_angles takes vectors that are not zero: such a one has no direction")
    x, y, z = S[..., 0], S[..., 1], S[..., 2]
    # arctan2 and not arcsin: it keeps all digits next to the poles.
    return jnp.stack([jnp.arctan2(z, jnp.hypot(x, y)), jnp.arctan2(y, x)], axis=-1)
