"""Pairs as files list them, from both ends, become pairs that are listed once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mepmeta._arguments import shown
from mepmeta.magnets.couplings import Coupling
from mepmeta.magnets.files.text import Line
from mepmeta.magnets.magnet import Magnet

__all__ = ["Entry", "built", "check_magnet", "from_both_ends", "split", "tensor", "to_both_ends"]


class Entry(NamedTuple):
    """One row of a file: where it stands, what it joins, and its constants as they stand there."""

    line: Line
    i: int
    j: int
    R: tuple[int, ...]
    J: float = 0.0
    D: np.ndarray | None = None
    A: np.ndarray | None = None


def from_both_ends(entries: Sequence[Entry], factor: float, digits: float = 0.0) -> list[Coupling]:
    """Every pair once, from rows that list it once from each end.

    Args:
        entries: the rows.
        factor: what J is here over what it is there.
        digits: what the two ends may differ by, J and A the same, D opposite; energy, or a millionth of the largest.

    Raises:
        ValueError: for a pair listed twice, from one end only, or in two ways; an atom coupled to itself.
    """
    rows: dict[tuple, Entry] = {}
    for e in entries:
        if e.i == e.j and not any(e.R):
            raise e.line.wrong("an atom is not coupled to itself")
        if (e.i, e.j, e.R) in rows:
            raise e.line.wrong(f"the pair stands in line {rows[e.i, e.j, e.R].line.number} already")
        rows[e.i, e.j, e.R] = e
    largest = max((np.max(np.abs(x)) for e in entries for x in (e.J, e.D, e.A) if x is not None), default=0.0)
    pairs, done = [], set()
    for here in rows.values():
        there = rows.get((here.j, here.i, tuple(-r for r in here.R)))
        if there is None:
            raise here.line.wrong("every pair is listed from both its ends, and the other end of this one is missing")
        if (there.i, there.j, there.R) not in done:
            done.add((here.i, here.j, here.R))
            mean, odd = [], []
            for x, y, sign in ((here.J, there.J, 1), (here.D, there.D, -1), (here.A, there.A, 1)):
                x, y = (np.zeros(()) if z is None else np.asarray(z) for z in (x, y))
                mean.append((x + sign * y) / 2)
                odd.append(np.max(np.abs(x - sign * y)))
            if max(odd) > max(digits, 1e-6 * largest):
                other = f"line {there.line.number}, its other end"
                raise here.line.wrong(f"J and the tensor must be those of {other}, and D minus that one")
            J, D, A = (factor * m for m in mean)
            pairs.append(Coupling(here.i, here.j, here.R, float(J), D if D.ndim else None, A if A.ndim else None))
    return pairs


def to_both_ends(magnet: Magnet) -> list[Coupling]:
    """Every pair from one end, and then every pair from its other end: a file cut anywhere misses ends."""
    turned = [
        c._replace(i=c.j, j=c.i, R=tuple(-r for r in c.R), D=None if c.D is None else tuple(-np.array(c.D)))
        for c in magnet.couplings
    ]
    return [*magnet.couplings, *turned]


def built(path: str | Path, *parts: Any, **more: Any) -> Magnet:
    """The magnet, where what is wrong with it is wrong with the file."""
    try:
        return Magnet(*parts, **more)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_magnet(magnet: Any) -> None:
    if not isinstance(magnet, Magnet):
        raise ValueError(f"a file is written of a Magnet, got {shown(magnet)}")


def tensor(c: Coupling) -> np.ndarray:
    r"""The matrix M of :math:`-S\cdot M S'`: exchange, what is odd in it for D, and the symmetric tensor."""
    D = np.zeros(3) if c.D is None else np.array(c.D)
    return c.J * np.eye(3) - np.cross(np.eye(3), D) + (0 if c.A is None else np.array(c.A))


def split(M: np.ndarray) -> tuple[float, np.ndarray | None, np.ndarray | None]:
    """J, D and the traceless symmetric tensor of such a matrix; None for what is zero but for rounding."""
    J = float(np.trace(M)) / 3
    odd, A = (M - M.T) / 2, (M + M.T) / 2 - J * np.eye(3)
    D = np.array([odd[1, 2], odd[2, 0], odd[0, 1]])
    least = 1e-13 * np.max(np.abs(M))
    return J, D if np.max(np.abs(D)) > least else None, A if np.max(np.abs(A)) > least else None
