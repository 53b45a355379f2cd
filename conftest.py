"""Settings of every test and doctest: double precision, no silent promotion. (Warnings are errors: pyproject.toml.)"""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
