"""The path that a search begins with."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta.paths import bent
from mepmeta.problem import Problem
from mepmeta.search.relaxation import LEVEL
from mepmeta.spectra.modes import lowest

__all__ = ["first_path"]

#: A first path on which the energy is not finite is bent by so much of the unit of length, and more, so often.
BEND, BENDS = 0.1, 6


def first_path(problem: Problem, start: Array, end: Array, n_images: int) -> Array:
    """Equidistant images on the shortest way; of several, the one whose highest energy is lowest.

    Several there are between antipodal spins. They then turn through a direction in which the lowest modes of the start
    lead, so that no axis of the coordinates decides. A way on which the energy is not finite is bent.
    """
    t = jnp.linspace(0, 1, n_images, dtype=start.dtype)
    line = problem.line(start, end, t)
    if bool(problem.geometry.ambiguous(start, end)):
        modes = lowest(problem, start, 2, problem.geometry).vectors
        ways = [jax.vmap(lambda t, v=v: problem.geometry.through(start, end, v, t))(t) for v in (*modes, *-modes)]
        heights = np.array([float(jnp.max(problem.energies(way))) for way in ways])
        if np.isfinite(heights).any():
            level = LEVEL * max(1.0, np.nanmax(np.abs(heights[np.isfinite(heights)])))
            line = ways[int(np.argmax(heights <= np.nanmin(heights) + level))]
    for turn in range(1, BENDS):
        if np.all(np.isfinite(problem.energies(line))):
            break
        rough = jnp.mod(0.6180339887498949 * jnp.arange(1, start.size + 1, dtype=start.dtype) ** 2, 1) - 0.5
        move = BEND * turn * rough.reshape(start.shape) / jnp.max(problem.geometry.sizes(rough.reshape(start.shape)))
        line = bent(problem.line(start, end, t), n_images // 2, move, problem.geometry)
    return line
