"""Arithmetic written so that the compiler does it for several spins or paths at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["arctan_ratio", "total"]

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


def total(x: Array) -> Array:
    """Sum of an image. A few coordinates are added one by one: a sum is a loop of its own, not fused with the rest."""
    return sum(jnp.ravel(x)[i] for i in range(x.size)) if x.size <= 4 else jnp.sum(x)
