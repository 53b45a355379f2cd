"""Settings of every test and doctest: double precision, no silent promotion. (Warnings are errors: pyproject.toml.)"""

import ctypes
import gc
import os
import re
import sys
from pathlib import Path

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# What XLA compiles is kept: one folder for each worker, since two processes may write one entry at once, and for each
# set of instructions that `make portable` asks for.
SET = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
CACHE = Path(__file__).parent / ".cache" / f"tests-{SET[1] if SET else 'widest'}-{WORKER}"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

#: Bytes that a process of the tests may hold.
LARGE, STATM = 1e9, Path("/proc/self/statm")

# No deadline and no word of slow examples: the first one compiles, and a processor may be busy. The same examples in
# every run, so that a test does not fail by chance; new ones with pytest --hypothesis-profile=random, as make portable.
slow = [HealthCheck.too_slow]
settings.register_profile("mepmeta", deadline=None, max_examples=30, derandomize=True, suppress_health_check=slow)
settings.register_profile("random", settings.get_profile("mepmeta"), derandomize=False, print_blob=True)
settings.load_profile("mepmeta")


def forget():
    """Drop compiled programs, and give their memory back: the C library of Linux keeps it unless it is asked."""
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True, scope="module")
def _of_a_module():
    """Compiled programs are dropped with the module that made them.

    Each takes memory and some of the few ten thousand mappings that a process may have; where these end, it dies.
    """
    yield
    forget()


@pytest.fixture(autouse=True)
def _of_a_large_process():
    """And with the test that made the process large; what is compiled again comes from the disk."""
    yield
    if sys.platform == "linux" and os.sysconf("SC_PAGE_SIZE") * int(STATM.read_text().split()[1]) > LARGE:
        forget()
