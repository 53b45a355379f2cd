"""Arithmetic written so that the compiler does it for several spins or paths at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["arctan_ratio", "sine_cosine", "total"]

#: Coefficients of arctan(sqrt(q))/sqrt(q) on [0, 1]: the polynomial of degree 19 that agrees with it at the Chebyshev
#: nodes of the interval, computed with 60 digits. It is off by less than 4e-17; rounding adds two units.
ARCTAN = (
    1.0, -0.333333333333307, 0.1999999999964796, -0.14285714266926733, 0.11111110578002083, -0.09090899793217341,
    0.07692198997458294, -0.06665764910689723, 0.058768281144872724, -0.052374234719188166, 0.04668745304848529,
    -0.040811247503178855, 0.03387126702700675, -0.02556862364437174, 0.01671959606350739, -0.00899108054265826,
    0.003751138483965141, -0.0011252544302234645, 0.00021423810738603946, -1.93423475928923e-05,
)  # fmt: skip
SLOPE = tuple(np.polynomial.polynomial.polyder(ARCTAN).tolist())


def _polynomial(coefficients: tuple[float, ...], q: Array) -> Array:
    value = jnp.full_like(q, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * q + c
    return value


@jax.custom_jvp
def arctan_ratio(q: Array) -> Array:
    r""":math:`\arctan(\sqrt q)/\sqrt q` for q in [0, 1], smooth at 0, to two units in the last place.

    The library's arctangent is a call for every single number.
    """
    return _polynomial(ARCTAN, q)


@arctan_ratio.defjvp
def _arctan_ratio_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The derivative as a polynomial of its own: reverse mode then keeps q, and not every power on the way.
    (q,), (dq,) = primals, tangents
    return arctan_ratio(q), _polynomial(SLOPE, q) * dq


#: A right angle in three parts. The first two have 33 binary digits, so that multiples up to 2^20 are exact.
RIGHT_ANGLE = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21


@jax.custom_jvp
def sine_cosine(x: Array) -> tuple[Array, Array]:
    r""":math:`\sin x` and :math:`\cos x`, to three units in the last place of 1.

    In double precision the library's are a call for every single number. Here both come from the tangent of half of
    what is left of the angle after whole right angles, by the seventh convergent of Lambert's continued fraction.
    """
    if x.dtype != jnp.float64:  # the library's do several at a time
        return jnp.sin(x), jnp.cos(x)
    turns = jnp.round(x * (2 / np.pi))
    rest = x
    for part in RIGHT_ANGLE:
        rest = rest - turns * part
    half = rest / 2
    q = half * half
    over, under = _polynomial((135135, -17325, 378, -1), q), _polynomial((135135, -62370, 3150, -28), q)
    tan = half * over / under
    share = 1 / (1 + tan * tan)
    sine, cosine = 2 * tan * share, (1 - tan * tan) * share
    quarter = turns - 4 * jnp.floor(turns / 4)
    odd = (quarter == 1) | (quarter == 3)
    sine, cosine = jnp.where(odd, cosine, sine), jnp.where(odd, sine, cosine)
    return jnp.where(quarter >= 2, -sine, sine), jnp.where((quarter == 1) | (quarter == 2), -cosine, cosine)


@sine_cosine.defjvp
def _sine_cosine_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple, tuple]:
    (x,), (dx,) = primals, tangents
    sine, cosine = sine_cosine(x)
    return (sine, cosine), (cosine * dx, -sine * dx)


def total(x: Array) -> Array:
    """Sum of an image. A few coordinates are added one by one: a sum is a loop of its own, not fused with the rest."""
    return sum(jnp.ravel(x)[i] for i in range(x.size)) if x.size <= 4 else jnp.sum(x)
