"""The exchange operator of a lattice, inverted wave by wave: what a search knows of a magnet before it asks."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["damped"]


def damped(
    v: Array,
    shape: tuple[int, ...],
    offsets: Sequence[tuple[int, ...]],
    J: Sequence[Array],
    mass: float | Array,
    first: int,
) -> Array:
    r"""A vector field on a lattice with its stiff waves kept and its soft ones made larger.

    .. math:: v_q \mapsto \frac{m + \max f - \min f}{m + \max f - f(q)}\,v_q,\qquad
        f(q) = 2\sum_{\text{bonds}} J\cos(q\cdot r)

    About a state in which the exchange energy is lowest, :math:`\max f - f(q)` is what exchange adds to the curvature
    of a wave q, whether neighbours are parallel or not. The lattice is taken as periodic, and of a bond whose J varies
    its mean counts: a preconditioner may be rough.

    Args:
        v: any components at every cell, which are the axes ``first`` to ``first + len(shape)``.
        shape: cells along each axis.
        offsets, J: the bonds, and their exchange :math:`J`.
        mass: :math:`m`, the curvature that all waves have beside that of exchange, in the unit of J.
        first: the first axis of the lattice in ``v``.
    """
    if not offsets:
        return v
    turns = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    waves = [2 * np.pi * q for q in np.meshgrid(*turns, indexing="ij")]
    f = jnp.zeros(waves[0].shape, v.dtype)
    for offset, coupling in zip(offsets, J, strict=True):
        cosine = np.cos(sum(o * q for o, q in zip(offset, waves, strict=True))).astype(v.dtype)
        f = f + 2 * jnp.mean(coupling).astype(v.dtype) * cosine
    least = jnp.asarray(mass, v.dtype) + jnp.max(f)
    gain = (least - jnp.min(f)) / (least - f)
    axes = tuple(range(first, first + len(shape)))
    waves = jnp.fft.rfftn(v, axes=axes)
    waves = waves * gain.reshape(gain.shape + (1,) * (v.ndim - axes[-1] - 1)).astype(waves.dtype)
    return jnp.fft.irfftn(waves, s=shape, axes=axes).astype(v.dtype)
