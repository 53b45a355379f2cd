"""Minima and the passages between them: which piece of a long path is missing, and the path when none is."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, shortest_path

from mepmeta.problem import Problem
from mepmeta.search.beyond import Passage, same
from mepmeta.search.result import StationaryPoint

__all__ = ["Network"]

#: A passage that is known, as a part of the squared distance of its minima.
KNOWN = 1e-6


class Network:
    r"""Minima, numbered from start 0 and end 1 on, and the passages between them that are known.

    The piece that is looked for next is the first one missing on the way of least :math:`\sum d^2`, with d the distance
    of two minima without a known passage. A pair is tried once, so the search ends.

    Source: :cite:t:`carr2005`.
    """

    def __init__(self, problem: Problem, ends: Sequence[StationaryPoint]):
        self.problem, self.minima = problem, list(ends)
        self.passages: dict[tuple[int, int], Passage] = {}
        self.tried: set[tuple[int, int]] = {(0, 1)}
        self.lines: dict[tuple[int, int], list[np.ndarray]] = {}

    def number(self, m: StationaryPoint) -> int:
        """The number of a minimum, which may be new."""
        for k, known in enumerate(self.minima):
            if m is known or same(self.problem, m, known):
                return k
        self.minima.append(m)
        return len(self.minima) - 1

    def learn(
        self, line: np.ndarray, i: int, j: int, found: Passage | None, between: Sequence[StationaryPoint]
    ) -> None:
        """What a search along a line from minimum i to minimum j has found."""
        if found is not None:
            self.add(found)
        stops = [i, *map(self.number, found.minima if found is not None else between), j]
        at = [0, *(self._nearest(line, self.minima[k].state) for k in stops[1:-1]), len(line) - 1]
        for one, other, k, m in zip(stops[:-1], stops[1:], at[:-1], at[1:], strict=True):
            if one != other and m - k > 1:
                part = [self.minima[one].state, *line[k + 1 : m], self.minima[other].state]
                self.lines.setdefault((one, other), part)

    def _nearest(self, line: np.ndarray, x: np.ndarray) -> int:
        return int(np.argmin([self.problem.distance(y, x) for y in line]))

    def add(self, found: Passage) -> None:
        """A passage; of two between the same minima the lower one counts."""
        i, j = map(self.number, found.minima)
        if i == j:
            return
        if i > j:
            i, j, found = j, i, found.turned()
        before = self.passages.get((i, j))
        if before is None or found.saddle.energy < before.saddle.energy:
            self.passages[i, j] = found

    def missing(self) -> tuple[int, int] | None:
        """The pair of minima between which to search next; None where the ends are connected, or nothing is left."""
        n = len(self.minima)
        weights = np.full((n, n), np.inf)
        for i in range(n):
            for j in range(i + 1, n):
                if (i, j) in self.passages or (i, j) not in self.tried:
                    square = self.problem.distance(self.minima[i].state, self.minima[j].state) ** 2
                    weights[i, j] = weights[j, i] = square * (KNOWN if (i, j) in self.passages else 1.0)
        before = shortest_path(weights, method="D", indices=0, return_predecessors=True)[1]
        at, missing = 1, None
        while at != 0:
            if before[at] < 0:
                return None
            i, j = sorted((int(before[at]), at))
            missing = missing if (i, j) in self.passages else (i, j)
            at = int(before[at])
        if missing is not None:
            self.tried.add(missing)
        return missing

    def line(self, i: int, j: int) -> list[np.ndarray] | None:
        """What is known of the way from minimum i to minimum j."""
        return self.lines.get((i, j)) or (self.lines[j, i][::-1] if (j, i) in self.lines else None)

    def way(self) -> list[Passage]:
        """The passages from start to end with the lowest highest saddle; none where they are not connected."""
        n = len(self.minima)
        graph = np.zeros((n, n))
        for i, j in sorted(self.passages, key=lambda pair: self.passages[pair].saddle.energy):
            graph[i, j] = graph[j, i] = 1
            before, at, way = breadth_first_order(graph, 0, return_predecessors=True)[1], 1, []
            while at != 0 and before[at] >= 0:
                one = int(before[at])
                way.append(self.passages[one, at] if one < at else self.passages[at, one].turned())
                at = one
            if at == 0:
                return way[::-1]
        return []
