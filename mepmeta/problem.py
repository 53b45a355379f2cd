"""A problem: an energy in a geometry, in units of its own and in the order of memory that is fast.

Every public call makes its problem once and hands it on as one argument. Inside, lengths are parts of the problem's
unit of length and energies parts of its unit of energy, so that no number there depends on joule or ångström:

.. math:: E'(y) = E(a\\,y)/\\epsilon,\\qquad \\epsilon = a^2\\max_x|\\partial^2 E(x)|
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_dataclass

from mepmeta._checks import check_energies
from mepmeta._compiled import compiled
from mepmeta._trace import by_shapes
from mepmeta.geometry import Geometry, Spheres
from mepmeta.spectra.modes import largest_curvature, rough

__all__ = ["ROUNDINGS", "Problem", "pose", "tolerance"]

#: Where the curvature is less than this part of the force per unit of length, the force sets the unit.
SLOPE = 1e-2
#: The curvature beside that of exchange, in units of the largest one, with which stiff waves are damped.
MASS = 0.05
#: The least force that can be told from zero, in roundings of the unit of force.
ROUNDINGS = 100
#: An energy whose curvature changes only over this many times the largest coordinate is taken for quadratic.
BEYOND = 1e6


@partial(register_dataclass, data_fields=["energy", "energy_unit", "length_unit"], meta_fields=["geometry", "moved"])
@dataclass(frozen=True)
class Problem:
    r"""An energy in units of its own; call it with a state in these units.

    Args:
        energy: callable, in the units of its author, of states in the order of memory that is used inside.
        energy_unit: :math:`\epsilon`, the largest curvature times the squared unit of length.
        length_unit: :math:`a`; on spheres 1, a radian.
        geometry: the space of the states inside.
        moved: whether the components of spins, last in the arrays of public calls, come first inside.
    """

    energy: Callable[[Array], Array]
    energy_unit: Array
    length_unit: Array
    geometry: Geometry
    moved: bool

    @property
    def by_differences(self) -> bool:
        """Whether second derivatives are differences of forces: the energy gives first derivatives only."""
        return isinstance(self.energy, Partial) and self.energy.func is _by_differences

    def __call__(self, y: Array) -> Array:
        length, energy = (unit.astype(y.dtype) for unit in (self.length_unit, self.energy_unit))
        return self.energy(self.geometry.scaled(y, length)) / energy

    def gradient(self, y: Array) -> Array:
        """The gradient on the space of states."""
        return self.geometry.project(y, jax.grad(self)(y))

    @property
    def pairs(self) -> Callable:
        """The pairs of an energy that tells them, see :meth:`~mepmeta.magnets.heisenberg.Heisenberg.pairs`."""
        pairs = self.energy.pairs  # an AttributeError says that there are none
        return lambda: ((i, j, blocks / self.units[0]) for i, j, blocks in pairs())

    @property
    def rough_pairs(self) -> Callable:
        """The pairs of an energy near this one, see :attr:`mepmeta.energies.Sum.rough_pairs`."""
        pairs = self.energy.rough_pairs
        return lambda: ((i, j, blocks / self.units[0]) for i, j, blocks in pairs())

    def damped(self, y: Array, v: Array) -> Array:
        r"""A tangent vector at y with its stiff waves damped: a rough inverse of the Hessian, without a gradient.

        By the energy's own ``damped(v, mass)``, with a curvature for the mass, as
        :meth:`~mepmeta.magnets.heisenberg.Heisenberg.damped`; the vector itself where the energy has none.
        """
        if not hasattr(self.energy, "damped"):
            return v
        return self.geometry.project(y, self.energy.damped(v, MASS * self.energy_unit / self.length_unit**2))

    @property
    def live(self) -> Callable:
        """Sites with a moment of an energy that tells them, as :meth:`~mepmeta.magnets.heisenberg.Heisenberg.live`."""
        return self.energy.live

    @property
    def units(self) -> tuple[float, float, float]:
        """Units of energy, length and force, as plain numbers."""
        energy, length = float(self.energy_unit), float(self.length_unit)
        return energy, length, energy / length

    # States go in and out by NumPy, and the calls below are one program each: op by op, every operation would be
    # compiled by itself for every shape.

    def inside(self, x: Array, axis: int = 0) -> np.ndarray:
        """A state, or with ``axis=1`` a path, in units of the problem."""
        x = np.asarray(x)
        x = np.ascontiguousarray(np.moveaxis(x, -1, axis)) if self.moved else x
        return self.geometry.scaled(x, 1 / self.length_unit)

    def outside(self, y: Array, axis: int = 0) -> Array:
        """The way back."""
        y = np.asarray(y)
        y = np.moveaxis(y, axis, -1) if self.moved else y
        return jnp.asarray(self.geometry.scaled(y, self.length_unit.astype(y.dtype)))

    def unscaled(self, vectors: Array) -> Array:
        """Tangent vectors, one for each row, in the order of public arrays; their lengths stay."""
        return jnp.asarray(np.moveaxis(np.asarray(vectors), 1, -1) if self.moved else vectors)

    def measured(self, *states: Array) -> "Problem":
        """The same problem in units of energy measured anew, at states inside."""
        curvature = float(np.max([largest_curvature(self, y, self.geometry) for y in states]))
        if not np.isfinite(curvature):
            return self
        # At an inflection there is nothing but a slope; where there is no slope either, any unit is good.
        curvature = max(curvature, SLOPE * max(self.look(y)[1] for y in states)) or 1.0
        return replace(self, energy_unit=self.energy_unit * np.asarray(curvature, self.energy_unit.dtype))

    def look(self, y: Array) -> tuple[float, float, Array]:
        """The energy of a state, the largest force on a particle, and the gradient."""
        energy, force, gradient = _look(self, y)
        return float(energy), float(force), gradient

    @compiled
    def energies(self, path: Array) -> Array:
        """Energies of all images."""
        return jax.vmap(self)(path)

    def distance(self, x: Array, y: Array) -> float:
        return float(_connected(x, y, self.geometry)[0])

    def way(self, x: Array, y: Array) -> Array:
        """The tangent vector at x that leads to y."""
        return _connected(x, y, self.geometry)[1]

    def between(self, x: Array, y: Array, part: float) -> Array:
        """The state this part of the way from x to y."""
        return _between(x, y, np.asarray(part, x.dtype), self.geometry)

    def moved_by(self, y: Array, v: Array) -> Array:
        """The state reached by a tangent vector; by zero, the state put back to the last digit."""
        return _retracted(y, v, self.geometry)


@compiled
def _look(problem: Problem, y: Array) -> tuple[Array, Array, Array]:
    value, slope = jax.value_and_grad(problem)(y)
    slope = problem.geometry.project(y, slope)
    return value, jnp.max(problem.geometry.sizes(slope)), slope


@partial(compiled, static_argnums=2)
def _connected(x: Array, y: Array, geometry: Geometry) -> tuple[Array, Array]:
    return geometry.connect(x, y)[:2]


@partial(compiled, static_argnums=3)
def _between(x: Array, y: Array, part: Array, geometry: Geometry) -> Array:
    return geometry.interpolate(x, y, part)


@partial(compiled, static_argnums=2)
def _retracted(y: Array, v: Array, geometry: Geometry) -> Array:
    return geometry.retract(y, v)


def pose(energy: Callable, geometry: Geometry, *states: Array, unit: float | None = None) -> Problem:
    """The problem of an energy, in units measured at states of the public arrays.

    The unit of length is ``unit``, on spheres a radian. Where it is not given it is the distance of two states, or of
    one the length over which its curvature changes. The unit of force is that of a displacement by it. An energy that
    is not finite at the states is a ``ValueError``.
    """
    states = [np.asarray(x) for x in states]
    moved = geometry == Spheres() and hasattr(energy, "component_first")
    if moved:  # x, y, z as planes: the order in memory that is fast
        energy, geometry = energy.component_first(), Spheres(axis=0)
        states = [np.ascontiguousarray(np.moveaxis(x, -1, 0)) for x in states]
    real = partial(np.asarray, dtype=states[0].dtype)
    whole = Problem(energy, real(1.0), real(1.0), geometry, moved)
    check_energies(np.array([whole.look(x)[0] for x in states]))
    smooth = has_second_derivatives(energy, states[0])
    length = real(0.0 if unit is None else unit)
    if not length > 0:
        length = geometry.unit(states[0], states[-1])
    if not length > 0:  # one state in flat space
        length = _own_length(energy, states[0], smooth)
    if not smooth:
        energy = Partial(_by_differences, energy, length)
    problem = Problem(energy, real(1.0), real(length), geometry, moved)
    return problem.measured(*(geometry.scaled(x, 1 / problem.length_unit) for x in states))


def tolerance(tol: float | None, default: float, problem: Problem, dtype: jnp.dtype) -> float:
    """A force to reach, in units of the problem: what was asked for, or by default what the dtype can reach of it."""
    if tol is not None:
        return tol / problem.units[2]
    return max(default, ROUNDINGS * float(jnp.finfo(dtype).eps))


@by_shapes
def has_second_derivatives(energy: Callable, x: Array) -> bool:
    """Whether JAX can differentiate the energy twice; one that another program computes may give forces only."""
    try:
        jax.eval_shape(_second_derivative, energy, x)
        if "custom_vjp" in str(jax.make_jaxpr(energy)(x)):  # of a rule for the rule JAX says so when it makes a program
            jax.jit(_second_derivative).lower(energy, x)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True


@compiled
def _second_derivative(energy: Callable, x: Array) -> tuple[Array, Array]:
    return jax.jvp(jax.grad(energy), (x,), (x,))


@jax.custom_jvp
def _gradient(energy: Callable, length: Array, x: Array) -> Array:
    return jax.grad(energy)(x)


@_gradient.defjvp
def _gradient_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The gradient, and how it changes, from forces at two states nearby."""
    (energy, length, x), (_, _, v) = primals, tangents
    size = jnp.max(jnp.abs(v))
    h = jnp.finfo(x.dtype).eps ** (1 / 3) * length / jnp.where(size > 0, size, 1)
    ahead, behind = (_gradient(energy, length, x + s * h * v) for s in (1, -1))
    return _gradient(energy, length, x), (ahead - behind) / (2 * h)


@jax.custom_jvp
def _by_differences(energy: Callable, length: Array, x: Array) -> Array:
    """The energy, with a gradient that can be differentiated once more."""
    return energy(x)


@_by_differences.defjvp
def _by_differences_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (energy, length, x), (_, _, v) = primals, tangents
    return _by_differences(energy, length, x), jnp.sum(_gradient(energy, length, x) * v)


def _own_length(energy: Callable, x: np.ndarray, smooth: bool) -> np.ndarray:
    """The length over which the curvature changes.

    An energy that is quadratic, and one that gives forces only, have no such length: then it is the largest coordinate,
    or 1.
    """
    largest = float(np.max(np.abs(x)))
    own = float(_anharmonic(energy, x)) if smooth else np.inf
    none = not np.isfinite(own) or (0 < largest and own > BEYOND * largest)
    return np.asarray((largest or 1.0) if none else own, x.dtype)


@compiled
def _anharmonic(energy: Callable, x: Array) -> Array:
    r"""The least :math:`|E''/E'''|` and :math:`|E''/E^{(4)}|^{1/2}` along the gradient and a rough vector."""

    def along(v: Array) -> Array:
        def derivative(f: Callable) -> Callable:
            return lambda t: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]

        f, orders = lambda t: energy(x + t * v), []
        for _ in range(4):
            f = derivative(f)
            orders.append(f(jnp.zeros((), x.dtype)))
        first, second, third, fourth = map(jnp.abs, orders)
        # At an inflection the curvature is zero but for rounding; slope and third derivative then tell as much.
        second = jnp.maximum(second, jnp.sqrt(first * third))
        lengths = jnp.stack([second / third, jnp.sqrt(second / fourth)])
        return jnp.min(jnp.where(jnp.isfinite(lengths) & (lengths > 0), lengths, jnp.inf))

    slope = jnp.ravel(jax.grad(energy)(x))
    most = jnp.max(jnp.abs(slope))
    slope = slope / jnp.where(most > 0, most, 1)
    ways = [v / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(x.dtype).tiny) for v in (slope, rough(x.size, x.dtype))]
    return jnp.minimum(*(along(v.reshape(x.shape)) for v in ways))
