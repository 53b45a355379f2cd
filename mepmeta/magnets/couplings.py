"""What acts in a cell, in named units: couplings of two atoms and anisotropies of one, checked."""

from typing import Any, NamedTuple

import numpy as np
import scipy as sp

from mepmeta._arguments import MOST, check_numbers, shown

__all__ = [
    "MU_B",
    "UNITS",
    "Anisotropy",
    "Coupling",
    "Shell",
    "Vector",
    "checked_anisotropy",
    "checked_coupling",
]

#: Units of energy by name, joule.
UNITS = {"meV": 1e-3 * sp.constants.e, "mRy": 1e-3 * sp.constants.Rydberg * sp.constants.h * sp.constants.c, "joule": 1}
#: Bohr magneton, joule per tesla.
MU_B = sp.constants.physical_constants["Bohr magneton"][0]
Vector = tuple[float, float, float]


class Coupling(NamedTuple):
    r"""The coupling of atom i in a cell with atom j in the cell R away, every pair once.

    .. math:: E = -J\,S_i\cdot S_j - \mathbf D\cdot(S_i\times S_j) - S_i\cdot\mathbf A\,S_j

    Args:
        i, j: numbers of the atoms in the cell, from 0.
        R: cells from i to j along the three vectors.
        J: exchange, energy; positive is ferromagnetic.
        D: Dzyaloshinskii-Moriya vector, energy; None for none.
        A: symmetric exchange tensor, energy, three rows; None for none.
    """

    i: int
    j: int
    R: tuple[int, int, int]
    J: float = 0.0
    D: Vector | None = None
    A: tuple[Vector, Vector, Vector] | None = None


class Anisotropy(NamedTuple):
    r"""The anisotropy :math:`-K\,(\hat a\cdot S)^2` of one atom.

    Args:
        atom: its number in the cell, from 0.
        K: energy; positive is an easy axis.
        axis: :math:`\mathbf a`; its direction counts, not its length.
    """

    atom: int
    K: float
    axis: Vector


class Shell(NamedTuple):
    """Couplings of one length.

    Args:
        distance: of the atoms, angstrom.
        number: pairs in a cell.
        J: least and largest exchange, in the unit of the magnet.
        D: least and largest length of the Dzyaloshinskii-Moriya vectors.
    """

    distance: float
    number: int
    J: tuple[float, float]
    D: tuple[float, float]


def _atom(k: Any, n: int) -> bool:
    return isinstance(k, (int, np.integer)) and not isinstance(k, bool) and 0 <= k < n


def checked_coupling(c: Coupling, n: int) -> Coupling:
    R = check_numbers(f"the cells of the pair {shown(c.i)} {shown(c.j)}", c.R, (3,))
    what = f"the pair {shown(c.i)} {shown(c.j)} {tuple(R.tolist())}"
    if not (_atom(c.i, n) and _atom(c.j, n)):
        raise ValueError(f"{what} joins atoms 0 to {n - 1}")
    if np.any(R != np.round(R)) or np.max(np.abs(R)) > MOST:
        raise ValueError(f"{what} is so many whole cells away")
    if c.i == c.j and not np.any(R):
        raise ValueError(f"{what} joins an atom to itself")
    D = None if c.D is None else check_numbers(f"D of {what}", c.D, (3,))
    A = None if c.A is None else check_numbers(f"A of {what}", c.A, (3, 3))
    if A is not None and np.max(np.abs(A - A.T)) > 1e-12 * np.max(np.abs(A)):
        raise ValueError(f"A of {what} must be a symmetric tensor, got {A.tolist()}")
    return Coupling(
        int(c.i),
        int(c.j),
        tuple(int(r) for r in R),
        float(check_numbers(f"J of {what}", c.J, ())),
        tuple(D.tolist()) if D is not None and np.any(D) else None,
        tuple(map(tuple, ((A + A.T) / 2).tolist())) if A is not None and np.any(A) else None,
    )


def checked_anisotropy(a: Anisotropy, n: int) -> Anisotropy:
    if not _atom(a.atom, n):
        raise ValueError(f"an anisotropy is of one of the atoms 0 to {n - 1}, got {shown(a.atom)}")
    axis = check_numbers(f"the axis of atom {a.atom}", a.axis, (3,))
    if not np.any(axis):
        raise ValueError(f"the axis of the anisotropy of atom {a.atom} must not be zero")
    return Anisotropy(int(a.atom), float(check_numbers(f"K of atom {a.atom}", a.K, ())), tuple(axis.tolist()))
