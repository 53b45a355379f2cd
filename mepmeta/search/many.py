"""``find_meps``: the minimum energy paths of many problems of one shape, each from that of its neighbour."""

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta._arguments import check_answers, check_count, is_row, shown
from mepmeta._checks import check_untraced
from mepmeta.search.kept import Kept
from mepmeta.search.neighbour import leads_on
from mepmeta.search.result import MEP
from mepmeta.search.settings import Settings, checked
from mepmeta.search.workers import Case, Workers
from mepmeta.spectra.factors import one_thread

__all__ = ["find_meps", "tree"]

#: Distances on the map that differ by this part are equal, and the neighbour with fewer steps to the root counts.
EQUAL = 1e-6


def find_meps(
    energies: Sequence[Callable[[Array], Array]],
    starts: Array | Sequence[Array],
    ends: Array | Sequence[Array],
    *,
    checkpoint: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> list[MEP | None]:
    r"""Find the minimum energy paths of many problems of one shape, such as a map over fields and anisotropies.

    The first search, of the problem in the middle of the map, is that of :func:`~mepmeta.search.mep.find_mep`. Each
    other one begins with the path of a neighbour, the nearest one in the numbers of the energies, each divided by its
    range:

    .. math:: d_{ij}^2 = \sum_m \Big(\frac{c_{im} - c_{jm}}{\max_k c_{km} - \min_k c_{km}}\Big)^2

    The states that were given are relaxed as ``find_mep`` does it; the saddle and the images in its valleys begin with
    those of the neighbour. They pass every check of ``find_mep``, to the same tolerances, and two more: the first path
    that ``find_mep`` would take does not stay below the saddle, and nothing else lies on the path. Where one of them
    fails, or the neighbour has no path over one saddle, the search goes on as that of ``find_mep``. Which problems are
    neighbours does not depend on which search ends first, nor on interruptions. The message of a result says whether it
    began with the path of a neighbour.

    What is not checked: where two saddles lie between the same minima, a neighbour passes on the one that it has, also
    beyond where the other one becomes lower. ``find_mep`` alone finds one of them, too, and not always the lower one.

    Args:
        energies: energies as for :func:`~mepmeta.search.mep.find_mep`, one for each problem. Where they are not of one
            structure, with constants of the same shapes, their order says which are neighbours.
        starts, ends: an array is the state of all problems, shape ``shape``; a list holds one for each.
        checkpoint: a file that takes every result as it comes. If it is there, the results in it are taken, and the
            others are found; after an interruption of any kind the call goes on where it was.
        workers: searches at a time, by default one for each core. The first searches are made here; processes beside
            this one begin when they will save more time than it takes to start them. Where JAX has several devices, or
            an accelerator, there is one thread for each instead, and the searches are spread over the devices. Energies
            that cannot be sent to another process are searched here.
        progress: show a bar with the number of searches that have ended, and of those that failed.
        **options: those of :func:`~mepmeta.search.mep.find_mep`, but for ``path``.

    Returns:
        One :class:`~mepmeta.search.result.MEP` for each energy, in their order. A search that fails stops no other one:
        it has ``converged=False``, and its message says why. Where Ctrl-C ended the call, None for those that were not
        searched.

    Raises:
        ValueError: as :func:`~mepmeta.search.mep.find_mep`, with the number of the problem; for a checkpoint that is
            damaged, of other problems, or that another process writes to.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> ends = jnp.array([1.0, 0.0, 0.0]), jnp.array([-1.0, 0.0, 0.0])
    >>> spins = [lambda S, K=K: -K * S[0] ** 2 + 2 * S[2] ** 2 for K in (1.0, 1.2, 1.4)]
    >>> found = mm.find_meps(spins, *ends, geometry=mm.Spheres(), progress=False)
    >>> [round(r.barrier, 6) for r in found]
    [1.0, 1.2, 1.4]
    """
    how = Settings(**options, progress=False)
    if "path" in options:
        raise ValueError("find_meps lays its own first paths: pass a path to find_mep")
    check_answers(progress=progress)
    if workers is not None:
        workers = check_count("workers", workers)
    if not is_row(energies) or hasattr(energies, "dtype"):
        raise ValueError(f"energies must be a list of energies, got {shown(energies)}")
    starts, ends = (_each(name, x, len(energies)) for name, x in {"starts": starts, "ends": ends}.items())
    posed = []
    for k, (energy, start, end) in enumerate(zip(energies, starts, ends, strict=True)):
        try:
            now, settings = checked(energy, start, end, how)
            check_untraced("find_meps", now)
        except ValueError as error:
            raise ValueError(f"problem {k}: {error}") from error
        if start.shape != starts[0].shape or start.dtype != starts[0].dtype:
            kinds = f"{starts[0].shape} of {starts[0].dtype}, got {start.shape} of {start.dtype}"
            raise ValueError(f"problem {k}: the states of all problems must have one shape and dtype, {kinds}")
        posed.append(Case(energy, now, np.asarray(start), np.asarray(end)))
    if not posed:
        return []
    with ExitStack() as stack:
        kept = None if checkpoint is None else stack.enter_context(Kept(checkpoint, _run(posed, settings)))
        return _all(posed, settings, kept, workers, progress)


def _each(name: str, states: Any, count: int) -> list:
    """One state for each problem."""
    if not isinstance(states, (list, tuple)):
        return [states] * count
    if len(states) != count:
        raise ValueError(f"{name} must be one state, or a list of {count}, one for each energy; got {len(states)}")
    return list(states)


def _run(posed: list[Case], how: Settings) -> bytes:
    """What tells this run from others: programs, numbers, states and options."""
    digest = hashlib.sha256(re.sub("0x[0-9a-f]+", "", str(how)).encode())
    for _, energy, *states in posed:
        leaves, structure = jax.tree.flatten(energy)
        digest.update(re.sub("0x[0-9a-f]+", "", str(structure)).encode())
        for x in (*map(np.asarray, leaves), *states):
            digest.update(f"{x.dtype} {x.shape}".encode() + x.tobytes())
    return digest.digest()


def tree(energies: Sequence[Callable]) -> tuple[int, np.ndarray]:
    """The energy in the middle, and from there to every other one the neighbour from which it is reached: -1 for none.

    The tree is that of least distances; where several are equal, the one with fewest steps to its root.
    """
    flat = [jax.tree.flatten(energy) for energy in energies]
    kinds = [(structure, [np.shape(leaf) for leaf in leaves]) for leaves, structure in flat]
    c = np.arange(len(flat), dtype=float)[:, None]
    if all(kind == kinds[0] for kind in kinds):
        rows = [np.concatenate([np.zeros(1), *(np.ravel(leaf) for leaf in leaves)]) for leaves, _ in flat]
        c = np.array(rows, float)
        c = c[:, np.ptp(c, axis=0) > 0]
        c = (c - c.min(axis=0)) / np.ptp(c, axis=0)
    root = int(np.argmin(np.sum((c - (c.min(axis=0) + c.max(axis=0)) / 2) ** 2, axis=1)))
    n = len(flat)
    parent, steps, waiting, least = np.full(n, -1), np.zeros(n, int), np.ones(n, bool), np.full(n, np.inf)
    last = root
    for _ in range(n - 1):
        waiting[last] = False
        d = np.sqrt(np.sum((c - c[last]) ** 2, axis=1))
        nearer = (d < (1 - EQUAL) * least) | ((d <= (1 + EQUAL) * least) & (steps[last] < steps[parent]))
        nearer &= waiting
        least[nearer], parent[nearer] = d[nearer], last
        next_ones = np.flatnonzero(waiting & (least <= (1 + EQUAL) * least[waiting].min()))
        last = int(next_ones[np.argmin(steps[parent[next_ones]])])
        steps[last] = steps[parent[last]] + 1
    return root, parent


@one_thread
def _all(posed: list[Case], how: Settings, kept: Kept | None, count: int | None, progress: bool) -> list[MEP | None]:
    """All results, those that are kept and the others as their neighbours are found."""
    root, parent = tree([one.energy for one in posed])
    results: list[MEP | None] = [None] * len(posed)
    there = {} if kept is None else kept.found
    begins: dict[int, MEP | None] = {-1: None}  # what the neighbours of each begin with
    ready, failed = [root], 0
    with (
        Workers(count, how, len(posed) - len(there)) as workers,
        tqdm(total=len(posed), disable=not progress, desc="problems") as bar,
    ):

        def take(k: int, r: MEP) -> None:
            nonlocal failed
            results[k], begins[k] = r, r if leads_on(r) else begins[parent[k]]
            ready.extend(np.flatnonzero(parent == k).tolist())
            failed += not r.converged
            bar.set_postfix(failed=failed)
            bar.update()

        def keep(k: int, r: MEP) -> None:
            if kept is not None:
                kept.add(k, r)
            take(k, r)

        try:
            while ready or workers.jobs:
                while ready and (ready[-1] in there or workers.idle()):
                    k = ready.pop()
                    if k in there:
                        take(k, there[k])
                    else:
                        workers.begin(k, posed[k], begins[parent[k]])
                if workers.jobs:
                    for k, r in workers.ended():
                        keep(k, r)
        except KeyboardInterrupt:
            for k, r in workers.stop():
                keep(k, r)
    return results
