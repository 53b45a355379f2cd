"""How much a first call compiles: every program costs its reader a part of a second, so there are few, each shape once.

Each case runs in a process of its own, where nothing is compiled yet.
"""

import subprocess
import sys

COUNT = """
import logging
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_log_compiles", True)
programs = []

class Count(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("Finished XLA compilation"):
            programs.append(record.getMessage())

for name in ("jax._src.dispatch", "jax._src.interpreters.pxla"):
    logging.getLogger(name).addHandler(Count())
    logging.getLogger(name).propagate = False

def count(name, call):
    programs.clear()
    result = call()
    print(name, len(programs))
    return result

import mepmeta as mm
"""

FILM = """
film = mm.Heisenberg((30, 30), mm.nearest_neighbours("square", J=1.0, D=0.3), [(0.15, (0, 0, 1))])
skyrmion = mm.skyrmion((30, 30), center=(14, 14), radius=3.0, width=2.0)
up, where = mm.ferromagnet((30, 30)), dict(geometry=mm.Spheres())
r = count("find_mep", lambda: mm.find_mep(film, skyrmion, up, progress=False, **where))
count("again", lambda: mm.find_mep(film, skyrmion, up, progress=False, **where))
count("relax", lambda: mm.relax(film, skyrmion, **where))
count("find_saddles", lambda: mm.find_saddles(film, r.path[0], modes=1, progress=False, **where))
count("transition_rate", lambda: mm.transition_rate(film, r.path[0], r.saddle, damping=0.3))
"""


def counted(script: str) -> dict[str, int]:
    out = subprocess.run([sys.executable, "-c", COUNT + script], capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in (line.split() for line in out.splitlines())}


def test_a_search_and_what_follows_it_compile_few_programs():
    programs = counted(FILM)
    assert programs["find_mep"] <= 15
    assert programs["again"] == 0
    assert programs["relax"] + programs["find_saddles"] + programs["transition_rate"] <= 5


SPIN = """
import jax.numpy as jnp
line = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), n_images=11)
paths, spin, params = jnp.stack([line, line]), mm.single_spin(), mm.NEBParams(0.1)
count("neb_step", lambda: mm.neb_step(spin, line, params))
count("iterate", lambda: mm.iterate(spin, line, params, 5))
count("iterate_batch", lambda: mm.iterate_batch(spin, paths, params, 5))
count("barrier", lambda: mm.barrier(spin, line))
count("loss", lambda: mm.loss(spin, line, params, reference=0.0))
count("loss_and_gradient", lambda: mm.loss_and_gradient(spin, paths, params, reference=0.0))
count("bent_path", lambda: mm.bent_path(jax.random.key(0), line))
"""


def test_the_calls_of_the_paper_are_one_program_each():
    programs = counted(SPIN)
    assert programs.pop("bent_path") <= 5  # one, and the random key
    assert all(number <= 1 for number in programs.values()), programs
