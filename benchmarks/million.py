"""The collapse of a skyrmion in films of ten thousand to a million spins, from the path of a small film: what it takes.

Square lattice, J = 1, D = 0.3, easy axis 0.15, periodic, 12 images. The path of 30 x 30 spins is put into the middle of
a larger film whose other spins are up, and ``find_mep(path=...)`` goes on from it; every film is searched in a process
of its own, whose largest memory counts. Sparse factors of all spins, of which a search makes some fifteen, grow faster
than the film: their cost is measured for films of up to 90 000 spins and extrapolated. So in the largest film all
spins may move that are within ``MAY_MOVE`` cells of the skyrmion, and the others are held; whether they feel a force
is then asked of all spins, by gradients alone, and so it is done in a smaller film both ways.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peers import records

DATA = Path(__file__).resolve().parents[1] / "book" / "_data" / "million.csv"
IMAGES, SMALL, MAY_MOVE = 12, 30, 40
#: Cells along a side, and whether the spins far away are held.
FILMS = (100, False), (300, False), (300, True), (1000, True)
#: Of one film, with and without spins held; of two films, each much larger than the skyrmion. Both in units of J.
SAME = 1e-6


def film(side):
    import mepmeta as mm

    return mm.Heisenberg((side, side), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])


def small():
    """The path of the small film."""
    import mepmeta as mm

    shape = (SMALL, SMALL)
    skyrmion = mm.skyrmion(shape, center=(SMALL // 2 - 1,) * 2, radius=3.0, width=2.0)
    how = {"geometry": mm.Spheres(), "n_images": IMAGES, "progress": False}
    return np.asarray(mm.find_mep(film(SMALL), skyrmion, mm.ferromagnet(shape), **how).path)


def embedded(path, side):
    wide = np.zeros((len(path), side, side, 3))
    wide[..., 2] = 1.0
    first = (side - SMALL) // 2
    wide[:, first : first + SMALL, first : first + SMALL] = path
    return wide


def memory():
    """The most that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def part(file, side, held):
    """One search; what it took, as JSON on the last line."""
    import jax
    import scipy as sp

    import mepmeta as mm
    from mepmeta.spectra.factors import factorised

    path, whole, geometry = embedded(np.load(file), side), film(side), mm.Spheres()
    before, energy = memory(), whole
    if held:
        away = np.abs(np.arange(side) - side // 2) > MAY_MOVE
        energy = mm.pinned(whole, path[-1], away[:, None] | away)
    begin, cpu = time.perf_counter(), time.process_time()
    r = mm.find_mep(energy, path[0], path[-1], geometry=geometry, path=path, progress=False)
    found = {"spins": side**2, "free": int((~energy.held).sum()) if held else side**2, "barrier": r.barrier}
    found |= {"converged": r.converged, "evaluations": r.evaluations}
    found |= {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    found |= {"peak": memory(), "before": before, "path": path.nbytes}
    # Of all spins, held or not, in the film without anything held.
    force = jax.jit(lambda x: geometry.project(x, jax.grad(whole)(x)))(r.saddle)
    found["force"] = float(np.max(np.linalg.norm(np.asarray(force), axis=-1)))
    found |= {"factor": np.nan, "entries": np.nan}
    if not held:
        H = mm.hessian(whole, r.saddle, geometry=geometry)
        H, begin = H + sp.sparse.eye_array(H.shape[0], format="csc"), time.process_time()  # away from zero modes
        factors = factorised(H)
        found |= {"factor": time.process_time() - begin, "entries": factors.L.nnz + factors.U.nnz}
    print(r.message, file=sys.stderr)
    print(json.dumps(found, default=float))


def main():
    rows, root = [], Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "path.npy"
        np.save(file, small())
        for side, held in FILMS:
            command = [sys.executable, "-m", "benchmarks.million", str(file), str(side), str(int(held))]
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
            rows.append(json.loads(child.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    written = [row | {"barrier": f"{row['barrier']:.12g}"} for row in rows]  # floats are cut to six digits
    records.write(DATA, written, "benchmarks/million.py, energies in J")
    barriers = [row["barrier"] for row in rows[1:]]
    fine = all(row["converged"] for row in rows) and max(barriers) - min(barriers) < SAME
    print("barriers of the larger films are one to", f"{max(barriers) - min(barriers):.1e} J,", f"allowed {SAME:.0e} J")
    return 0 if fine else 1


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    sys.exit(main() if len(sys.argv) < 2 else part(sys.argv[1], *map(int, sys.argv[2:])))
