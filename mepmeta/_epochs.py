"""Epoch after epoch of a training: the bar, the records, the checkpoints, and what an interruption leaves."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding
from tqdm import tqdm

from mepmeta._checkpoint import read_checkpoint, write_checkpoint
from mepmeta._devices import writes

__all__ = ["run_epochs"]

#: Epochs, and seconds, from one checkpoint to the next: whichever are over first.
OFTEN, SOON = 10, 30.0
#: What is recorded of every epoch.
COLUMNS = "trace", "loss", "rejected", "test_loss"


def _save(file: str | Path, run: np.ndarray, records: list, state: Any) -> str:
    columns = dict(zip(COLUMNS, (np.stack(column) for column in zip(*records, strict=True)), strict=True))
    return write_checkpoint(file, run, columns, _numbered(state))


def _numbered(state: Any) -> dict[str, Array]:
    return {f"state{k}": leaf for k, leaf in enumerate(jax.tree.leaves(state))}


def _load(file: str | Path | None, run: np.ndarray, state: Any, iterations: int, size: int) -> tuple[list, Any]:
    if file is None or not Path(file).exists():
        return [], state
    shapes = (iterations, size), (iterations,), (iterations,), ()
    columns, saved = read_checkpoint(file, run, dict(zip(COLUMNS, shapes, strict=True)), _numbered(state))
    leaves = [saved[name] if isinstance(leaf, np.ndarray) else jnp.asarray(saved[name])
              for name, leaf in _numbered(state).items()]  # fmt: skip
    return list(zip(*columns.values(), strict=True)), jax.tree.unflatten(jax.tree.structure(state), leaves)


def run_epochs(
    epoch: Callable[[int, Any], tuple[Any, tuple]],
    state: Any,
    run: np.ndarray,
    epochs: int,
    iterations: int,
    size: int,
    checkpoint: str | Path | None,
    progress: bool,
    sharding: NamedSharding | None = None,
) -> tuple[list, Any, bool, str]:
    """Epoch after epoch with a bar, from the checkpoint if there is one; of several processes one writes it.

    Records, the state, whether it was interrupted, and why the checkpoint was not written, if it was not.
    """
    records, state = _load(checkpoint, run, state, iterations, size)
    if not writes(sharding):  # all have read by then: an epoch that one has done the others have begun
        checkpoint, progress = None, False
    interrupted, saved, left = False, None, ""
    bar = tqdm(range(len(records), epochs), initial=len(records), total=epochs, disable=not progress, desc="epoch")
    try:
        for k in bar:
            state_after, record = epoch(k, state)
            # Both together, so that an interruption in between cannot part them.
            record, state = jax.device_get(record), state_after
            records.append(record)
            bar.set_postfix(test_loss=f"{record[3]:.3f}", taken_back=sum(int(r[2].sum()) for r in records))
            if checkpoint and (saved is None or k % OFTEN == OFTEN - 1 or time.monotonic() - saved > SOON):
                left = _save(checkpoint, run, records, state)
                if left and saved is None:  # another run began at the same time
                    raise ValueError(left)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if not records:
            raise
        interrupted = True
    if checkpoint:
        left = _save(checkpoint, run, records, state)
    return records, state, interrupted, left
