"""Lattices: where the spins are, and the bonds between nearest neighbours."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_option, constant, known
from mepmeta._checks import check_shape
from mepmeta.magnets.heisenberg import Bond

__all__ = ["VECTORS", "cartesian", "nearest_neighbours", "positions"]

#: Primitive vectors, lattice constant 1; on the honeycomb lattice the third one leads to the second atom of a cell.
VECTORS = {
    "chain": ((1, 0, 0),),
    "square": ((1, 0, 0), (0, 1, 0)),
    "triangular": ((1, 0, 0), (1 / 2, 3**0.5 / 2, 0)),
    "cubic": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "honeycomb": ((1, 0, 0), (1 / 2, 3**0.5 / 2, 0), (1 / 2, 3**0.5 / 6, 0)),
}
#: Nearest neighbours, in cells: one along each axis, and on the triangular lattice a third. On the honeycomb lattice
#: three from the first atom of a cell to second ones.
OFFSETS = {name: [tuple(row) for row in np.eye(len(v), dtype=int).tolist()] for name, v in VECTORS.items()}
OFFSETS["triangular"].append((-1, 1))
OFFSETS["honeycomb"] = [(0, 0, 1), (-1, 0, 1), (0, -1, 1)]


def nearest_neighbours(lattice: str, J: float | Array, D: float | Array = 0.0, dmi: str = "neel") -> list[Bond]:
    r"""The bonds between nearest neighbours, each pair once.

    .. math:: \mathbf D = D\,\hat r\times\hat z\ \text{(Néel)},\qquad \mathbf D = D\,\hat r\ \text{(Bloch)}

    With :math:`D > 0`, going along :math:`\hat r`, spins turn from :math:`-z` to :math:`+z` through :math:`\hat r`
    (Néel) or :math:`\hat z\times\hat r` (Bloch). On bonds along z the Néel interaction is zero. A film of one layer may
    be typed as "cubic" with the shape ``(n, m, 1)``, open along z: bonds to the next layer drop out.

    Args:
        lattice: "chain", "square", "triangular", "cubic" or "honeycomb", see :func:`positions`.
        J: exchange :math:`J`, energy; positive is ferromagnetic. A scalar, or an array over the lattice. On the
            honeycomb lattice bonds start at the first atoms: those of the entries count.
        D: Dzyaloshinskii-Moriya constant :math:`D`, energy, likewise. Zero gives bonds without it.
        dmi: "neel" (an interface with its normal along z) or "bloch" (a bulk crystal).

    Raises:
        ValueError: for an unknown name.

    >>> import mepmeta as mm
    >>> [(bond.offset, bond.D.tolist()) for bond in mm.nearest_neighbours("square", J=1.0, D=0.3)]
    [((1, 0), [0.0, -0.3, 0.0]), ((0, 1), [0.3, 0.0, 0.0])]
    """
    check_option("lattice", lattice, tuple(VECTORS))
    check_option("dmi", dmi, ("neel", "bloch"))
    for name, value in {"J": J, "D": D}.items():
        constant(name, value)
    if lattice == "honeycomb":
        J = _from_first(J)
    bonds = [Bond(offset, J) for offset in OFFSETS[lattice]]
    if known(D) and not np.any(D):
        return bonds
    D = _from_first(D) if lattice == "honeycomb" else _floats(D)
    along = np.array(OFFSETS[lattice]) @ np.array(VECTORS[lattice], float)
    along = along / np.linalg.norm(along, axis=1, keepdims=True).round(12)
    vectors = [(y, 0 - x, 0.0) if dmi == "neel" else (x, y, z) for x, y, z in along]  # 0 - x: no zero with a minus
    with_D = [
        bond._replace(D=D[..., None] * jnp.asarray(v, D.dtype)) if any(v) else bond
        for bond, v in zip(bonds, vectors, strict=True)
    ]
    return with_D


def _floats(constant: float | Array) -> Array:
    array = isinstance(constant, (np.ndarray, jax.Array, np.generic))
    return jnp.asarray(constant, jnp.result_type(constant, float) if array else float)


def _from_first(constant: float | Array) -> Array:
    """Only bonds that start at the first atom of a cell: on a lattice whose axis of atoms is taken as periodic, too."""
    constant = _floats(constant)
    return constant * jnp.array([[[1, 0]]], constant.dtype)


def positions(shape: Sequence[int], lattice: str) -> Array:
    r"""Where spins are, :math:`\mathbf r = i\,\mathbf a_1 + j\,\mathbf a_2 + k\,\mathbf a_3`, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis; on the honeycomb lattice ``(n, m, 2)``, two atoms in a cell.
        lattice: "chain", "square", "cubic": unit vectors; "triangular": :math:`\mathbf a_2 = (1/2, \sqrt3/2, 0)`;
            "honeycomb": the same, with the second atom at :math:`\mathbf a_3 = (\mathbf a_1 + \mathbf a_2)/3`, at a
            distance of :math:`1/\sqrt3` from the first.

    Raises:
        ValueError: for an unknown lattice, or a shape with another number of axes or atoms.
    """
    return jnp.asarray(cartesian(shape, lattice), float)


def cartesian(shape: Sequence[int], lattice: str) -> np.ndarray:
    """:func:`positions`, as an array of NumPy."""
    check_option("lattice", lattice, tuple(VECTORS))
    shape = check_shape(shape, len(VECTORS[lattice]))
    if lattice == "honeycomb" and shape[2] != 2:
        raise ValueError(f"a cell of the honeycomb lattice has two atoms: its shape is (n, m, 2), got {tuple(shape)}")
    return np.moveaxis(np.indices(shape), 0, -1) @ np.array(VECTORS[lattice], float)
