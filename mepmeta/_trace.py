"""An energy as the program it is now: what a function closes over may change, and is read at every public call."""

import dis
from collections.abc import Callable, Iterator
from functools import wraps
from types import CellType, FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, all_leaves, register_pytree_node_class

__all__ = ["Traced", "by_shapes", "traced"]

#: Programs of which it is remembered what they say of shapes.
REMEMBERED = 256


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

    def __repr__(self) -> str:
        return self.key[0]


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


def _inner(equation: Any) -> Iterator[Any]:
    """Programs among the parameters of an equation, as JAX has them."""
    for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
        if hasattr(getattr(value, "jaxpr", value), "eqns"):
            yield value


def _rules(jaxpr: Any) -> Iterator[Any]:
    """What belongs to a program and its text does not show: functions of Python, rules of differentiation, arrays."""
    for equation in jaxpr.eqns:
        if "callback" in equation.params:
            yield getattr(equation.params["callback"], "callback_func", equation.params["callback"])
        elif equation.primitive.name.startswith("custom_"):
            yield None
        for program in _inner(equation):
            yield from getattr(program, "consts", ())  # of a function compiled inside: no text shows their values
            yield from _rules(getattr(program, "jaxpr", program))


def _powers(jaxpr: Any) -> bool:
    """Whether there are powers: derivatives by the base are safe at zero where the exponent is known, else not."""
    return any(
        equation.primitive.name == "pow" or any(_powers(getattr(p, "jaxpr", p)) for p in _inner(equation))
        for equation in jaxpr.eqns
    )


def _numbers(f: Any, found: list, module: dict, above: tuple = ()) -> Callable[[Iterator], Any]:
    """Collects the floats in the cells and defaults of a function, and of those that these hold; how to rebuild it."""
    if isinstance(f, float):
        found.append(f)
        return next
    known = not isinstance(f, FunctionType) or f.__globals__ is not module or hasattr(f, "__wrapped__") or f in above
    # A function that changes its own cells counts or remembers: it stays itself. So does one with an empty cell.
    if known or any("STORE_DEREF" in i.opname and i.argval in f.__code__.co_freevars for i in dis.Bytecode(f)):
        return lambda _: f
    try:
        contents = [cell.cell_contents for cell in f.__closure__ or ()]
    except ValueError:
        return lambda _: f
    cells = [_numbers(value, found, module, (*above, f)) for value in contents]
    defaults = [_numbers(value, found, module, (*above, f)) for value in f.__defaults__ or ()]
    named = {name: _numbers(value, found, module, (*above, f)) for name, value in (f.__kwdefaults__ or {}).items()}

    def rebuilt(values: Iterator) -> Callable:
        closure = tuple(CellType(part(values)) for part in cells) if f.__closure__ else None
        new = FunctionType(f.__code__, module, f.__name__, tuple(part(values) for part in defaults) or None, closure)
        new.__kwdefaults__ = {name: part(values) for name, part in named.items()} or None
        return new

    return rebuilt


def _with_numbers(energy: Callable, image: Any) -> tuple[Any, list] | None:
    """The function traced with its own numbers as arguments, and these; None where it needs to know them."""
    numbers: list[float] = []
    if not isinstance(energy, FunctionType):
        return None
    rebuilt = _numbers(energy, numbers, energy.__globals__)
    if not numbers:
        return None
    try:
        closed, out = jax.make_jaxpr(lambda v, x: rebuilt(iter(v))(x), return_shape=True)(numbers, image)
    except Exception:  # it decides on a number, or gives it to Python or NumPy: then it is one that is known
        return None
    return None if _powers(closed.jaxpr) or not all_leaves([out]) else (closed, numbers)


def traced(energy: Callable[[Array], Array], image: Any) -> Callable[[Array], Array]:
    """The energy at the door: a function, or a ``Partial``, is traced; another pytree says itself what may vary in it,
    and functions among its leaves are traced.

    The parts of a sum are at the door one by one.

    Numbers in the cells and defaults of a function are its leaves, as arrays are, so that functions of one text that
    differ in their numbers are one program.

    ``image`` has the shape and dtype of a state. Whatever the energy raises is raised.
    """
    if hasattr(energy, "each"):  # a sum
        return energy.each(lambda part: traced(part, image))
    plain = all_leaves([energy])
    if not plain and not isinstance(energy, Partial):
        # An energy that holds a function, as one with spins held fixed may.
        return jax.tree.map(lambda leaf: traced(leaf, image) if callable(leaf) else leaf, energy)
    leaves, structure = ([], None) if plain else jax.tree.flatten(energy)
    leaves = [jnp.asarray(leaf) if isinstance(leaf, (bool, int)) else leaf for leaf in leaves]

    def program(leaves: list, x: Array) -> Array:
        return energy(x) if plain else jax.tree.unflatten(structure, leaves)(x)

    found = _with_numbers(energy, image)
    if found is None:
        closed, out = jax.make_jaxpr(program, return_shape=True)(leaves, image)
        if not all_leaves([out]):  # of several arrays the first would be taken for all
            raise ValueError(f"it must return one number or array, got {out}")
    closed, leaves = found or (closed, leaves)
    rules = tuple(_rules(closed.jaxpr))
    if any(rule is None for rule in rules):  # rules by which it is differentiated belong to the function
        owner = energy if plain else energy.func
        owners = (getattr(owner, part, owner) for part in ("__self__", "__func__"))
        rules = *(rule for rule in rules if rule is not None), *owners
    return Traced(_Program(closed, rules), closed.consts, leaves)


def by_shapes(f: Callable[[Callable, Any], Any]) -> Callable[[Callable, Any], Any]:
    """``f(energy, x)`` that hangs on the program of an energy and on shapes only: computed once for all its numbers."""
    found: dict[Any, Any] = {}

    @wraps(f)
    def call(energy: Callable, x: Any) -> Any:
        leaves, structure = jax.tree.flatten(energy)
        if not all(hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float)) for leaf in leaves):
            return f(energy, x)  # what else a leaf may be, such as a function, is known to itself only
        kinds = (getattr(leaf, "dtype", type(leaf)) for leaf in leaves)
        weak = (getattr(getattr(leaf, "aval", leaf), "weak_type", False) for leaf in leaves)
        key = structure, *zip(map(np.shape, leaves), kinds, weak, strict=True), np.shape(x), x.dtype
        try:
            if key in found:
                return found[key]
        except TypeError:  # a structure that is not hashable
            return f(energy, x)
        if len(found) >= REMEMBERED:
            found.pop(next(iter(found), None), None)
        return found.setdefault(key, f(energy, x))

    return call
