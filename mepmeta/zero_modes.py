"""Zero modes of a magnetic state: which continuous symmetry each belongs to, and the volume it leads through."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import eigh

from mepmeta.energies import Heisenberg
from mepmeta.geometry import Spheres

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


def zero_modes(energy: Callable, x: Array, values: np.ndarray, vectors: np.ndarray, zero: float) -> ZeroModes:
    r"""Name the zero modes of a state of spins, and measure the volume of the states that they lead to.

    .. math:: V = r\,\sqrt{\det(G^{\mathsf T}Z Z^{\mathsf T}G)},\qquad
        G = \Big(\hat n\times S,\ \tfrac12(S_{i+1} - S_{i-1}),\ \dots\Big)

    with the generators G of the rotations of all spins about an axis and of the translations along periodic axes of
    the lattice, and the range r of their parameters: :math:`2\pi` for one axis of rotation, :math:`4\pi` for the
    rotations of a collinear state, :math:`8\pi^2` for all rotations of another, the number of cells for a translation.

    Args:
        energy: the energy; translations are looked for if it is a ``Heisenberg``.
        x: state of unit vectors, shape ``(*shape, 3)``.
        values: the eigenvalues that may count as zero, shape ``(k,)``. Those of other modes than generators do not.
        vectors: their modes in the coordinates of ``Spheres``, orthonormal columns, shape ``(n, k)``.
        zero: largest magnitude of an eigenvalue that is zero but for rounding.

    Raises:
        ValueError: when a mode is zero and no generator explains it.
    """
    axes = _axes_of_rotation(x, vectors)
    generators = [_coordinates(x, jnp.cross(jnp.asarray(axis), x)) for axis in axes]
    names = [f"rotation about ({', '.join(f'{c:.3g}' for c in axis + 0.0)})" for axis in axes]
    volume = ROTATIONS[len(axes)]
    if isinstance(energy, Heisenberg):
        for axis, wrap in enumerate(energy.periodic):
            g = _coordinates(x, (jnp.roll(x, -1, axis) - jnp.roll(x, 1, axis)) / 2)
            if wrap and np.linalg.norm(g) > 0 and np.linalg.norm(g @ vectors) > OVERLAP * np.linalg.norm(g):
                generators.append(g)
                names.append(f"translation along axis {axis}")
                volume *= energy.shape[axis]
    G = np.array(generators).reshape(-1, vectors.shape[0])
    explained = np.linalg.norm(np.linalg.qr(G.T)[0].T @ vectors, axis=0) > OVERLAP
    strange = values[~explained & (np.abs(values) <= zero)]
    modes = vectors[:, explained]
    if strange.size or len(names) != modes.shape[1]:
        raise ValueError(
            f"the state has soft modes (eigenvalues {', '.join(f'{v:.1e}' for v in values)}), of which only these are "
            f"explained: {', '.join(names) or 'none'}. The volume of the others is not known, nor is the rate"
        )
    return ZeroModes(modes, tuple(names), float(np.log(volume) + np.sum(np.log(np.linalg.svd(G @ modes)[1]))))


def _coordinates(x: Array, v: Array) -> np.ndarray:
    return np.asarray(Spheres().coordinates(x, v))


def _axes_of_rotation(x: Array, vectors: np.ndarray) -> np.ndarray:
    """Orthonormal axes about which a rotation of all spins lies in the zero modes, shape ``(0 to 3, 3)``."""
    G = np.array([_coordinates(x, jnp.cross(jnp.asarray(axis), x)) for axis in np.eye(3)])
    sizes, frame = np.linalg.eigh(G @ G.T)
    frame = frame[:, sizes > 1e-9 * sizes[-1]]  # a rotation about the direction of a collinear state moves nothing
    whole = frame.T @ G @ G.T @ frame
    part = frame.T @ G @ vectors
    parts, axes = eigh(part @ part.T, whole)
    axes = np.linalg.qr(frame @ axes[:, parts > OVERLAP**2])[0].T
    # The sign that makes the largest component positive.
    return axes * np.sign(np.take_along_axis(axes, np.argmax(np.abs(axes), axis=1)[:, None], axis=1))
