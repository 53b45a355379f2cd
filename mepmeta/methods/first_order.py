"""Methods that follow the force, with or without a velocity."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_dataclass

from mepmeta.force import Parts
from mepmeta.geometry import Geometry
from mepmeta.methods.moves import norm, project, sprung, tiny

__all__ = ["FIRE", "Momentum", "SteepestDescent", "StringMethod", "VelocityProjection"]

#: Springs of the methods that use them, in units of the largest curvature of the energy.
SPRING = 0.1


@partial(register_dataclass, data_fields=["step", "spring"], meta_fields=[])
@dataclass(frozen=True)
class SteepestDescent:
    r"""Steepest descent, the method of the paper: :math:`S_n \mapsto S_n + \gamma F_n`.

    Args:
        step: :math:`\gamma` times the largest curvature; stable below 2 without springs.
        spring: :math:`\mu` in units of the largest curvature.

    Source: Eq. (1) of :cite:t:`bushuev2020`.
    """

    spacing: ClassVar[str] = "springs"
    step: float | Array = 0.8
    spring: float | Array = SPRING

    def init(self, path: Array) -> None:
        return None

    def update(self, parts: Parts, state: None, path: Array, geometry: Geometry) -> tuple[Array, None]:
        return self.step * sprung(parts, self.spring), None


@partial(register_dataclass, data_fields=["step", "friction", "spring"], meta_fields=[])
@dataclass(frozen=True)
class Momentum:
    r"""Heavy ball: :math:`v \mapsto (1-\eta)\,v + \gamma F,\ S \mapsto S + v`.

    Args:
        step: :math:`\gamma` times the largest curvature.
        friction: :math:`\eta`, the part of the velocity lost in an iteration.
        spring: :math:`\mu` in units of the largest curvature.

    Source: :cite:t:`polyak1964`.
    """

    spacing: ClassVar[str] = "springs"
    step: float | Array = 0.4
    friction: float | Array = 0.1
    spring: float | Array = SPRING

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, parts: Parts, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        velocity = (1 - self.friction) * project(path, velocity, geometry) + self.step * sprung(parts, self.spring)
        return velocity, velocity


@partial(register_dataclass, data_fields=["step", "spring"], meta_fields=[])
@dataclass(frozen=True)
class VelocityProjection:
    r"""Velocity projection (VPO, "quick min"): the velocity keeps its part along the force, and none against it.

    .. math:: v \mapsto \max(0, v\cdot F)\,F/|F|^2 + \delta t\,F,\qquad S \mapsto S + \delta t\,v

    Args:
        step: :math:`\delta t` times the root of the largest curvature.
        spring: :math:`\mu` in units of the largest curvature.

    Source: :cite:t:`jonsson1998`; for spins :cite:t:`bessarab2015`.
    """

    spacing: ClassVar[str] = "springs"
    step: float | Array = 0.8
    spring: float | Array = SPRING

    def init(self, path: Array) -> Array:
        return jnp.zeros_like(path)

    def update(self, parts: Parts, velocity: Array, path: Array, geometry: Geometry) -> tuple[Array, Array]:
        force = sprung(parts, self.spring)
        along = jnp.maximum(0, jnp.vdot(velocity, force)) / jnp.maximum(jnp.vdot(force, force), tiny(force))
        velocity = (along + self.step) * force
        return self.step * velocity, velocity


class _FIREState(NamedTuple):
    velocity: Array
    step: Array
    mixing: Array
    downhill: Array  # iterations since the velocity last pointed against the force


@partial(register_dataclass, data_fields=["step", "largest_step"], meta_fields=[])
@dataclass(frozen=True)
class FIRE:
    r"""Fast inertial relaxation engine: velocities turned towards the force, a time step that grows while that helps.

    .. math:: v \mapsto (1-\alpha)\,v + \alpha\,|v|\,F/|F|,\quad v \mapsto v + \delta t\,F,\quad
        S \mapsto S + \delta t\,v

    With :math:`v\cdot F \le 0` the velocity is set to zero and :math:`\delta t` halved.

    Args:
        step: :math:`\delta t` at the start, times the root of the largest curvature.
        largest_step: what it may grow to.

    Source: :cite:t:`bitzek2006`, with its constants.
    """

    spacing: ClassVar[str] = "tangential"
    step: float | Array = 0.5
    largest_step: float | Array = 1.0

    def init(self, path: Array) -> _FIREState:
        real = lambda x: jnp.asarray(x, path.dtype)  # noqa: E731
        return _FIREState(jnp.zeros_like(path), real(self.step), real(0.1), jnp.zeros((), jnp.int32))

    def update(self, parts: Parts, s: _FIREState, path: Array, geometry: Geometry) -> tuple[Array, _FIREState]:
        force, v = parts.force, project(path, s.velocity, geometry)
        good = jnp.vdot(v, force) > 0
        speed = norm(v) / jnp.maximum(norm(force), tiny(force))
        v = jnp.where(good, (1 - s.mixing) * v + s.mixing * speed * force, 0)
        downhill = jnp.where(good, s.downhill + 1, 0)
        faster = good & (downhill > 5)
        step = jnp.where(faster, jnp.minimum(1.1 * s.step, self.largest_step), jnp.where(good, s.step, s.step / 2))
        mixing = jnp.where(faster, 0.99 * s.mixing, jnp.where(good, s.mixing, 0.1)).astype(path.dtype)
        v = v + step * force
        return step * v, _FIREState(v, step.astype(path.dtype), mixing, downhill)


@partial(register_dataclass, data_fields=["step", "spring"], meta_fields=["every"])
@dataclass(frozen=True)
class StringMethod(SteepestDescent):
    r"""String method: images descend without springs and are put back to equal distances every ``every`` iterations.

    Args:
        step: step of steepest descent times the largest curvature.
        every: iterations from one redistribution to the next.

    Source: :cite:t:`e2007`.
    """

    spacing: ClassVar[str] = "redistribution"
    spring: float | Array = 0.0
    every: int = 1
