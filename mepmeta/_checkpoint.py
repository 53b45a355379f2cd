"""Checkpoints of training: a file that is whole whenever it is there, of one run, or says what is wrong with it."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from mepmeta._files import read_arrays, write

__all__ = ["read_checkpoint", "write_checkpoint"]


def read_checkpoint(
    file: str | Path, run: np.ndarray, columns: dict[str, tuple[int, ...]], state: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What :func:`write_checkpoint` wrote: the columns and the state.

    Args:
        file: that is there.
        run: the numbers that tell this run from others.
        columns: shapes of one epoch by name.
        state: arrays of the right shapes and dtypes by name.

    Raises:
        ValueError: for a file that is something else or damaged, or the checkpoint of another run.
    """
    saved = read_arrays(file, "a checkpoint of a training")
    if missing := {"run", *columns, *state} - {*saved}:
        raise ValueError(f"{file} is no checkpoint of this training: it has no {', '.join(sorted(missing))}")
    if not np.array_equal(saved["run"], run):
        raise ValueError(f"{file} is the checkpoint of another run: key, start, energy, sample or settings differ")
    epochs = np.shape(saved["test_loss"])[:1]
    fits = [epochs and epochs[0] > 0 and saved[name].shape == (*epochs, *shape) for name, shape in columns.items()]
    for name, x in state.items():
        packed = np.asarray(x).dtype == np.uint8  # as long as it has become
        fits += [saved[name].dtype == np.asarray(x).dtype and (packed or saved[name].shape == np.shape(x))]
    if not all(fits):
        raise ValueError(f"{file} is damaged: its arrays do not have the shapes of this run")
    return {name: saved[name] for name in columns}, {name: saved[name] for name in state}


def write_checkpoint(file: str | Path, run: np.ndarray, columns: dict[str, np.ndarray], state: dict[str, Any]) -> str:
    """Write epochs and state, unless the file is of another run, which is said, or has more epochs of this one."""
    if Path(file).exists():
        try:
            there = read_arrays(file, "a checkpoint of a training")
        except ValueError:
            there = {}
        if not np.array_equal(there.get("run"), run):
            return f"{file} has become the file of another run, and is left as it is"
        if len(there.get("test_loss", ())) > len(columns["test_loss"]):
            return ""
    stream = io.BytesIO()
    np.savez(stream, run=run, **columns, **state)
    write(file, stream.getvalue())
    return ""
