"""The path that a search begins with."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from mepmeta._compiled import compiled
from mepmeta.paths import bent
from mepmeta.problem import Problem
from mepmeta.search.relaxation import LEVEL
from mepmeta.spectra.modes import lowest, rough

__all__ = ["First", "first_path"]

#: A first path on which the energy is not finite is bent by so much of the unit of length, and more, so often.
BEND, BENDS = 0.1, 6


class First(NamedTuple):
    """A first path, and the highest energy on the lowest of those that were looked at besides, infinite for none."""

    line: Array
    other: float


def first_path(
    problem: Problem, start: Array, end: Array, n_images: int, known: Array | None = None, turn: Array | None = None
) -> First:
    """Equidistant images on the shortest way; of several, the one whose highest energy is lowest.

    Several there are between antipodal spins. They then turn through a direction in which the lowest modes of the start
    lead, ``known`` ones or such as are computed, so that no axis of the coordinates decides. A way on which the energy
    is not finite is bent. Where there is one shortest way and modes are known, wide ways to their sides are looked at,
    too; the path is one of these only if it is asked for, by the ``turn``.
    """
    t = np.linspace(0, 1, n_images, dtype=start.dtype)
    sides = np.zeros((5, *start.shape), start.dtype)
    if turn is not None:
        sides[0] = turn
    elif known is not None:
        two = np.asarray(known)[:2]
        sides[1 : 1 + 2 * len(two)] = np.concatenate([two, -two])
    ways, heights, ambiguous = (np.asarray(a) for a in _ways(problem, start, end, sides, t, np.asarray(True)))
    line, energies, other = ways[0], heights[0], np.inf
    if not ambiguous or turn is not None:
        other = float(np.min(np.where(np.isfinite(heights[1:]), heights[1:], np.inf).max(axis=1)))
    else:
        modes = lowest(problem, start, 2, problem.geometry).vectors if known is None else np.asarray(known)[:2]
        sides = np.zeros_like(sides)
        sides[: 2 * len(modes)] = np.concatenate([modes, -modes])
        ways, heights, _ = (np.asarray(a) for a in _ways(problem, start, end, sides, t, np.asarray(False)))
        highest = heights.max(axis=1)
        if np.isfinite(highest).any():
            level = LEVEL * max(1.0, np.nanmax(np.abs(highest[np.isfinite(highest)])))
            best = int(np.argmax(highest <= np.nanmin(highest) + level))
            line, energies = ways[best], heights[best]
    straight = line
    for turn in range(1, BENDS):
        if np.all(np.isfinite(energies)):
            break
        move = rough(start.size, start.dtype).reshape(start.shape)
        move = BEND * turn / float(np.max(problem.geometry.sizes(move))) * move
        line = bent(straight, n_images // 2, move.astype(start.dtype), problem.geometry)
        energies = problem.energies(line)
    return First(line, other)


@compiled
def _ways(
    problem: Problem, start: Array, end: Array, sides: Array, t: Array, wide: Array
) -> tuple[Array, Array, Array]:
    """Ways to each of several sides; energies; whether there are several shortest ways."""
    geometry = problem.geometry
    ways = jax.vmap(lambda v: jax.vmap(lambda t: geometry.through(start, end, v, t, wide))(t))(sides)
    return ways, jax.vmap(jax.vmap(problem))(ways), geometry.ambiguous(start, end)
