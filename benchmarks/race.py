"""The race: whole searches by ``find_mep`` with one thing changed at a time, on problems that nothing was trained on.

``make race`` runs all of it; ``--methods`` and ``--problems`` a part, whose rows replace those there are. Problems:
films larger than those of the training, a honeycomb lattice, chains, two landscapes and a cluster, with couplings drawn
by a seed that no training uses, all in a random unit of energy, the flat ones also of length. A search counts gradients
of one state, and a product with the Hessian as two. CPU seconds are those of a second call, where nothing is compiled.
"""

import argparse
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.tree_util import Partial  # noqa: E402

import mepmeta as mm  # noqa: E402
from benchmarks import learn, rules  # noqa: E402
from benchmarks.learn import FIXED, Undamped, Weighted, film, handed_over, wire  # noqa: E402
from benchmarks.peers.problems import LEPS, WELLS, leps, muller_brown  # noqa: E402
from benchmarks.peers.records import provenance  # noqa: E402
from mepmeta.search import climb, descent, relaxation, valley  # noqa: E402

FILE = learn.DATA / "race.json"
SEED = 4242
#: Iterations of bands, and of a relaxation, at most.
STEPS = 2000
FILMS = {
    "film 40": ("square", 40), "film 44": ("triangular", 44), "film 52": ("square", 52), "film 60": ("triangular", 60)
}  # fmt: skip
WIRES = {"chain 40": 40, "chain 60": 60}


# Problems


def scaled(energy, unit, length, x):
    return unit * energy(x / length)


def cluster(x):
    """Seven Lennard-Jones atoms in a plane."""
    first, second = np.triu_indices(7, 1)
    r2 = jnp.sum((x[first] - x[second]) ** 2, axis=-1)
    return jnp.sum(4 * (r2**-6 - r2**-3))


def rolled():
    """A hexagon about an atom, and one of its atoms rolled to the outside of two others."""
    angles = np.arange(6) * np.pi / 3
    hexagon = 2 ** (1 / 6) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    start = np.concatenate([[[0.0, 0.0]], hexagon])
    end = start.copy()
    end[1] = hexagon[1] + hexagon[2]
    return start, end


def honeycomb(rng):
    """Two atoms in a cell, with a coupling and an anisotropy; a skyrmion of both."""
    shape, unit = (16, 16, 2), np.exp(rng.uniform(-3, 3))
    D, K = rng.uniform(0.3, 0.36), rng.uniform(0.08, 0.12)
    energy = mm.Heisenberg(shape, mm.nearest_neighbours("honeycomb", unit, unit * D), [(unit * K, (0, 0, 1))])
    centre = (8, 8)
    texture = mm.skyrmion(shape, "honeycomb", center=centre, radius=3.0, width=1.5)
    return energy, texture, mm.ferromagnet(shape)


def drawn(name, rng):
    """Energy, both states, space."""
    if name in FILMS:
        lattice, n = FILMS[name]
        return *film(rng, lattice, (n, n))[:3], mm.Spheres()
    if name in WIRES:
        return *wire(rng, (WIRES[name],))[:3], mm.Spheres()
    if name == "honeycomb":
        return *honeycomb(rng), mm.Spheres()
    unit, length = np.exp(rng.uniform(-3, 3, 2))
    energy, ends = {
        "Müller-Brown": (muller_brown, (WELLS[0], WELLS[2])),
        "LEPS": (leps, ((LEPS["r0"], 3.5), (3.5, LEPS["r0"]))),
        "Lennard-Jones": (cluster, rolled()),
    }[name]
    energy = Partial(scaled, Partial(energy), jnp.asarray(unit), jnp.asarray(length))
    return energy, *(jnp.asarray(np.asarray(x) * length) for x in ends), mm.Flat()


#: An atom that leaves has no minimum far away: the search is between two places on its way.
HOW = {"LEPS": {"relax_endpoints": False}}
NAMES = ("honeycomb", *WIRES, "Müller-Brown", "LEPS", "Lennard-Jones", *FILMS)


def problem(name):
    """The first problem drawn whose ends lead to two minima."""
    rng = np.random.default_rng([SEED, NAMES.index(name)])
    for _ in range(learn.DRAWS):
        energy, start, end, geometry = drawn(name, rng)
        if isinstance(energy, mm.Heisenberg):
            energy = Weighted(energy, np.asarray(1.0))
        ends = [mm.relax(energy, x, geometry=geometry, max_steps=STEPS) for x in (start, end)]
        apart = np.linalg.norm(ends[0].state - ends[1].state)
        if name in HOW or (all(r.converged for r in ends) and apart > learn.APART * np.linalg.norm(start - end)):
            return energy, start, end, geometry
    raise RuntimeError(f"no problem of {name} was found")


# What is changed


@contextmanager
def minimiser(method):
    """Descents by another method; one that is no L-BFGS learns nothing from the descent before."""
    original = descent.descend

    def alone(problem, x, tol, at_most, *, before=None, **how):
        return original(problem, x, tol, at_most, **how)

    try:
        descent.MINIMISER = method
        if not isinstance(method, mm.methods.LBFGS):
            for module in (relaxation, climb, valley):
                module.descend = alone
        yield
    finally:
        descent.MINIMISER = FIXED
        for module in (relaxation, climb, valley):
            module.descend = original


@contextmanager
def changed(module, name, value):
    before = getattr(module, name)
    try:
        setattr(module, name, value)
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def both(*more):
    """Relaxations that end with quasi-Newton steps, a last gap of a valley that may be longer, and more than that."""
    with ExitStack() as stack:
        for context in (changed(relaxation, "LAST", 40), changed(valley, "GAP", 2.2), *more):
            stack.enter_context(context)
        yield


def rule(kind, numbers):
    """The method of numbers in a file."""
    weights = rules.untrained(kind, 0, np.zeros(3))
    weights = type(weights)(*(np.array(numbers[name]) for name in weights._fields))
    own = {name: np.asarray(numbers[name]) for name in ("step", "angle", "floor", "cap", "weight")}
    return rules.KINDS[kind](growth=FIXED.growth, memory=FIXED.memory, weights=weights, **own)


def methods():
    """Name, what is changed as a context, and what the energy becomes."""
    found = json.loads((learn.DATA / "unseen.json").read_text()).get("trained", {})

    def same(energy):
        return energy

    def weighted(weight):
        return lambda energy: energy.of(weight) if isinstance(energy, Weighted) else energy

    def plain(energy):
        return Undamped(energy.energy) if isinstance(energy, Weighted) else energy

    ways = {
        "default": (minimiser(FIXED), same),
        "L-BFGS to the end": (changed(relaxation, "LAST", 40), same),
        "longer last gap": (changed(valley, "GAP", 2.2), same),
        "both": (both(), same),
        "memory of 24": (both(minimiser(replace(FIXED, memory=24))), same),
        "without exchange": (both(), plain),
        "Anderson": (both(minimiser(mm.methods.Anderson())), same),
        "FIRE": (both(minimiser(mm.methods.FIRE())), same),
    }
    if found:
        ways["trained hand-over"] = both(handed_over(found["search"])), weighted(found["search"]["mass"])
    for kind in rules.KINDS:
        if kind in found:
            method = rule(kind, found[kind])
            ways[f"trained {kind}"] = both(minimiser(method)), weighted(method.weight)
    return ways


def search(name, way, energy, start, end, geometry):
    """One row: a search twice, the second one timed."""
    context, become = methods()[way]
    energy = become(energy)
    with context:
        for _ in range(2):
            began = time.process_time()
            r = mm.find_mep(energy, start, end, geometry=geometry, progress=False, max_steps=STEPS, **HOW.get(name, {}))
            seconds = time.process_time() - began
    return {
        "problem": name, "method": way, "gradients": int(r.evaluations), "converged": bool(r.converged),
        "barrier": float(r.barrier), "numbers": int(np.size(start)), "seconds": round(seconds, 3),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", default=None, help="which, by name; default: all")
    parser.add_argument("--problems", nargs="*", default=NAMES, help="which, by name")
    options = parser.parse_args()
    result = json.loads(FILE.read_text()) if FILE.exists() else {"about": {}, "rows": []}
    chosen = list(methods()) if options.methods is None else options.methods
    for name in options.problems:
        drawn = problem(name)
        for way in chosen:
            row = search(name, way, *drawn)
            print(row, flush=True)
            result["rows"] = [r for r in result["rows"] if (r["problem"], r["method"]) != (name, way)] + [row]
            result["about"] = {"seed": SEED, "steps": STEPS, **provenance()}
            FILE.write_text(json.dumps(result, indent=0) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
