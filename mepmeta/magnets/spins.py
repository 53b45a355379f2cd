"""What energies of spins on a lattice have in common: their call, its derivative, and two orders of the components."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from mepmeta._arguments import check_floats
from mepmeta.energies import Summand

__all__ = ["SpinEnergy", "by_gradient"]


def by_gradient(both: Callable) -> Callable:
    """The energy of (structure, constants, S) from a function that gives it together with its gradient by S.

    So value and gradient take one look at the neighbours; the derivative by the constants is that of the value.
    """

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def energy(structure: tuple, constants: tuple, S: Array) -> Array:
        return both(structure, constants, S)[0]

    @partial(energy.defjvp, symbolic_zeros=True)
    def rule(structure: tuple, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (constants, S), (dconstants, dS) = primals, tangents
        value, gradient = both(structure, constants, S)
        slope = jnp.zeros((), S.dtype) if isinstance(dS, SymbolicZero) else jnp.sum(dS * gradient)
        if not all(isinstance(d, SymbolicZero) for d in jax.tree.leaves(dconstants)):
            dconstants = jax.tree.map(
                lambda d: jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d, dconstants
            )
            slope = slope + jax.jvp(lambda c: both(structure, c, S)[0], (constants,), (dconstants,))[1]
        return value, slope

    return energy


class SpinEnergy(Summand):
    """An energy of spins on the sites of a lattice, a pytree whose leaves are its constants.

    The last part of its structure is the axis of a state along which spins have their components.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    _axis_of_components: int = -1
    #: Of the constants, with the precision of the state, and a state ``(3, *shape)``.
    _energy: Callable[[Any, Array], Array]

    def component_first(self) -> Self:
        """The same energy of states ``(3, *shape)``: x, y and z as planes of their own, the faster order in memory."""
        constants, structure = self.tree_flatten()
        return self.tree_unflatten((*structure[:-1], 0), constants)

    @property
    def translations(self) -> tuple[int, ...]:
        """Axes of a state along which a shift by one cell may be a symmetry: the periodic ones."""
        return tuple(axis for axis, wrap in enumerate(self.periodic) if wrap)

    def __call__(self, S: Array) -> Array:
        check_floats("the state", S)
        expected = (*self.shape, 3) if self._axis_of_components else (3, *self.shape)
        kind = type(self).__name__
        if jnp.shape(S) != expected:
            raise ValueError(f"this {kind} energy takes a state of shape {expected}, got {jnp.shape(S)}")
        S = jnp.moveaxis(S, self._axis_of_components, 0)
        return self._energy(jax.tree.map(lambda c: c.astype(S.dtype), self.tree_flatten()[0]), S)
