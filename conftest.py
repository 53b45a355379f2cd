"""Settings of every test and doctest: double precision, no silent promotion. (Warnings are errors: pyproject.toml.)"""

import gc

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# No deadline and no word of slow examples: the first one compiles, and a processor may be busy. The same examples in
# every run, so that a test does not fail by chance; new ones with pytest --hypothesis-profile=random, as make portable.
slow = [HealthCheck.too_slow]
settings.register_profile("mepmeta", deadline=None, max_examples=30, derandomize=True, suppress_health_check=slow)
settings.register_profile("random", settings.get_profile("mepmeta"), derandomize=False, print_blob=True)
settings.load_profile("mepmeta")


@pytest.fixture(autouse=True, scope="module")
def _forgotten():
    """Compiled programs are dropped with the module that made them.

    Each takes memory and some of the few ten thousand mappings that a process may have; where these end, it dies.
    """
    yield
    jax.clear_caches()
    gc.collect()
