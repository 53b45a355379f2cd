"""Forty random skyrmions with one default setting: does ``find_mep`` converge on a checked saddle every time?

Square lattice, 30 x 30 cells, periodic, J = 1. Half with anisotropy, K in [0.1, 0.2] and D = kappa (4/pi) sqrt(J K / 2)
with kappa in [0.85, 0.97]; half with a field instead, D in [0.3, 0.45] and h in [0.9, 1.2] D^2/J. Outside these ranges
isolated skyrmions are rare. Each starts from the same analytic texture.
"""

import sys
import time

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mepmeta as mm  # noqa: E402

SHAPE = (30, 30)
SEEDS = (1, 2)


def constants(rng, anisotropic):
    if anisotropic:
        K = rng.uniform(0.1, 0.2)
        return K, rng.uniform(0.85, 0.97) * 4 / np.pi * np.sqrt(K / 2), 0.0
    D = rng.uniform(0.3, 0.45)
    return 0.0, D, rng.uniform(0.9, 1.2) * D**2


def main():
    print("seed   n      K      D      h     barrier  residual   steps  gradients  seconds  points    verdict")
    failures, bar = 0, tqdm(total=20 * len(SEEDS), desc="skyrmions")
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        for n in range(20):
            K, D, h = constants(rng, n < 10)
            film = mm.Heisenberg(SHAPE, mm.nearest_neighbours("square", 1.0, D), [(K, (0, 0, 1))], (0, 0, h))
            start = mm.skyrmion(SHAPE, center=(14, 14), radius=3.0, width=2.0)
            begin = time.perf_counter()
            r = mm.find_mep(film, start, mm.ferromagnet(SHAPE), geometry=mm.Spheres(), progress=False)
            took = time.perf_counter() - begin
            failures += not r.converged
            row = f"{seed:4d} {n:3d}  {K:5.3f}  {D:5.3f}  {h:5.3f}  {r.barrier:10.6f}  {r.residual:.1e}  {r.steps:6d}"
            row += f"  {r.evaluations:9d}  {took:7.1f}  {'-'.join(str(p.index) for p in r.points):8s}"
            tqdm.write(row + ("  converged" if r.converged else f"  FAIL: {r.message}"), file=sys.stdout)
            bar.update()
    bar.close()
    print(f"{failures} of {20 * len(SEEDS)} failed, target 0")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
