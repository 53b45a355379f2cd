"""Spirit's geodesic nudged elastic band on a given chain. Imports Spirit and NumPy only.

What keeps the comparison fair: the constants go in by a configuration file, in double precision, because the calls of
the Python interface round them to float32; nothing is written to disk and nothing logged; the library is called
directly, because the Python interface wraps each call in a thread that it polls ten times a second; and bookkeeping
between iterations (the interpolated profile) is done once a call, which Spirit offers under the name "amortize".
"""

import ctypes
import tempfile
import time
from pathlib import Path

import numpy as np
from spirit import chain, parameters, simulation, spiritlib, state, system

__all__ = ["FOREVER", "FORCES", "SOLVERS", "Band", "field_and_energy"]

SOLVERS = {
    "VP": simulation.SOLVER_VP,
    "VP_OSO": simulation.SOLVER_VP_OSO,
    "LBFGS_OSO": simulation.SOLVER_LBFGS_OSO,
    "LBFGS_Atlas": simulation.SOLVER_LBFGS_Atlas,
    "SIB": simulation.SOLVER_SIB,
    "Depondt": simulation.SOLVER_DEPONDT,
    "Heun": simulation.SOLVER_HEUN,
}
#: Forces that one iteration of a solver computes on every image.
FORCES = {"VP": 1, "VP_OSO": 1, "LBFGS_OSO": 1, "LBFGS_Atlas": 1, "SIB": 2, "Depondt": 2, "Heun": 2}

#: Bohr magneton, meV/T, as Spirit has it.
MU_B = 0.057883817555

_LIBRARY = spiritlib.load_spirit_library()
FOREVER = 2**30


def config(spec: dict, dt: float, spring: float, amortize: int, interpolations: int) -> str:
    """Spirit's input file for the energy ``spec`` (see ``problems.spec``), energies in meV."""
    cells = " ".join(str(n) for n in spec["cells"])
    wrap = " ".join(str(int(p)) for p in spec["periodic"])
    field = np.array(spec["field"])
    h = float(np.linalg.norm(field))
    normal = field / h if h else np.array([0, 0, 1.0])
    lines = [
        "log_to_console 0",
        "log_to_file 0",
        "bravais_lattice sc",
        f"n_basis_cells {cells}",
        "mu_s 1.0",
        "hamiltonian heisenberg_pairs",
        f"boundary_conditions {wrap}",
        f"external_field_magnitude {h / MU_B!r}",
        "external_field_normal " + " ".join(repr(float(x)) for x in normal),
        "ddi_method none",
        f"llg_dt {dt!r}",
        f"gneb_spring_constant {spring!r}",
        f"gneb_n_energy_interpolations {interpolations}",
        f"gneb_n_iterations {FOREVER}",
        f"gneb_n_iterations_log {FOREVER}",
        f"gneb_n_iterations_amortize {amortize}",
        "gneb_force_convergence 0",
        "gneb_output_any 0",
        "llg_output_any 0",
        f"n_anisotropy {len(spec['anisotropy'])}",
        "i K Kx Ky Kz",
        *(f"0 {K!r} {x!r} {y!r} {z!r}" for K, x, y, z in spec["anisotropy"]),
        f"n_interaction_pairs {len(spec['pairs'])}",
        "i j da db dc Jij Dijx Dijy Dijz",
        *("0 0 {:d} {:d} {:d} {!r} {!r} {!r} {!r}".format(*pair) for pair in spec["pairs"]),
    ]
    return "\n".join(lines) + "\n"


class Band:
    """A chain in Spirit: set up, iterated, read.

    Args:
        spec: the energy, see ``problems.spec``.
        path: images, shape ``(P, *cells, 3)``.
        solver: one of ``SOLVERS``.
        dt: time step, ps in Spirit's units.
        spring: spring constant, meV/rad².
        amortize: iterations in one call between two rounds of bookkeeping.
        interpolations: points between images at which the profile is interpolated in the bookkeeping.
    """

    def __init__(
        self,
        spec: dict,
        path: np.ndarray,
        solver: str,
        dt: float,
        spring: float,
        amortize: int = 1,
        interpolations: int = 1,
    ):
        self.shape, self.solver = path.shape, solver
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "input.cfg"
            file.write_text(config(spec, dt, spring, amortize, interpolations))
            self.state = state.setup(str(file), quiet=True)
        chain.image_to_clipboard(self.state)
        chain.set_length(self.state, path.shape[0])
        for n, image in enumerate(path):
            system.get_spin_directions(self.state, idx_image=n)[:] = flat(image)
        chain.update_data(self.state)
        self.stepping = False

    def close(self) -> None:
        if self.stepping:
            self._stop()
        state.delete(self.state)

    def path(self) -> np.ndarray:
        images = [system.get_spin_directions(self.state, idx_image=n) for n in range(self.shape[0])]
        return np.stack([unflat(x, self.shape[1:]) for x in images])

    def climb(self, image: int) -> None:
        """Let one image climb; a run in steps goes on with a solver that starts anew."""
        stepping = self.stepping
        if stepping:
            self._stop()
        for n in range(self.shape[0]):
            kind = parameters.gneb.IMAGE_CLIMBING if n == image else parameters.gneb.IMAGE_NORMAL
            parameters.gneb.set_climbing_falling(self.state, kind, idx_image=n)
        if stepping:
            self._start()

    def run(self, iterations: int) -> tuple[float, float]:
        """A run from a fresh solver in one call: CPU and wall time, seconds."""
        begin = time.process_time(), time.perf_counter()
        info = simulation.simulation_run_info()
        _LIBRARY.Simulation_GNEB_Start(
            ctypes.c_void_p(self.state), SOLVERS[self.solver], iterations, FOREVER, False, ctypes.byref(info), -1
        )
        return time.process_time() - begin[0], time.perf_counter() - begin[1]

    def advance(self, iterations: int) -> None:
        """A run in steps, which keeps velocities and memories from one to the next."""
        if not self.stepping:
            self._start()
        _LIBRARY.Simulation_N_Shot(ctypes.c_void_p(self.state), iterations, -1, -1)

    def _start(self) -> None:
        self.stepping = True
        self._info = simulation.simulation_run_info()
        _LIBRARY.Simulation_GNEB_Start(
            ctypes.c_void_p(self.state), SOLVERS[self.solver], FOREVER, FOREVER, True, ctypes.byref(self._info), -1
        )

    def _stop(self) -> None:
        self.stepping = False
        simulation.stop(self.state)


def flat(image: np.ndarray) -> np.ndarray:
    """Spins in the order of Spirit, the first index fastest."""
    axes = tuple(reversed(range(image.ndim - 1)))
    return image.transpose(*axes, image.ndim - 1).reshape(-1, 3)


def unflat(spins: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``flat``, for states of ``shape``."""
    cells = tuple(reversed(shape[:-1]))
    axes = tuple(reversed(range(len(cells))))
    return spins.reshape(*cells, 3).transpose(*axes, len(cells)).copy()


def field_and_energy(spec: dict, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Spirit's effective field -dE/dS (double) and its energy (float32, as its interface gives it) of one state.

    The field is what the band computes at its first image, which stays where it is.
    """
    band = Band(spec, np.stack([image, np.roll(image, 1, axis=-1), -image]), "VP", 1e-12, 1.0)
    band.run(1)
    field = system.get_effective_field(band.state, idx_image=0).copy()
    energy = system.get_energy(band.state, idx_image=0)
    band.close()
    return unflat(field, image.shape), energy
