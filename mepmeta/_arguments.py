"""What an argument is: a number, a count, an answer, a name, an array, a random key, a function, a file.

Each check raises a ``ValueError`` that says what came and what was expected, in NumPy, so that nothing is compiled.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType

__all__ = [
    "check_answers",
    "check_count",
    "check_file",
    "check_floats",
    "check_function",
    "check_key",
    "check_number",
    "check_numbers",
    "check_option",
    "check_wraps",
    "constant",
    "is_row",
    "known",
    "rows_of",
    "shown",
    "whole_numbers",
]

#: Counts are 32-bit integers inside compiled loops.
MOST = 2**31 - 1
LARGEST = float(np.finfo(float).max)


def known(*values: Any) -> bool:
    """Whether all values are concrete numbers rather than stand-ins of a transformation."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def shown(value: Any) -> str:
    """A value in an error: short, arrays by their shape and dtype."""
    if hasattr(value, "dtype") and np.ndim(value):
        return f"an array of {value.dtype}, shape {np.shape(value)}"
    try:
        text = str(value) if isinstance(value, (int, float, complex)) or hasattr(value, "dtype") else repr(value)
    except Exception:  # a number of thousands of digits, an object that cannot be shown
        text = f"a {type(value).__name__}"
    return text if len(text) < 80 else f"{text[:77]}..."


def _real(value: Any) -> bool:
    """Whether a value is one real number, or stands for one; True and False are none."""
    if isinstance(value, (bool, np.ma.MaskedArray)):
        return False
    if not hasattr(value, "dtype"):
        return isinstance(value, (int, float))
    kinds = jnp.integer, jnp.floating
    return np.shape(value) == () and any(jnp.issubdtype(value.dtype, kind) for kind in kinds)


def check_number(
    name: str, value: Any, wanted: str = "a finite number", low: float = -np.inf, *, above: bool = False
) -> None:
    """A finite real number, at least ``low``, or ``above`` it."""
    if hasattr(value, "dtype") and np.shape(value) != ():
        raise ValueError(f"{name} must be {wanted}, a scalar, got shape {np.shape(value)}")
    if isinstance(value, int) and abs(value) > MOST**2:  # NumPy and JAX have 64 bits
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}: so long a number is to be written as a float")
    # Compared as it is: a whole number of Python may be larger than any float.
    if not _real(value) or (
        known(value) and not (-LARGEST <= value <= LARGEST and (value > low if above else value >= low))
    ):
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")


def check_numbers(
    name: str, value: Any, shape: tuple[int, ...] | None = None, wanted: str = "finite numbers"
) -> np.ndarray:
    """Finite real numbers, as an array of floats, of the shape if one is given."""
    wanted = f"{name} must be {wanted}{'' if shape is None else f' of shape {shape}'}"
    try:
        found = np.asarray(value)
    except Exception as error:
        raise ValueError(f"{wanted}, got {shown(value)}") from error
    if isinstance(value, np.ma.MaskedArray) or found.dtype.kind not in "iuf" or shape not in (None, found.shape):
        raise ValueError(f"{wanted}, got {shown(value)}")
    if not np.all(np.isfinite(found)):
        raise ValueError(f"{wanted}, got {shown(found.tolist()) if found.size < 10 else 'entries that are not finite'}")
    return found.astype(float)


def check_floats(name: str, x: Any, kind: str = "a float array") -> None:
    """An array of single or double precision, not empty; finite where that is known."""
    array = isinstance(x, (jax.Array, np.ndarray, np.floating)) and not isinstance(x, (np.ma.MaskedArray, np.matrix))
    if not array or x.dtype not in (np.float32, np.float64) or not np.dtype(x.dtype).isnative:
        got = str(getattr(x, "dtype", type(x).__name__)) if not isinstance(x, np.ma.MaskedArray) else "a masked array"
        precision = " of single or double precision" if "float" in got or ">" in got else ""
        raise ValueError(f"{name} must be {kind}{precision}, got {got}")
    if known(x) and AxisType.Explicit in getattr(getattr(getattr(x, "sharding", None), "mesh", None), "axis_types", ()):
        raise ValueError(f"{name} is laid over explicit axes: make the mesh by jax.sharding.Mesh(devices, names)")
    if 0 in np.shape(x):
        raise ValueError(f"{name} must hold numbers, got an array of shape {np.shape(x)}")
    if known(x) and not np.all(np.isfinite(x)):
        raise ValueError(f"{name} has coordinates that are not finite")


def check_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number, at least 1, that a loop can count to: without the few digits that one of NumPy's may have."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= MOST:
        raise ValueError(f"{name} must be at least {least}, a whole number, got {shown(value)}")
    return int(value)


def check_option(name: str, value: Any, options: tuple[str, ...]) -> None:
    """One of some names."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {shown(value)}")


def is_row(value: Any) -> bool:
    """Whether a value is a list, or an array with an axis, of whatever; a text is none."""
    row = isinstance(value, (Sequence, np.ndarray, jax.Array)) and not isinstance(value, (str, bytes))
    return row and np.ndim(value) > 0 if hasattr(value, "ndim") else row


def whole_numbers(value: Any) -> tuple[int, ...] | None:
    """Whole numbers in a row as plain ones, or one of them; None where it is something else."""
    one = isinstance(value, (int, np.integer))
    row = (value,) if one else value if is_row(value) else ()
    fine = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) and abs(int(n)) <= MOST for n in row]
    return tuple(map(int, row)) if fine and all(fine) else None


def check_answers(**answers: Any) -> None:
    """True or False, nothing that only counts as one of them."""
    for name, value in answers.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be True or False, got {shown(value)}")


def check_wraps(periodic: Any, axes: int) -> tuple[bool, ...]:
    """Whether each axis is periodic, from one answer or one for each."""
    answers = [periodic] * axes if isinstance(periodic, (bool, np.bool_)) else periodic
    if not is_row(answers) or len(answers) != axes:
        raise ValueError(f"periodic must be True, False or {axes} of them, got {shown(periodic)}")
    for answer in answers:
        check_answers(periodic=answer)
    return tuple(map(bool, answers))


def check_key(key: Any) -> None:
    """One random key, ``jax.random.key(seed)``."""
    new = hasattr(key, "dtype") and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    old = hasattr(key, "dtype") and key.dtype == np.uint32 and not isinstance(key, np.ma.MaskedArray)
    if old:
        old = np.shape(key) == np.shape(jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))))
    if not (old or (new and np.shape(key) == ())):
        raise ValueError(f"the key must be one random key, jax.random.key(seed), got {shown(key)}")


def check_function(name: str, f: Any) -> None:
    """Something that can be called; a class makes an object, and is no function of a state."""
    if not callable(f) or isinstance(f, type):
        raise ValueError(f"{name} must be a function, got {shown(f)}")


def check_file(path: Any) -> Path:
    """The path of a file, as a string or a ``Path``."""
    if not isinstance(path, (str, os.PathLike)) or not str(path) or "\0" in str(path):
        raise ValueError(f"a file is named by a string or a path, got {shown(path)}")
    return Path(path)


def constant(name: str, value: Any, dtype: Any = float) -> Array:
    """A constant of an energy as an array of floats, of its own precision if it has one; it may be traced."""
    if known(value) and not check_numbers(name, value).size:
        raise ValueError(f"{name} must be finite numbers, got none")
    own = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
    try:
        return jnp.asarray(value, value.dtype if own else dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be finite numbers, got {shown(value)}") from error


def rows_of(name: str, rows: Any, what: str, lengths: Iterable[int]) -> list[tuple]:
    """Rows of so many entries, as tuples."""
    if not is_row(rows):
        raise ValueError(f"{name} must be a list of {what}, got {shown(rows)}")
    for row in rows:
        if not is_row(row) or len(row) not in lengths:
            raise ValueError(f"{name} must be a list of {what}, got among them {shown(row)}")
    return [tuple(row) for row in rows]
