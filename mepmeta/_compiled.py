"""Programs compiled for a short wait: the compiler takes most of the time of a first answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import jax

from mepmeta._arguments import known

__all__ = ["compiled", "for_many_runs"]

#: The older of XLA's two emitters of loops takes half the time of the newer one; the third level of LLVM takes twice
#: the time of the second for nothing that can be measured. Of small states the loops of the newer one are up to three
#: times as fast, which pays where a program is run for a minute.
OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 2}
FOR_MANY = {"xla_backend_optimization_level": 2}

_many = ContextVar("many", default=False)


@contextmanager
def for_many_runs() -> Iterator[None]:
    """Inside, programs are compiled for a short run instead of a short wait; in this thread."""
    token = _many.set(True)
    try:
        yield
    finally:
        _many.reset(token)


def compiled(f: Callable, **static: Any) -> Callable:
    """``jax.jit`` with these options.

    JAX takes options at the outermost call only. Where values are traced this is a part of the program around it, which
    has options of its own; where they are known it is run at once, also in a function that is being traced.
    """
    part = jax.jit(f, **static)
    once, often = (jax.jit(f, compiler_options=options, **static) for options in (OPTIONS, FOR_MANY))

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not known(args, kwargs):
            return part(*args, **kwargs)
        with jax.core.eval_context():
            return (often if _many.get() else once)(*args, **kwargs)

    return call
