"""Lattices and textures: bonds between nearest neighbours, and the states that relaxations and paths start from."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._checks import check_option, check_positive, check_shape, known
from mepmeta.magnets.heisenberg import Bond

__all__ = ["domain_wall", "ferromagnet", "nearest_neighbours", "positions", "skyrmion", "spiral"]

Vector = Sequence[float] | Array
X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)

#: Primitive vectors, lattice constant 1.
VECTORS = {
    "chain": ((1, 0, 0),),
    "square": ((1, 0, 0), (0, 1, 0)),
    "triangular": ((1, 0, 0), (1 / 2, 3**0.5 / 2, 0)),
    "cubic": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
#: Nearest neighbours, in cells: one along each axis, and on the triangular lattice a third.
OFFSETS = {name: [tuple(row) for row in np.eye(len(v), dtype=int).tolist()] for name, v in VECTORS.items()}
OFFSETS["triangular"].append((-1, 1))


def nearest_neighbours(lattice: str, J: float | Array, D: float | Array = 0.0, dmi: str = "neel") -> list[Bond]:
    r"""The bonds between nearest neighbours, each pair once.

    .. math:: \mathbf D = D\,\hat r\times\hat z\ \text{(Néel)},\qquad \mathbf D = D\,\hat r\ \text{(Bloch)}

    With :math:`D > 0`, going along :math:`\hat r`, spins turn from :math:`-z` to :math:`+z` through :math:`\hat r`
    (Néel) or :math:`\hat z\times\hat r` (Bloch).

    Args:
        lattice: "chain", "square", "triangular" or "cubic", see :func:`positions`.
        J: exchange :math:`J`, energy; positive is ferromagnetic. A scalar, or an array over the lattice.
        D: Dzyaloshinskii-Moriya constant :math:`D`, energy, likewise. Zero gives bonds without it.
        dmi: "neel" (an interface with its normal along z) or "bloch" (a bulk crystal).

    Raises:
        ValueError: for an unknown name, or Néel interaction on the cubic lattice, which has bonds along z.

    >>> import mepmeta as mm
    >>> [(bond.offset, bond.D.tolist()) for bond in mm.nearest_neighbours("square", J=1.0, D=0.3)]
    [((1, 0), [0.0, -0.3, 0.0]), ((0, 1), [0.3, 0.0, 0.0])]
    """
    check_option("lattice", lattice, tuple(VECTORS))
    check_option("dmi", dmi, ("neel", "bloch"))
    bonds = [Bond(offset, J) for offset in OFFSETS[lattice]]
    if known(D) and not np.any(D):
        return bonds
    if lattice == "cubic" and dmi == "neel":
        raise ValueError("Néel interaction vanishes on bonds along z: the cubic lattice takes dmi='bloch'")
    D = jnp.asarray(D, jnp.result_type(D, float) if hasattr(D, "dtype") else float)
    along = np.array(OFFSETS[lattice]) @ np.array(VECTORS[lattice], float)
    vectors = [(y, 0 - x, 0.0) if dmi == "neel" else (x, y, z) for x, y, z in along]  # 0 - x: no zero with a minus
    return [bond._replace(D=D[..., None] * jnp.asarray(v, D.dtype)) for bond, v in zip(bonds, vectors, strict=True)]


def positions(shape: Sequence[int], lattice: str) -> Array:
    r"""Where spins are, :math:`\mathbf r = i\,\mathbf a_1 + j\,\mathbf a_2 + k\,\mathbf a_3`, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis.
        lattice: "chain", "square", "cubic": unit vectors; "triangular": :math:`\mathbf a_2 = (1/2, \sqrt3/2, 0)`.

    Raises:
        ValueError: for an unknown lattice, or a shape with another number of axes.
    """
    return jnp.asarray(_positions(shape, lattice), float)


def ferromagnet(shape: Sequence[int], direction: Vector = Z) -> Array:
    """All spins along one direction, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis.
        direction: vector of any length but zero, shape ``(3,)``.

    Raises:
        ValueError: for a bad shape or direction.
    """
    check_shape(shape)
    return jnp.asarray(np.broadcast_to(_unit("direction", direction), (*shape, 3)), float)


def domain_wall(
    shape: Sequence[int], *, center: float, width: float, axis: int = 0, domains: Vector = Z, plane: Vector = X
) -> Array:
    r"""A wall between a domain along ``domains`` and one against it, shape ``(*shape, 3)``.

    .. math:: S_i = \cos\theta_i\,\hat d + \sin\theta_i\,\hat p,\qquad \theta_i = 2\arctan e^{(i - c)/w}

    Args:
        shape: number of cells along each axis.
        center: cell index :math:`c` of the middle of the wall, whole or not.
        width: :math:`w` in cells; :math:`\sqrt{J/2K}` across a chain or a square lattice in the continuum.
        axis: axis of the lattice along which the spins turn.
        domains: direction :math:`\hat d` of the domain at low indices, any length.
        plane: where spins point in the middle, any length; :math:`\hat p` is its direction across ``domains``.

    Raises:
        ValueError: for a bad shape, width, axis or direction, or ``plane`` along ``domains``.
    """
    check_shape(shape)
    check_positive(width=width)
    if axis not in range(len(shape)):
        raise ValueError(f"axis must be one of the {len(shape)} axes of the lattice, counted from 0, got {axis}")
    d, p = _unit("domains", domains), _unit("plane", plane)
    p = p - p @ d * d
    if np.linalg.norm(p) < 1e-6:
        raise ValueError(f"plane must lead out of the domains, got {plane} along {domains}")
    u = ((np.indices(shape)[axis] - center) / width)[..., None]
    far = np.exp(-np.abs(u))
    return jnp.asarray(-np.tanh(u) * d + 2 * far / (1 + far**2) * _unit("plane", p), float)


def skyrmion(
    shape: Sequence[int],
    lattice: str = "square",
    *,
    center: Sequence[float],
    radius: float,
    width: float = 2.0,
    helicity: float = 0.0,
    vorticity: int = 1,
    periodic: bool = True,
) -> Array:
    r"""A skyrmion to relax: a core along :math:`-z` in a background along :math:`+z`, shape ``(*shape, 3)``.

    .. math:: S = (\sin\theta\cos(m\varphi + \chi),\ \sin\theta\sin(m\varphi + \chi),\ \cos\theta),\qquad
        \theta = 2\arctan\frac{\sinh(R/w)}{\sinh(r/w)}

    Args:
        shape, lattice: those of :func:`positions`, "square" or "triangular".
        center: cell indices of the center :math:`r = 0`, whole or not.
        radius, width: :math:`R`, where :math:`S_z = 0`, and :math:`w` of the wall, lattice constants.
        helicity: :math:`\chi`, radian; 0 (Néel) or :math:`\pi/2` (Bloch) for :math:`D > 0`, else :math:`\pi, -\pi/2`.
        vorticity: :math:`m`, whole; -1 for an antiskyrmion.
        periodic: whether r is the distance from the nearest periodic image of the center.

    Raises:
        ValueError: for an unknown lattice, a bad shape or center, or a radius or width that is not positive.

    Source: the profile of two walls, :cite:t:`braun1994`, in the use of :cite:t:`romming2015`.
    """
    check_option("lattice", lattice, ("square", "triangular"))
    check_positive(radius=radius, width=width)
    r, origin = _positions(shape, lattice), np.array(center, float)
    if origin.shape != (2,) or not np.all(np.isfinite(origin)):
        raise ValueError(f"center must be two cell indices, finite numbers, got {center}")
    # The nearest image is not always in the next cell: those of the triangular lattice are oblique, and may be long.
    reach = 2 + max(shape) // min(shape) if periodic else 0
    images = np.moveaxis(np.indices((2 * reach + 1,) * 2) - reach, 0, -1).reshape(-1, 1, 1, 2) * shape
    r = r - (images + (origin % shape if periodic else origin)) @ VECTORS[lattice]
    r = np.take_along_axis(r, np.argmin(np.sum(r**2, axis=-1), axis=0)[None, ..., None], axis=0)[0]
    distance, phi = np.linalg.norm(r, axis=-1), vorticity * np.arctan2(r[..., 1], r[..., 0]) + helicity
    # Both sinh over half the larger exponential, which may overflow.
    sinh = [-np.expm1(-2 * x / width) * np.exp((x - np.maximum(distance, radius)) / width) for x in (radius, distance)]
    theta = 2 * np.arctan2(*sinh)
    S = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    return jnp.asarray(S, float)


def spiral(shape: Sequence[int], lattice: str, wavevector: Vector, axis: Vector = Z) -> Array:
    r"""A flat spiral :math:`S = \hat u\cos\mathbf{qr} + \hat a\times\hat u\,\sin\mathbf{qr}`, shape ``(*shape, 3)``.

    :math:`\hat u` lies towards the first coordinate axis among those most nearly perpendicular to :math:`\hat a`.

    Args:
        shape, lattice: those of :func:`positions`.
        wavevector: :math:`\mathbf q`, radian per lattice constant, two or three components.
        axis: axis :math:`\hat a` of the rotation, any length.

    Raises:
        ValueError: for an unknown lattice, or a bad shape, wavevector or axis.
    """
    r, a, q = _positions(shape, lattice), _unit("axis", axis), np.array(wavevector, float)
    if q.shape not in ((2,), (3,)) or not np.all(np.isfinite(q)):
        raise ValueError(f"wavevector must be two or three finite numbers, got {wavevector}")
    e = np.eye(3)[np.argmin(np.abs(a))]
    u = _unit("axis", e - e @ a * a)
    phase = (r[..., : q.size] @ q)[..., None]
    return jnp.asarray(np.cos(phase) * u + np.sin(phase) * np.cross(a, u), float)


def _positions(shape: Sequence[int], lattice: str) -> np.ndarray:
    check_option("lattice", lattice, tuple(VECTORS))
    check_shape(shape, len(VECTORS[lattice]))
    return np.moveaxis(np.indices(shape), 0, -1) @ np.array(VECTORS[lattice], float)


def _unit(name: str, vector: Vector) -> np.ndarray:
    vector = np.array(vector, float)
    if vector.shape != (3,) or not 0 < np.linalg.norm(vector) < np.inf:
        raise ValueError(f"{name} must be a finite vector of three components, not zero, got {vector}")
    return vector / np.linalg.norm(vector)
