"""Sums of dipole tensors over the periodic images of a sample: Ewald's, along one, two or three axes, or none."""

from itertools import product

import numpy as np
import scipy as sp

__all__ = ["dipole_sums"]

#: Gaussians of this inverse width, where the period has the volume 1, are summed in space and over waves.
ALPHA = np.sqrt(np.pi)
#: A Gaussian is cut where it has fallen to the square root of this power of e, 1e-17.
REACH = 6.3
#: Nodes of the integral over widths of Gaussians.
NODES = 96


def dipole_sums(r: np.ndarray, images: np.ndarray) -> np.ndarray:
    r"""The tensors that couple dipoles at distances r and all images of these: their parts xx, xy, xz, yy, yz, zz.

    .. math:: T(\mathbf r) = \sum_{\mathbf L}{}' \frac{1 - 3\,\hat\rho\,\hat\rho^{\mathsf T}}{\rho^3}
        = -\nabla\nabla\sum_{\mathbf L}{}'\frac1\rho,\qquad \rho = |\mathbf r + \mathbf L|

    without the term :math:`\rho = 0`. Far images are summed as waves: in

    .. math:: \frac1\rho = \frac{\operatorname{erfc}(\alpha\rho)}{\rho}
        + \frac{2}{\sqrt\pi}\int_0^\alpha e^{-\rho^2s^2}\,ds

    the first term is short-ranged, and the Gaussians of the second one are summed over the images by Poisson's formula,
    at every width s of a quadrature. So one formula serves all numbers d of periodic axes:

    .. math:: \sum_{\mathbf L} e^{-\rho^2s^2} = \frac{\pi^{d/2}}{s^d A}
        \sum_{\mathbf k} e^{-k^2/4s^2 - z^2s^2}\cos(\mathbf k\cdot\mathbf r)

    with the volume A of the period and the part z of r across all periods. With d = 3 the sum converges
    conditionally; the term k = 0 is left out, so the sample is in a conductor ("tin foil"), without a field of its
    surface.

    Args:
        r: distances, shape ``(n, 3)``.
        images: the periods, vectors in rows, shape ``(d, 3)`` with d from 0 to 3.

    Returns:
        Shape ``(n, 6)``, in the inverse cube of the unit of r.

    Source: :cite:t:`ewald1921`; two periodic axes: :cite:t:`grzybowski2000`.

    >>> import numpy as np
    >>> chain = dipole_sums(np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]))[0]  # of Riemann's zeta(3) = 1.2020569
    >>> (chain / 1.2020569031595942).round(9).tolist()
    [-4.0, 0.0, 0.0, 2.0, 0.0, 2.0]
    """
    d = len(images)
    if not d:
        return _near(r, 0.0)
    unit = np.linalg.det(images @ images.T) ** (1 / (2 * d))
    r, images = r / unit, images / unit  # the period has the volume 1
    dual = np.linalg.pinv(images).T  # dual[a] @ images[b] is 1 where a is b, else 0
    # From here on r is within the period around zero, so that few images are near.
    r = r - np.round(r @ dual.T) @ images
    along = r @ dual.T @ images
    total = _far(along, r - along, images, dual)
    for L in _lattice(images, dual, REACH / ALPHA + np.linalg.norm(along, axis=1).max()):
        total += _near(r + L, ALPHA)
    total[np.ix_(np.all(r == 0, axis=1), [0, 3, 5])] -= 4 * ALPHA**3 / (3 * np.sqrt(np.pi))  # its own Gaussian
    return total / unit**3


#: Places of the six independent components.
ROWS, COLUMNS = np.triu_indices(3)
UNIT = np.eye(3)[ROWS, COLUMNS]


def _outer(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The six components of the symmetric part of u v^T, for vectors along the last axis."""
    return (u[..., ROWS] * v[..., COLUMNS] + u[..., COLUMNS] * v[..., ROWS]) / 2


def _lattice(vectors: np.ndarray, dual: np.ndarray, reach: float) -> np.ndarray:
    """The whole multiples of vectors that are no longer than a length."""
    most = np.floor(reach * np.linalg.norm(dual, axis=1) + 1e-9).astype(int)
    points = np.array(list(product(*(range(-m, m + 1) for m in most)))) @ vectors
    return points[np.linalg.norm(points, axis=1) <= reach * (1 + 1e-9)]


def _near(r: np.ndarray, alpha: float) -> np.ndarray:
    """Second derivatives of -erfc(alpha r)/r, zero at zero and where they are beyond rounding."""
    tensors, size = np.zeros((len(r), 6)), np.linalg.norm(r, axis=1)
    some = (size > 0) & (alpha * size < REACH)
    r, size = r[some], size[some][:, None]
    decay, gauss = sp.special.erfc(alpha * size), 2 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * size) ** 2))
    first = decay / size**3 + gauss / size**2
    second = 3 * decay / size**5 + gauss * (2 * alpha**2 + 3 / size**2) / size**2
    tensors[some] = first * UNIT - second * _outer(r, r)
    return tensors


def _far(along: np.ndarray, z: np.ndarray, images: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """The sum over waves of all Gaussians wider than 1/alpha, by the parts of r along and across the periods."""
    d, total = len(images), np.zeros((len(z), 6))
    # Few heights differ in a film, and functions of the height are what costs.
    z, place = np.unique(z.round(13), axis=0, return_inverse=True)
    place = np.ravel(place)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    s = ALPHA * (nodes + 1) / 2
    weights = weights * ALPHA * np.pi ** ((d - 1) / 2) / s**d
    across = UNIT - (dual.T @ images)[ROWS, COLUMNS]
    heights = np.exp(-np.sum(z**2, axis=1)[:, None] * s**2)
    for k in 2 * np.pi * _lattice(dual, images, ALPHA * REACH / np.pi):
        if tuple(k) < (0, 0, 0) or (d == 3 and not k.any()):  # k and -k are one wave
            continue
        by = (2.0 if k.any() else 1.0) * weights * np.exp(-(k @ k) / (4 * s**2))
        flat, curved, bent = ((heights @ (by * s**p))[:, None] for p in (0, 2, 4))
        even = flat * _outer(k, k) + 2 * curved * across - 4 * bent * _outer(z, z)
        odd = 4 * curved * _outer(k, z)
        phase = (along @ k)[:, None]
        total += np.cos(phase) * even[place] - np.sin(phase) * odd[place]
    return total
