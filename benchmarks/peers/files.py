"""Does Spirit read what is written for it? Magnets and a band go through files, and energies and states are compared.

Run in the environment of `make bench`: python -m benchmarks.peers.files. Energies are taken in double from Spirit's
gradients, as in `agreement`. Its Bohr magneton has eight digits, so the field here is that of its magneton.
"""

import ctypes
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from spirit import chain, io, simulation, spiritlib, state, system

import mepmeta as mm
from benchmarks.peers.spirit_run import FOREVER, MU_B, SOLVERS
from mepmeta.magnets.couplings import MU_B as JOULE
from mepmeta.magnets.couplings import UNITS

__all__ = ["compare"]

FIELD = (0.3, -1.0, 4.0)


def honeycomb() -> mm.Magnet:
    """Two atoms of unequal moments, couplings of every kind that Spirit has."""
    rng, a = np.random.default_rng(1), 3.2
    cell = [[a, 0, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, 15.0]]
    pairs = [(0, 1, (0, 0, 0)), (0, 1, (-1, 0, 0)), (0, 1, (0, -1, 0)), (0, 0, (1, 0, 0)), (1, 1, (-2, 1, 0))]
    couplings = [mm.Coupling(*pair, rng.normal(), rng.normal(size=3)) for pair in pairs]
    axes = [mm.Anisotropy(0, 0.2, (0, 0, 1)), mm.Anisotropy(1, -0.6, (1, 2, 1))]
    positions = [[0, 0, 0], [a / 2, a / (2 * 3**0.5), 0]]
    return mm.Magnet(cell, positions, [3.0, 1.0], "meV", couplings, axes, FIELD, (6, 7, 1), (True, True, False))


def film() -> mm.Magnet:
    """The film of the examples."""
    energy, *_ = mm.pd_fe_ir111()
    pairs = [mm.Coupling(0, 0, (*b.offset, 0), float(b.J), b.D) for b in energy.bonds]
    axes = [mm.Anisotropy(0, float(K), tuple(np.asarray(a))) for K, a in energy.anisotropy]
    cell = [[2.7, 0, 0], [1.35, 2.7 * 0.75**0.5, 0], [0, 0, 10.0]]
    return mm.Magnet(cell, [[0, 0, 0]], [3.0], "mRy", pairs, axes, FIELD, (40, 40, 1), (True, True, False))


def compare(magnet: mm.Magnet) -> dict:
    """Largest difference of an energy over its size, of a gradient over its largest, and of the states read."""
    energy = magnet.in_unit("meV").energy(field=np.array(magnet.field) * MU_B * UNITS["meV"] / JOULE)
    rng = np.random.default_rng(2)
    S = rng.normal(size=(4, *energy.shape, 3))
    S /= np.linalg.norm(S, axis=-1, keepdims=True)
    library = spiritlib.load_spirit_library()
    with tempfile.TemporaryDirectory() as folder:
        config, band = Path(folder) / "input.cfg", Path(folder) / "band.ovf"
        mm.write_spirit(magnet, config)
        quiet = "log_to_console 0\nlog_to_file 0\nllg_output_any 0\ngneb_output_any 0\ngneb_n_iterations_amortize 1\n"
        config.write_text(quiet + config.read_text())
        mm.save(band, S, band=True)
        p = state.setup(str(config), quiet=True)
        chain.image_to_clipboard(p)
        chain.set_length(p, len(S))
        io.chain_read(p, str(band))
        read = np.stack([system.get_spin_directions(p, idx_image=n) for n in range(len(S))])
        chain.update_data(p)
        info = simulation.simulation_run_info()
        library.Simulation_GNEB_Start(  # its ends stay where they are
            ctypes.c_void_p(p), SOLVERS["VP"], 1, FOREVER, False, ctypes.byref(info), -1
        )
        fields = {n: system.get_effective_field(p, idx_image=n).copy() for n in (0, len(S) - 1)}
        state.delete(p)
    atoms = S.shape[4:-1]
    ours = S.transpose(0, 3, 2, 1, *range(4, S.ndim)).reshape(len(S), -1, 3)
    found = {"energy": 0.0, "gradient": 0.0, "states": float(np.abs(read - ours).max())}
    for n, field in fields.items():
        value, gradient = jax.value_and_grad(energy)(jnp.asarray(S[n]))
        b = np.broadcast_to(np.asarray(energy.field), S[n].shape)
        flat = lambda x: np.asarray(x).transpose(2, 1, 0, *range(3, x.ndim)).reshape(-1, 3)  # noqa: E731
        theirs = -0.5 * np.sum(flat(S[n]) * (field + flat(b)))
        found["energy"] = max(found["energy"], abs(theirs / float(value) - 1))
        found["gradient"] = max(found["gradient"], np.abs(field + flat(gradient)).max() / np.abs(field).max())
    return found | {"spins": ours.shape[1], "atoms": int(np.prod(atoms))}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for magnet in (honeycomb(), film()):
        print(compare(magnet))
