"""Programs compiled for a short wait: the compiler takes most of the time of a first answer."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax

from mepmeta._arguments import known

__all__ = ["compiled"]

#: The older of XLA's two emitters of loops takes half the time of the newer one; the third level of LLVM takes twice
#: the time of the second for nothing that can be measured. The loops of the newer one are a fifth faster at best.
OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 2}


def compiled(f: Callable, **static: Any) -> Callable:
    """``jax.jit`` with these options.

    JAX takes options at the outermost call only. Where values are traced this is a part of the program around it, which
    has options of its own; where they are known it is run at once, also in a function that is being traced.
    """
    part = jax.jit(f, **static)
    whole = jax.jit(f, compiler_options=OPTIONS, **static)

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not known(args, kwargs):
            return part(*args, **kwargs)
        with jax.core.eval_context():
            return whole(*args, **kwargs)

    return call
