"""Escape rates of the paper's spin by direct simulation, stored as the data that the page on rates draws.

Wells around +x and -x, barrier 1. A trajectory has escaped when it is in the other well's core: S_x of the other sign
and the energy below the minimum plus 2 kT. Every row is one run of 2048 trajectories, long enough for the wanted
number of escapes; the last rows vary the step and the criterion. Takes about 40 minutes on one core. Rows that are
stored already are kept, so an interrupted run goes on; delete the file to begin anew.
"""

import csv
import datetime
import platform
import sys
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from jax.tree_util import Partial  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mepmeta as mm  # noqa: E402

FILE = Path(__file__).parent.parent / "book" / "_data" / "escape_rates.csv"
COLUMNS = ["criterion", "damping", "barrier_over_kT", "dt", "seed", "escapes", "time"]
SPIN = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
TRAJECTORIES = 2048
DAMPINGS = (0.05, 0.2, 0.5, 2.0)
#: Criterion, damping, barrier over kT, step, escapes wanted.
RUNS = [
    *[("core", 0.5, 4, dt, 20000) for dt in (0.1, 0.05, 0.02, 0.01, 0.005)],
    *[("core", a, x, 0.01, n) for x, n in [(4, 4000), (5, 4000), (6, 4000)] for a in DAMPINGS if (x, a) != (4, 0.5)],
    *[("core", a, 6, 0.005, 2000) for a in (0.05, 0.5, 2.0)],
    *[("crossing", a, 4, dt, 4000) for a in (0.05, 0.5, 2.0) for dt in (0.1, 0.01, 0.001)],
    *[("core", a, x, 0.01, n) for x, n in [(7, 2500), (8, 1100)] for a in DAMPINGS],
]


def core(temperature, S):
    """+1 or -1 in the core of the well around +x or -x, 0 outside: below 2 kT above the minimum."""
    return jnp.where(SPIN(S) < -1 + 2 * temperature, jnp.sign(S[0, 0]).astype(jnp.int32), 0)


def side(temperature, S):
    """+1 or -1 on either side of S_x = 0: to count crossings of the dividing surface instead."""
    return jnp.where(S[0, 0] > 0, 1, -1)


def escapes(seed, criterion, damping, barrier_over_kT, dt, wanted):
    """One run, after 100 units of time in which the well fills."""
    temperature, start = 1 / barrier_over_kT, jnp.array([[[1.0, 0.0, 0.0]]])
    exact = mm.relaxation_rates(SPIN, temperature, damping)[0] / 2
    physics = {"temperature": temperature, "damping": damping, "dt": dt, "progress": False}
    filled = mm.simulate(
        jax.random.key(seed), SPIN, jnp.tile(start, (TRAJECTORIES, 1, 1)), steps=round(100 / dt), **physics
    ).states
    # Those between the wells belong to none yet, and start at a minimum.
    outside = jax.vmap(Partial(core, temperature))(filled) == 0
    filled = jnp.where(outside[:, None, None], start, filled)
    steps = max(1000, round(wanted / exact / dt / TRAJECTORIES))
    where = Partial(core if criterion == "core" else side, temperature)
    return mm.count_escapes(jax.random.key(seed + 1), SPIN, filled, where, steps=steps, **physics)


def main():
    done, versions = set(), f"mepmeta {mm.__version__}, jax {jax.__version__}, Python {platform.python_version()}"
    if FILE.exists():
        with FILE.open() as stream:
            if versions not in stream.readline():
                sys.exit(f"{FILE} was begun with other versions than {versions}: delete it to begin anew")
            rows = csv.DictReader(line for line in stream if not line.startswith("#"))
            done = {(r["criterion"], float(r["damping"]), float(r["barrier_over_kT"]), float(r["dt"])) for r in rows}
    else:
        FILE.write_text(
            f"# benchmarks/escape_rates.py, {datetime.date.today()}, {platform.machine()}, {versions}\n"
            f"# {TRAJECTORIES} trajectories, time in mu/gamma over the unit of energy, K1 = 1, K2 = -2\n"
            + ",".join(COLUMNS)
            + "\n"
        )
    for k, run in enumerate(tqdm(RUNS, desc="runs")):
        if (run[0], float(run[1]), float(run[2]), float(run[3])) in done:
            continue
        result = escapes(2 * k, *run)
        with FILE.open("a") as stream:
            stream.write(",".join(map(str, [*run[:4], 2 * k, result.count, result.time])) + "\n")
        tqdm.write(f"{run}: {result.count} escapes, rate {result.rate:.4e}", file=sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
