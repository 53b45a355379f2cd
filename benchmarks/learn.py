"""Learn the method: train L-BFGS's numbers, and the network of ``mm.methods.Learned``, by evolution over whole runs.

Problems: skyrmions, antiskyrmions and walls on square and triangular lattices and chains of 12 to 24 cells, with
couplings drawn at random, and random landscapes; none of them is a problem of ``benchmarks.peers``. A search with
L-BFGS leaves its descents of single states: relaxations, climbs and the images of valleys, which is where ``find_mep``
spends most and where only the rule of the step decides. The loss is the mean logarithm of their gradients, over those
of L-BFGS.

``--minutes`` limits the two trainings. A run that is cut off goes on from its checkpoint. The result is written into
the package, with seed, cost and commit beside it, and the table on unseen problems into ``book/_data/learning``:
descents as they were recorded, and whole searches.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.tree_util import Partial  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mepmeta as mm  # noqa: E402
from mepmeta.learning import Evolution  # noqa: E402
from mepmeta.methods.learned import FILE, Learned, Weights, untrained  # noqa: E402
from mepmeta.search import climb, descent, relaxation, valley  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "book" / "_data" / "learning"
WORK = ROOT / "_build" / "learning"
SEED, UNSEEN = 11, 1000
#: A descent that does not end counts so many gradients, and more by what is left.
MOST = 400
#: Lattice and cells. A kind costs a minute of compiling, so a short training takes the first ones only.
KINDS = (
    ("square", (16, 16)), ("triangular", (14, 14)), ("chain", (24,)), ("landscape", (6,)),
    ("square", (12, 12)), ("square", (20, 20)), ("triangular", (18, 18)), ("chain", (16,)), ("triangular", (24, 24)),
)  # fmt: skip
#: Iterations of a band: what its search leaves is of use also where the band does not converge.
STEPS = 100
#: Of the candidates, at first.
SPREAD = {"numbers": 0.15, "network": 0.1}
#: Descents in the loss of a candidate; those of one kind that are kept of one search.
BATCH, KEPT = 24, 5


class Task(NamedTuple):
    """A descent of one state as a search asked for it, and the gradients that L-BFGS took."""

    kind: str
    about: str
    problem: object
    x: np.ndarray
    tol: float
    how: dict
    classical: int


# Problems


def landscape(widths, centres, heights, x):
    """A bowl with random bumps."""
    away = jnp.sum((x - centres) ** 2, axis=-1)
    return jnp.sum(widths * x**2) / 2 + jnp.sum(heights * jnp.exp(-away / 0.5))


def film(rng, lattice, shape):
    """A film with one skyrmion or antiskyrmion, its energy in a random unit; the states of both ends."""
    stiffness = 1.5 if lattice == "triangular" else 1.0
    kappa, field = rng.uniform(0.8, 0.95), rng.random() < 0.5
    if field:
        K, D = 0.0, rng.uniform(0.35, 0.6) / np.sqrt(stiffness)
        h = rng.uniform(0.9, 1.15) * stiffness * D**2
    else:
        K, h = rng.uniform(0.15, 0.4), 0.0
        D = kappa * 4 / np.pi * np.sqrt(K / 2 / stiffness)
    anti = rng.random() < 0.5
    unit = np.exp(rng.uniform(-3, 3))
    bonds = mm.nearest_neighbours(lattice, unit, unit * D)
    if anti:  # the mirror image of one axis
        bonds = [bond._replace(D=bond.D * jnp.array([-1.0, 1.0, 1.0])) for bond in bonds]
    energy = mm.Heisenberg(shape, bonds, [(unit * K, (0, 0, 1))], (0, 0, unit * h))
    centre = tuple(n // 2 for n in shape)
    radius, width = rng.uniform(2, 3.5), rng.uniform(1.2, 2)
    texture = mm.skyrmion(shape, lattice, center=centre, radius=radius, width=width, vorticity=-1 if anti else 1)
    return energy, texture, mm.ferromagnet(shape), f"{'anti' if anti else ''}skyrmion {lattice} {shape[0]}"


def wire(rng, shape):
    """A wall in a chain, which turns over its hard axis."""
    K, hard, unit = rng.uniform(0.4, 0.8), rng.uniform(0.05, 0.3), np.exp(rng.uniform(-3, 3))
    bonds = mm.nearest_neighbours("chain", unit)
    energy = mm.Heisenberg(shape, bonds, [(unit * K, (0, 0, 1)), (-unit * hard, (0, 1, 0))], periodic=False)
    width, middle, tilt = np.sqrt(1 / (2 * K)), (shape[0] - 1) / 2, rng.uniform(0.0, 0.2)
    ends = [
        mm.domain_wall(shape, center=middle, width=width * rng.uniform(0.9, 1.1), plane=(np.cos(a), np.sin(a), 0.0))
        for a in (tilt, np.pi - tilt)
    ]
    return energy, *ends, f"wall {shape[0]}"


def bumps(rng, shape):
    n = shape[0]
    centres, heights = rng.normal(size=(8, n)), rng.uniform(-2, 2, 8)
    energy = Partial(landscape, jnp.asarray(rng.uniform(0.2, 3, n)), jnp.asarray(centres), jnp.asarray(heights))
    return energy, *(jnp.asarray(1.5 * rng.normal(size=n)) for _ in range(2)), f"landscape {n}"


def problem(rng, kind):
    lattice, shape = kind
    if lattice == "landscape":
        return *bumps(rng, shape), mm.Flat()
    return *(wire(rng, shape) if lattice == "chain" else film(rng, lattice, shape)), mm.Spheres()


WHERE = {"relaxed": relaxation, "climb": climb, "valley": valley}


def searched(rng, kind, record=None):
    """A search, and the descents it made, where they are to be recorded."""
    energy, start, end, about, geometry = problem(rng, kind)
    original, tasks = descent.descend, []

    def recorder(name):
        def recorded(problem, x, tol, at_most, **how):
            found = original(problem, x, tol, at_most, **how)
            if found.residual <= tol and found.evaluations > 2:
                task = Task(name, about, problem, np.asarray(x), tol, how, found.evaluations)
                tasks.append(jax.device_get(task))
            return found

        return recorded

    for name, module in WHERE.items() if record is not None else ():
        module.descend = recorder(name)
    try:
        r = mm.find_mep(energy, start, end, geometry=geometry, progress=False, max_steps=STEPS)
    finally:
        for module in WHERE.values():
            module.descend = original
    for name in WHERE if record is not None else ():
        mine = [task for task in tasks if task.kind == name]
        record += [mine[k] for k in rng.permutation(len(mine))[:KEPT]]
    return r, about


def pool(seed, kinds, each):
    """Descents of so many problems of each kind."""
    tasks, bar = [], tqdm(total=each * len(kinds), desc="problems")
    for k, kind in enumerate(kinds):
        for n in range(each):
            searched(np.random.default_rng([seed, k, n]), kind, tasks)
            bar.update()
    return tasks


# Runs and their cost


def gradients(method, task, tol=None):
    """Gradients that a task takes with a method."""
    how, tol = dict(task.how), task.tol if tol is None else tol
    if how.get("before") is not None:
        if not isinstance(method, mm.methods.LBFGS):
            how["before"] = None
        else:  # what is remembered beside the pairs begins anew with a descent
            own = method.remembered(np.zeros(1, task.x.dtype))
            how["before"] = how["before"]._replace(memory=how["before"].memory._replace(own=own))
    end = descent.descend(task.problem, task.x, tol, MOST, method=method, **how)
    if end.residual <= tol:
        return end.evaluations
    return MOST * (1 + np.log10(end.residual / tol)) if np.isfinite(end.residual) else 10 * MOST


def costs(method, tasks):
    """Logarithms of gradients over those of L-BFGS."""
    return np.log([gradients(method, task) / task.classical for task in tasks])


# What is trained

FIXED = descent.MINIMISER


def start(numbers=None):
    """Metaparameters to begin with: first step, angle, three factors of all pairs; with these trained, a network."""
    if numbers is None:
        return {"step": np.log(FIXED.step), "angle": np.log(FIXED.angle), "factors": np.zeros(3)}
    return {"step": numbers["step"], "angle": numbers["angle"], "weights": network(numbers["factors"])}


def network(factors):
    """Weights that answer the same for all pairs."""
    weights = untrained(SEED)
    return Weights(weights.inner, np.concatenate([weights.outer[:-1], np.asarray(factors)[None]]))


def made(params):
    """The method of these metaparameters."""
    weights = params["weights"] if "weights" in params else network(params["factors"])
    numbers = {name: np.exp(np.asarray(params[name])) for name in ("step", "angle")}
    return Learned(growth=FIXED.growth, memory=FIXED.memory, weights=weights, **numbers)


def trained(kind, params, tasks, minutes, seed):
    """A training that goes on until its time is up: where it ended, and its history."""
    began = time.monotonic()

    def sample(key):
        if time.monotonic() - began > 60 * minutes:
            raise KeyboardInterrupt
        chosen = np.asarray(jax.random.choice(key, len(tasks), (min(BATCH, len(tasks)),), replace=False))
        return ([tasks[i] for i in chosen],)

    def loss(method, chosen):
        return float(np.mean(costs(method, chosen)))

    size = 8 if kind == "numbers" else 12
    return mm.train(
        jax.random.key(seed), None, sample, params, method=made, loss=loss, epochs=20000, iterations=1, batch=1,
        rule=Evolution(spread=SPREAD[kind], population=size, seed=seed), checkpoint=WORK / f"{kind}.npz",
    )  # fmt: skip


# What came of it


class Plain(NamedTuple):
    """An energy that does not tell what is stiff."""

    energy: object

    def __call__(self, x):
        return self.energy(x)


def opponents(numbers, network):
    """Name, method, and whether it knows what is stiff."""
    return {
        "steepest descent": (mm.methods.SteepestDescent(spring=0.0), False),
        "FIRE": (mm.methods.FIRE(), False),
        "conjugate gradients": (mm.methods.ConjugateGradient(), False),
        "Anderson": (mm.methods.Anderson(), False),
        "Anderson, exchange": (mm.methods.Anderson(), True),
        "L-BFGS": (FIXED, False),
        "L-BFGS, exchange": (FIXED, True),
        "learned, zero weights": (made(start()), True),
        "learned, numbers": (made(numbers), True),
        "learned, network": (made(network), True),
    }


def table(tasks, methods):
    """Gradients of every method on every descent: of relaxations to two tolerances."""
    rows = []
    for name, (method, knows) in methods.items():
        for task in tqdm(tasks, desc=name):
            if task.kind != "relaxed" and not isinstance(method, mm.methods.LBFGS):
                continue
            p = task.problem
            p = p if knows else p.__class__(Plain(p.energy), p.energy_unit, p.length_unit, p.geometry, p.moved)
            for tol in (1e-3, 1e-5) if task.kind == "relaxed" else (task.tol,):
                count = min(gradients(method, task._replace(problem=p), tol), MOST)
                row = {"method": name, "kind": task.kind, "task": task.about, "tol": tol, "gradients": float(count)}
                rows.append(row)
    return rows


def whole(seed, kinds, each, methods):
    """Gradients of whole searches whose descents are those of a method."""
    rows = []
    for name, method in methods.items():
        descent.MINIMISER = method
        for k, kind in enumerate(kinds):
            for n in range(each):
                r, about = searched(np.random.default_rng([seed, k, n]), kind)
                row = {"method": name, "task": about, "gradients": int(r.evaluations), "converged": bool(r.converged)}
                rows.append(row)
    descent.MINIMISER = FIXED
    return rows


def commit():
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs=2, default=(40, 90), help="of the numbers, of the network")
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="kinds of problems")
    parser.add_argument("--each", type=int, default=8, help="problems of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    DATA.mkdir(parents=True, exist_ok=True)
    kinds, began = KINDS[: options.kinds], time.monotonic()
    tasks = pool(options.seed, kinds, options.each)
    print(f"{len(tasks)} descents, of {np.mean([t.classical for t in tasks]):.0f} gradients with L-BFGS", flush=True)
    found, histories = {}, {}
    for kind, limit in zip(("numbers", "network"), options.minutes, strict=True):
        params = start(found.get("numbers"))  # the network begins where the numbers ended
        found[kind], histories[kind] = trained(kind, params, tasks, limit, options.seed)
        print(kind, histories[kind].message, f"{histories[kind].test_loss[-1]:.3f}", flush=True)
    minutes = (time.monotonic() - began) / 60
    compared(options.seed, kinds, max(2, options.each // 2), len(tasks), minutes, found, histories)
    return 0


def compared(seed, kinds, each, n_tasks, minutes, found, histories):
    """Write down what was trained, and what it is worth on so many unseen problems of each kind."""
    unseen = pool(UNSEEN + seed, kinds, each)
    method, lost = made(found["network"]), {kind: float(np.mean(costs(made(p), unseen))) for kind, p in found.items()}
    about = {
        "commit": commit(), "seed": seed, "minutes": round(minutes, 1), "kinds": [list(k) for k in kinds],
        "tasks": n_tasks, "unseen": len(unseen), "loss": lost,
        "generations": {kind: int(h.loss.size) for kind, h in histories.items()},
    }  # fmt: skip
    weights = {name: np.asarray(w).tolist() for name, w in method.weights._asdict().items()}
    numbers = {"step": float(method.step), "angle": float(method.angle)}
    FILE.write_text(json.dumps({"about": about, **numbers, **weights}, indent=1) + "\n")
    history = {kind: h.loss.ravel().tolist() for kind, h in histories.items()}
    rows = table(unseen, opponents(found["numbers"], found["network"]))
    result = {"about": about, "history": history, "rows": rows}
    (DATA / "unseen.json").write_text(json.dumps(result, indent=0) + "\n")
    methods = {"L-BFGS": FIXED} | {kind: made(p) for kind, p in found.items()}
    result["searches"] = whole(UNSEEN + seed, kinds, each, methods)
    (DATA / "unseen.json").write_text(json.dumps(result, indent=0) + "\n")
    print(json.dumps(about["loss"]))


if __name__ == "__main__":
    sys.exit(main())
