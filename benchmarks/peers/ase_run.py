"""ASE's nudged elastic band on a given chain of one particle in the plane. Imports ASE and NumPy only.

What keeps the comparison fair: a lean calculator that answers at once, where ASE's base class compares all atoms with
those of the last call first; and steps taken directly, one band force each, where the loop of an ASE optimiser
computes that force three times an iteration, for the step, the log and the test of convergence.
"""

import time
from math import cos, exp, sin, sqrt

import numpy as np
from ase import Atoms
from ase.mep.neb import NEB
from ase.optimize import BFGS, FIRE, LBFGS, MDMin

__all__ = ["Band", "OPTIMISERS", "leps", "muller_brown", "single_spin"]

OPTIMISERS = {"MDMin": MDMin, "FIRE": FIRE, "LBFGS": LBFGS, "BFGS": BFGS}


def single_spin(K1: float, K2: float):
    """Energy and force of the paper's spin in the angles (theta, phi), in the arithmetic of plain floats."""

    def both(theta: float, phi: float) -> tuple[float, tuple[float, float]]:
        ct, st, cp, sp = cos(theta), sin(theta), cos(phi), sin(phi)
        energy = -K1 * ct * ct * cp * cp - K2 * st * st
        return energy, (-2 * ct * st * (K1 * cp * cp - K2), -2 * K1 * ct * ct * cp * sp)

    return both


_MB = ((-200, -1, 0, -10, 1, 0), (-100, -1, 0, -10, 0, 0.5), (-170, -6.5, 11, -6.5, -0.5, 1.5),
       (15, 0.7, 0.6, 0.7, -1, 1))  # fmt: skip


def muller_brown(x: float, y: float) -> tuple[float, tuple[float, float]]:
    energy = fx = fy = 0.0
    for A, a, b, c, x0, y0 in _MB:
        u, v = x - x0, y - y0
        e = A * exp(a * u * u + b * u * v + c * v * v)
        energy, fx, fy = energy + e, fx - e * (2 * a * u + b * v), fy - e * (b * u + 2 * c * v)
    return energy, (fx, fy)


def leps(x: float, y: float) -> tuple[float, tuple[float, float]]:
    """Three pairs of atoms: the first at distance x, the second at y, the third at x + y."""
    alpha, r0 = 1.942, 0.742
    energy, J, slopes, turns = 0.0, [], [], []
    for r, d, s in ((x, 4.746, 0.05), (y, 4.746, 0.30), (x + y, 3.445, 0.05)):
        m = exp(-alpha * (r - r0))
        energy += d / (2 * (1 + s)) * (1.5 * m * m - m)
        J.append(d / (4 * (1 + s)) * (m * m - 6 * m))
        slopes.append(-alpha * d / (2 * (1 + s)) * (3 * m * m - m))
        turns.append(-alpha * d / (4 * (1 + s)) * (2 * m * m - 6 * m))
    a, b, c = J
    root = sqrt(a * a + b * b + c * c - a * b - b * c - a * c)
    parts = [(2 * a - b - c) / (2 * root), (2 * b - a - c) / (2 * root), (2 * c - b - a) / (2 * root)]
    by = [s - p * t for s, p, t in zip(slopes, parts, turns, strict=True)]  # dE/dr of each pair
    return energy - root, (-by[0] - by[2], -by[1] - by[2])


class Lean:
    """A calculator without bookkeeping; ``both(x, y)`` gives energy and force."""

    def __init__(self, both):
        self.both, self.calls = both, 0
        self.last, self.answer = None, None

    def _at(self, atoms) -> tuple[float, np.ndarray]:
        x, y, _ = atoms.arrays["positions"][0]
        if (x, y) != self.last:
            energy, force = self.both(x, y)
            self.last, self.answer = (x, y), (energy, np.array([[*force, 0.0]]))
            self.calls += 1
        return self.answer

    def get_potential_energy(self, atoms=None, force_consistent=False) -> float:
        return self._at(atoms)[0]

    def get_forces(self, atoms=None) -> np.ndarray:
        return self._at(atoms)[1]


class Band:
    """A chain in ASE: set up, iterated, read.

    Args:
        both: energy and force at (x, y).
        path: images, shape ``(P, 2)``.
        optimiser: one of ``OPTIMISERS``; ``options`` are its own.
        method: tangent and springs, "improvedtangent" or "aseneb".
        spring: spring constant, energy over squared coordinate.
    """

    def __init__(self, both, path: np.ndarray, optimiser: str, method: str, spring: float, **options):
        self.images = [Atoms("H", positions=[[*x, 0.0]]) for x in path]
        for image in self.images:
            image.calc = Lean(both)
        self.neb = NEB(self.images, k=spring, method=method, allow_shared_calculator=True)
        self.make = lambda: OPTIMISERS[optimiser](self.neb, logfile=None, trajectory=None, **options)
        self.optimiser = self.make()

    def path(self) -> np.ndarray:
        return np.array([image.positions[0, :2] for image in self.images])

    def close(self) -> None:
        """Nothing to give back."""

    def climb(self, image: int) -> None:
        """Let the highest image climb (ASE looks for it itself), with an optimiser that starts anew."""
        self.neb.climb = True
        self.optimiser = self.make()

    def run(self, iterations: int) -> tuple[float, float]:
        """Iterations in a row: CPU and wall time, seconds."""
        begin = time.process_time(), time.perf_counter()
        for _ in range(iterations):
            self.optimiser.step()
        return time.process_time() - begin[0], time.perf_counter() - begin[1]

    advance = run
