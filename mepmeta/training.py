"""Training: descend the loss through the method, by Barzilai-Borwein steps."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding

from mepmeta._arguments import (
    check_answers,
    check_count,
    check_file,
    check_function,
    check_key,
    check_option,
    known,
    shown,
)
from mepmeta._checks import check_batch, check_params, check_positive, check_record
from mepmeta._devices import check_sharding, everywhere, laid
from mepmeta._epochs import run_epochs
from mepmeta._files import is_folder
from mepmeta._trace import traced
from mepmeta.barzilai_borwein import BarzilaiBorwein, State, advance, largest_step, mean_gradient
from mepmeta.geometry import Flat, Geometry
from mepmeta.learning import LOSSES, Evolution, Leaves, Task, descended, drawn, evolved, fingerprint, losses
from mepmeta.loss import (
    check_overestimates,
    check_problem,
    log_overestimates,
    log_overestimates_jit,
    losses_and_gradients,
)
from mepmeta.loss import losses as losses_of_neb
from mepmeta.neb import SPRINGS, Spring

__all__ = ["History", "train"]

#: Held-out paths on which every epoch ends.
TEST_PATHS = 400
RULE = BarzilaiBorwein()


class History(NamedTuple):
    """What happened in a training, epoch by epoch (E) and iteration by iteration (I).

    Args:
        params: metaparameters before each iteration, a :class:`~mepmeta.neb.NEBParams` of shapes ``(E, I)``; of another
            method its pytree, with these two axes in front.
        loss: mean loss of the training batch there, shape ``(E, I)``.
        test_loss: mean loss on 400 paths that training never sees, at the end of each epoch, shape ``(E,)``; of another
            method on as many problems as a batch has.
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
    sharding: NamedSharding | None,
) -> tuple[State, tuple[Array, Array, Array, Array]]:
    paths, test = laid((jax.vmap(sample)(laid(jax.random.split(key, batch), sharding)), test), sharding)
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
    test_loss = jnp.mean(losses_of_neb(energy, *test, final, steps, reference, geometry, spring))
    if safeguard:
        state = state._replace(pair=jnp.asarray(False))
    return state, (x, L, rejected, test_loss)


def _history(records: list, epochs: int, interrupted: bool, leaves: Leaves, safeguard: bool, left: str) -> History:
    x, loss, rejected, test_loss = (np.stack(column) for column in zip(*records, strict=True))
    history = leaves.tree(np.exp(x) if safeguard else x)
    message = f"{'interrupted after' if interrupted else 'completed'} {len(records)} of {epochs} epochs"
    if rejected.any():
        last_epoch = rejected.any(axis=1).nonzero()[0][-1]
        message += f"; {rejected.sum()} divergent steps were taken back, the last in epoch {last_epoch}"
    message += f"; {left}" if left else ""
    return History(history, loss, test_loss, rejected, not interrupted, message)


def _taught(
    key: Array, sample: Callable, params: Any, task: Task, rule: Any, epochs: int, iterations: int, batch: int,
    checkpoint: str | Path | None, progress: bool,
) -> tuple[Any, History]:  # fmt: skip
    """The training of any method, see :func:`train`."""
    leaves, x = Leaves.of(params)
    if not np.all(np.isfinite(x)):
        raise ValueError(f"metaparameters must be finite numbers, got {params}")
    batch_key, test_key = jax.random.split(key)
    test = drawn(sample, jax.random.split(test_key, batch), task)
    at_start = losses(x, test, leaves, task)
    evolves = isinstance(rule, Evolution)
    start = x if evolves else jnp.asarray(x)
    run = [*np.ravel(jax.random.key_data(key)), *x, iterations, batch, *fingerprint(task, rule), *at_start]

    def epoch(k: int, state: Any) -> tuple[Any, tuple]:
        keys = jax.random.split(jax.random.fold_in(batch_key, k), batch)
        problems = drawn(sample, keys, task)
        if evolves:
            state, trace = evolved(state, problems, iterations, leaves, task)
        else:
            state = everywhere(state, task.sharding)
            state, trace = descended(state, problems, rule, iterations, leaves, task)
        return state, (*trace, np.mean(losses(state[0], test, leaves, task)))

    state = start, rule.init(start)
    run = np.array(run, float)
    records, state, interrupted, left = run_epochs(
        epoch, state, run, epochs, iterations, x.size, checkpoint, progress, task.sharding
    )
    last = np.asarray(state[0] if len(records) <= epochs else records[epochs][0][0])
    return leaves.tree(last), _history(records[:epochs], epochs, interrupted, leaves, False, left)


def train(
    key: Array,
    energy: Callable[[Array], Array] | None,
    sample: Callable[[Array], Any],
    params: Any,
    *,
    steps: int = 5,
    epochs: int = 200,
    iterations: int = 20,
    batch: int = 100,
    reference: float | Array | None = None,
    geometry: Geometry = Flat(),
    spring: Spring = "raw",
    safeguard: bool = True,
    method: Callable[[Any], Any] | None = None,
    loss: str | Callable[..., float] = "residual",
    tol: float = 1e-3,
    rule: Any = RULE,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    sharding: NamedSharding | None = None,
) -> tuple[Any, History]:
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

    **Any method** is trained with ``method=``, a function of the metaparameters, a pytree of numbers or arrays, that
    makes one of :mod:`mepmeta.methods`; ``energy`` is None then, and every call of ``sample`` returns a problem of its
    own, ``(energy, path)``. The gradient is carried forward for eight metaparameters or fewer, and found backwards,
    every iteration computed once more, for a network. With ``rule=Evolution()`` there is none: candidates are compared
    by their losses, however long the runs, and by any loss that is a function.

    Args:
        key: random key; it fixes every path of the training.
        energy: differentiable callable, state to scalar. None with a method.
        sample: a function of a random key that returns a path ``(P, *shape)``; with a method ``(energy, path)``, and
            the energy of the saddle as a third where the loss needs it. With a loss of one's own, any tuple.
        params: metaparameters to start from; all positive with the safeguard. With a method any pytree, as it is: give
            the logarithms of what has to stay positive.
        steps: iterations K of the method in the loss.
        epochs: number of batches.
        iterations: descent steps on each batch.
        batch: paths in a batch, B.
        reference: :math:`Q_0`, absolute energy of the saddle.
        geometry: the space of the states.
        spring: reading of the spring term, see :func:`~mepmeta.neb.neb_step`.
        safeguard: False for the update as published.
        method: makes a method of metaparameters. ``reference``, ``spring`` and ``safeguard`` have no part then.
        loss: of a method: "residual", the mean of :math:`\ln r_k/r_0` over its K ``steps``; "gradients", the part of
            them until :math:`r_k` is below ``tol``, less 1; "barrier", :math:`L`; or a function
            ``(method, *sample(key)) -> float``, for a rule without derivatives.
        tol: residual in units of force, of the largest curvature on the path.
        rule: what steps follow from the gradient: an object with ``init`` and ``update`` as in optax, or
            :class:`~mepmeta.learning.Evolution`.
        checkpoint: a file, written after the first epoch, then every ten epochs or 30 seconds, and when the run ends or
            is interrupted (Ctrl-C). A run that finds its file there goes on from it, to the same end as without the
            interruption. The file is always whole: a run that is killed loses the epochs since it was written last.
        progress: show a bar with the loss.
        sharding: lays the paths of a batch over devices, such as ``NamedSharding(Mesh(jax.devices(), ("paths",)),
            PartitionSpec("paths"))``, also over those of several processes, each of which makes this call. The result
            is that of one device up to rounding, which a training of many epochs amplifies; one process writes the
            checkpoint. A loss of one's own is computed where Python runs: each process has its share of the problems.

    Returns:
        The trained metaparameters, the geometric mean over the last epoch (with ``safeguard=False`` or a method the
        last point), and the :class:`History`. An interrupted training returns what it has, with
        ``history.completed`` False.

    Raises:
        ValueError: for a bad energy, sample, reference or parameter, a zero one with the safeguard, a count
            below 1, a sharding that does not fit the batch, or a checkpoint of another run or one that is damaged.

    Source: Section 3 of :cite:t:`bushuev2020`, :cite:t:`barzilai1988`; the safeguards are ours.

    >>> import jax, jax.numpy as jnp, mepmeta as mm
    >>> mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)
    >>> params, history = mm.train(
    ...     jax.random.key(0), mm.single_spin(), lambda key: mm.perturbed_path(key, mep), mm.NEBParams(gamma=0.05),
    ...     epochs=3, batch=20, reference=0.0, progress=False)
    >>> bool(history.test_loss[-1] < -2 < history.loss[0, 0] < 0)
    True

    The first step of L-BFGS, on wells of random stiffness:

    >>> def sample(key):
    ...     c = 1 + jax.random.uniform(key)
    ...     return jax.tree_util.Partial(lambda c, x: c * (x[0]**2 - 1)**2 + x[1]**2, c), mep[:, ::-1] - 1.5
    >>> params, history = mm.train(
    ...     jax.random.key(0), None, sample, jnp.log(0.01), method=lambda p: mm.methods.LBFGS(step=jnp.exp(p)),
    ...     epochs=2, iterations=3, batch=4, progress=False)
    >>> bool(params > jnp.log(0.01) and history.loss[0, -1] < history.loss[0, 0] < 0)  # a longer one is better
    True
    """
    counts = {"steps": steps, "epochs": epochs, "iterations": iterations, "batch": batch}
    steps, epochs, iterations, batch = (check_count(name, value) for name, value in counts.items())
    check_answers(safeguard=safeguard, progress=progress)
    check_key(key)
    if not known(key, params):
        raise ValueError("training decides on numbers: it cannot run under jax.jit or vmap")
    if checkpoint is not None and (not is_folder(check_file(checkpoint).parent) or is_folder(checkpoint)):
        raise ValueError(f"no folder {shown(checkpoint)} to write the checkpoint to, or it is one")
    sharding = check_sharding(sharding, batch)
    if method is not None:
        if energy is not None:
            raise ValueError(
                "with a method the energy comes with every path: pass None, and sample(key) -> (energy, path)"
            )
        if not callable(loss):
            check_option("loss", loss, LOSSES)
        elif not isinstance(rule, Evolution):
            raise ValueError("a loss that is a function has no derivative here: pass rule=Evolution()")
        check_positive(tol=tol)
        check_function("sample", sample)
        if not callable(method):
            raise ValueError(f"method must make a method of metaparameters, got {shown(method)}")
        task = Task(method, loss, geometry, steps, tol, sharding)
        return _taught(key, sample, params, task, rule, epochs, iterations, batch, checkpoint, progress)
    check_params(params)
    check_record("sample", sample, key)
    leaves, structure = jax.tree.flatten(params)
    if safeguard and not all(leaf > 0 for leaf in leaves):
        raise ValueError(f"training works on logarithms, so every metaparameter must be positive, got {params}")

    batch_key, test_key = jax.random.split(key)
    test = jax.jit(jax.vmap(sample))(jax.random.split(test_key, TEST_PATHS))
    energy = check_problem(energy, test[0], reference, geometry, spring)
    check_batch(test, geometry)
    start = jnp.stack([jnp.asarray(leaf, test.dtype) for leaf in leaves])
    x = jnp.log(start) if safeguard else start
    # Without the safeguard nothing says how long the first step is; this one is short of every parameter's scale.
    no = jnp.asarray(False)
    state = State(x, x, jnp.zeros_like(x), jnp.asarray(1e-6, x.dtype), no, no)
    sample, reference = traced(sample, key), jnp.asarray(reference, test.dtype)
    test = (test, log_overestimates_jit(energy, test, reference, geometry))
    check_overestimates(test[1], energy, test[0])
    settings = (structure, steps, iterations, batch, geometry, spring, safeguard, sharding)

    # What makes two runs the same run; the number of epochs does not, so a finished run can be extended.
    numbers = [*start, steps, iterations, batch, reference, safeguard, SPRINGS.index(spring), *test[0].shape]
    # The test paths and their errors stand for the sample and the energy.
    numbers += [jnp.sum(test[0]), jnp.sum(test[0] ** 2), jnp.sum(test[1])]
    run = np.array([*np.ravel(jax.random.key_data(key)), *numbers], float)

    def epoch(k: int, state: State) -> tuple[State, tuple]:
        cap, epoch_key = jnp.asarray(largest_step(k), x.dtype), jax.random.fold_in(batch_key, k)
        known = everywhere((energy, sample, state, epoch_key, cap, test, reference), sharding)
        return _epoch_jit(*known, *settings)

    records, _, interrupted, left = run_epochs(
        epoch, state, run, epochs, iterations, x.size, checkpoint, progress, sharding
    )
    records = records[:epochs]
    history = _history(records, epochs, interrupted, Leaves(structure, ((),) * len(leaves)), safeguard, left)
    trace, rejected = records[-1][0], records[-1][2]
    # Where the last steps still scatter their geometric mean does not; rejected points do not count.
    last = np.exp(trace) if safeguard else trace
    last = np.exp(np.mean(trace[~rejected], axis=0)) if safeguard and not rejected.all() else last[-1]
    return jax.tree.unflatten(structure, [float(value) for value in last]), history


# A long run: compiled with all that XLA has.
_epoch_jit = partial(jax.jit, static_argnums=tuple(range(7, 15)))(_epoch)
