"""The batch of a training over devices and processes: the engine is JAX's own, this says what is laid where."""

from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mepmeta._arguments import known

__all__ = ["check_sharding", "everywhere", "gathered", "laid", "share", "writes"]

WANTED = 'NamedSharding(Mesh(jax.devices(), ("paths",)), PartitionSpec("paths"))'


def check_sharding(sharding: Any, batch: int) -> NamedSharding | None:
    """Where the paths of a batch are, as the compiler is to have it; None for one device."""
    if sharding is None:
        return None
    if not isinstance(sharding, NamedSharding) or len(sharding.spec) != 1:
        raise ValueError(f"sharding lays the first axis of a batch over devices, such as {WANTED}, got {sharding!r}")
    # Axes that JAX would have the programmer keep account of are left to the compiler here.
    sharding = NamedSharding(Mesh(sharding.mesh.devices, sharding.mesh.axis_names), sharding.spec)
    try:
        sharding.shard_shape((batch,))
    except ValueError as error:
        raise ValueError(f"a batch of {batch} cannot be laid evenly over {dict(sharding.mesh.shape)}") from error
    if _processes(sharding) not in ([jax.process_index()], [*range(jax.process_count())]):
        raise ValueError(f"the devices must be those of this process or of all, got those of {_processes(sharding)}")
    return sharding


def _processes(sharding: NamedSharding | None) -> list[int]:
    """Those that have a part; this one where nothing is laid out."""
    return [jax.process_index()] if sharding is None else sorted({d.process_index for d in sharding.mesh.devices.flat})


def laid(tree: Any, sharding: NamedSharding | None) -> Any:
    """Arrays with their first axis over the devices: known ones are put there, traced ones are to be made there."""
    if sharding is None:
        return tree
    if not known(tree):
        return lax.with_sharding_constraint(tree, sharding)
    return jax.tree.map(lambda x: _put(x, sharding), tree)


def everywhere(tree: Any, sharding: NamedSharding | None) -> Any:
    """The same arrays on every device."""
    return tree if sharding is None else laid(tree, NamedSharding(sharding.mesh, PartitionSpec()))


def _put(x: Any, sharding: NamedSharding) -> Any:
    """What every process has, as one array of all of them; without a word between them."""
    if not hasattr(x, "dtype") or getattr(x, "sharding", None) == sharding:  # a number, or it is there
        return x
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda part: x[part])


def share(rows: Any, sharding: NamedSharding | None) -> Any:
    """The rows that are this process's to work on in Python."""
    processes = _processes(sharding)
    return rows[processes.index(jax.process_index()) :: len(processes)]


def gathered(x: Array | np.ndarray, sharding: NamedSharding | None) -> np.ndarray:
    """What the processes found, as one array that all of them have."""
    if len(_processes(sharding)) == 1 or getattr(x, "is_fully_replicated", False):
        return np.asarray(x)
    return np.asarray(process_allgather(x, tiled=True))


def writes(sharding: NamedSharding | None) -> bool:
    """Whether this process writes and shows what all of them know."""
    return jax.process_index() == _processes(sharding)[0]
