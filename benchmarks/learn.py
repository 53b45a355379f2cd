"""Learn the method: the numbers of L-BFGS, networks for its coefficients, and when a search hands over.

Problems: skyrmions, antiskyrmions and walls on square and triangular lattices and chains of 12 to 24 cells, with
couplings drawn at random, and random landscapes, all with ends in two minima; none of them is a problem of
``benchmarks.peers`` or of ``benchmarks.race``. All by an evolution strategy over whole runs. "search": numbers that
decide when one part of ``find_mep`` hands over to the next, by the mean logarithm of the gradients of whole searches.
"numbers", "network", "recurrent" and "secant": the rule of a step (``benchmarks.rules``), by that of the gradients of
single descents, which searches with L-BFGS have left: relaxations, climbs and the images of valleys. All over the
gradients of today's default.

``--minutes`` limits the trainings. A run that is cut off goes on from its checkpoint. The result is written into the
package, with seed, cost and commit beside it, and the table on unseen descents into ``book/_data/learning``.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.tree_util import Partial, register_dataclass  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mepmeta as mm  # noqa: E402
from benchmarks import rules  # noqa: E402
from mepmeta.learning import Evolution  # noqa: E402
from mepmeta.methods.learned import FILE  # noqa: E402
from mepmeta.search import climb, converge, descent, relaxation, scout, valley  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "book" / "_data" / "learning"
WORK = ROOT / "_build" / "learning"
SEED, UNSEEN = 11, 1000
#: A descent that does not end counts so many gradients, and more by what is left.
MOST = 400
#: Lattice and cells. A kind costs minutes of compiling, so a short training takes the first ones only.
KINDS = (
    ("square", (12, 12)), ("triangular", (14, 14)), ("chain", (24,)), ("landscape", (6,)),
    ("square", (16, 16)), ("triangular", (18, 18)), ("square", (20, 20)), ("chain", (16,)), ("triangular", (24, 24)),
)  # fmt: skip
#: Problems that are drawn for one whose ends are two minima, as far apart as this part of where they began.
DRAWS, APART = 40, 0.2
#: Iterations of a band: what its search leaves is of use also where the band does not converge.
STEPS = 100
#: Of the candidates, at first, and how many there are.
SPREAD = {"search": 0.4, "numbers": 0.15, "network": 0.1, "recurrent": 0.1, "secant": 0.1}
SIZE = {"search": 8, "numbers": 8, "network": 12, "recurrent": 16, "secant": 12}
#: Descents or searches in the loss of a candidate; descents of one kind that are kept of one search.
BATCH, KEPT = {"search": 4} | dict.fromkeys(rules.KINDS, 24), 5
#: A search that finds nothing, or another saddle, counts so many times its gradients; barriers are one to this part.
LOST, SAME = 5.0, 1e-5


class Task(NamedTuple):
    """A descent of one state as a search asked for it, and the gradients that L-BFGS took."""

    kind: str
    about: str
    problem: object
    x: np.ndarray
    tol: float
    how: dict
    classical: int


class Search(NamedTuple):
    """Two states of an energy, what the default takes between them, and its barrier, NaN if it finds none."""

    about: str
    energy: object
    ends: tuple
    geometry: object
    classical: int
    barrier: float


# Problems


@partial(register_dataclass, data_fields=["energy"], meta_fields=[])
@dataclass(frozen=True)
class Undamped:
    """A lattice that does not tell what is stiff."""

    energy: mm.Heisenberg

    def __call__(self, x):
        return self.energy(x)

    def component_first(self):
        return replace(self, energy=self.energy.component_first())

    def pairs(self):
        return self.energy.pairs()

    def live(self):
        return self.energy.live()


@partial(register_dataclass, data_fields=["energy", "weight"], meta_fields=[])
@dataclass(frozen=True)
class Weighted(Undamped):
    """A lattice whose stiff waves are damped with so many times the mass."""

    weight: np.ndarray

    def damped(self, v, mass):
        return self.energy.damped(v, self.weight.astype(mass.dtype) * mass)

    def of(self, weight):
        return Weighted(self.energy, np.asarray(weight, float))


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
    """Between two of the hollows."""
    n = shape[0]
    centres, heights = rng.normal(size=(8, n)), rng.uniform(-5, -1, 8)
    energy = Partial(landscape, jnp.asarray(rng.uniform(0.2, 3, n)), jnp.asarray(centres), jnp.asarray(heights))
    ends = centres[rng.permutation(8)[:2]] + 0.1 * rng.normal(size=(2, n))
    return energy, *(jnp.asarray(x) for x in ends), f"landscape {n}"


def candidate(rng, kind):
    lattice, shape = kind
    if lattice == "landscape":
        return *bumps(rng, shape), mm.Flat()
    energy, *rest = wire(rng, shape) if lattice == "chain" else film(rng, lattice, shape)
    return Weighted(energy, np.asarray(1.0)), *rest, mm.Spheres()


def problem(rng, kind):
    """A problem whose ends lead to two minima, and how many that were drawn did not: a relaxation tells it cheaply."""
    for rejected in range(DRAWS):
        energy, start, end, about, geometry = candidate(rng, kind)
        ends = [mm.relax(energy, x, geometry=geometry, max_steps=MOST) for x in (start, end)]
        apart = np.linalg.norm(ends[0].state - ends[1].state)
        if all(r.converged for r in ends) and apart > APART * np.linalg.norm(start - end):
            return energy, start, end, about, geometry, rejected
    raise RuntimeError(f"{DRAWS} problems of {kind} were drawn, and the ends of each relax into one minimum")


WHERE = {"relaxed": relaxation, "climb": climb, "valley": valley}


@contextmanager
def recorded(tasks, about):
    """Descents that searches ask for, kept."""
    original = descent.descend

    def recorder(name):
        def record(problem, x, tol, at_most, **how):
            found = original(problem, x, tol, at_most, **how)
            if found.residual <= tol and found.evaluations > 2:
                task = Task(name, about, problem, np.asarray(x), tol, how, found.evaluations)
                tasks.append(jax.device_get(task))
            return found

        return record

    for name, module in WHERE.items():
        module.descend = recorder(name)
    try:
        yield
    finally:
        for module in WHERE.values():
            module.descend = original


def find(search):
    """A search."""
    return mm.find_mep(search.energy, *search.ends, geometry=search.geometry, progress=False, max_steps=STEPS)


def pool(seed, kinds, each):
    """Searches, so many of each kind, descents of theirs, and how many problems were rejected."""
    searches, tasks, rejected, bar = [], [], 0, tqdm(total=each * len(kinds), desc="problems")
    for k, kind in enumerate(kinds):
        for n in range(each):
            rng, made = np.random.default_rng([seed, k, n]), []
            energy, start, end, about, geometry, refused = problem(rng, kind)
            search = Search(about, energy, (start, end), geometry, 0, np.nan)
            with recorded(made, about):
                r = find(search)
            barrier = float(r.barrier) if r.converged else np.nan
            searches.append(search._replace(classical=int(r.evaluations), barrier=barrier))
            for name in WHERE:
                mine = [task for task in made if task.kind == name]
                tasks += [mine[i] for i in rng.permutation(len(mine))[:KEPT]]
            rejected += refused
            bar.update()
    return searches, tasks, rejected


# Runs and their cost


def gradients(method, task, tol=None):
    """Gradients that a task takes with a method."""
    how, tol = dict(task.how), task.tol if tol is None else tol
    if isinstance(method, rules.Rule) and isinstance(task.problem.energy, Weighted):
        task = task._replace(problem=replace(task.problem, energy=task.problem.energy.of(method.weight)))
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


def search_cost(numbers, search):
    """The logarithm of gradients over those of the default."""
    energy = search.energy
    with handed_over(numbers):
        r = find(search._replace(energy=energy.of(numbers["mass"]) if isinstance(energy, Weighted) else energy))
    known = np.isfinite(search.barrier)
    if known and not (r.converged and abs(float(r.barrier) / search.barrier - 1) < SAME):
        return np.log(LOST)
    return np.clip(np.log(r.evaluations / search.classical), -np.log(LOST), np.log(LOST))


# What is trained

FIXED = descent.MINIMISER
#: Numbers of a search by name, with the module and its constant: the force from which on a relaxation has so many
#: gradients before Newton steps take over; forces at which a band and its scouts look for the saddle; how far a climb
#: goes with one mode, and how many gradients at a time.
NUMBERS = {
    "near": (relaxation, "NEAR"), "last": (relaxation, "LAST"), "first": (converge, "FIRST"),
    "scouts": (scout, "ROUGHLY"), "stale": (climb, "STALE"), "stretch": (climb, "STRETCH"),
}  # fmt: skip
TODAY = {name: getattr(module, constant) for name, (module, constant) in NUMBERS.items()}
TODAY |= {"mass": 1.0, "step": FIXED.step, "angle": FIXED.angle}


@contextmanager
def handed_over(numbers):
    """Searches with these numbers; the mass is that of the energy."""
    try:
        for name, (module, constant) in NUMBERS.items():
            value = float(numbers[name])
            setattr(module, constant, max(2, round(value)) if isinstance(TODAY[name], int) else value)
        descent.MINIMISER = replace(FIXED, step=np.asarray(numbers["step"]), angle=np.asarray(numbers["angle"]))
        yield
    finally:
        for name, (module, constant) in NUMBERS.items():
            setattr(module, constant, TODAY[name])
        descent.MINIMISER = FIXED


def start(kind, numbers=None):
    """Metaparameters to begin with, the logarithms of numbers; a network goes on from the numbers that were found."""
    if kind == "search":
        return {name: np.log(value) for name, value in (TODAY | {"last": 40}).items()}  # by default none
    if kind == "numbers":
        names = {"step": FIXED.step, "angle": FIXED.angle, "floor": FIXED.floor, "cap": 1.0, "weight": 1.0}
        return {name: np.log(value) for name, value in names.items()} | {"factors": np.zeros(3)}
    factors = numbers["factors"] * (np.array([0, 1, 1]) if kind == "secant" else 1)
    return {name: x for name, x in numbers.items() if name != "factors"} | {
        "weights": rules.untrained(kind, SEED, factors)
    }


def made(kind, params):
    """The numbers of a search, or the method of these metaparameters."""
    numbers = {name: np.exp(np.asarray(x)) for name, x in params.items() if name not in ("weights", "factors")}
    if kind == "search":
        return numbers
    weights = params["weights"] if "weights" in params else rules.untrained(kind, SEED, params["factors"])
    return rules.KINDS[kind](growth=FIXED.growth, memory=FIXED.memory, weights=weights, **numbers)


def trained(kind, params, pool, minutes, seed):
    """A training that goes on until its time is up: where it ended, and its history."""
    began = time.monotonic()

    def sample(key):
        if time.monotonic() - began > 60 * minutes:
            raise KeyboardInterrupt
        chosen = np.asarray(jax.random.choice(key, len(pool), (min(BATCH[kind], len(pool)),), replace=False))
        return ([pool[i] for i in chosen],)

    def loss(method, chosen):
        return float(np.mean([search_cost(method, s) for s in chosen] if kind == "search" else costs(method, chosen)))

    return mm.train(
        jax.random.key(seed), None, sample, params, method=partial(made, kind), loss=loss, epochs=20000, iterations=1,
        batch=1, rule=Evolution(spread=SPREAD[kind], population=SIZE[kind], seed=seed),
        checkpoint=WORK / f"{kind}.npz",
    )  # fmt: skip


# What came of it


def opponents(found):
    """Name, method, and whether it knows what is stiff."""
    return {
        "steepest descent": (mm.methods.SteepestDescent(spring=0.0), False),
        "FIRE": (mm.methods.FIRE(), False),
        "conjugate gradients": (mm.methods.ConjugateGradient(), False),
        "Anderson": (mm.methods.Anderson(), False),
        "Anderson, exchange": (mm.methods.Anderson(), True),
        "L-BFGS": (FIXED, False),
        "L-BFGS, exchange": (FIXED, True),
        "learned, zero weights": (made("numbers", start("numbers")), True),
    } | {f"learned, {kind}": (made(kind, found[kind]), True) for kind in rules.KINDS}


def table(tasks, methods):
    """Gradients of every method on every descent: of relaxations to two tolerances."""
    rows = []
    for name, (method, knows) in methods.items():
        for task in tqdm(tasks, desc=name):
            if task.kind != "relaxed" and not isinstance(method, mm.methods.LBFGS):
                continue
            p = task.problem
            p = p if knows or not isinstance(p.energy, Weighted) else replace(p, energy=Undamped(p.energy.energy))
            for tol in (1e-3, 1e-5) if task.kind == "relaxed" else (task.tol,):
                count = min(gradients(method, task._replace(problem=p), tol), MOST)
                row = {"method": name, "kind": task.kind, "task": task.about, "tol": tol, "gradients": float(count)}
                rows.append(row)
    return rows


def commit():
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs=5, default=(40, 15, 30, 30, 30), help=f"of {', '.join(SPREAD)}")
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="kinds of problems")
    parser.add_argument("--each", type=int, default=8, help="problems of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    DATA.mkdir(parents=True, exist_ok=True)
    kinds, began = KINDS[: options.kinds], time.monotonic()
    searches, tasks, rejected = pool(options.seed, kinds, options.each)
    searches = [s for s in searches if np.isfinite(s.barrier)]
    about = {
        "commit": commit(), "seed": options.seed, "kinds": [list(k) for k in kinds], "searches": len(searches),
        "tasks": len(tasks), "rejected": rejected,
    }  # fmt: skip
    print(about, f"{np.mean([t.classical for t in tasks]):.0f} gradients of a descent", flush=True)
    found, histories = {}, {}
    for kind, limit in zip(SPREAD, options.minutes, strict=True):
        params, given = start(kind, found.get("numbers")), searches if kind == "search" else tasks
        found[kind], histories[kind] = trained(kind, params, given, limit, options.seed)
        print(kind, histories[kind].message, f"{histories[kind].test_loss[-1]:.3f}", flush=True)
    about["minutes"] = round((time.monotonic() - began) / 60, 1)
    compared(options.seed, kinds, max(2, options.each // 3), about, found, histories)
    return 0


def plain(kind, params):
    """Metaparameters as the numbers they are, in lists."""
    method = made(kind, params)
    if isinstance(method, dict):
        return {name: float(x) for name, x in method.items()}
    numbers = {name: float(getattr(method, name)) for name in ("step", "angle", "floor", "cap", "weight")}
    return numbers | {name: np.asarray(w).tolist() for name, w in method.weights._asdict().items()}


def compared(seed, kinds, each, about, found, histories):
    """Write down what was trained, and what it is worth on descents of so many unseen problems of each kind."""
    result = {
        "about": about | {"generations": {kind: int(h.loss.size) for kind, h in histories.items()}},
        "history": {kind: h.loss.ravel().tolist() for kind, h in histories.items()},
        "trained": {kind: plain(kind, params) for kind, params in found.items()},
    }

    def keep():
        (DATA / "unseen.json").write_text(json.dumps(result, indent=0) + "\n")

    keep()
    _, unseen, _ = pool(UNSEEN + seed, kinds, each)
    result["about"] |= {
        "unseen": len(unseen),
        "loss": {kind: float(np.mean(costs(made(kind, found[kind]), unseen))) for kind in rules.KINDS},
    }
    FILE.write_text(json.dumps({"about": result["about"], **result["trained"]["network"]}, indent=1) + "\n")
    result["rows"] = table(unseen, opponents(found))
    keep()
    print(json.dumps(result["about"]["loss"]))


if __name__ == "__main__":
    sys.exit(main())
