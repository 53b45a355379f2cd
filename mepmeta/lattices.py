"""Lattices and textures: the bonds of the usual lattices, and the states that relaxations and paths start from."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._checks import check_option, check_positive, check_shape, known
from mepmeta.energies import Bond

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
    D = jnp.asarray(D, jnp.result_type(D) if hasattr(D, "dtype") else float)
    along = np.array(OFFSETS[lattice]) @ np.array(VECTORS[lattice], float)
    vectors = [(y, 0 - x, 0.0) if dmi == "neel" else (x, y, z) for x, y, z in along]  # 0 - x: no zero with a minus
    return [bond._replace(D=D[..., None] * jnp.asarray(v, D.dtype)) for bond, v in zip(bonds, vectors, strict=True)]


def positions(shape: Sequence[int], lattice: str) -> Array:
    r"""Where spins are, :math:`\mathbf r = i\,\mathbf a_1 + j\,\mathbf a_2 + k\,\mathbf a_3`, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis.
        lattice: "chain", "square", "cubic": the unit vectors; "triangular": :math:`\mathbf a_2 = (1/2, \sqrt3/2, 0)`.
            The unit is the lattice constant.

    Raises:
        ValueError: for an unknown lattice, or a shape with another number of axes.
    """
    check_option("lattice", lattice, tuple(VECTORS))
    check_shape(shape)
    vectors = jnp.asarray(VECTORS[lattice], float)
    if len(shape) != len(vectors):
        raise ValueError(f"the lattice {lattice!r} has {len(vectors)} axes, got shape {tuple(shape)}")
    return jnp.moveaxis(jnp.indices(shape, vectors.dtype), 0, -1) @ vectors


def ferromagnet(shape: Sequence[int], direction: Vector = Z) -> Array:
    """All spins along one direction, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis.
        direction: vector of any length but zero, shape ``(3,)``.

    Raises:
        ValueError: for a bad shape or direction.
    """
    check_shape(shape)
    return jnp.broadcast_to(_unit("direction", direction), (*shape, 3))


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
        plane: where spins point in the middle, any length; :math:`\hat p` is its direction across ``domains``. As the
            wall goes from :math:`+z` to :math:`-z`, :math:`D > 0` prefers the opposites of :func:`nearest_neighbours`.

    Raises:
        ValueError: for a bad shape, width, axis or direction, or ``plane`` along ``domains``.
    """
    check_shape(shape)
    check_positive("width", width)
    if axis not in range(len(shape)):
        raise ValueError(f"axis must be one of the {len(shape)} axes of the lattice, counted from 0, got {axis}")
    d, p = _unit("domains", domains), _unit("plane", plane)
    p = p - jnp.vdot(p, d) * d
    if known(p) and np.linalg.norm(p) < 1e-6:
        raise ValueError(f"plane must lead out of the domains, got {plane} along {domains}")
    u = ((jnp.indices(shape, d.dtype)[axis] - center) / width)[..., None]
    # cos(theta) and sin(theta): exactly on the sphere, and no exponential of theirs overflows into 0/0.
    return -jnp.tanh(u) * d + _unit("plane", p) / jnp.cosh(u)


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
        shape: number of cells along both axes.
        lattice: "square" or "triangular".
        center: cell indices of the center :math:`r = 0`, whole or not.
        radius: :math:`R`, where :math:`S_z = 0`, lattice constants.
        width: :math:`w` of the wall, lattice constants.
        helicity: :math:`\chi`, radian. :math:`D > 0` of :func:`nearest_neighbours` wants 0 for Néel, :math:`\pi/2` for
            Bloch; :math:`D < 0` wants :math:`\pi` and :math:`-\pi/2`.
        vorticity: :math:`m`, whole; -1 for an antiskyrmion.
        periodic: whether r is the distance from the nearest periodic image of the center.

    Raises:
        ValueError: for an unknown lattice, a bad shape or center, or a radius or width that is not positive.

    Source: the profile of two walls, :cite:t:`braun1994`, in the use of :cite:t:`romming2015`.

    >>> import mepmeta as mm
    >>> mm.skyrmion((30, 30), center=(14, 14), radius=5.0)[14::5, 14, 2].round(3).tolist()  # r = 0, 5, 10, 15
    [-1.0, 0.0, 0.987, 1.0]
    """
    check_option("lattice", lattice, ("square", "triangular"))
    check_positive("radius", radius)
    check_positive("width", width)
    if jnp.shape(center) != (2,):
        raise ValueError(f"center must be two cell indices, got {center}")
    r = positions(shape, lattice)
    vectors = jnp.asarray(VECTORS[lattice], r.dtype)
    r = r - jnp.asarray([c % n if periodic else c for c, n in zip(center, shape, strict=True)], r.dtype) @ vectors
    if periodic:
        k = 2 + max(shape) // min(shape)  # so far the nearest image may be in cells of 60 degrees
        images = np.stack(np.meshgrid(*(np.arange(-k, k + 1) * n for n in shape)), axis=-1).reshape(-1, 1, 1, 2)
        r = r + jnp.asarray(images, r.dtype) @ vectors
        r = jnp.take_along_axis(r, jnp.argmin(jnp.sum(r**2, axis=-1), axis=0)[None, ..., None], axis=0)[0]
    distance = jnp.linalg.norm(r, axis=-1)
    # Numerator and denominator are both divided by exp(r/w)/2, which would overflow far out.
    numerator = -jnp.expm1(-2 * radius / width) * jnp.exp((radius - distance) / width)
    theta = 2 * jnp.arctan2(numerator, -jnp.expm1(-2 * distance / width))
    phi = vorticity * jnp.arctan2(r[..., 1], r[..., 0]) + helicity
    return jnp.stack([jnp.sin(theta) * jnp.cos(phi), jnp.sin(theta) * jnp.sin(phi), jnp.cos(theta)], axis=-1)


def spiral(shape: Sequence[int], lattice: str, wavevector: Vector, axis: Vector = Z) -> Array:
    r"""A flat spiral :math:`S = \hat u\cos\mathbf{qr} + \hat a\times\hat u\,\sin\mathbf{qr}`, shape ``(*shape, 3)``.

    :math:`\hat u` lies towards the first coordinate axis among those most nearly perpendicular to :math:`\hat a`.

    Args:
        shape: number of cells along each axis.
        lattice: one of :func:`positions`.
        wavevector: :math:`\mathbf q`, radian per lattice constant, two or three components. A periodic lattice fits the
            spiral when :math:`\mathbf q` times each edge of the lattice is a multiple of :math:`2\pi`.
        axis: axis :math:`\hat a` of the rotation, any length.

    Raises:
        ValueError: for an unknown lattice, or a bad shape, wavevector or axis.
    """
    r, a = positions(shape, lattice), _unit("axis", axis)
    q = jnp.asarray(wavevector, r.dtype)
    if q.shape not in ((2,), (3,)) or (known(q) and not np.all(np.isfinite(q))):
        raise ValueError(f"wavevector must be two or three finite numbers, got {wavevector}")
    u = jnp.eye(3, dtype=a.dtype)[jnp.argmin(jnp.abs(a))]
    u = _unit("axis", u - jnp.vdot(u, a) * a)
    phase = (r[..., : q.size] @ q)[..., None]
    return jnp.cos(phase) * u + jnp.sin(phase) * jnp.cross(a, u)


def _unit(name: str, vector: Vector) -> Array:
    vector = jnp.asarray(vector, float)
    length = jnp.linalg.norm(vector)
    if vector.shape != (3,) or (known(length) and not 0 < length < jnp.inf):
        raise ValueError(f"{name} must be a finite vector of three components, not zero, got {vector}")
    return vector / length
