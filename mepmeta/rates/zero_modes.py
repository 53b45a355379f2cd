"""Zero modes of a magnetic state: which continuous symmetry each belongs to, and the volume it leads through."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy as sp
from jax import Array

from mepmeta._compiled import compiled
from mepmeta.geometry import Spheres
from mepmeta.rates.hessians import Nearby, Whole

__all__ = ["ZeroModes", "zero_modes"]

#: A symmetry explains a soft mode when so much of the length of each lies along the other: half of its square.
OVERLAP = 0.5**0.5
#: Volume of the rotations about one axis; of all states that a collinear one, or another, is rotated into.
ROTATIONS = {0: 1.0, 1: 2 * np.pi, 2: 4 * np.pi, 3: 8 * np.pi**2}


class ZeroModes(NamedTuple):
    """Zero modes of a state: orthonormal columns ``(n, k)``, a name for each, and the logarithm of their volume."""

    vectors: np.ndarray
    names: tuple[str, ...]
    log_volume: float


def zero_modes(
    energy: Callable,
    x: Array,
    H: Whole | Nearby,
    live: np.ndarray,
    values: np.ndarray,
    vectors: np.ndarray,
    zero: float,
) -> ZeroModes:
    r"""Name the zero modes of a state of spins, and measure the volume of the states that they lead to.

    .. math:: V = r\,\sqrt{\det C}\,\prod_i \ell_i

    with the lengths :math:`\ell_i` of the ways on which a unit of each symmetry leads, the cosines C of the angles
    between them, and the range r. A rotation of all spins about :math:`\hat n` leads along :math:`\hat n\times S`;
    r is :math:`2\pi` for one axis, :math:`4\pi` for the rotations of a collinear state, :math:`8\pi^2` for all
    rotations of another. A translation by one cell leads to the shifted state, at a geodesic distance that a
    difference of neighbouring spins falls short of, where these turn by large angles; r is the number of cells
    over the number of translations that change nothing.

    Args:
        energy: the energy; translations are looked for along the axes that it names, ``energy.translations``.
        x: state of unit vectors, shape ``(*shape, 3)``.
        H: its Hessian, to be multiplied by, of the coordinates ``live``: those of ``Spheres`` on which the energy
            depends.
        values: the eigenvalues that may count as zero, shape ``(k,)``. Those of other modes than symmetries do not.
        vectors: their modes in the coordinates of ``Spheres``, orthonormal columns, shape ``(n, k)``.
        zero: largest magnitude of an eigenvalue that is zero but for rounding. A rotation has to be a symmetry to that;
            a translation of a lattice never is, and has to lie for the most part in the modes.

    Raises:
        ValueError: when a mode is zero and no symmetry explains it.
    """
    x = np.asarray(x)
    axes = _axes_of_rotation(x, H, live, zero)
    ways = [_coordinates(x, np.cross(axis, x), live) for axis in axes]
    lengths = [float(np.linalg.norm(way)) for way in ways]
    names = [f"rotation about ({', '.join(f'{c:.3g}' for c in axis + 0.0)})" for axis in axes]
    moving = []
    for axis in getattr(energy, "translations", ()):
        way = _coordinates(x, (np.roll(x, -1, axis) - np.roll(x, 1, axis)) / 2, live)
        size = np.linalg.norm(way)
        # In a helix a translation is a rotation: what is there already does not count again.
        new = np.linalg.norm(way - _span(ways, way.size) @ (_span(ways, way.size).T @ way))
        if size > 0 and np.linalg.norm(way @ vectors) > OVERLAP * size and new > OVERLAP * size:
            ways.append(way)
            lengths.append(float(_distance(x, np.roll(x, -1, axis))))
            names.append(f"translation along axis {axis}")
            moving.append(axis)
    explained = np.linalg.norm(_span(ways, vectors.shape[0]).T @ vectors, axis=0) > OVERLAP
    strange, modes = values[~explained & (np.abs(values) <= zero)], vectors[:, explained]
    if strange.size or len(names) != modes.shape[1]:
        raise ValueError(
            f"the state has soft modes, eigenvalues {', '.join(f'{v:.1e}' for v in values)}, and the symmetries "
            f"{', '.join(names) or 'none'} do not explain just these: their volume is not known, nor is the rate"
        )
    units = np.array([way / np.linalg.norm(way) for way in ways]).reshape(len(ways), vectors.shape[0])
    volume = np.log(ROTATIONS[len(axes)]) + np.sum(np.log(lengths)) + np.linalg.slogdet(units @ units.T)[1] / 2
    return ZeroModes(modes, tuple(names), float(volume + np.log(different_shifts(x, moving))))


def _span(ways: list[np.ndarray], n: int) -> np.ndarray:
    """Orthonormal columns that span the ways."""
    return np.linalg.qr(np.array(ways).reshape(-1, n).T)[0]


def different_shifts(x: np.ndarray, axes: list[int]) -> float:
    """Number of different states that translations along the axes lead to, from the autocorrelation of the state."""
    if not axes:
        return 1.0
    cells = [x.shape[axis] for axis in axes]
    spectrum = np.abs(np.fft.fftn(x, axes=axes)) ** 2
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    overlap = np.fft.ifftn(spectrum.sum(axis=others)).real / np.sum(x * x)
    return float(np.prod(cells) / np.sum(overlap > 1 - 1e-9))


_distance, _all_coordinates = compiled(Spheres().distance), compiled(Spheres().coordinates)


def _coordinates(x: Array, v: Array, live: np.ndarray) -> np.ndarray:
    return np.asarray(_all_coordinates(x, np.asarray(v, x.dtype)))[live]


def _axes_of_rotation(x: Array, H: Whole | Nearby, live: np.ndarray, zero: float) -> np.ndarray:
    """Orthonormal axes about which a rotation of all spins costs nothing, shape ``(0 to 3, 3)``."""
    G = np.array([_coordinates(x, np.cross(axis, x), live) for axis in np.eye(3)])
    sizes, frame = np.linalg.eigh(G @ G.T)
    frame = frame[:, sizes > 1e-9 * sizes[-1]]  # a rotation about the direction of a collinear state moves nothing
    G = frame.T @ G
    forces = (H @ G.T).T  # H is symmetric
    stiffness, axes = sp.linalg.eigh(forces @ forces.T, G @ G.T)
    axes = np.linalg.qr(frame @ axes[:, stiffness <= zero**2])[0].T
    # The sign that makes the largest component positive.
    return axes * np.sign(np.take_along_axis(axes, np.argmax(np.abs(axes), axis=1)[:, None], axis=1))
