"""The path that a search begins with."""

import jax
import numpy as np
from jax import Array

from mepmeta._compiled import compiled
from mepmeta.paths import bent
from mepmeta.problem import Problem
from mepmeta.search.relaxation import LEVEL
from mepmeta.spectra.modes import lowest, rough

__all__ = ["first_path"]

#: A first path on which the energy is not finite is bent by so much of the unit of length, and more, so often.
BEND, BENDS = 0.1, 6


def first_path(problem: Problem, start: Array, end: Array, n_images: int, known: Array | None = None) -> Array:
    """Equidistant images on the shortest way; of several, the one whose highest energy is lowest.

    Several there are between antipodal spins. They then turn through a direction in which the lowest modes of the start
    lead, ``known`` ones or such as are computed, so that no axis of the coordinates decides. A way on which the energy
    is not finite is bent.
    """
    t = np.linspace(0, 1, n_images, dtype=start.dtype)
    none = np.zeros((4, *start.shape), start.dtype)
    ways, heights, ambiguous = (np.asarray(a) for a in _ways(problem, start, end, none, t))
    line, energies = ways[0], heights[0]
    if ambiguous:
        modes = lowest(problem, start, 2, problem.geometry).vectors if known is None else np.asarray(known)[:2]
        middle = np.concatenate([modes, -modes])
        middle = np.concatenate([middle, none[: 4 - len(middle)]])
        ways, heights, _ = (np.asarray(a) for a in _ways(problem, start, end, middle, t))
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
    return line


@compiled
def _ways(problem: Problem, start: Array, end: Array, middle: Array, t: Array) -> tuple[Array, Array, Array]:
    """Shortest ways, with antipodal spins turning through ``middle``; energies; whether there are several ways."""
    geometry = problem.geometry
    ways = jax.vmap(lambda v: jax.vmap(lambda t: geometry.through(start, end, v, t))(t))(middle)
    return ways, jax.vmap(jax.vmap(problem))(ways), geometry.ambiguous(start, end)
