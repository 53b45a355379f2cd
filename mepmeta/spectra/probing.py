"""The sparse Hessian of an energy that is local and does not say so: from a few products, checked by another one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import scipy as sp

__all__ = ["RANGES", "probed"]

#: How far apart cells may be that act on each other: these are tried in turn.
RANGES = 1, 2, 4
#: What a product with a random vector may differ by, as a part of its length.
AGREES = 1e-8


def probed(apply: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], eps: float) -> sp.sparse.csc_array | None:
    r"""The Hessian of spins on a lattice, or None if they act on each other over more than a few cells.

    Cells that are far apart change different forces. So one product finds the columns of many of them at once: of all
    that have one colour, where cells of one colour are more than twice the range apart. A product with a random vector
    tells whether the range was long enough.

    Args:
        apply: the Hessian times a vector of ``Spheres`` coordinates, both flat.
        shape: the lattice, N sites. An axis that is too short for colours has one for each cell.
        eps: the rounding of a product, relative.

    Source: :cite:t:`curtis1974`.
    """
    probe = np.random.default_rng(0).standard_normal(2 * int(np.prod(shape)))
    answer = apply(probe)
    for reach in RANGES:
        H = _coloured(apply, shape, reach)
        if np.linalg.norm(H @ probe - answer) <= max(AGREES, 1e3 * eps) * np.linalg.norm(answer):
            return sp.sparse.csc_array((H + H.T) / 2)
    return None


def _coloured(apply: Callable, shape: tuple[int, ...], reach: int) -> sp.sparse.csc_array:
    """The matrix as it is if no cells farther apart than ``reach`` along an axis act on each other."""
    N, rows, columns, entries = int(np.prod(shape)), [], [], []
    for sources in product(*(_sources(n, reach).T for n in shape)):
        # The cell of this colour that acts on each one; there may be none.
        cells = np.meshgrid(*sources, indexing="ij")
        acted = np.flatnonzero(np.all([c >= 0 for c in cells], axis=0))
        source = np.ravel_multi_index([np.ravel(c)[acted] for c in cells], shape)
        for a in range(2):
            seed = np.zeros(2 * N)
            seed[a * N + np.unique(source)] = 1.0
            found = apply(seed).reshape(2, N)
            for b in range(2):
                rows.append(b * N + acted), columns.append(a * N + source), entries.append(found[b, acted])
    place = np.concatenate(rows), np.concatenate(columns)
    H = sp.sparse.csc_array((np.concatenate(entries), place), shape=(2 * N, 2 * N))
    H.eliminate_zeros()
    return H


def _sources(n: int, reach: int) -> np.ndarray:
    """For every cell of an axis and every colour the cell within reach that has it, or -1; shape ``(n, colours)``."""
    blocks = n // (2 * reach + 1)
    if blocks < 2:
        return np.broadcast_to(np.arange(n), (n, n))
    starts = np.arange(blocks) * n // blocks
    colour = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    table = np.full((n, colour.max() + 1), -1)
    for step in range(-reach, reach + 1):
        table[(np.arange(n) + step) % n, colour] = np.arange(n)
    return table
