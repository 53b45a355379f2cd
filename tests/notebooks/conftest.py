"""What XLA compiles for the notebooks is kept, one folder for each worker: two processes may write one entry at once.

``make test`` then puts the folders together, so that ``make book``, which runs the same pages, need not compile them.
Programs for narrower instructions, which ``make portable`` asks for, are kept in a folder of each set.
"""

import os
import re
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
SET = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
WORKER = f"jax-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / (SET[1] if SET else "") / WORKER)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
