"""An energy as the program it is now: what a function closes over may change, and is read at every public call."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial, all_leaves, register_pytree_node_class

__all__ = ["Traced", "traced"]


class _Program:
    """A traced function as a static argument: two with one text and the same Python rules are one program."""

    def __init__(self, closed: Any, rules: tuple):
        # Numbers are printed with all their digits, arrays are constants, and a function that Python runs has no text.
        self.closed, self.rules = closed, rules
        self.key = str(closed.jaxpr), tuple(map(id, rules))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self.key == other.key


@register_pytree_node_class
class Traced:
    """The energy of states of one shape; constants of the program and leaves of the energy are its leaves."""

    def __init__(self, program: _Program, constants: Any, leaves: Any):
        self.program, self.constants, self.leaves = program, constants, leaves

    def __call__(self, x: Array) -> Array:
        return jax.core.eval_jaxpr(self.program.closed.jaxpr, self.constants, *self.leaves, x)[0]

    def tree_flatten(self) -> tuple:
        return (self.constants, self.leaves), self.program

    @classmethod
    def tree_unflatten(cls, program: _Program, children: tuple) -> "Traced":
        return cls(program, *children)


def _rules(jaxpr: Any) -> Iterator[Any]:
    """What belongs to a program and its text does not show: functions of Python, rules of differentiation, arrays."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if "callback" in equation.params:
            yield getattr(equation.params["callback"], "callback_func", equation.params["callback"])
        elif name.startswith("custom_"):
            yield None
        for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
            yield from getattr(value, "consts", ())  # of a function compiled inside: no text shows their values
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _rules(inner)


def traced(energy: Callable[[Array], Array], image: Any) -> Callable[[Array], Array]:
    """The energy at the door: a function, or a ``Partial``, is traced; another pytree says itself what may vary in it.

    ``image`` has the shape and dtype of a state. Whatever the energy raises is raised.
    """
    plain = all_leaves([energy])
    if not plain and not isinstance(energy, Partial):
        return energy
    leaves, structure = ([], None) if plain else jax.tree.flatten(energy)
    leaves = [jnp.asarray(leaf) if isinstance(leaf, (bool, int)) else leaf for leaf in leaves]

    def program(leaves: list, x: Array) -> Array:
        return energy(x) if plain else jax.tree.unflatten(structure, leaves)(x)

    closed = jax.make_jaxpr(program)(leaves, image)
    rules = tuple(_rules(closed.jaxpr))
    if any(rule is None for rule in rules):  # rules by which it is differentiated belong to the function
        owner = energy if plain else energy.func
        owners = (getattr(owner, part, owner) for part in ("__self__", "__func__"))
        rules = *(rule for rule in rules if rule is not None), *owners
    return Traced(_Program(closed, rules), closed.consts, leaves)
