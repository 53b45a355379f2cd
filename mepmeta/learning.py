"""Any method on problems drawn at random: its runs, what they lose, and one epoch of its training."""

import pickle
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding

from mepmeta._checks import check_energy, check_path
from mepmeta._devices import gathered, laid, share
from mepmeta.barzilai_borwein import mean_gradient
from mepmeta.force import Parts
from mepmeta.geometry import Geometry
from mepmeta.loss import log_overestimates
from mepmeta.methods.loop import LOST, repeat
from mepmeta.methods.moves import limited
from mepmeta.neb import path_length
from mepmeta.problem import Problem, pose
from mepmeta.search.band import advanced, looked
from mepmeta.spectra.modes import largest_curvature

__all__ = [
    "LOSSES",
    "Evolution",
    "Leaves",
    "Posed",
    "Run",
    "Task",
    "descended",
    "drawn",
    "evolved",
    "fingerprint",
    "losses",
    "lost",
    "posed",
    "run",
]

LOSSES = ("residual", "gradients", "barrier")
#: A count of gradients is softened over this range of the logarithm of the residual.
SOFT = 0.3
#: Up to so many numbers the derivative is carried forward; beyond, it is found backwards.
FEW = 8


class Run(NamedTuple):
    """K iterations of one path: residuals before each and after the last, in units of force, the path, if it is lost.

    The unit of force is that of the largest curvature on the path.
    """

    residuals: Array
    path: Array
    diverged: Array


class Task(NamedTuple):
    """What is fixed in a training: how metaparameters make a method, what is lost, in which space, numbers, devices."""

    method: Callable
    loss: str | Callable
    geometry: Geometry
    steps: int
    tol: float
    sharding: NamedSharding | None = None


class Leaves(NamedTuple):
    """A pytree of metaparameters as one vector, and back."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: Any) -> tuple["Leaves", np.ndarray]:
        leaves, structure = jax.tree.flatten(params)
        shapes = tuple(np.shape(leaf) for leaf in leaves)
        return cls(structure, shapes), np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in leaves])

    def tree(self, x: Array) -> Any:
        """The pytree; axes of x before its last one stay in front."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = (np if isinstance(x, np.ndarray) else jnp).split(x, ends[:-1], axis=-1)
        leaves = [part.reshape((*x.shape[:-1], *shape)) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)


class Posed(NamedTuple):
    """A problem in its units, a path, the largest curvature on the way, and the energy of the saddle or NaN."""

    problem: Problem
    path: Array
    stiffness: Array
    reference: Array


def posed(energy: Callable, path: Array, geometry: Geometry, reference: float = np.nan) -> Posed:
    """As a search poses it."""
    ends = [np.asarray(x) for x in (path[0], path[-1])]
    problem = pose(energy, geometry, *ends)
    inside = problem.inside(path, axis=1)
    curvature = float(largest_curvature(problem, inside[inside.shape[0] // 4], problem.geometry))
    real = partial(np.asarray, dtype=inside.dtype)
    return Posed(problem, inside, real(max(1.0, curvature)), real(reference / problem.units[0]))


def fingerprint(task: Task, rule: Any) -> list[float]:
    """Numbers that are others for another training."""
    name = f"{type(rule).__name__} {task.loss if isinstance(task.loss, str) else ''}"
    own = [value for value in jax.tree.leaves(rule) if isinstance(value, (int, float))]
    return [zlib.crc32(name.encode()), task.steps, task.tol, *own]


def run(posed: Posed, method: Any, steps: int) -> Run:
    """A method on a path, as a search does it but for what that takes back."""
    problem, path, stiffness, _ = posed
    geometry, real = problem.geometry, partial(jnp.asarray, dtype=path.dtype)
    held = jnp.zeros(path.shape[0] - 2, bool)

    def look(path: Array) -> tuple[Parts, Array]:
        return looked(problem, path, held, stiffness, real(0), "improved")

    def step(s: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        path, memory, _ = s
        parts, residual = look(path)
        move, memory = method.update(parts, memory, path[1:-1], geometry)
        path = advanced(method, path, limited(move, geometry, real(1)), parts, held, geometry)
        return path, jax.tree.map(lambda new, old: new.astype(old.dtype), memory, s[1]), residual

    state = path, jax.tree.map(jnp.asarray, method.init(path[1:-1])), real(jnp.inf)
    # Backwards, every iteration is computed once more instead of being kept.
    last, done, before = repeat(
        jax.checkpoint(step), state, steps, lambda s: path_length(s[0], geometry, False), lambda s: s[2]
    )
    return Run(jnp.append(before, look(last[0])[1]), last[0], done < 0)


def lost(r: Run, kind: str, tol: float, posed: Posed) -> Array:
    r"""What a run loses; below zero where the method gets anywhere.

    "residual": :math:`\frac1K\sum_{k=1}^K\ln(r_k/r_0)`. "gradients": the part of the K iterations that it takes until
    :math:`r_k` is below ``tol``, less 1, each counted by a sigmoid of :math:`\ln r_k/\mathrm{tol}`, and for a run that
    does not get there the logarithm of what is left. "barrier": the loss of the paper.
    """
    problem, path, _, reference = posed
    K, worst = r.residuals.size - 1, jnp.log(jnp.asarray(LOST, path.dtype))
    if kind == "barrier":
        before, after = (log_overestimates(problem, p[None], reference, problem.geometry)[0] for p in (path, r.path))
        return jnp.where(r.diverged, worst, (after - before) / K)
    logs = jnp.log(jnp.maximum(r.residuals, jnp.finfo(path.dtype).eps))
    if kind == "residual":
        return jnp.where(r.diverged, worst, jnp.mean(logs[1:] - logs[0]))
    over = logs - np.log(tol)
    count = jnp.sum(jax.nn.sigmoid(over[:-1] / SOFT)) + jnp.maximum(over[-1], 0)
    return jnp.where(r.diverged, worst, count / K - 1)


def drawn(sample: Callable, keys: Array, task: Task) -> Any:
    """What ``sample`` makes of keys: problems in their units side by side; as they are for a loss of one's own.

    Of these every process draws its share.
    """
    problems = [sample(key) for key in (share(keys, task.sharding) if callable(task.loss) else keys)]
    for problem in problems:
        if not isinstance(problem, tuple) or (not callable(task.loss) and len(problem) < 2):
            raise ValueError(f"sample(key) must be a tuple (energy, path, ...), got {type(problem).__name__}")
        if task.loss == "barrier" and len(problem) < 3:
            raise ValueError("the loss of the barrier needs its reference: sample(key) -> (energy, path, reference)")
    if callable(task.loss):
        return problems
    for _, path, *_ in problems:
        check_path(path, task.geometry)
    ready = [
        posed(check_energy(E, path, task.geometry, axes=1), path, task.geometry, *r[:1]) for E, path, *r in problems
    ]
    if len({jax.tree.structure(one) for one in ready}) > 1 or len({one.path.shape for one in ready}) > 1:
        raise ValueError(
            "the problems of a training must be of one kind: energies and paths that differ in numbers only"
        )
    return laid(jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *ready), task.sharding)


def _loss(x: Array, problem: Posed, leaves: Leaves, task: Task) -> Array:
    return lost(run(problem, task.method(leaves.tree(x)), task.steps), task.loss, task.tol, problem)


@partial(jax.jit, static_argnums=(2, 3))
def _losses(x: Array, problems: Posed, leaves: Leaves, task: Task) -> Array:
    return jax.vmap(lambda problem: _loss(x, problem, leaves, task))(problems)


def losses(x: np.ndarray, problems: Any, leaves: Leaves, task: Task) -> np.ndarray:
    """What the method loses on every problem."""
    if callable(task.loss):
        method = task.method(leaves.tree(np.asarray(x)))
        return gathered(np.array([task.loss(method, *problem) for problem in problems], float), task.sharding)
    return gathered(_losses(x, problems, leaves, task), task.sharding)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _descended(
    x: Array, state: Any, problems: Posed, rule: Any, iterations: int, leaves: Leaves, task: Task
) -> tuple[tuple[Array, Any], tuple[Array, Array, Array]]:
    def slopes_of(x: Array, problem: Posed) -> tuple[Array, Array]:
        def f(x: Array) -> Array:
            return _loss(x, problem, leaves, task)

        if x.size > FEW:
            return jax.value_and_grad(f)(x)
        values, slopes = jax.vmap(lambda v: jax.jvp(f, (x,), (v,)), out_axes=(None, 0))(jnp.eye(x.size, dtype=x.dtype))
        return values, slopes

    def iteration(s: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], tuple[Array, Array, Array]]:
        x, state = s
        L, slopes = jax.vmap(slopes_of, (None, 0))(x, problems)
        L, g = jnp.mean(L), mean_gradient(slopes.T, True)
        if hasattr(rule, "settled"):  # one that judges the loss itself
            updates, after = rule.update(g, state, x, value=L)
            return (x + updates, after), (x, L, after.rejected)
        fine = jnp.isfinite(L) & jnp.all(jnp.isfinite(g))
        updates, after = rule.update(jnp.where(fine, g, 0), state, x)
        after = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, state)
        return (x + jnp.where(fine, updates, 0), after), (x, L, ~fine)

    (x, state), trace = lax.scan(iteration, (x, state), length=iterations)
    return (rule.settled(x, state) if hasattr(rule, "settled") else (x, state)), trace


def descended(
    state: tuple[Array, Any], problems: Posed, rule: Any, iterations: int, leaves: Leaves, task: Task
) -> tuple[tuple[Array, Any], tuple[Array, Array, Array]]:
    """Iterations of a rule with ``init`` and ``update`` on one batch, along the mean gradient."""
    return _descended(*state, problems, rule, iterations, leaves, task)


class Evolution(NamedTuple):
    """The rule of a training without derivatives: CMA, with the mirror images of the worst candidates.

    Args:
        spread: standard deviation of the candidates at first.
        population: candidates of a generation; None for :math:`4 + 3\\ln n`.
        seed: of the candidates.

    Source: :cite:t:`hansen2016`.
    """

    spread: float = 0.1
    population: int | None = None
    seed: int = 1

    def init(self, x: np.ndarray) -> np.ndarray:
        import cma  # only who trains waits for it

        # Many numbers: their own scales are learned, what they have to do with one another is not.
        how = {"seed": self.seed, "verbose": -9, "CMA_mirrors": True, "CMA_diagonal": x.size > 30}
        how |= {} if self.population is None else {"popsize": self.population}
        return _packed(cma.CMAEvolutionStrategy(np.asarray(x, float), self.spread, how))


def _packed(strategy: Any) -> np.ndarray:
    """A strategy as an array, which a checkpoint can hold."""
    return np.frombuffer(pickle.dumps(strategy), np.uint8)


def evolved(
    state: tuple[np.ndarray, np.ndarray], problems: Any, iterations: int, leaves: Leaves, task: Task
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Generations on one batch: candidates are judged by their mean loss, one that is not finite is the worst."""
    x, packed = state
    strategy, trace = pickle.loads(packed.tobytes()), []
    for _ in range(iterations):
        candidates = strategy.ask()
        L = np.array([np.mean(losses(c, problems, leaves, task)) for c in candidates])
        finite = np.isfinite(L)
        L = np.where(finite, L, np.max(L[finite], initial=0.0) + 1e3)
        trace.append((x, np.mean(L[finite]) if finite.any() else np.nan, not finite.all()))
        strategy.tell(candidates, list(L))
        x = np.array(strategy.mean)
    return (x, _packed(strategy)), tuple(np.stack(column) for column in zip(*trace, strict=True))
