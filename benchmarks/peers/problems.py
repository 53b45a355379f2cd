"""The problems: what every code is given. Four sets, each split into a development and a test half by a fixed rule.

(a) "spin": the paper's spin with 8 to 14 images, from bent paths.
(b) "skyrmion": the collapse of 30 skyrmions over lattice, size, anisotropy, interaction and field.
(c) "wire": domain walls in wires, their nucleation at an end and the reversal of their sense of rotation.
(d) "landscape": the surfaces of Müller and Brown and of London, Eyring, Polanyi and Sato, from slightly bent lines.

Problems with an even index are for development: settings are chosen on them. Those with an odd index are the test.
Energies are in units of the exchange J (b, c), of K1 (a), as published (d); states of (a) to (c) are spins.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mepmeta as mm

__all__ = ["HALVES", "SETS", "Problem", "half", "leps", "load", "muller_brown", "problems", "spec"]

SETS = ("spin", "skyrmion", "wire", "landscape")
HALVES = ("development", "test")
SEED = 2026


class Problem(NamedTuple):
    """One problem.

    Args:
        name: set and index, ``skyrmion-07``.
        energy: callable, state to scalar; a ``Heisenberg`` for spins.
        path: the initial chain, shape ``(P, *shape)``, double precision; its ends are minima (held fixed).
        geometry: ``Spheres()`` for spins, ``Flat()`` otherwise.
        unit: energy to which tolerances refer.
        about: the constants, in words.
    """

    name: str
    energy: Callable
    path: np.ndarray
    geometry: mm.Flat | mm.Spheres
    unit: float
    about: str


def half(index: int) -> str:
    """The rule of the split."""
    return HALVES[index % 2]


COUNTS = {"spin": 28, "skyrmion": 30, "wire": 12, "landscape": 12}


def problems(name: str, part: str | None = None) -> list[str]:
    """Names of the problems of a set, or of one half of it."""
    return [f"{name}-{i:02d}" for i in range(COUNTS[name]) if part in (None, half(i))]


@cache
def load(name: str) -> Problem:
    """Build a problem; its ends are relaxed here, to a force of 1e-8, so that every code gets the same minima."""
    family, index = name.rsplit("-", 1)
    return {"spin": spin, "skyrmion": skyrmion, "wire": wire, "landscape": landscape}[family](name, int(index))


def spin(name: str, index: int) -> Problem:
    """The paper's spin, K1 = 1 and K2 = -2, as a lattice of one cell. 7 numbers of images, 4 bent paths each."""
    images = 8 + index // 4
    straight = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), images)
    angles = mm.bent_path(jax.random.key(SEED + index), straight)
    energy = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))], periodic=False)
    path = np.asarray(mm.angles_to_spin(angles))[:, None, :]
    return Problem(name, energy, path, mm.Spheres(), 1.0, f"{images} images, bent path {index % 4}")


#: Lattice and cells along each axis. Five kinds and two halves: every kind is in both.
FILMS = (("square", 20), ("square", 30), ("triangular", 24), ("square", 40), ("triangular", 32))
IMAGES = 12


def skyrmion(name: str, index: int) -> Problem:
    r"""Collapse of a skyrmion: with anisotropy, with a field, or with both.

    In the continuum a film with anisotropy is ferromagnetic for :math:`\kappa = \pi D/\sqrt{8 J K} < 1`, one with a
    field for :math:`h > 0.8\,D^2/J`. The triangular lattice has one and a half times the bonds, so J and D count 1.5.
    """
    rng = np.random.default_rng([SEED, index])
    lattice, n = FILMS[index % 5]
    stiffness = 1.5 if lattice == "triangular" else 1.0
    kind = index // 2 % 3
    if kind == 0:  # anisotropy alone
        K, h = rng.uniform(0.1, 0.2), 0.0
        D = rng.uniform(0.85, 0.95) * 4 / np.pi * np.sqrt(K / 2 / stiffness)
    elif kind == 1:  # field alone
        K, D = 0.0, rng.uniform(0.3, 0.4) / np.sqrt(stiffness)
        h = rng.uniform(0.9, 1.15) * stiffness * D**2
    else:  # both
        K = rng.uniform(0.05, 0.1)
        D = rng.uniform(0.3, 0.36) / np.sqrt(stiffness)
        h = rng.uniform(0.35, 0.55) * stiffness * D**2
    shape = (n, n)
    energy = mm.Heisenberg(shape, mm.nearest_neighbours(lattice, 1.0, D), [(K, (0, 0, 1))], (0, 0, h))
    texture = mm.skyrmion(shape, lattice, center=(n // 2, n // 2), radius=3.0, width=2.0)
    path = _between(energy, texture, mm.ferromagnet(shape))
    return Problem(name, energy, path, mm.Spheres(), 1.0, f"{lattice} {n}x{n}, D={D:.4f} K={K:.4f} h={h:.4f}")


def wire(name: str, index: int) -> Problem:
    """A chain with open ends and an easy axis z; walls narrow enough to be pinned by the lattice.

    Nucleation: a domain grows from one end, in a field that favours it. Reversal: a wall pinned in the middle changes
    the sense in which it turns, over the hard axis y.
    """
    rng = np.random.default_rng([SEED, 100, index])
    bonds = mm.nearest_neighbours("chain", 1.0)
    if index // 4 % 2 == 0:
        cells, images, K = (16, 24)[index // 2 % 2], 16, rng.uniform(0.1, 0.25)
        h, width = rng.uniform(0.2, 0.5) * K, np.sqrt(1 / (2 * K))
        energy = mm.Heisenberg((cells,), bonds, [(K, (0, 0, 1))], (0, 0, -h), periodic=False)
        # The wall comes in at the left end and leaves at the right one.
        centers = np.linspace(-width, cells - 1 + width, images - 2)
        walls = [mm.domain_wall((cells,), center=c, width=width, domains=(0, 0, -1)) for c in centers]
        ends = [_relaxed(energy, mm.ferromagnet((cells,), (0, 0, z))) for z in (1, -1)]
        path = np.stack([ends[0], *walls, ends[1]])
        return Problem(name, energy, path, mm.Spheres(), 1.0, f"nucleation, {cells} cells, K={K:.4f} h={h:.4f}")
    cells, K = (40, 60)[index // 2 % 2], rng.uniform(0.4, 0.8)
    width = np.sqrt(1 / (2 * K))
    hard, images = rng.uniform(0.05, 0.3), 10
    energy = mm.Heisenberg((cells,), bonds, [(K, (0, 0, 1)), (-hard, (0, 1, 0))], periodic=False)
    middle = (cells - 1) / 2
    angles = np.linspace(0, np.pi, images)
    walls = [mm.domain_wall((cells,), center=middle, width=width, plane=(np.cos(a), np.sin(a), 0.0)) for a in angles]
    ends = [_relaxed(energy, w) for w in (walls[0], walls[-1])]
    path = np.stack([ends[0], *walls[1:-1], ends[1]])
    return Problem(name, energy, path, mm.Spheres(), 1.0, f"reversal, {cells} cells, K={K:.4f} hard={hard:.4f}")


def _relaxed(energy: Callable, x: np.ndarray) -> np.ndarray:
    r = mm.relax(energy, x, geometry=mm.Spheres(), tol=1e-8)
    if not r.converged:
        raise RuntimeError(f"an end of a problem is no minimum: {r.message}")
    return np.asarray(r.state)


def _between(energy: Callable, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    ends = [jnp.asarray(_relaxed(energy, x)) for x in (start, end)]
    return np.asarray(mm.straight_path(*ends, IMAGES, geometry=mm.Spheres()))


#: Constants of Müller and Brown, and of the atoms A, B, C on a line.
MB = np.array([(-200, -1, 0, -10, 1, 0), (-100, -1, 0, -10, 0, 0.5), (-170, -6.5, 11, -6.5, -0.5, 1.5),
               (15, 0.7, 0.6, 0.7, -1, 1)])  # fmt: skip
LEPS = {"d": (4.746, 4.746, 3.445), "s": (0.05, 0.30, 0.05), "alpha": 1.942, "r0": 0.742}


def muller_brown(r):
    A, a, b, c, x0, y0 = MB.T
    x, y = r[0] - x0, r[1] - y0
    return jnp.sum(A * jnp.exp(a * x**2 + b * x * y + c * y**2))


def leps(r):
    d, s = (jnp.asarray(LEPS[k]) for k in "ds")
    m = jnp.exp(-LEPS["alpha"] * (jnp.array([r[0], r[1], r[0] + r[1]]) - LEPS["r0"]))
    Q, J = d / (2 * (1 + s)) * (1.5 * m**2 - m), d / (4 * (1 + s)) * (m**2 - 6 * m)
    return jnp.sum(Q) - jnp.sqrt(jnp.sum(J**2) - J[0] * J[1] - J[1] * J[2] - J[0] * J[2])


#: Minima of Müller and Brown: reactant, intermediate, product.
WELLS = ((-0.558223635, 1.441725842), (-0.050010823, 0.466694105), (0.623499405, 0.028037759))


def landscape(name: str, index: int) -> Problem:
    """Slightly bent lines with 8 to 13 images: from well to well, or an atom that changes its partner."""
    images = 8 + index // 2
    if index % 4 < 2:
        start, end = (WELLS[0], WELLS[2]) if index % 8 < 4 else (WELLS[0], WELLS[1])
        energy, unit, what = muller_brown, 100.0, "Müller-Brown"
    else:
        energy, unit, what, r0 = leps, 1.0, "LEPS", LEPS["r0"]
        start, end = (r0, 3.5), (3.5, r0)
    straight = mm.straight_path(jnp.array(start), jnp.array(end), images)
    path = np.asarray(mm.bent_path(jax.random.key(SEED + index), straight, 0.05))
    return Problem(name, energy, path, mm.Flat(), unit, f"{what}, {images} images")


def spec(energy: mm.Heisenberg) -> dict:
    """A ``Heisenberg`` as plain numbers: cells, periodic, pairs (offset, J, D), anisotropy (K, axis), field."""
    deep = lambda x: tuple(int(i) for i in x) + (0,) * (3 - len(x))  # noqa: E731
    pairs = []
    for bond in energy.bonds:
        D = (0.0, 0.0, 0.0) if bond.D is None else tuple(float(d) for d in bond.D)
        pairs.append((*deep(bond.offset), float(bond.J), *D))
    return {
        "cells": [*energy.shape, *(1,) * (3 - len(energy.shape))],
        "periodic": [*energy.periodic, *(False,) * (3 - len(energy.shape))],
        "pairs": pairs,
        "anisotropy": [(float(K), *(float(a) for a in axis)) for K, axis in energy.anisotropy],
        "field": [float(b) for b in energy.field],
    }
