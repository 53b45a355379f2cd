"""``find_paths``: several first paths between two states, and the minimum energy paths that they lead to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import Array

from mepmeta._arguments import check_count, check_key
from mepmeta._checks import check_untraced
from mepmeta.search.mep import searched
from mepmeta.search.result import MEP
from mepmeta.search.settings import Settings, checked

__all__ = ["find_paths"]

#: Barriers that differ by less than this part are those of one saddle, or of two that a symmetry makes alike.
ALIKE = 1e-6
#: Modes of the start to whose sides first paths lead, each both ways.
MODES = 2


def find_paths(
    energy: Callable[[Array], Array],
    start: Array,
    end: Array,
    *,
    paths: int = 5,
    key: Array | None = None,
    **options: Any,
) -> tuple[MEP, ...]:
    r"""Search from several first paths: the minimum energy paths between two states, that of the lowest barrier first.

    A search goes down from its first path, into the valley where that lies. Two islands that turn by half a turn may do
    so the same way round or opposite ways, over barriers that differ by a factor, and no path between is lower than
    both. The first search is that of :func:`~mepmeta.search.mep.find_mep`. The next four begin with a path to the side
    of the softest mode of the start, both ways, and of the second one: there spins turn, by more than a right angle,
    the other way round, and in flat space the path is an arc. All further ones lead to the side of

    .. math:: v = \sum_{k=1}^{4} c_k\,v_k,\qquad c_k \sim \mathcal N(0, 1)

    with the softest modes :math:`v_k`. Nothing makes sure that the lowest path of all is among them.

    Args:
        energy, start, end: as for :func:`~mepmeta.search.mep.find_mep`.
        paths: how many first paths.
        key: random key of those after the fifth; by default that of the number 0.
        **options: those of :func:`~mepmeta.search.mep.find_mep`, but for ``path``.

    Returns:
        One result for each barrier, those that converged first, in order of their barriers. The message of the first
        one names the others. Where no search has converged, the first one.

    Raises:
        ValueError: as :func:`~mepmeta.search.mep.find_mep`; for a count of paths that is not positive.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> ring = lambda x: 9 * (jnp.linalg.norm(x) - 1) ** 2 - x[0] ** 2 + 0.3 * x[1]  # over the top or, lower, below
    >>> found = mm.find_paths(ring, jnp.array([-1.0, 0.2]), jnp.array([1.0, 0.2]), progress=False)
    >>> [bool(r.saddle[1] > 0) for r in found]
    [False, True]
    """
    paths = check_count("paths", paths)
    if "path" in options:
        raise ValueError("find_paths lays its own first paths: pass a path to find_mep")
    key = jax.random.key(0) if key is None else key
    check_key(key)
    energy, how = checked(energy, start, end, Settings(**options))
    check_untraced("find_paths", energy)
    sides = np.kron(np.eye(4)[:MODES], np.array([[1.0], [-1.0]]))
    drawn = np.asarray(jax.random.normal(key, (max(paths - 1 - len(sides), 0), 4)))
    found: list[MEP] = []
    for turn in [None, *sides, *drawn][:paths]:
        found.append(searched(energy, np.asarray(start), np.asarray(end), how, turn, alone=False))
        if "interrupted" in found[-1].message:
            break
    found.sort(key=lambda r: (not r.converged, r.barrier))  # of equal ones the first stays first
    several = [[found[0]]]
    for r in (r for r in found[1:] if r.converged):
        alike = abs(r.barrier - several[-1][0].barrier) <= ALIKE * max(abs(r.barrier), abs(several[-1][0].barrier))
        several.append([r]) if not alike else several[-1].append(r)
    best, *rest = (same[0] for same in several)
    counts = ", ".join(f"{len(same)} of {same[0].barrier:.6g}" for same in several)
    failed = sum(not r.converged for r in found)
    note = f"of {len(found)} first paths led to a barrier: {counts}" + (
        f"; {failed} did not converge" if failed else ""
    )
    return replace(best, message=f"{best.message}; {note}"), *rest
