"""Settings of every test and doctest: double precision, no silent promotion. (Warnings are errors: pyproject.toml.)"""

import jax
from hypothesis import settings

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# No deadline: the first example compiles. The same examples in every run, so that a test does not fail by chance.
settings.register_profile("mepmeta", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("mepmeta")
