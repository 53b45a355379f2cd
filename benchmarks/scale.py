"""Training and one band over 1, 2, 4 and 8 simulated devices, and over two processes that talk through loopback.

JAX reads the number of devices when it starts, so every case is a process of its own, or two. Each is checked against
one device. Weak scaling: every device has as many paths whatever their number, and its work is what the compiler counts
in the program that it runs (floating-point operations, a body of a loop once), work on one device over work on one of
many. Simulated devices share the cores of this machine, so the wall time says what these allow and no more.

Of a band no image may be gathered in the loop: what is exchanged there is neighbours, and numbers of images.
"""

import itertools
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers import records

DATA = Path(__file__).resolve().parents[1] / "book" / "_data" / "scale"
DEVICES, TARGET = (1, 2, 4, 8), 0.9
#: Paths of a batch, and of those held out, on every device.
PATHS, HELD_OUT = 50, 200
IMAGES, CELLS, STEPS = 16, 32, 30
#: Roundings add up, and training amplifies them; a wrong sum over devices would be off in the first digit.
CLOSE = {"loss": 1e-6, "evolution": 1e-9, "iterate": 1e-10, "L-BFGS": 1e-8}


def environment(devices):
    """That of a process with so many simulated devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def gathered(program):
    """The most numbers that one operation of a compiled loop gathers from all devices."""
    loops = program.split("\nENTRY")[0]
    results = re.findall(r"= (.*?) all-gather(?:-start)?\(", loops)
    shapes = [shape for result in results for shape in re.findall(r"\[([\d,]*)\]", result)]
    return max((math.prod(int(n) for n in shape.split(",") if n) for shape in shapes), default=0)


def meet(met=itertools.count()):  # noqa: B008
    """Processes wait for each other: gloo gives up on one that still compiles after half a minute."""
    from jax._src.distributed import global_state

    if global_state.client is not None:
        global_state.client.wait_at_barrier(f"met {next(met)}", 600_000)


def training(devices, sharding):
    """One epoch of a training: its losses, and the operations of a device; of an evolution the best it found."""
    import jax
    import jax.numpy as jnp

    import mepmeta as mm
    from mepmeta import training
    from mepmeta._compiled import OPTIONS

    training.TEST_PATHS, calls, epoch = HELD_OUT * devices, [], training._epoch_jit
    line = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 14)
    how = {"batch": PATHS * devices, "epochs": 2, "progress": False, "reference": 0.0, "iterations": 5}

    def run(sharding):
        calls.clear()
        return mm.train(
            jax.random.key(0), mm.single_spin(), lambda key: mm.perturbed_path(key, line), mm.NEBParams(0.05),
            sharding=sharding, **how,
        )  # fmt: skip

    def recorded(*arguments):
        """The epoch, compiled for a short wait and once."""
        program = calls[0][0] if calls else epoch.lower(*arguments).compile(OPTIONS)
        meet()
        begin = time.perf_counter()
        found = jax.block_until_ready(program(*arguments[:7]))
        calls.append((program, time.perf_counter() - begin))
        return found

    training._epoch_jit = recorded
    _, history = run(sharding)
    program, seconds = calls[-1]
    found = {"flops": program.cost_analysis()["flops"], "seconds": seconds}
    found["loss"] = [*history.loss.ravel(), *history.test_loss]
    if sharding is None or sharding.is_fully_addressable:
        _, alone = run(None)
        found |= {"seconds alone": calls[-1][1], "loss alone": [*alone.loss.ravel(), *alone.test_loss]}
    return found


def evolution(sharding):
    """CMA of the first step of L-BFGS, on wells of their own."""
    import jax
    import jax.numpy as jnp
    from jax.tree_util import Partial

    import mepmeta as mm
    from mepmeta.learning import Evolution

    line = mm.straight_path(jnp.array([-1.5, 0.1]), jnp.array([1.5, 0.1]), 8)

    def sample(key):
        return Partial(lambda c, x: c * (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 1 + jax.random.uniform(key)), line

    _, history = mm.train(
        jax.random.key(0), None, sample, jnp.log(0.01), method=lambda p: mm.methods.LBFGS(step=jnp.exp(p)), batch=8,
        epochs=2, iterations=3, rule=Evolution(), progress=False, sharding=sharding,
    )  # fmt: skip
    return [*history.loss.ravel(), *history.test_loss]


def bands(mesh, *methods):
    """One path, its images over the devices and its cells: where methods take it, and what their loops gather."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from jax.sharding import NamedSharding, PartitionSpec

    import mepmeta as mm
    from mepmeta._compiled import OPTIONS
    from mepmeta._trace import traced
    from mepmeta.methods.loop import begin
    from mepmeta.problem import Problem
    from mepmeta.search import band

    shape, geometry = (CELLS, CELLS), mm.Spheres()
    film = mm.Heisenberg(shape, mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    middle = (CELLS / 2 - 0.5,) * 2
    skyrmions = [mm.skyrmion(shape, center=middle, radius=r, width=2.0) for r in np.linspace(4, 1, IMAGES)]
    path = np.stack([np.asarray(x) for x in skyrmions])
    film, images = traced(lambda S: film(S), path[0]), jnp.zeros(IMAGES - 2, bool)
    problem, method = Problem(film, np.asarray(4.0), np.asarray(1.0), geometry, False), mm.methods.LBFGS(memory=5)

    def iterate(path):
        how = {"geometry": geometry, "tangent": "improved", "spring": "scaled"}
        return mm.iterate(film, path, mm.NEBParams(0.05, 0.1, 3.0), STEPS, **how).path

    def lbfgs(path):
        real, whole = np.float64, np.int32
        march = begin(method, path, path[1:-1])
        numbers = images, real(1), real(0), real(1e-9), whole(0), whole(STEPS)
        return band.run(problem, method, march, *numbers, tangent="improved").march.path

    found = {}
    for name, f in {"iterate": iterate, "L-BFGS": lbfgs}.items():
        if name not in methods:
            continue
        if mesh.size == 1:
            found[name] = np.asarray(jax.jit(f).lower(path).compile(OPTIONS)(path)).tolist()
            continue
        for where, spec in {"images": ("devices",), "cells": (None, "devices")}.items():
            sharding = NamedSharding(mesh, PartitionSpec(*spec))
            laid = jax.make_array_from_callback(path.shape, sharding, lambda part: path[part])
            program = jax.jit(f, out_shardings=sharding).lower(laid).compile(OPTIONS)
            meet()
            after = program(laid)
            after = np.asarray(after if after.is_fully_addressable else process_allgather(after, tiled=True))
            found[f"{name}, {where}"] = after.tolist()
            found[f"gathered, {name}, {where}"] = gathered(program.as_text())
    return found


def part(devices, process=None, port=None):
    """What a process does; what it found as JSON on its last line."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    if process is not None:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    assert mesh.size == devices
    sharding = NamedSharding(mesh, PartitionSpec("devices")) if devices > 1 else None
    found = {"train": training(devices, sharding), "evolution": evolution(sharding)}
    found["bands"] = bands(mesh, "iterate", "L-BFGS")
    if not process:  # one speaks for all
        print(json.dumps(found, default=float))


def asked(*arguments, devices):
    """A process that does a part."""
    command = [sys.executable, "-m", "benchmarks.scale", *map(str, arguments)]
    root = Path(__file__).resolve().parents[1]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(devices), cwd=root)


def answered(*children):
    """What the first of them found, when all have ended well."""
    out = [child.communicate()[0] for child in children]
    assert not any(child.returncode for child in children), "a process has failed"
    return json.loads(out[0].splitlines()[-1])


def off(name, a, b, wrong):
    """The largest difference of two results, and a word where it is too large."""
    import numpy as np

    most = float(np.max(np.abs(np.array(a) - np.array(b))))
    if not most <= CLOSE[name]:
        wrong.append(f"{name} is off by {most:.1e}, allowed {CLOSE[name]:.0e}")
    return most


def trainings(found, wrong):
    """A row for each number of devices: work of a device, weak scaling, times, differences."""
    one = found["1"]
    for name, r in found.items():
        train, alone = r["train"], found["2" if name == "2 processes" else name]["train"]
        row = {"devices": name, "work": train["flops"], "scaling": one["train"]["flops"] / train["flops"]}
        row |= {"seconds": train["seconds"], "seconds alone": alone["seconds alone"]}
        row["training"] = off("loss", train["loss"], alone["loss alone"], wrong)
        row["evolution"] = off("evolution", r["evolution"], one["evolution"], wrong)
        if row["scaling"] < TARGET:
            wrong.append(f"{name} devices: weak scaling {row['scaling']:.2f}, target {TARGET:g}")
        yield row


def laid_out(found, wrong):
    """A row for each band that was laid out: its difference, and the most numbers gathered in its loop."""
    for name, r in found.items():
        for key in r["bands"] if name != "1" else ():
            if not key.startswith("gathered"):
                method, over = key.split(", ")
                most = r["bands"][f"gathered, {key}"]
                difference = off(method, r["bands"][key], found["1"]["bands"][method], wrong)
                if most >= CELLS**2 * 3:
                    wrong.append(f"{name} devices: {key} gathers {most} numbers in its loop, as many as an image has")
                yield {"devices": name, "method": method, "over": over, "difference": difference, "gathered": most}


def main():
    wrong, begin = [], time.perf_counter()
    found = {str(n): answered(asked(n, devices=n)) for n in DEVICES}
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    found["2 processes"] = answered(*(asked(2, k, port, devices=1) for k in range(2)))
    for file, rows in {"training": trainings(found, wrong), "band": laid_out(found, wrong)}.items():
        rows = [*rows]
        records.write(DATA / f"{file}.csv", rows, f"benchmarks/scale.py, {file}")
        print(*rows[0], sep="  ")
        for row in rows:
            print(*(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()), sep="  ")
    spent = f"{time.perf_counter() - begin:.0f} s in all, {os.times().children_user:.0f} s of the processor"
    print(spent, *(f"WRONG {line}" for line in wrong), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) < 2 else part(*map(int, sys.argv[1:])))
