"""Sites that are not like the others: spins that are held fixed, and atoms that are missing."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_pytree_node_class

from mepmeta._arguments import check_floats, known, shown
from mepmeta._checks import check_state
from mepmeta.magnets.heisenberg import Bond, Heisenberg

__all__ = ["Pinned", "pinned", "vacancies"]

#: A spin that is held has to be where it is held, to the five digits that states stored as text keep.
IN_PLACE = 1e-5


@register_pytree_node_class
class Pinned:
    """An energy with some spins held fixed; :func:`pinned` makes it.

    Call it with a state, shape ``(*shape, 3)``: spins that are held are taken from where they are held. What the inner
    energy tells about itself this one tells about the other spins.
    """

    def __init__(self, energy: Callable[[Array], Array], state: Array, held: Array, axis: int = -1):
        self.energy, self.state, self.held, self._axis = energy, state, held, axis

    def placed(self, x: Array) -> Array:
        """The state, or all states of an array of them, with the spins that are held in place."""
        check_floats("the state", x)
        if x.shape[x.ndim - self.state.ndim :] != self.state.shape:
            raise ValueError(f"spins are held in states of shape {self.state.shape}, got {x.shape}")
        return jnp.where(self._mask(), jnp.asarray(self.state, x.dtype), x)

    def __call__(self, x: Array) -> Array:
        return self.energy(self.placed(x))

    def check_held(self, x: Array, name: str) -> None:
        """A ``ValueError`` if spins that are held are not in place; asked at the door of every call."""
        off = np.abs(np.asarray(x) - np.asarray(self.state)) > IN_PLACE
        wrong = np.any(off, axis=self._axis) & np.asarray(self.held)
        if wrong.any():
            raise ValueError(
                f"{name} has {np.sum(wrong)} spins that are held and not in place: energy.placed(state) puts them there"
            )

    def live(self) -> np.ndarray:
        """Sites with a spin that may move: those with a moment that are not held."""
        held = np.asarray(self.held)
        return ~held & (self.energy.live() if hasattr(self.energy, "live") else True)

    @property
    def component_first(self) -> Callable:
        """The same energy of states ``(3, *shape)``, where the inner energy has one."""
        first = self.energy.component_first  # an AttributeError says that there is none
        return lambda: Pinned(first(), jnp.moveaxis(jnp.asarray(self.state), -1, 0), self.held, 0)

    @property
    def pairs(self) -> Callable:
        """The quadratic part of the energy of the spins that may move; what the others do to these is a field."""
        return self._between_free(self.energy.pairs)

    @property
    def rough_pairs(self) -> Callable:
        """The same of what a sum tells roughly."""
        return self._between_free(self.energy.rough_pairs)

    def _between_free(self, pairs: Callable) -> Callable:
        free = ~np.ravel(self.held)

        def told() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for i, j, blocks in pairs():
                keep = free[i] & free[j]
                yield i[keep], j[keep], blocks[keep]

        return told

    @property
    def damped(self) -> Callable:
        """Tangent vectors with stiff waves damped; a spin that is held has no part."""
        damped, held = self.energy.damped, self._mask()
        return lambda v, mass: jnp.where(held, 0, damped(jnp.where(held, 0, v), mass))

    @property
    def translations(self) -> tuple[int, ...]:
        """Those of the inner energy that the spins that are held allow."""
        held, state = np.asarray(self._mask()), np.asarray(self.state)
        state = np.where(held, state, 0)

        def same(axis: int) -> bool:
            where = axis if self._axis else axis + 1
            return all(np.allclose(np.roll(a, 1, where), a, rtol=0, atol=1e-9) for a in (held, state))

        return tuple(axis for axis in getattr(self.energy, "translations", ()) if same(axis))

    def _mask(self) -> Array:
        return jnp.expand_dims(self.held, self._axis) if not known(self.held) else np.expand_dims(self.held, self._axis)

    def tree_flatten(self) -> tuple:
        return (self.energy, self.state, self.held), self._axis

    @classmethod
    def tree_unflatten(cls, axis: int, children: tuple) -> "Pinned":
        return cls(*children, axis)


def _at_every_site(name: str, answers: Array, shape: tuple[int, ...]) -> np.ndarray:
    """True or False at every site, as an array."""
    array = isinstance(answers, (np.ndarray, jax.Array, list, tuple)) and not isinstance(answers, np.ma.MaskedArray)
    try:
        found = np.asarray(answers) if array else np.zeros(0)
    except ValueError:  # rows of different lengths
        found = np.zeros(0)
    if found.dtype != bool or found.shape != shape:
        raise ValueError(f"{name} must be True or False at every site, shape {shape}, got {shown(answers)}")
    return found


def pinned(energy: Callable[[Array], Array], state: Array, held: Array) -> Pinned:
    r"""An energy with some spins held fixed, for example at the edges of a film or under a tip.

    .. math:: E'[S] = E[S'],\qquad S'_n = h_n S^{\text{held}}_n + (1 - h_n)\,S_n

    with :math:`h_n = 1` at the sites that are held, else 0.

    Its gradient is zero at the spins that are held. So no search moves them; they have no modes, no noise and no part
    in a rate.

    Args:
        energy: callable, spins of shape ``(*shape, 3)`` to scalar.
        state: where the spins are held, shape ``(*shape, 3)``; the others do not count.
        held: which spins are held, True or False, shape ``shape``.

    Returns:
        The energy, to be given to :func:`~mepmeta.search.mep.find_mep` and the others. Its states have spins in all
        places, those that are held where they are held: ``.placed(x)`` puts them there.

    Raises:
        ValueError: for a bad state, and when ``held`` is not true or false at every site, or holds all or none.

    >>> import numpy as np, mepmeta as mm
    >>> chain = mm.Heisenberg((12,), mm.nearest_neighbours("chain", 1.0), [(0.2, (0, 0, 1))], periodic=False)
    >>> wall = mm.domain_wall((12,), center=5.5, width=1.6)
    >>> ends = np.isin(np.arange(12), (0, 11))
    >>> fixed = mm.pinned(chain, wall, ends)  # without it the wall leaves through an end
    >>> r = mm.relax(fixed, wall, geometry=mm.Spheres())
    >>> r.converged, bool(abs(r.state - wall)[ends].max() < 1e-9)
    (True, True)
    """
    check_state(state, "the state", axes=1)
    if known(state):
        length = np.linalg.norm(np.asarray(state), axis=-1)
        if state.shape[-1] != 3 or np.abs(length - 1).max() > IN_PLACE:
            raise ValueError(f"spins are held along unit vectors of three components, got shape {state.shape}")
    if isinstance(energy, type) or not callable(energy):
        raise ValueError(f"the energy must be callable, x -> scalar, got {shown(energy)}")
    held = _at_every_site("held", held, state.shape[:-1])
    if held.all() or not held.any():
        raise ValueError(f"{'every' if held.all() else 'no'} spin is held: there is nothing to pin")
    return Pinned(energy, state, held)


def vacancies(energy: Heisenberg, missing: Array) -> Heisenberg:
    r"""A lattice with atoms missing: nothing acts on their sites, nor do they act on others.

    .. math:: J_{nm} \to p_n p_m J_{nm},\qquad K_n \to p_n K_n,\qquad \mathbf b_n \to p_n\mathbf b_n

    with :math:`p_n = 0` where the atom is missing, else 1. Their spins stay in the arrays and take no part in anything:
    no search moves them, and they have no modes (:meth:`~mepmeta.magnets.heisenberg.Heisenberg.live`).

    Args:
        energy: the lattice with all its atoms.
        missing: which atoms are missing, True or False, shape ``shape``.

    Raises:
        ValueError: when ``missing`` is not true or false at every site.

    >>> import numpy as np, mepmeta as mm
    >>> film = mm.Heisenberg((8, 8), mm.nearest_neighbours("square", 1.0))
    >>> hole = np.zeros((8, 8), bool)
    >>> hole[3, 4] = True
    >>> float(film(mm.ferromagnet((8, 8)))), float(mm.vacancies(film, hole)(mm.ferromagnet((8, 8))))
    (-128.0, -124.0)
    """
    if isinstance(energy, type) or not all(hasattr(energy, part) for part in ("bonds", "anisotropy", "field")):
        raise ValueError(f"vacancies are those of a Heisenberg energy, got {shown(energy)}")
    missing = _at_every_site("missing", missing, energy.shape)

    def kept(constant: Array, present: np.ndarray, tail: int) -> Array:
        constant = jnp.asarray(constant)
        return constant * present.reshape(present.shape + (1,) * tail).astype(constant.dtype)

    axes, bonds = tuple(range(missing.ndim)), []
    for offset, *constants in energy.bonds:
        both = ~missing & ~np.roll(missing, [-o for o in offset], axes)
        # A coupling is a number, a vector, ...
        bonds.append(Bond(offset, *(None if c is None else kept(c, both, tail) for tail, c in enumerate(constants))))
    anisotropy = [(kept(K, ~missing, 0), axis) for K, axis in energy.anisotropy]
    return Heisenberg(energy.shape, bonds, anisotropy, kept(energy.field, ~missing, 1), energy.periodic)
