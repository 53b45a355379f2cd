"""Where the searches of a map are made: a thread for each device and, where it pays, processes beside this one."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from mepmeta._checks import check_energy
from mepmeta.search.mep import searched
from mepmeta.search.result import MEP
from mepmeta.search.settings import Settings
from mepmeta.spectra.factors import one_thread

__all__ = ["Case", "Workers", "search"]

#: Seconds until a new process has found its first path: it loads and compiles everything. Processes begin when they
#: will save more than that.
START = 20.0
#: What says how numbers are computed, and where compiled programs are kept.
CONFIG = (
    "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_matmul_precision", "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes",
)  # fmt: skip


class Case(NamedTuple):
    """A problem of a map: its energy as it was given, and as the program that it is now, start and end."""

    given: Callable
    energy: Callable
    start: np.ndarray
    end: np.ndarray


class Workers:
    """Searches at a time, in this process and in others.

    Python runs one thread at a time, and most of the search of a few hundred spins is Python. So beside the one here
    there are processes, one for each other core; but threads where JAX has several devices, or an accelerator.

    Args:
        count: searches at a time; None for one on each device or core.
        how: the settings of all.
        left: how many searches there are.
    """

    def __init__(self, count: int | None, how: Settings, left: int):
        devices = jax.local_devices()
        on_cores = len(devices) == 1 and devices[0].platform == "cpu"
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = count or (cores if on_cores else len(devices))
        self.how, self.left, self.least, self.places = how, left, np.inf, SimpleQueue()
        self.threads = min(count, len(devices))
        for k in range(self.threads):
            self.places.put(devices[k])
        self.processes = count - self.threads if on_cores else 0
        self.here, self.beside = ThreadPoolExecutor(self.threads), None
        self.jobs: dict[Future, tuple[int, Case, MEP | None]] = {}
        self.own: set[Future] = set()

    def idle(self) -> bool:
        """Whether one more search would begin at once."""
        return len(self.own) < self.threads or self._others() > len(self.jobs) - len(self.own)

    def _others(self) -> int:
        """Searches that may be made in other processes."""
        saved = self.left * self.least * self.processes / (1 + self.processes)
        if self.beside is None and START < saved < np.inf:
            self.beside = _beside(self.processes)
        return 0 if self.beside is None else self.processes

    def begin(self, k: int, posed: Case, near: MEP | None) -> None:
        """Begin search k, here if there is a place."""
        if len(self.own) < self.threads or self.processes == 0:
            job = self.here.submit(self._one, posed, near)
            self.own.add(job)
        else:
            job = self.beside.submit(_elsewhere, posed.given, posed.start, posed.end, self.how, near)
        self.jobs[job] = k, posed, near

    def _one(self, posed: Case, near: MEP | None) -> MEP:
        place, began = self.places.get(), time.monotonic()
        try:
            with jax.default_device(place):
                return search(*posed[1:], self.how, near)
        finally:
            self.places.put(place)
            self.least = min(self.least, time.monotonic() - began)  # the first one compiles

    def ended(self) -> Iterator[tuple[int, MEP]]:
        """Wait until some searches have ended: their numbers and results."""
        for job in wait(self.jobs, return_when=FIRST_COMPLETED).done:
            k, posed, near = self.jobs.pop(job)
            if job not in self.own and job.exception() is not None:
                # The process is gone, or cannot be told the energy, or its answer not be sent.
                self.processes = 0
                self.begin(k, posed, near)
                continue
            self.own.discard(job)
            self.left -= 1
            yield k, job.result()

    def stop(self) -> Iterator[tuple[int, MEP]]:
        """Begin nothing more; the numbers and results of the searches that have begun."""
        for job in [job for job in self.jobs if job.cancel()]:
            del self.jobs[job]
        while self.jobs:
            yield from self.ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.here.shutdown(cancel_futures=True)
        if self.beside is not None:
            self.beside.shutdown(kill_workers=error is not None)


def _beside(count: int) -> Executor:
    """So many processes. Each has one thread for numbers, and ends with this one."""
    import loky  # a map of a few problems does without

    config = {name: getattr(jax.config, name) for name in CONFIG}
    env = {"JAX_PLATFORMS": "cpu", "NPROC": "1"}
    return loky.ProcessPoolExecutor(count, initializer=_first, initargs=(os.getpid(), config), env=env)


def _first(parent: int, config: dict[str, Any]) -> None:
    """What a process does before its first search. Ctrl-C is for the one that began the map."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_with, args=(parent,), daemon=True).start()
    for name, value in config.items():
        jax.config.update(name, value)


def _with(parent: int) -> None:
    """End when the process does that began the map, however that ends."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@one_thread
def _elsewhere(given: Callable, start: np.ndarray, end: np.ndarray, how: Settings, near: MEP | None) -> MEP:
    return search(check_energy(given, start, how.geometry), start, end, how, near)


def search(energy: Callable, start: np.ndarray, end: np.ndarray, how: Settings, near: MEP | None) -> MEP:
    """One search, from the neighbour where that leads to an answer."""
    try:
        return searched(energy, start, end, how, near=near)
    except Exception as error:  # of whatever kind: it must not stop the others
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        nothing = np.full(2, np.nan)
        return MEP(
            path=jnp.stack([start, end]), energies=nothing, position=nothing, slopes=nothing, barrier=np.nan,
            reverse_barrier=np.nan, interpolated_barrier=np.nan, saddle=jnp.asarray(start), eigenvalues=np.zeros(0),
            zero_modes=0, points=(), residual=np.inf, steps=0, evaluations=0, history=np.zeros((0, 2)), methods=(),
            converged=False, message=said,
        )  # fmt: skip
