"""Energies: callables ``x -> scalar`` whose physical constants are differentiable leaves, and their sums."""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import chain
from operator import add

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, all_leaves, register_pytree_node_class

from mepmeta._arguments import check_floats, check_number, check_numbers, known, shown
from mepmeta._vectorised import sine_cosine

__all__ = ["Sum", "Summand", "single_spin"]


#: Angles beyond this, radian, are known to less than a millionth of a turn.
FAR = 1e9


def _single_spin(K1: Array, K2: Array, x: Array) -> Array:
    x = check_numbers("the state of single_spin", x) if isinstance(x, (tuple, list)) and known(x) else x
    if not isinstance(x, (tuple, list)):
        check_floats("the state of single_spin", x)
    x = jnp.asarray(x)
    if x.shape != (2,):
        raise ValueError(f"single_spin takes one state (theta, phi) of shape (2,), got shape {x.shape}")
    if known(x) and np.max(np.abs(x)) > FAR:
        raise ValueError(f"the angles of single_spin must be below {FAR:g}: others have no digits left, got {shown(x)}")
    # Slices, not elements: the derivative of a slice leaves the paths of a batch side by side.
    (z, equator), (_, cos_phi) = sine_cosine(x[:1]), sine_cosine(x[1:])
    return jnp.squeeze(-K1 * (equator * cos_phi) ** 2 - K2 * z**2)


def single_spin(K1: float | Array = 1.0, K2: float | Array = -2.0) -> Partial:
    r"""One magnetic moment with two anisotropy axes, the system of the paper.

    .. math:: E(\theta, \varphi) = -K_1 S_x^2 - K_2 S_z^2
        = -K_1 \cos^2\theta \cos^2\varphi - K_2 \sin^2\theta

    With :math:`K_1 > 0 > K_2` the minima are :math:`(0, 0)` and :math:`(0, \pi)` at energy
    :math:`-K_1`, the saddles :math:`(0, \pm\pi/2)` at energy 0, so the barrier is :math:`K_1`.

    Args:
        K1: anisotropy constant :math:`K_1` of the x axis, energy; positive is easy.
        K2: anisotropy constant :math:`K_2` of the z axis, energy; negative is hard.

    Returns:
        A callable that maps a state :math:`(\theta, \varphi)`, latitude and longitude in radian,
        shape ``(2,)``, to a scalar energy. It is a pytree with leaves ``K1`` and ``K2``: it goes
        through ``jax.jit`` and ``jax.grad`` as an argument.

    Raises:
        ValueError: for constants that are not finite numbers, and when the energy is called with a state of another
            shape.

    Source: Section 3 of :cite:t:`bushuev2020`. The paper prints :math:`-K_2` for the saddle; that
    is the energy of the pole, the saddle has 0.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> E = mm.single_spin(K1=1.0, K2=-2.0)
    >>> [round(float(E(jnp.array(x))), 6) + 0.0 for x in ([0.0, 0.0], [0.0, jnp.pi / 2], [jnp.pi / 2, 0.0])]
    [-1.0, 0.0, 2.0]
    """
    check_number("K1", K1)
    check_number("K2", K2)
    return Partial(_single_spin, K1, K2)


class Summand:
    """An energy that ``+`` adds to another one, or to any function of a state: their :class:`Sum`."""

    def __add__(self, other: Callable) -> "Sum":
        return Sum(self, other)

    def __radd__(self, other: Callable) -> "Sum":
        return Sum(other, self)


@register_pytree_node_class
class Sum(Summand):
    r"""The sum of energies, an energy: :math:`E(x) = \sum_p E_p(x)`.

    It tells about itself what its parts tell: with a part that has components first, it has; its ``pairs`` are those of
    all parts, if all tell them; where not, ``rough_pairs`` are those of the parts that tell some, exact or
    roughly; its sites with a moment are those on which a part acts, and its translations those common to all.
    What is stiff, ``damped``, the first part that knows says.

    Args:
        parts: energies, two or more, or any functions of a state; sums among them are taken apart.

    Call it with a state to get the energy. It is a pytree of the parts: ``jax.grad`` by a ``Sum`` is the ``Sum`` of the
    derivatives by the parts. Magnets are also added by ``+``.

    Raises:
        ValueError: for a part that cannot be called or in which spins are pinned, or parts of different shapes.

    >>> import mepmeta as mm
    >>> H = mm.Heisenberg((4,), mm.nearest_neighbours("chain", J=1.0)) + mm.Heisenberg((4,), field=(0, 0, 0.5))
    >>> float(H(mm.ferromagnet((4,))))
    -6.0
    """

    def __init__(self, *parts: Callable):
        self.parts = tuple(chain.from_iterable(part.parts if isinstance(part, Sum) else (part,) for part in parts))
        for part in self.parts:
            if not callable(part) or isinstance(part, type):
                raise ValueError(f"a sum is of energies, callables x -> scalar, got {shown(part)}")
            if hasattr(part, "check_held"):  # the other parts would move what this one holds
                raise ValueError(
                    "spins are pinned in a part of the sum: pin them in the sum, pinned(a + b, state, held)"
                )
        shapes = {tuple(part.shape) for part in self.parts if hasattr(part, "shape")}
        if not self.parts or len(shapes) > 1:
            raise ValueError(f"a sum is of energies of one shape, got {sorted(shapes) or 'none'}")

    def each(self, change: Callable[[Callable], Callable]) -> "Sum":
        """The sum of the parts, changed one by one."""
        return Sum(*[change(part) for part in self.parts])  # a map ends at a StopIteration of one of them

    def _told(self, name: str) -> list:
        """What the parts tell under a name, those that do; an AttributeError if none does."""
        told = [getattr(part, name) for part in self.parts if hasattr(part, name)]
        if not told:
            raise AttributeError(f"no part of this sum has {name}")
        return told

    def _told_by_all(self, name: str) -> list:
        return [getattr(part, name) for part in self.parts]  # an AttributeError where a part does not tell

    # Properties, so that a sum has only what its parts can tell.

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return self._told("shape")[0]

    @property
    def component_first(self) -> Callable[[], "Sum"]:
        """The same energy of states with their components along the first axis."""
        self._told("component_first")
        return lambda: self.each(_component_first)

    @property
    def pairs(self) -> Callable[[], Iterator]:
        """The pairs of all parts, see :meth:`~mepmeta.magnets.heisenberg.Heisenberg.pairs`."""
        told = self._told_by_all("pairs")
        return lambda: chain.from_iterable(pairs() for pairs in told)

    @property
    def rough_pairs(self) -> Callable[[], Iterator]:
        """Pairs of an energy near this one, whose sparse Hessian is a rough one of it."""
        told = [getattr(p, "pairs", getattr(p, "rough_pairs", None)) for p in self.parts]
        told = [pairs for pairs in told if pairs is not None] or self._told("pairs")
        return lambda: chain.from_iterable(pairs() for pairs in told)

    @property
    def live(self) -> Callable[[], np.ndarray]:
        """Sites on which a part acts; none are told where a part does not say."""
        told = self._told_by_all("live")
        return lambda: np.logical_or.reduce([live() for live in told])

    @property
    def damped(self) -> Callable[[Array, Array], Array]:
        """What the first part that knows says of stiff waves."""
        return self._told("damped")[0]

    @property
    def translations(self) -> tuple[int, ...]:
        """Axes of a state along which a shift by one cell may be a symmetry of every part."""
        common = set.intersection(*(set(getattr(part, "translations", ())) for part in self.parts))
        return tuple(sorted(common))

    def __call__(self, x: Array) -> Array:
        check_floats("the state", x)
        return reduce(add, (part(x) for part in self.parts))

    def tree_flatten(self) -> tuple:
        return tuple(Partial(part) if all_leaves([part]) else part for part in self.parts), None

    @classmethod
    def tree_unflatten(cls, _: None, parts: tuple) -> "Sum":
        new = object.__new__(cls)
        new.parts = tuple(parts)
        return new


def _component_first(part: Callable) -> Callable:
    if hasattr(part, "component_first"):
        return part.component_first()
    return Partial(_of_components_last, Partial(part) if all_leaves([part]) else part)


def _of_components_last(energy: Callable, S: Array) -> Array:
    return energy(jnp.moveaxis(S, 0, -1))
