"""Training: descend the loss through the method, by Barzilai-Borwein steps."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from tqdm import tqdm

from mepmeta._arguments import check_file
from mepmeta._checkpoint import read_checkpoint, write_checkpoint
from mepmeta._checks import (
    check_answers,
    check_batch,
    check_count,
    check_key,
    check_params,
    check_record,
    known,
    shown,
)
from mepmeta._files import is_folder
from mepmeta._trace import traced
from mepmeta.barzilai_borwein import State, advance, largest_step, mean_gradient
from mepmeta.geometry import Flat, Geometry
from mepmeta.loss import check_problem, log_overestimates, log_overestimates_jit, losses, losses_and_gradients
from mepmeta.neb import SPRINGS, NEBParams, Spring

__all__ = ["History", "train"]

#: Held-out paths on which every epoch ends.
TEST_PATHS = 400
#: Epochs, and seconds, from one checkpoint to the next: whichever are over first.
OFTEN, SOON = 10, 30.0
#: What is recorded of every epoch.
COLUMNS = "trace", "loss", "rejected", "test_loss"


class History(NamedTuple):
    """What happened in a training, epoch by epoch (E) and iteration by iteration (I).

    Args:
        params: metaparameters before each iteration, a :class:`~mepmeta.neb.NEBParams` of shapes ``(E, I)``.
        loss: mean loss of the training batch there, shape ``(E, I)``.
        test_loss: mean loss on 400 paths that training never sees, at the end of each epoch, shape ``(E,)``.
        rejected: whether that point was judged divergent and the iteration went back, shape ``(E, I)``.
        completed: whether all epochs were run.
        message: how the training ended, in words.
    """

    params: Any
    loss: np.ndarray
    test_loss: np.ndarray
    rejected: np.ndarray
    completed: bool
    message: str


def _epoch(
    energy: Callable,
    sample: Callable,
    state: State,
    key: Array,
    cap: Array,
    test: tuple[Array, Array],
    reference: Array,
    structure: Any,
    steps: int,
    iterations: int,
    batch: int,
    geometry: Geometry,
    spring: Spring,
    safeguard: bool,
) -> tuple[State, tuple[Array, Array, Array, Array]]:
    paths = jax.vmap(sample)(jax.random.split(key, batch))
    before = log_overestimates(energy, paths, reference, geometry)

    def params_at(x: Array) -> Any:
        return jax.tree.unflatten(structure, list(jnp.exp(x) if safeguard else x))

    def iteration(s: State, _: None) -> tuple[State, tuple[Array, Array, Array]]:
        L, slopes = losses_and_gradients(energy, paths, before, params_at(s.x), steps, reference, geometry, spring)
        slopes = jnp.stack(jax.tree.leaves(slopes))
        if safeguard:
            slopes = slopes * jnp.exp(s.x)[:, None]  # chain rule: derivative by the logarithm
        L = jnp.mean(L)
        after, rejected = advance(s, L, mean_gradient(slopes, safeguard), cap, safeguard)
        return after, (s.x, L, rejected)

    state, (x, L, rejected) = lax.scan(iteration, state, length=iterations)
    # The point after the last step has not been judged yet.
    final = params_at(jnp.where(state.usable, state.good, state.x) if safeguard else state.x)
    test_loss = jnp.mean(losses(energy, *test, final, steps, reference, geometry, spring))
    if safeguard:
        state = state._replace(pair=jnp.asarray(False))
    return state, (x, L, rejected, test_loss)


def _save(file: str | Path, run: np.ndarray, records: list, state: State) -> str:
    columns = dict(zip(COLUMNS, (np.stack(column) for column in zip(*records, strict=True)), strict=True))
    return write_checkpoint(file, run, columns, state._asdict())


def _load(file: str | Path | None, run: np.ndarray, state: State, iterations: int) -> tuple[list, State]:
    if file is None or not Path(file).exists():
        return [], state
    shapes = (iterations, state.x.size), (iterations,), (iterations,), ()
    columns, saved = read_checkpoint(file, run, dict(zip(COLUMNS, shapes, strict=True)), state._asdict())
    state = State(**{name: jnp.asarray(value) for name, value in saved.items()})
    return list(zip(*columns.values(), strict=True)), state


def _result(records: list, epochs: int, interrupted: bool, structure: Any, safeguard: bool) -> tuple[Any, History]:
    x, loss, rejected, test_loss = (np.stack(column) for column in zip(*records, strict=True))
    values = np.exp(x) if safeguard else x
    history = jax.tree.unflatten(structure, list(np.moveaxis(values, -1, 0)))
    # Where the last steps still scatter their geometric mean does not; rejected points do not count.
    last = np.exp(np.mean(x[-1][~rejected[-1]], axis=0)) if safeguard and not rejected[-1].all() else values[-1, -1]
    params = jax.tree.unflatten(structure, [float(value) for value in last])
    message = f"{'interrupted after' if interrupted else 'completed'} {len(records)} of {epochs} epochs"
    if rejected.any():
        last_epoch = rejected.any(axis=1).nonzero()[0][-1]
        message += f"; {rejected.sum()} divergent steps were taken back, the last in epoch {last_epoch}"
    return params, History(history, loss, test_loss, rejected, not interrupted, message)


def train(
    key: Array,
    energy: Callable[[Array], Array],
    sample: Callable[[Array], Array],
    params: NEBParams,
    *,
    steps: int = 5,
    epochs: int = 200,
    iterations: int = 20,
    batch: int = 100,
    reference: float | Array,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
    safeguard: bool = True,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> tuple[NEBParams, History]:
    r"""Train the metaparameters: stochastic descent of the mean loss, a new batch of paths every epoch.

    .. math:: p \mapsto p - \nu\,\frac{\partial}{\partial p}\frac1B\sum_{b} L[S_b],\qquad
        \nu = \frac{\delta p\cdot\delta p}{\delta p\cdot\delta g}\quad\text{(Barzilai-Borwein)}

    ``safeguard=False`` is this update as published, on :math:`p = (\gamma, \mu, \beta)`. It is fragile: the
    parameters differ in scale and the gradient of a batch is dominated by the few paths that come close to the
    saddle. The default adds five safeguards.

    1. It works on :math:`\ln p`. Parameters stay positive, and one :math:`\nu` serves all of them.
    2. The gradient of one path counts at most three times the median length over the batch.
    3. :math:`|\nu|` is used, so negative curvature does not turn descent into ascent; a batch begins with a
       short probe, because the two gradients of :math:`\delta g` must belong to the same paths.
    4. No component of the step exceeds :math:`0.2/(1 + \text{epoch}/10)`: 20 % of the parameter at first, and a
       sum that diverges while its squares do not (Robbins-Monro), so that sampling noise averages out.
    5. A point where the mean loss is positive or not finite is rejected, and the iteration goes half way back, until
       it is next to the last good point. A start that diverges is left by making all parameters smaller. An epoch
       ends at its last good point, not at the step proposed from there.

    Args:
        key: random key; it fixes every path of the training.
        energy: differentiable callable, state to scalar.
        sample: a function of a random key that returns a path ``(P, *shape)``.
        params: metaparameters to start from; all positive with the safeguard.
        steps: iterations K of the method in the loss.
        epochs: number of batches.
        iterations: descent steps on each batch.
        batch: paths in a batch, B.
        reference: :math:`Q_0`, absolute energy of the saddle.
        geometry: the space of the states.
        spring: reading of the spring term, see :func:`~mepmeta.neb.neb_step`.
        safeguard: False for the update as published.
        checkpoint: a file, written after the first epoch, then every ten epochs or 30 seconds, and when the run ends or
            is interrupted (Ctrl-C). A run that finds its file there goes on from it, to the same end as without the
            interruption. The file is always whole: a run that is killed loses the epochs since it was written last.
        progress: show a bar with the loss.

    Returns:
        The trained metaparameters, the geometric mean over the last epoch (with ``safeguard=False`` the last
        point), and the :class:`History`. An interrupted training returns what it has, with
        ``history.completed`` False.

    Raises:
        ValueError: for a bad energy, sample, reference or parameter, a zero one with the safeguard, a count
            below 1, or a checkpoint of another run or one that is damaged.

    Source: Section 3 of :cite:t:`bushuev2020`, :cite:t:`barzilai1988`; the safeguards are ours.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)
    >>> params, history = mm.train(
    ...     jax.random.key(0), mm.single_spin(), lambda key: mm.perturbed_path(key, mep), mm.NEBParams(gamma=0.05),
    ...     epochs=3, batch=20, reference=0.0, progress=False)
    >>> bool(history.test_loss[-1] < -2 < history.loss[0, 0] < 0)
    True
    """
    for name, value in {"steps": steps, "epochs": epochs, "iterations": iterations, "batch": batch}.items():
        check_count(name, value)
    check_params(params)
    check_answers(safeguard=safeguard, progress=progress)
    check_key(key)
    if not known(key, params):
        raise ValueError("training decides on numbers: it cannot run under jax.jit or vmap")
    if checkpoint is not None and (not is_folder(check_file(checkpoint).parent) or is_folder(checkpoint)):
        raise ValueError(f"no folder {shown(checkpoint)} to write the checkpoint to, or it is one")
    check_record("sample", sample, key)
    leaves, structure = jax.tree.flatten(params)
    if safeguard and not all(leaf > 0 for leaf in leaves):
        raise ValueError(f"training works on logarithms, so every metaparameter must be positive, got {params}")

    batch_key, test_key = jax.random.split(key)
    test = jax.jit(jax.vmap(sample))(jax.random.split(test_key, TEST_PATHS))
    energy = check_problem(energy, test[0], reference, geometry, params, steps, spring)
    check_batch(test, geometry)
    start = jnp.stack([jnp.asarray(leaf, test.dtype) for leaf in leaves])
    x = jnp.log(start) if safeguard else start
    # Without the safeguard nothing says how long the first step is; this one is short of every parameter's scale.
    no = jnp.asarray(False)
    state = State(x, x, jnp.zeros_like(x), jnp.asarray(1e-6, x.dtype), no, no)
    sample, reference = traced(sample, key), jnp.asarray(reference, test.dtype)
    test = (test, log_overestimates_jit(energy, test, reference, geometry))
    settings = (structure, steps, iterations, batch, geometry, spring, safeguard)

    # What makes two runs the same run; the number of epochs does not, so a finished run can be extended.
    numbers = [*start, steps, iterations, batch, reference, safeguard, SPRINGS.index(spring), *test[0].shape]
    # The test paths and their errors stand for the sample and the energy.
    numbers += [jnp.sum(test[0]), jnp.sum(test[0] ** 2), jnp.sum(test[1])]
    run = np.array([*np.ravel(jax.random.key_data(key)), *numbers], float)
    records, state = _load(checkpoint, run, state, iterations)
    interrupted, saved, left = False, None, ""
    bar = tqdm(range(len(records), epochs), initial=len(records), total=epochs, disable=not progress, desc="epoch")
    try:
        for epoch in bar:
            cap = jnp.asarray(largest_step(epoch), x.dtype)
            epoch_key = jax.random.fold_in(batch_key, epoch)
            state_after, record = _epoch_jit(energy, sample, state, epoch_key, cap, test, reference, *settings)
            # Both together, so that an interruption in between cannot part them.
            record, state = jax.device_get(record), state_after
            records.append(record)
            bar.set_postfix(test_loss=f"{record[3]:.3f}", taken_back=sum(int(r[2].sum()) for r in records))
            if checkpoint and (saved is None or epoch % OFTEN == OFTEN - 1 or time.monotonic() - saved > SOON):
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
    params, history = _result(records[:epochs], epochs, interrupted, structure, safeguard)
    return params, history._replace(message=f"{history.message}; {left}" if left else history.message)


# A long run: compiled with all that XLA has.
_epoch_jit = partial(jax.jit, static_argnums=tuple(range(7, 14)))(_epoch)
