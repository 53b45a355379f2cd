"""The exact rates of one spin: eigenvalues of its Fokker-Planck operator in spherical harmonics."""

from __future__ import annotations

import numpy as np
import scipy as sp

from mepmeta._arguments import check_count, shown
from mepmeta._checks import check_damping, check_positive
from mepmeta.magnets.heisenberg import Heisenberg

__all__ = ["relaxation_rates"]

#: Up to this many harmonics the whole spectrum is computed, degenerate rates included.
SMALL = 300
#: What the last two degrees may hold of the slowest mode.
RESOLVED = 1e-3
#: The slowest rate that rounding can tell from zero, in units of the diffusion constant.
SLOWEST = 1e-10


def _spherical_operators(degree: int) -> tuple[list[sp.sparse.csr_array], list[sp.sparse.csr_array]]:
    r"""Multiplication by S_x, S_y, S_z, and the rotations S x grad, on spherical harmonics up to a degree.

    S_z Y_lm and (S_x ± i S_y) Y_lm are sums of two harmonics of degrees l ± 1, the rotations stay at l.
    """
    l = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)  # noqa: E741
    m = np.concatenate([np.arange(-k, k + 1) for k in range(degree + 1)])
    place, n = {pair: i for i, pair in enumerate(zip(l.tolist(), m.tolist(), strict=True))}, l.size

    def operator(dl: int, dm: int, values: np.ndarray) -> sp.sparse.csr_array:
        to = [place.get(pair, -1) for pair in zip((l + dl).tolist(), (m + dm).tolist(), strict=True)]
        keep = np.array(to) >= 0
        return sp.sparse.csr_array((values[keep], (np.array(to)[keep], np.flatnonzero(keep))), shape=(n, n))

    def root(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(a * b, 0) / np.maximum(c * d, 1))

    up, down = (2 * l + 1, 2 * l + 3), (2 * l - 1, 2 * l + 1)
    z = operator(1, 0, root(l - m + 1, l + m + 1, *up)) + operator(-1, 0, root(l - m, l + m, *down))
    plus = operator(-1, 1, root(l - m, l - m - 1, *down)) - operator(1, 1, root(l + m + 1, l + m + 2, *up))
    x, y = (plus + plus.T) / 2, (plus - plus.T) / 2j
    ladder = operator(0, 1, np.sqrt(np.maximum(l * (l + 1) - m * (m + 1), 0.0)))
    momenta = (ladder + ladder.T) / 2, (ladder - ladder.T) / 2j, operator(0, 0, m.astype(float))
    return [x, y, z], [1j * L for L in momenta]


def relaxation_rates(
    energy: Heisenberg, temperature: float, damping: float, *, degree: int = 71, k: int = 2
) -> np.ndarray:
    r"""How fast the distribution of one spin forgets: the smallest eigenvalues of the Fokker-Planck equation.

    .. math:: \mathcal G f = \frac{1}{1+\alpha^2}\Big[b\cdot R f - \alpha\,b\cdot(S\times R f)
        + \alpha k_BT\,R^2 f\Big],\qquad R = S\times\nabla,\quad b = -\partial E

    is the generator of the stochastic Landau-Lifshitz-Gilbert equation, with time in units of :math:`\mu/\gamma` over
    the unit of energy. In spherical harmonics up to a degree it is a sparse matrix without any other approximation.
    Its eigenvalues are 0, the equilibrium, and :math:`-\lambda`. For two equal wells the slowest is
    :math:`\lambda_1 = 2\kappa`, with the rate :math:`\kappa` of leaving one of them.

    Args:
        energy: a :class:`~mepmeta.magnets.heisenberg.Heisenberg` of one cell without bonds: anisotropy and field.
        temperature: :math:`k_BT`, energy.
        damping: :math:`\alpha`.
        degree: highest degree of the spherical harmonics. The width of a well, :math:`\sqrt{k_BT/\partial^2E}`, needs
            a degree of a few times its inverse: 71 is enough for barriers up to about 15 :math:`k_BT`.
        k: how many rates.

    Returns:
        Decay rates, the real parts of the k eigenvalues :math:`\lambda` of smallest magnitude but zero, ascending,
        shape ``(k,)``. Modes that precess, whose eigenvalues have large imaginary parts, are not among them, however
        slowly they decay.

    Raises:
        ValueError: for an energy of more than one spin, a temperature or damping that is not positive, a slowest mode
            that the degree does not resolve, or one too slow to be told from the equilibrium in double precision.

    Source: :cite:t:`brown1963`.

    >>> import mepmeta as mm
    >>> free = mm.Heisenberg((1,))  # no energy: diffusion on the sphere, rates D l (l + 1) with D = αkT/(1 + α²)
    >>> mm.relaxation_rates(free, temperature=0.5, damping=1.0, degree=8, k=4).round(9).tolist()
    [0.5, 0.5, 0.5, 1.5]
    """
    if not all(hasattr(energy, part) for part in ("anisotropy", "bonds")) or isinstance(energy, type):
        raise ValueError(f"relaxation_rates takes a Heisenberg energy, got {shown(energy)}")
    if np.prod(energy.shape) != 1 or energy.bonds:
        raise ValueError("relaxation_rates takes the Heisenberg energy of one cell without bonds")
    check_positive(temperature=temperature)
    check_damping(damping, positive=True)
    degree = check_count("degree", degree)
    k = check_count("k", k)
    S, R = _spherical_operators(degree)
    identity = sp.sparse.eye_array(S[0].shape[0], format="csr")
    b = [float(component) * identity for component in np.asarray(energy.field).reshape(3)]
    for K, axis in energy.anisotropy:
        a = np.asarray(axis).reshape(3)
        along = sum(a[i] * S[i] for i in range(3))
        b = [b[i] + 2 * float(np.ravel(K)[0]) * a[i] * along for i in range(3)]
    turned = [S[i - 2] @ R[i - 1] - S[i - 1] @ R[i - 2] for i in range(3)]
    drift = sum(b[i] @ (R[i] - damping * turned[i]) for i in range(3))
    turns = 1 / (1 + damping**2)
    generator = turns * (drift + damping * temperature * sum(r @ r for r in R))
    order, diffusion = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1), turns * damping * temperature
    if order.size <= SMALL:
        values, vectors = np.linalg.eig(generator.toarray())
    else:
        near = 1e-9 * diffusion  # next to zero, but not on it: zero is an eigenvalue
        start = np.random.default_rng(0).standard_normal(order.size).astype(complex)
        values, vectors = sp.sparse.linalg.eigs(
            sp.sparse.csc_array(generator), k=k + 1, sigma=near, which="LM", v0=start, ncv=4 * k + 24
        )
    ascending = np.argsort(np.abs(values))
    zero, chosen = values[ascending[0]], ascending[1 : k + 1]
    slowest = np.abs(vectors[:, chosen[0]])
    tail = float(np.linalg.norm(slowest[order >= degree - 1]) / np.linalg.norm(slowest))
    if tail > RESOLVED or abs(zero) > SLOWEST * diffusion or np.any(values[chosen].real > SLOWEST * diffusion):
        raise ValueError(
            f"harmonics up to degree={degree} do not resolve the slowest mode at this temperature: "
            f"the last two degrees hold {tail:.1e} of it, wanted {RESOLVED:.0e}"
        )
    if -values[chosen[0]].real < SLOWEST * diffusion:
        raise ValueError("the slowest rate is too slow at this temperature to be told from zero in double precision")
    return np.sort(-values[chosen].real)
