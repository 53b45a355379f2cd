"""Textures: the states that relaxations and paths start from."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import MOST, check_answers, check_number, check_numbers, check_option, shown
from mepmeta._checks import check_positive, check_shape
from mepmeta.magnets.lattices import VECTORS, cartesian

__all__ = ["bimeron", "domain_wall", "ferromagnet", "skyrmion", "skyrmionium", "spiral"]

Vector = Sequence[float] | Array
X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
#: Lattices with two axes in the plane; what follows is another layer, or another atom.
FILMS = ("square", "triangular", "cubic", "honeycomb")


def ferromagnet(shape: Sequence[int], direction: Vector = Z) -> Array:
    """All spins along one direction, shape ``(*shape, 3)``.

    Args:
        shape: number of cells along each axis.
        direction: vector of any length but zero, shape ``(3,)``.

    Raises:
        ValueError: for a bad shape or direction.
    """
    shape = check_shape(shape)
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
    shape = check_shape(shape)
    check_positive(width=width)
    check_number("center", center)
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or axis not in range(len(shape)):
        raise ValueError(f"axis must be one of the {len(shape)} axes of the lattice, counted from 0, got {shown(axis)}")
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
        shape, lattice: those of :func:`~mepmeta.magnets.lattices.positions`, "square", "triangular", "honeycomb", or
            "cubic", where all layers are alike.
        center: cell indices of the center :math:`r = 0` in the plane, whole or not.
        radius, width: :math:`R`, where :math:`S_z = 0`, and :math:`w` of the wall, lattice constants.
        helicity: :math:`\chi`, radian; 0 (Néel) or :math:`\pi/2` (Bloch) for :math:`D > 0`, else :math:`\pi, -\pi/2`.
        vorticity: :math:`m`, whole; -1 for an antiskyrmion.
        periodic: whether r is the distance from the nearest periodic image of the center.

    Raises:
        ValueError: for an unknown lattice, a bad shape or center, or a radius or width that is not positive.

    Source: the profile of two walls, :cite:t:`braun1994`, in the use of :cite:t:`romming2015`.
    """
    check_positive(radius=radius, width=width)
    _check_turn(helicity, vorticity)
    distance, azimuth = _polar(shape, lattice, center, periodic)
    return jnp.asarray(_spins(_wall(distance, radius, width), vorticity * azimuth + helicity), float)


def skyrmionium(
    shape: Sequence[int],
    lattice: str = "square",
    *,
    center: Sequence[float],
    radius: float,
    inner: float | None = None,
    width: float = 2.0,
    helicity: float = 0.0,
    vorticity: int = 1,
    periodic: bool = True,
) -> Array:
    r"""A skyrmion within a skyrmion: a ring along :math:`-z` around a core along :math:`+z`, shape ``(*shape, 3)``.

    .. math:: \theta = 2\arctan\frac{\sinh(R/w)}{\sinh(r/w)} + 2\arctan\frac{\sinh(R_i/w)}{\sinh(r/w)}

    Its topological charge is zero.

    Args:
        shape, lattice, center, width, helicity, vorticity, periodic: as in :func:`skyrmion`.
        radius, inner: radii :math:`R` and :math:`R_i` of the two walls, lattice constants; by default the inner one is
            half as large.

    Raises:
        ValueError: as :func:`skyrmion`, and when ``inner`` is not smaller than ``radius``.

    Source: :cite:t:`bogdanov1999`.
    """
    check_positive(radius=radius, width=width)
    _check_turn(helicity, vorticity)
    inner = radius / 2 if inner is None else inner
    check_positive(inner=inner)
    if not inner < radius:
        raise ValueError(f"the inner radius must be smaller than the outer one, got {inner} and {radius}")
    distance, azimuth = _polar(shape, lattice, center, periodic)
    theta = _wall(distance, radius, width) + _wall(distance, inner, width)
    return jnp.asarray(_spins(theta, vorticity * azimuth + helicity), float)


def bimeron(
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
    r"""A skyrmion of a magnet with its easy direction in the plane: one along :math:`+x`, shape ``(*shape, 3)``.

    .. math:: S = (S^{sk}_z,\ S^{sk}_y,\ -S^{sk}_x)

    is the skyrmion with all spins turned from z to x. It has the same charge, half of it where spins point up and half
    where they point down.

    Args:
        shape, lattice, center, radius, width, helicity, vorticity, periodic: as in :func:`skyrmion`.

    Raises:
        ValueError: as :func:`skyrmion`.

    Source: :cite:t:`gobel2019`.
    """
    S = skyrmion(
        shape, lattice, center=center, radius=radius, width=width, helicity=helicity, vorticity=vorticity,
        periodic=periodic,
    )  # fmt: skip
    return jnp.stack([S[..., 2], S[..., 1], -S[..., 0]], axis=-1)


def _polar(
    shape: Sequence[int], lattice: str, center: Sequence[float], periodic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in the plane from a center, and azimuth about it."""
    check_option("lattice", lattice, FILMS)
    check_answers(periodic=periodic)
    shape = check_shape(shape, len(VECTORS[lattice]))
    r, origin = (
        cartesian(shape, lattice)[..., :2],
        check_numbers("center", center, (2,), "two cell indices, finite numbers"),
    )
    cells = shape[:2]
    # The nearest image is not always in the next cell: those of the triangular lattice are oblique, and may be long.
    reach = 2 + max(cells) // min(cells) if periodic else 0
    images = np.moveaxis(np.indices((2 * reach + 1,) * 2) - reach, 0, -1).reshape(-1, *(1,) * len(shape), 2) * cells
    plane = np.array(VECTORS[lattice], float)[:2, :2]
    r = r - (images + (origin % cells if periodic else origin)) @ plane
    r = np.take_along_axis(r, np.argmin(np.sum(r**2, axis=-1), axis=0)[None, ..., None], axis=0)[0]
    return np.linalg.norm(r, axis=-1), np.arctan2(r[..., 1], r[..., 0])


def _wall(distance: np.ndarray, radius: float, width: float) -> np.ndarray:
    """Polar angle of two walls that meet: half a turn in the middle, nothing far out."""
    # Both sinh over half the larger exponential, which may overflow.
    sinh = [-np.expm1(-2 * x / width) * np.exp((x - np.maximum(distance, radius)) / width) for x in (radius, distance)]
    return 2 * np.arctan2(*sinh)


def _spins(theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def spiral(shape: Sequence[int], lattice: str, wavevector: Vector, axis: Vector = Z) -> Array:
    r"""A flat spiral :math:`S = \hat u\cos\mathbf{qr} + \hat a\times\hat u\,\sin\mathbf{qr}`, shape ``(*shape, 3)``.

    :math:`\hat u` lies towards the first coordinate axis among those most nearly perpendicular to :math:`\hat a`.

    Args:
        shape, lattice: those of :func:`~mepmeta.magnets.lattices.positions`.
        wavevector: :math:`\mathbf q`, radian per lattice constant, two or three components.
        axis: axis :math:`\hat a` of the rotation, any length.

    Raises:
        ValueError: for an unknown lattice, or a bad shape, wavevector or axis.
    """
    r, a, q = (
        cartesian(shape, lattice),
        _unit("axis", axis),
        check_numbers("wavevector", wavevector, None, "two or three finite numbers"),
    )
    if q.shape not in ((2,), (3,)):
        raise ValueError(f"wavevector must be two or three finite numbers, got {shown(wavevector)}")
    e = np.eye(3)[np.argmin(np.abs(a))]
    u = _unit("axis", e - e @ a * a)
    phase = (r[..., : q.size] @ q)[..., None]
    return jnp.asarray(np.cos(phase) * u + np.sin(phase) * np.cross(a, u), float)


def _unit(name: str, vector: Vector) -> np.ndarray:
    wanted = "a finite vector of three components, not zero"
    found = check_numbers(name, vector, wanted=wanted)
    if found.shape != (3,) or not np.any(found):
        raise ValueError(f"{name} must be {wanted}, got {shown(vector)}")
    found = found / np.max(np.abs(found))  # squares of large and of small numbers are none
    return found / np.linalg.norm(found)


def _check_turn(helicity: float, vorticity: int) -> None:
    check_number("helicity", helicity)
    if isinstance(vorticity, bool) or not isinstance(vorticity, (int, np.integer)) or abs(vorticity) > MOST:
        raise ValueError(f"vorticity must be a whole number, got {shown(vorticity)}")
