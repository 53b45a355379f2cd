"""Where vectors lead: rows of UppASD's tables become pairs of atoms and cells."""

from itertools import product

import numpy as np

from mepmeta.magnets.files.pairs import Entry, split
from mepmeta.magnets.files.text import Lines, whole

__all__ = ["SYMMETRIES", "Finder"]


def _products(*generators: np.ndarray) -> list[np.ndarray]:
    """All matrices that are products of some."""
    group = [np.eye(3)]
    for g in group:
        group += [h for x in generators if not any(np.allclose(h := x @ g, old) for old in group)]
    return group


_MIRROR, _SWAP, _NEXT = np.diag([-1.0, 1, 1]), np.eye(3)[[1, 0, 2]], np.eye(3)[[1, 2, 0]]
_SIXTH = np.array([[0.5, -(3**0.5) / 2, 0], [3**0.5 / 2, 0.5, 0], [0, 0, 1]])
#: What ``Sym`` does to the vectors of exchange: nothing, the cube, the square in its plane, the hexagonal prism.
SYMMETRIES = {
    "0": [np.eye(3)],
    "1": _products(_MIRROR, _SWAP, _NEXT),
    "2": _products(_MIRROR, _SWAP),
    "3": _products(_MIRROR, _SIXTH, np.diag([1.0, 1, -1])),
}


class Finder:
    """Which atom a row of a file leads to, for every atom of the type that it starts from."""

    def __init__(
        self, cell: np.ndarray, positions: np.ndarray, types: list[int], to_cartesian: np.ndarray, maptype: int
    ):
        self.positions, self.types = positions, types
        self.to_cartesian, self.maptype, self.cell = to_cartesian, maptype, cell
        self.inverse = np.linalg.inv(cell)

    def at(self, i: int, vector: np.ndarray, kind: int) -> tuple[int, tuple[int, ...]] | None:
        """The atom of a type at a vector from atom i, and its cell."""
        for j, own in enumerate(self.types):
            r = (self.positions[i] + vector - self.positions[j]) @ self.inverse
            if own == kind and np.max(np.abs(r - np.round(r))) < 0.01 and np.max(np.abs(r)) < 1e6:
                return j, tuple(round(x) for x in r)
        return None

    def entries(self, lines: Lines, values: int, symmetry: str = "0") -> list[Entry]:
        """All rows of a file of so many constants: J, a vector D, or a tensor; J at all vectors of a symmetry."""
        n, found = len(self.types), {}
        what = "two sites, a vector, and " + {1: "J", 3: "a vector D", 9: "nine numbers of a tensor"}[values]
        while lines:
            line = lines.next("a pair")
            i, j = (k - 1 for k in line.wholes(2, what=what))
            r = np.array(line.numbers(3, 2, what=what))
            x = np.array(line.numbers(values, 5, what=what))
            if not (0 <= i < n and 0 <= j < n):
                raise line.wrong(f"expected sites 1 to {n}")
            if self.maptype == 2:
                R = whole(r)
                if R is None:
                    raise line.wrong("expected whole numbers of cells, maptype 2")
                r = np.array(R) @ self.cell + self.positions[j] - self.positions[i]
            else:
                r = r @ self.to_cartesian
            place = self.at(i, r, self.types[j])
            if place is None or (self.maptype == 2 and place[0] != j):
                raise line.wrong("no atom of that type is at the end of the vector")
            J, D, A = (x[0], None, None) if values == 1 else (0.0, x, None) if values == 3 else split(x.reshape(3, 3))
            for k, turn in product(range(n), SYMMETRIES[symmetry]):
                end = self.at(k, turn @ r, self.types[j]) if self.types[k] == self.types[i] else None
                if end is None:
                    continue
                old = found.setdefault((k, *end), (Entry(line, k, *end, J, D, A), i, x))
                if old[0].line is not line and (old[1] == i or not np.array_equal(old[2], x)):
                    raise line.wrong(f"the pair stands in line {old[0].line.number} already")
        return [entry for entry, *_ in found.values()]
