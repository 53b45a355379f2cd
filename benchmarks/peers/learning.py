"""What learning costs: the paper's way of differentiating against ours, over the number of iterations K.

The paper's way: reverse mode through the band and through the search at every barrier. Ours: two barriers, the envelope
theorem, forward mode. Both are those of ``benchmarks/gradient_cost.py``, which checks that they agree; here K grows.
"""

import time

import jax
import jax.numpy as jnp

import mepmeta as mm

__all__ = ["KS", "loss_and_gradient"]

KS = (5, 10, 30, 100, 300, 1000)
_made = {}


def _compiled(way: str, steps: int):
    from benchmarks import gradient_cost as g

    if (way, steps) not in _made:
        straight = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), g.IMAGES)
        paths = jax.vmap(lambda key: mm.perturbed_path(key, straight))(jax.random.split(jax.random.key(0), g.BATCH))
        begin = time.perf_counter()
        compiled = {"ours": g.ours, "paper": g.theirs}[way].lower(g.PARAMS, paths, steps).compile()
        took = time.perf_counter() - begin
        jax.block_until_ready(compiled(g.PARAMS, paths))
        _made[way, steps] = (lambda: compiled(g.PARAMS, paths)), compiled.memory_analysis().temp_size_in_bytes, took
    return _made[way, steps]


def loss_and_gradient(way: str, steps: int) -> dict[str, float]:
    """CPU and wall seconds of one loss and gradient of 100 paths, bytes of memory it needs, seconds to compile."""
    run, size, took = _compiled(way, steps)
    begin = time.process_time(), time.perf_counter()
    jax.block_until_ready(run())
    return {"cpu": time.process_time() - begin[0], "wall": time.perf_counter() - begin[1], "bytes": size,
            "compile": took}  # fmt: skip
