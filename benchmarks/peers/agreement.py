"""Do the codes compute the same energy? Asked of every problem before anything is timed.

Spirit returns energies as float32. Its gradients are double, and an energy that is quadratic and linear in the spins
follows from its gradient, E = -1/2 sum S (B + b), with B the effective field and b the part of it that is constant. So
gradients and energies are compared in double, and the energy that Spirit prints to the digits that it has.
"""

import jax
import jax.numpy as jnp
import numpy as np

import mepmeta as mm
from benchmarks.peers.problems import leps, load, muller_brown, spec

__all__ = ["AGREE", "agree"]

#: Largest difference of an energy per particle or of a component of a gradient, in the unit of the problem.
AGREE = 1e-9
FLOAT32 = 1e-5


def agree(code: str, name: str) -> dict:
    """Largest differences from mepmeta at a random state and at the middle of the initial chain."""
    problem = load(name)
    rng = np.random.default_rng(len(name))
    states = [problem.path[problem.path.shape[0] // 2]]
    if isinstance(problem.geometry, mm.Spheres):
        S = rng.normal(size=states[0].shape)
        states.append(S / np.linalg.norm(S, axis=-1, keepdims=True))
    else:
        states.append(states[0] + 0.1 * rng.normal(size=2))
    found = np.max([(_spirit if code == "spirit" else _ase)(problem, x) for x in states], axis=0) / problem.unit
    fine = bool(found[0] < AGREE and found[1] < AGREE and found[2] < FLOAT32)
    return {"energy": found[0], "gradient": found[1], "printed": found[2], "fine": fine}


def _spirit(problem, x) -> tuple[float, float, float]:
    from benchmarks.peers import spirit_run

    constants = spec(problem.energy)
    field, printed = spirit_run.field_and_energy(constants, x.reshape(*constants["cells"], 3))
    field = field.reshape(x.shape)
    ours, gradient = jax.value_and_grad(problem.energy)(jnp.asarray(x))
    theirs, n = -0.5 * np.sum(x * (field + np.array(constants["field"]))), x.size / 3
    return abs(theirs - float(ours)) / n, np.abs(field + gradient).max(), abs(printed - float(ours)) / n


def _ase(problem, x) -> tuple[float, float, float]:
    from benchmarks.peers import ase_run

    if isinstance(problem.geometry, mm.Spheres):
        (K1, _), (K2, _) = problem.energy.anisotropy
        both, x = ase_run.single_spin(float(K1), float(K2)), np.asarray(mm.spin_to_angles(x[0]))
        energy = lambda a: problem.energy(mm.angles_to_spin(a)[None])  # noqa: E731
    else:
        both, energy = {muller_brown: ase_run.muller_brown, leps: ase_run.leps}[problem.energy], problem.energy
    ours, gradient = jax.value_and_grad(energy)(jnp.asarray(x))
    theirs, force = both(*(float(c) for c in x))
    return abs(theirs - float(ours)), np.abs(np.array(force) + gradient).max(), 0.0
