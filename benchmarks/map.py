"""A map of 400 skyrmions over field and anisotropy in one call, killed twice, beside searches one by one.

Square lattice, 20 x 20 cells, periodic, J = 1, D = 0.35. Before and after each part of the map, problems of a sample
are searched one by one, each in a second call, where everything is compiled. Times of the map are those of its parts,
without start-up, and with what a kill has lost. Targets: 5 times the throughput, all converged or named, and barriers
as one by one.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402

import mepmeta as mm  # noqa: E402

SHAPE = (20, 20)
SIDE = int(os.environ.get("SIDE", 20))
ANISOTROPIES, FIELDS = np.linspace(0.02, 0.09, SIDE), np.linspace(0.04, 0.11, SIDE)
TARGET = 5.0
#: Parts of the map after which it is killed.
KILLS = 0.25, 0.6
#: Problems of the sample between two parts.
SAMPLE = 8
HOW = {"geometry": mm.Spheres(), "progress": False}


def film(K, h):
    return mm.Heisenberg(SHAPE, mm.nearest_neighbours("square", 1.0, 0.35), [(K, (0, 0, 1))], (0, 0, h))


ENERGIES = [film(K, h) for K in ANISOTROPIES for h in FIELDS]
STATES = mm.skyrmion(SHAPE, center=(9, 9), radius=3.0, width=2.0), mm.ferromagnet(SHAPE)


def part(file):
    """The map from where it is, in a process of its own; what it takes to compile comes first."""
    mm.find_meps(ENERGIES[:2], *STATES, workers=1, **HOW)
    print("begin", flush=True)
    found = mm.find_meps(ENERGIES, *STATES, checkpoint=file, **HOW)
    print("end", sum("neighbour" in r.message for r in found), flush=True)


def held(file):
    """About how many results the file holds."""
    return file.stat().st_size / RECORD if file.exists() else 0.0


#: Bytes of one result of 14 images.
RECORD = 14 * 400 * 3 * 8 * 1.33


def one_by_one(numbers):
    """Seconds of each, and the barriers."""
    times = {}
    for k in numbers:
        begin = time.perf_counter()
        r = mm.find_mep(ENERGIES[k], *STATES, **HOW)
        times[k] = time.perf_counter() - begin, r.barrier
    return times


def main():
    mm.find_mep(ENERGIES[0], *STATES, **HOW)  # the first call compiles
    draw = np.random.default_rng(0).permutation(len(ENERGIES))[: SAMPLE * (len(KILLS) + 2)].reshape(-1, SAMPLE)
    single, seconds = one_by_one(draw[0]), 0.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map"
        for n, stop in enumerate((*KILLS, np.inf), 1):
            child = subprocess.Popen([sys.executable, __file__, str(file)], stdout=subprocess.PIPE, text=True)
            assert child.stdout.readline() == "begin\n"
            begin = time.perf_counter()
            while child.poll() is None and held(file) < stop * len(ENERGIES):
                time.sleep(0.05)
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
            seconds += time.perf_counter() - begin
            last = child.communicate()[0].split()
            print(f"part {n}: about {held(file):.0f} results kept, {'ended' if last else 'killed'}", flush=True)
            single |= one_by_one(draw[n])
        found = mm.find_meps(ENERGIES, *STATES, checkpoint=file, **HOW)  # all are in the file
    each, cold = seconds / len(ENERGIES), np.mean([t for t, _ in single.values()])
    off = max(abs(found[k].barrier - barrier) for k, (_, barrier) in single.items())
    failed = [k for k, r in enumerate(found) if not r.converged]
    print(f"{len(found)} problems in {seconds:.1f} s, {1000 * each:.0f} ms each; one by one {1000 * cold:.0f} ms")
    print(f"{last[1]} of them began with the path of a neighbour; {len(failed)} did not converge")
    for k in failed:
        print(f"  problem {k}: {found[k].message}")
    print(f"barriers of {len(single)} problems one by one: the largest difference is {off:.1e} J")
    print(f"throughput: {cold / each:.2f} times that of one by one, target {TARGET:g}")
    return 0 if cold / each >= TARGET and off < 1e-8 else 1


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) < 2 else part(sys.argv[1]))
