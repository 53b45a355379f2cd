r"""Tangents at the inner images of a path, from the two neighbour differences.

:math:`\tau^+_n = S_{n+1} - S_n` and :math:`\tau^-_n = S_n - S_{n-1}` come stacked over the N inner images,
shape ``(N, *shape)``. A tangent is their weighted mean :math:`\tau = a^+\tau^+ + a^-\tau^-` with
:math:`a^+ + a^- = 1`, so its length is that of a neighbour difference; it is not a unit vector.
"""

import jax
import jax.numpy as jnp
from jax import Array

from mepmeta._arguments import check_floats, check_number, check_numbers, known
from mepmeta._vectorised import total

__all__ = ["central", "improved", "smooth", "weight"]


def _checked(*vectors: Array) -> None:
    for name, v in zip(("forward", "backward", "gradients"), vectors, strict=False):
        check_floats(name, v)
        if v.ndim < 1 or v.shape != vectors[0].shape:
            raise ValueError(f"differences are stacked over the inner images, (N, *shape), got {name} of {v.shape}")


def _mean(a: Array, forward: Array, backward: Array) -> Array:
    """Weighted mean of the two differences, weight ``a`` (N,) on the forward one."""
    a = a.reshape(a.shape + (1,) * (forward.ndim - 1))
    return a * forward + (1 - a) * backward


def central(forward: Array, backward: Array) -> Array:
    r"""Central difference, :math:`\tau_n = (\tau^+_n + \tau^-_n)/2`: the estimate that kinks a path.

    Args:
        forward: :math:`\tau^+`, shape ``(N, *shape)``.
        backward: :math:`\tau^-`, the same shape.

    Returns:
        Tangents, the same shape and unit.
    """
    _checked(forward, backward)
    return (forward + backward) / 2


def improved(forward: Array, backward: Array, energies: Array) -> Array:
    r"""Improved tangent: the difference to the neighbour of higher energy.

    .. math::
        \tau_n = \begin{cases}
        \tau^+_n & E_{n+1} > E_n > E_{n-1}\\
        \tau^-_n & E_{n+1} < E_n < E_{n-1}\\
        (\tau^+_n\Delta^{\max}_n + \tau^-_n\Delta^{\min}_n)/(\Delta^{\max}_n + \Delta^{\min}_n) & E_{n+1} > E_{n-1}\\
        (\tau^+_n\Delta^{\min}_n + \tau^-_n\Delta^{\max}_n)/(\Delta^{\max}_n + \Delta^{\min}_n) & E_{n+1} < E_{n-1}
        \end{cases}

    with :math:`\Delta^{\max}_n, \Delta^{\min}_n` the larger and the smaller of :math:`|E_{n\pm1} - E_n|`; the last
    two lines are for images that are a maximum or a minimum of energy. The equation fixes a direction only;
    dividing by the sum of the two weights gives all four cases a comparable length.

    Args:
        forward: :math:`\tau^+`, shape ``(N, *shape)``.
        backward: :math:`\tau^-`, the same shape.
        energies: :math:`E` of all images, both ends included, shape ``(N + 2,)``.

    Returns:
        Tangents, the same shape and unit as ``forward``. Where three energies in a row are equal the equation
        gives a zero vector; the central difference stands in, and the public calls refuse such a path.

    Source: Eq. (3) of :cite:t:`bushuev2020`, after :cite:t:`henkelman2000tangent`.
    """
    _checked(forward, backward)
    check_floats("the energies", energies)
    if jnp.shape(energies) != (forward.shape[0] + 2,):
        wanted = f"the energies are those of all {forward.shape[0] + 2} images"
        raise ValueError(f"{wanted}, both ends included, got shape {jnp.shape(energies)}")
    return _mean(improved_weight(energies), forward, backward)


def improved_weight(energies: Array) -> Array:
    """The weights of the forward differences in :func:`improved`, at the inner images."""
    left, here, right = energies[:-2], energies[1:-1], energies[2:]
    up, down = jnp.abs(right - here), jnp.abs(left - here)
    # At right == left the two are equal, so it does not matter which of them is taken.
    at_extremum = jnp.where(right > left, jnp.maximum(up, down), jnp.minimum(up, down))
    on_slope, plateau = (right > here) == (here > left), up + down == 0
    share = jnp.where(plateau, 0.5, jnp.where(on_slope, (right > here).astype(energies.dtype), at_extremum))
    # A quotient comes last: the compiler keeps it, where it would compute the energies anew for each use of the weight.
    return share / jnp.where(on_slope | plateau, 1, up + down)


def weight(a: Array, b: Array, beta: float | Array) -> Array:
    r"""The weight function of the smooth tangent, a logistic in disguise.

    .. math:: W(a; b) = \frac{e^{\beta a} + e^{\beta b}}{e^{\beta a} + e^{-\beta a} + e^{\beta b} + e^{-\beta b}}
        = \frac{1}{1 + e^{-\beta(a + b)}}

    The second form follows from the first by sum-to-product and does not overflow, where the first is
    inf/inf beyond :math:`|\beta a| \approx 710`.

    Args:
        a: slope :math:`a` of the energy along one difference, energy, any shape.
        b: slope :math:`b` along the other, broadcastable against ``a``.
        beta: smoothness :math:`\beta`, 1/energy.

    Returns:
        :math:`W` in [0, 1].

    Source: Section 3 of :cite:t:`bushuev2020`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> float(mm.tangents.weight(jnp.array(0.0), jnp.array(0.0), 3.0))
    0.5
    """
    check_number("beta", beta, "a finite number >= 0", 0)
    for name, slope in {"a": a, "b": b}.items():
        if known(slope):
            check_numbers(f"the slope {name}", slope)
    return jax.nn.sigmoid(beta * (a + b))


def smooth(forward: Array, backward: Array, gradients: Array, beta: float | Array) -> Array:
    r"""The paper's differentiable tangent, gated by the slope of the energy along the path.

    .. math:: \tau_n = a^+_n\tau^+_n + (1 - a^+_n)\tau^-_n,\qquad
        a^+_n = W(\partial E\cdot\tau^-_n;\ \partial E\cdot\tau^+_n)
        = \sigma\big(\beta\,\partial E[S_n]\cdot(S_{n+1} - S_{n-1})\big)

    It needs gradients only, no energies. :math:`\beta \to 0` gives the central difference,
    :math:`\beta \to \infty` the higher neighbour of :func:`improved`.

    Args:
        forward: :math:`\tau^+`, shape ``(N, *shape)``.
        backward: :math:`\tau^-`, the same shape.
        gradients: :math:`\partial E[S_n]`, the same shape.
        beta: smoothness :math:`\beta`, 1/energy.

    Returns:
        Tangents, the same shape and unit as ``forward``.

    Source: Section 3 of :cite:t:`bushuev2020`.
    """
    _checked(forward, backward, gradients)
    check_number("beta", beta, "a finite number >= 0", 0)
    return _mean(jax.vmap(lambda *v: smooth_weight(*v, beta))(forward, backward, gradients), forward, backward)


def smooth_weight(forward: Array, backward: Array, gradient: Array, beta: float | Array) -> Array:
    """The weight of the forward difference in :func:`smooth`, at one image."""
    return weight(total(gradient * backward), total(gradient * forward), beta)
