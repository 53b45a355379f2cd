"""Classical spins on a lattice: exchange, Dzyaloshinskii-Moriya interaction, anisotropy and field."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_pytree_node_class

from mepmeta._arguments import check_wraps, constant, known, rows_of
from mepmeta._checks import check_offset, check_shape
from mepmeta.magnets.exchange import damped
from mepmeta.magnets.neighbours import bond_field
from mepmeta.magnets.spins import SpinEnergy, by_gradient

__all__ = ["Bond", "Heisenberg"]


class Bond(NamedTuple):
    r"""A coupling of every spin with the one ``offset`` cells away.

    Args:
        offset: whole numbers, one for each axis of the lattice, not all zero.
        J: exchange :math:`J`, energy; positive is ferromagnetic. A scalar, or an array over the lattice whose entry
            at a cell belongs to the bond that starts there.
        D: Dzyaloshinskii-Moriya vector :math:`\mathbf D`, energy, shape ``(3,)`` or ``(*shape, 3)``; None for none.
        A: anisotropic exchange :math:`\mathbf A`, energy, a symmetric tensor of shape ``(3, 3)`` or ``(*shape, 3, 3)``;
            None for none. Its trace counts, too: :math:`\mathbf A = c\,\mathbb 1` does what :math:`J = c` does.
    """

    offset: tuple[int, ...]
    J: float | Array = 0.0
    D: Sequence[float] | Array | None = None
    A: Sequence[Sequence[float]] | Array | None = None


@by_gradient
def _of_pairs(structure: tuple, constants: tuple, S: Array) -> tuple[Array, Array]:
    """Energy and gradient, minus the effective field: both from one look at the neighbours."""
    couplings, anisotropy, applied = constants
    planes = [S[i] for i in range(3)]
    field, energy = jnp.zeros_like(S), jnp.zeros((), S.dtype)
    if couplings:
        field = jnp.concatenate([h[None] for h in bond_field(structure, couplings, planes)])
        energy = -jnp.sum(S * field) / 2
    # Constants that are the same everywhere multiply sums, whose terms are often whole numbers and lose no digits.
    for K, axis in anisotropy:
        along = sum(axis[..., i] * s for i, s in enumerate(planes))
        energy = energy - (jnp.sum(K * along**2) if K.ndim else K * jnp.sum(along**2))
        field = field + _first(axis, S) * (2 * K * along)
    if applied.ndim > 1:
        energy = energy - jnp.sum(_first(applied, S) * S)
    else:
        energy = energy - applied @ jnp.sum(S, axis=tuple(range(1, S.ndim)))
    return energy, -(field + _first(applied, S))


def _first(vectors: Array, S: Array) -> Array:
    """Constant vectors, one or one at every spin, with their components along the first axis as in ``S``."""
    return jnp.moveaxis(vectors, -1, 0).reshape(3, *(vectors.shape[:-1] or (1,) * (S.ndim - 1)))


@register_pytree_node_class
class Heisenberg(SpinEnergy):
    r"""Classical spins on a Bravais lattice.

    .. math:: E[S] = -\sum_{\text{bonds}} \big[J\,S\cdot S' + \mathbf D\cdot(S\times S') + S\cdot\mathbf A\,S'\big]
        - \sum_m\sum_n K_m\,(\mathbf a_m\cdot S_n)^2 - \sum_n \mathbf b\cdot S_n

    :math:`S'` is the spin at the cell index of :math:`S` plus the offset of the bond. Every pair of the endless
    lattice is listed once. On a short periodic axis bonds of different offsets may join the same two spins, as 1 and 2
    do on three cells, and one of offset 1 joins the two spins of two cells on both their sides: all of them count.
    Several spins in a cell are one more axis of the lattice, not periodic, with couplings given site by site. A bond
    that is longer than an open axis joins no spins: in a film of one layer those to the next layer drop out.

    Args:
        shape: number of cells along each axis, 1 to 3 of them (or more).
        bonds: :class:`Bond` s. :func:`~mepmeta.magnets.lattices.nearest_neighbours` makes the usual ones.
        anisotropy: pairs :math:`(K_m, \mathbf a_m)`; :math:`K_m` (energy, positive is easy) is a scalar or an array
            over the lattice, the axis has shape ``(3,)`` or ``(*shape, 3)``; its direction counts, not its length.
            Here and in the couplings, an axis of the lattice along which nothing changes may have the length 1.
        field: :math:`\mathbf b`, magnetic moment times field, energy, shape ``(3,)`` or ``(*shape, 3)``.
        periodic: whether the lattice closes on itself, one answer or one for each axis.

    Call it with a state of unit vectors, shape ``(*shape, 3)``, to get the energy. It is a pytree whose leaves are
    the constants: ``jax.grad`` by a ``Heisenberg`` is a ``Heisenberg`` of derivatives.

    Raises:
        ValueError: bonds that do not fit into a periodic lattice or join a spin to itself, a pair listed twice or
            from both ends, a zero axis, a tensor that is not symmetric, constants that are not finite or have another
            shape, a state of another shape.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> bonds = [mm.Bond((1, 0), J=1.0, D=(0, 0.3, 0)), mm.Bond((0, 1), J=1.0, D=(-0.3, 0, 0))]
    >>> H = mm.Heisenberg((30, 30), bonds, anisotropy=[(0.15, (0, 0, 1))])
    >>> up = jnp.zeros((30, 30, 3)).at[..., 2].set(1.0)
    >>> round(float(H(up)), 6)
    -1935.0
    """

    def __init__(
        self,
        shape: Sequence[int],
        bonds: Sequence[Bond] = (),
        anisotropy: Sequence[tuple[float | Array, Sequence[float] | Array]] = (),
        field: Sequence[float] | Array = (0.0, 0.0, 0.0),
        periodic: bool | Sequence[bool] = True,
    ):
        self.shape = check_shape(shape)
        self.periodic = check_wraps(periodic, len(self.shape))
        bonds = [Bond(*bond) for bond in rows_of("bonds", bonds, "Bond(offset, J, D, A)", range(1, 5))]
        bonds = [bond._replace(offset=check_offset(bond.offset, self.shape, self.periodic)) for bond in bonds]
        # Across an open axis that is shorter than a bond there is no pair: a film of one layer.
        bonds = [bond for bond in bonds if all(abs(o) < n for o, n in zip(bond.offset, self.shape, strict=True))]
        self._offsets = tuple(bond.offset for bond in bonds)
        for offset in self._offsets:
            if tuple(-o for o in offset) in self._offsets:
                raise ValueError(f"the bond {offset} is listed from both its ends: list every pair of spins once")
            if self._offsets.count(offset) > 1:
                raise ValueError(f"the bond {offset} is listed twice: add up its couplings in one Bond")
        self._couplings = tuple(
            (
                self._constant(bond.J, (), f"J of bond {bond.offset}"),
                None if bond.D is None else self._constant(bond.D, (3,), f"D of bond {bond.offset}"),
                None if bond.A is None else self._symmetric(bond.A, f"A of bond {bond.offset}"),
            )
            for bond in bonds
        )
        self.anisotropy = tuple(
            (self._constant(K, (), f"anisotropy constant {m}"), self._axis(axis, m))
            for m, (K, axis) in enumerate(rows_of("anisotropy", anisotropy, "(K, axis)", (2,)))
        )
        self.field = self._constant(field, (3,), "field")

    def _constant(self, value: float | Array, tail: tuple[int, ...], name: str) -> Array:
        value = constant(name, value)
        full = self.shape + tail
        once = value.ndim == len(full) and all(n in (1, m) for n, m in zip(value.shape, full, strict=True))
        value = jnp.broadcast_to(value, full) if once and value.shape != full else value
        if value.shape not in (tail, full):
            raise ValueError(f"{name} must have shape {tail} or {full}, got {value.shape}")
        return value

    def _symmetric(self, value: Sequence[Sequence[float]] | Array, name: str) -> Array:
        value = self._constant(value, (3, 3), name)
        A = np.asarray(value) if known(value) else np.zeros((3, 3))
        if np.max(np.abs(A - np.swapaxes(A, -1, -2))) > 100 * jnp.finfo(value.dtype).eps * np.max(np.abs(A)):
            raise ValueError(f"{name} must be a symmetric tensor: what is odd in it belongs into the vector D")
        return value

    def _axis(self, axis: Sequence[float] | Array, m: int) -> Array:
        axis = self._constant(axis, (3,), f"anisotropy axis {m}")
        numpy, axis = (np, np.asarray(axis)) if known(axis) else (jnp, axis)
        # By the largest component first: squares of large and of small numbers are none.
        most = numpy.max(numpy.abs(axis), axis=-1, keepdims=True)
        if known(most) and not np.all(most > 0):
            raise ValueError(f"anisotropy axis {m} must not be zero")
        axis = axis / most
        return jnp.asarray(axis / numpy.linalg.norm(axis, axis=-1, keepdims=True))

    @property
    def bonds(self) -> tuple[Bond, ...]:
        """The bonds with their constants."""
        return tuple(Bond(offset, *terms) for offset, terms in zip(self._offsets, self._couplings, strict=True))

    def live(self) -> np.ndarray:
        """Sites with a moment, shape ``shape``: those on which a coupling, an anisotropy or a field acts."""
        return self._live(np)

    def _live(self, xp: ModuleType) -> np.ndarray | Array:
        """By NumPy, which compiles nothing, or by ``jax.numpy`` where the constants are traced."""
        live = xp.broadcast_to(xp.any(xp.asarray(self.field) != 0, axis=-1), self.shape)
        for K, _ in self.anisotropy:
            live = live | (xp.asarray(K) != 0)
        for offset, (J, D, A) in zip(self._offsets, self._couplings, strict=True):
            acts = xp.asarray(J) != 0
            acts = acts if D is None else acts | xp.any(xp.asarray(D) != 0, axis=-1)
            acts = acts if A is None else acts | xp.any(xp.asarray(A) != 0, axis=(-1, -2))
            starts = acts & self._partners(offset)[1]
            live = live | starts | xp.roll(starts, offset, tuple(range(len(self.shape))))
        return live

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        r"""The quadratic part of the energy, :math:`\sum_n S_{i_n}\cdot A_n S_{j_n}`: flat indices i and j, blocks A.

        An interaction with itself, :math:`i = j`, is an anisotropy. A coupling
        :math:`-J\,S\cdot S' - \mathbf D\cdot(S\times S') - S\cdot\mathbf A\,S'` has the block
        :math:`-J + [\mathbf D\times] - \mathbf A`.
        """
        N = int(np.prod(self.shape))

        def sites(constant: Array, tail: tuple[int, ...]) -> np.ndarray:
            return np.broadcast_to(np.asarray(constant, float), self.shape + tail).reshape(N, *tail)

        for offset, J, D, A in self.bonds:
            index, inside = self._partners(offset)
            i = np.flatnonzero(inside)
            j = np.ravel_multi_index(tuple(index), self.shape, mode="wrap").ravel()[i]
            blocks = -sites(J, ())[i, None, None] * np.eye(3)
            if D is not None:
                blocks = blocks + np.cross(np.eye(3), sites(D, (3,))[i, None, :])
            if A is not None:
                blocks = blocks - sites(A, (3, 3))[i]
            yield i, j, blocks
        for K, axis in self.anisotropy:
            a = sites(axis, (3,))
            yield np.arange(N), np.arange(N), -sites(K, ())[:, None, None] * a[:, :, None] * a[:, None, :]

    def damped(self, v: Array, mass: Array) -> Array:
        """Tangent vectors with the stiff waves of exchange damped, see :func:`~mepmeta.magnets.exchange.damped`.

        A site on which nothing acts has no part.
        """
        first = 1 + self._axis_of_components
        soft = damped(v, self.shape, self._offsets, [J for J, *_ in self._couplings], mass, first)
        return jnp.where(jnp.expand_dims(self._live(jnp), self._axis_of_components), soft, 0)

    def _partners(self, offset: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The cell at the other end of the bond that starts at every cell, and whether there is one."""
        index, inside = np.indices(self.shape), np.ones(self.shape, bool)
        for axis, (step, wrap) in enumerate(zip(offset, self.periodic, strict=True)):
            index[axis] += step
            inside &= wrap | ((index[axis] >= 0) & (index[axis] < self.shape[axis]))
        return index, inside

    def _energy(self, constants: tuple, S: Array) -> Array:
        return _of_pairs((self._offsets, self.periodic), constants, S)

    def tree_flatten(self) -> tuple:
        structure = (self.shape, self.periodic, self._offsets, self._axis_of_components)
        return (self._couplings, self.anisotropy, self.field), structure

    @classmethod
    def tree_unflatten(cls, structure: tuple, constants: tuple) -> "Heisenberg":
        new = object.__new__(cls)
        new.shape, new.periodic, new._offsets, new._axis_of_components = structure
        new._couplings, new.anisotropy, new.field = constants
        return new
