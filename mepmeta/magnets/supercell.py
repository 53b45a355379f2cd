"""Couplings of a cell in a lattice of so many cells: folded round its axes, or written out as one large cell."""

from collections.abc import Iterator, Sequence

import numpy as np

from mepmeta._arguments import check_wraps, is_row
from mepmeta._checks import check_shape

__all__ = ["cells_of", "closed", "folded", "repeated"]

Terms = tuple[float, np.ndarray | None, np.ndarray | None]


def cells_of(cells: int | Sequence[int] | None) -> tuple[int, ...]:
    """Numbers of cells along one to three axes."""
    if cells is None:
        raise ValueError("how many cells? The file does not say: give them, as (30, 30)")
    cells = check_shape(cells if is_row(cells) else (cells,))
    if len(cells) > 3:
        raise ValueError(f"a crystal has one to three axes of cells, got {cells}")
    return cells


def closed(periodic: bool | Sequence[bool] | None, axes: int) -> tuple[bool, ...]:
    """Whether each axis closes: True where nothing is said; of answers for three axes the first count."""
    if periodic is None:
        return (True,) * axes
    return check_wraps(periodic, 3 if is_row(periodic) and len(periodic) == 3 else axes)[:axes]


def folded(couplings: Sequence, cells: tuple[int, ...], periodic: tuple[bool, ...]) -> dict[tuple, Terms]:
    r"""The couplings by atoms and offset on the lattice, those that fall together added up.

    Round a periodic axis of n cells an offset counts modulo n, and bonds that then join the same spins act together, as
    they do on all states of that period. Along an open axis a bond of n cells or more has no second end.

    Args:
        couplings: of i, j, R, J, D, A as :class:`~mepmeta.magnets.couplings.Coupling` has them.
        cells, periodic: of each axis.

    Raises:
        ValueError: for a bond along an axis that is not there, or one that leads from a spin to itself.
    """
    bonds: dict[tuple, Terms] = {}
    for i, j, R, J, D, A in couplings:
        if any(R[len(cells) :]):
            raise ValueError(f"the pair {i} {j} {R} leads along axis {len(cells)}: give a number of cells for it, too")
        R = R[: len(cells)]
        axes = list(zip(R, cells, periodic, strict=True))
        if any(abs(o) >= n and not wrap for o, n, wrap in axes):
            continue
        ahead, back = ([s * o % n if wrap else s * o for o, n, wrap in axes] for s in (1, -1))
        if i == j and not any(ahead):
            need = ", ".join(f"{abs(o) + 1} along axis {k}" for k, o in enumerate(R) if o)
            raise ValueError(
                f"the pair {i} {j} {R} joins a spin to itself on {cells} cells: it needs {need}, or an open axis"
            )
        turned = (back, j, i) < (ahead, i, j)
        if turned:
            i, j, ahead, D = j, i, back, None if D is None else -np.array(D)
        near = tuple(o - n if wrap and 2 * o > n else o for o, n, wrap in zip(ahead, cells, periodic, strict=True))
        old = bonds.get((i, j, near), (0.0, None, None))
        bonds[i, j, near] = (old[0] + J, _sum(old[1], D), _sum(old[2], A))
    return bonds


def repeated(
    couplings: Sequence, atoms: int, cells: tuple[int, int, int], periodic: tuple[bool, ...]
) -> Iterator[tuple]:
    """The couplings of a cell made of ``cells`` cells of so many atoms; along an open axis those that stay inside."""
    for place in np.ndindex(*cells):
        first = atoms * int(np.ravel_multi_index(place, cells))
        for i, j, R, *terms in couplings:
            outer, inner = zip(*(divmod(p + r, n) for p, r, n in zip(place, R, cells, strict=True)), strict=True)
            if not any(o and not wrap for o, wrap in zip(outer, periodic, strict=True)):
                yield first + i, atoms * int(np.ravel_multi_index(inner, cells)) + j, outer, *terms


def _sum(a: np.ndarray | None, b: Sequence | None) -> np.ndarray | None:
    return a if b is None else np.array(b, float) if a is None else a + np.array(b, float)
