"""Training and a band over two simulated devices: as on one, and nothing is gathered that belongs apart.

JAX reads the number of devices when it starts, so this is a process of its own. ``make scale`` has more of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import scale

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import json
import jax, jax.numpy as jnp, numpy as np, mepmeta as mm
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from benchmarks import scale
from mepmeta.learning import Evolution

jax.config.update("jax_numpy_dtype_promotion", "strict")
mesh = Mesh(np.array(jax.devices()), ("devices",))
over = NamedSharding(mesh, PartitionSpec("devices"))
found = {"train": scale.training(2, over), "bands": scale.bands(mesh, "iterate")}
found["alone"] = scale.bands(Mesh(mesh.devices[:1], ("devices",)), "iterate")
explicit = NamedSharding(jax.make_mesh((2,), ("devices",)), PartitionSpec("devices"))
line = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)

def train(sharding, batch=4):
    return mm.train(
        jax.random.key(0), None, lambda key: (jax.random.uniform(key),), 0.1, loss=lambda method, x: float(method * x),
        method=float, rule=Evolution(), epochs=1, batch=batch, progress=False, sharding=sharding)[0]

def refused(call):
    try:
        call()
    except ValueError as error:
        return str(error)

found["same"] = train(explicit) == train(None)
found["refused"] = [
    refused(lambda: train(over, batch=3)), refused(lambda: train(mesh)),
    refused(lambda: train(NamedSharding(mesh, PartitionSpec(None, "devices")))),
    refused(lambda: mm.iterate(mm.single_spin(), jax.device_put(line, explicit), mm.NEBParams(), 2))]
print(json.dumps(found, default=float))
"""


@pytest.fixture(scope="module")
def found():
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    env = scale.environment(2) | cache | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT, check=True
    )
    return json.loads(out.stdout.splitlines()[-1])


def test_a_training_is_that_of_one_device(found):
    r = found["train"]
    assert min(r["loss"]) < -1  # it has learned something
    np.testing.assert_allclose(r["loss"], r["loss alone"], atol=scale.CLOSE["loss"])
    assert found["same"]


@pytest.mark.parametrize("where", ["images", "cells"])
def test_a_band_is_that_of_one_device_and_stays_where_it_is_laid(found, where):
    band, alone = found["bands"][f"iterate, {where}"], found["alone"]["iterate"]
    np.testing.assert_allclose(band, alone, atol=scale.CLOSE["iterate"])
    assert found["bands"][f"gathered, iterate, {where}"] <= scale.IMAGES


def test_what_cannot_be_laid_out_is_refused(found):
    words = "a batch of 3 cannot be laid evenly over {'devices': 2}", "lays the first axis", "lays the first axis"
    for said, wanted in zip(found["refused"], (*words, "laid over explicit axes"), strict=True):
        assert wanted in said


def test_what_is_gathered_is_counted():
    """In loops, not before or behind them."""
    line = "  %a = {} all-gather(%b), dimensions={{0}}"
    program = [line.format("f64[16]{0}"), line.format("(f64[2,3]{1,0}, f64[4,8]{1,0})"), "ENTRY main {"]
    assert scale.gathered("\n".join([*program, line.format("f64[99]{0}")])) == 32
