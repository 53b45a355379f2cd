"""Energies: callables ``x -> scalar`` whose physical constants are differentiable leaves."""

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from mepmeta._vectorised import sine_cosine

__all__ = ["single_spin"]


def _single_spin(K1: Array, K2: Array, x: Array) -> Array:
    x = jnp.asarray(x)
    if x.shape != (2,):
        raise ValueError(f"single_spin takes one state (theta, phi) of shape (2,), got shape {x.shape}")
    # Slices, not elements: the derivative of a slice leaves the paths of a batch side by side.
    (z, equator), (_, cos_phi) = sine_cosine(x[:1]), sine_cosine(x[1:])
    return jnp.squeeze(-K1 * (equator * cos_phi) ** 2 - K2 * z**2)


def single_spin(K1: float | Array = 1.0, K2: float | Array = -2.0) -> Partial:
    r"""One magnetic moment with two anisotropy axes, the system of the paper.

    .. math:: E(\theta, \varphi) = -K_1 S_x^2 - K_2 S_z^2
        = -K_1 \cos^2\theta \cos^2\varphi - K_2 \sin^2\theta

    With :math:`K_1 > 0 > K_2` the minima are :math:`(0, 0)` and :math:`(0, \pi)` at energy
    :math:`-K_1`, the saddles :math:`(0, \pm\pi/2)` at energy 0, so the barrier is :math:`K_1`.

    Args:
        K1: anisotropy constant :math:`K_1` of the x axis, energy; positive is easy.
        K2: anisotropy constant :math:`K_2` of the z axis, energy; negative is hard.

    Returns:
        A callable that maps a state :math:`(\theta, \varphi)`, latitude and longitude in radian,
        shape ``(2,)``, to a scalar energy. It is a pytree with leaves ``K1`` and ``K2``: it goes
        through ``jax.jit`` and ``jax.grad`` as an argument.

    Raises:
        ValueError: when the energy is called with a state of another shape.

    Source: Section 3 of :cite:t:`bushuev2020`. The paper prints :math:`-K_2` for the saddle; that
    is the energy of the pole, the saddle has 0.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> E = mm.single_spin(K1=1.0, K2=-2.0)
    >>> [round(float(E(jnp.array(x))), 6) + 0.0 for x in ([0.0, 0.0], [0.0, jnp.pi / 2], [jnp.pi / 2, 0.0])]
    [-1.0, 0.0, 2.0]
    """
    return Partial(_single_spin, K1, K2)
