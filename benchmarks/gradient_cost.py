"""What one loss and its gradient cost, in the paper's way and in ours, as the number K of iterations grows.

The paper's way: the mean of ln ρ from all K + 1 barriers, reverse mode, through a golden section and parabolic search
on every segment. Ours: two barriers, the envelope theorem, forward mode. 100 paths of 11 images; both are compiled,
checked against each other, and run in turn. Memory is what the compiled program allocates besides input and output.
"""

import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

import mepmeta as mm
from mepmeta.barrier import GOLDEN, _propose, _record, _Search
from mepmeta.loss import _log_overestimates, _losses_and_gradients
from mepmeta.neb import _neb_step

jax.config.update("jax_enable_x64", True)

TARGET = 8
SEARCH_STEPS = 20  # enough for every segment of these paths; a search of fixed length can be reversed
ENERGY, SADDLE, PARAMS = mm.single_spin(), 0.0, mm.NEBParams(0.05, 1.0, 3.0)


def batch(number=100, n_images=11):
    mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), n_images)
    keys = jax.random.split(jax.random.key(0), number)
    return jax.vmap(lambda key: mm.perturbed_path(key, mep))(keys)


def searched_maximum(f):
    """Maximum of f on [0, 1] by the module's own search step, in a loop that can be differentiated."""
    tolerance = jnp.sqrt(jnp.finfo(jnp.result_type(float)).eps)
    x = jnp.asarray(GOLDEN)
    start = _Search(0.0, 1.0, x, x, x, f(x), f(x), f(x), x, f(x), 1.0, 1.0, 0)
    start = jax.tree.map(jnp.asarray, start)

    def body(s, _):
        s = _propose(s, tolerance)
        return _record(s._replace(fu=f(s.u))), None

    found = lax.scan(body, start, length=SEARCH_STEPS)[0]
    return jnp.maximum(found.fx, jnp.maximum(f(0.0), f(1.0)))


def searched_barrier(path):
    def on_segment(a, b):
        return searched_maximum(lambda t: ENERGY((1 - t) * a + t * b))

    return jnp.max(jax.vmap(on_segment)(path[:-1], path[1:]))


@partial(jax.jit, static_argnums=2)
def papers_way(paths, params, K):
    def loss(params, path):
        def iteration(path, _):
            after = _neb_step(ENERGY, path, params)
            return after, jnp.log(jnp.maximum(searched_barrier(after) - SADDLE, 2.2e-16))

        first = jnp.log(searched_barrier(path) - SADDLE)
        _, later = lax.scan(iteration, path, length=K)
        return jnp.mean(jnp.diff(jnp.concatenate([first[None], later])))

    return jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0))(params, paths)


@partial(jax.jit, static_argnums=2)
def ours(paths, params, K):
    before = _log_overestimates(ENERGY, paths, SADDLE, mm.Flat())
    return _losses_and_gradients(ENERGY, paths, before, params, K, SADDLE)


def measure(call, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times


def memory(function, paths, K):
    return function.lower(paths, PARAMS, K).compile().memory_analysis().temp_size_in_bytes / 2**20


def main():
    paths = batch()
    (L1, g1), (L2, g2) = papers_way(paths, PARAMS, 5), ours(paths, PARAMS, 5)
    print(f"same loss: {np.allclose(L1, L2, atol=1e-9)}; same gradient in the median path: ", end="")
    print(", ".join(f"{n} {np.median(np.abs(a / b - 1)):.0e}" for n, a, b in zip(PARAMS._fields, g1, g2, strict=True)))

    rows, fast_enough = [], False
    for K, repeat in tqdm(((5, 60), (50, 20), (500, 5), (5000, 2)), desc="K"):
        mine, theirs = partial(ours, paths, PARAMS, K), partial(papers_way, paths, PARAMS, K)
        theirs_memory = memory(papers_way, paths, K)
        runs = theirs_memory < 4096
        measure(mine, 1)
        times = {"ours": [], "paper": []}
        if runs:
            measure(theirs, 1)
        for _ in range(repeat):  # in turn, so that a change of the machine's speed meets both
            times["ours"] += measure(mine, 1)
            times["paper"] += measure(theirs, 1) if runs else []
        ratio = np.median(np.array(times["paper"]) / np.array(times["ours"])) if runs else np.nan
        fast_enough |= K == 5 and ratio >= TARGET
        rows.append((K, np.median(times["ours"]), np.median(times["paper"]) if runs else np.nan, ratio,
                     memory(ours, paths, K), theirs_memory))  # fmt: skip

    print(f"\n{'K':>5} {'ours (ms)':>10} {'paper (ms)':>11} {'ratio':>7} {'ours (MiB)':>11} {'paper (MiB)':>12}")
    for K, t, t_paper, ratio, m, m_paper in rows:
        print(f"{K:>5} {1e3 * t:>10.1f} {1e3 * t_paper:>11.1f} {ratio:>7.1f} {m:>11.2f} {m_paper:>12.1f}")
    constant = len({round(row[4], 2) for row in rows}) == 1
    print(f"\nratio at K = 5: {rows[0][3]:.1f}, target {TARGET}: {'met' if fast_enough else 'MISSED'}")
    print(f"our memory does not grow with K: {constant}")
    return 0 if fast_enough and constant else 1


if __name__ == "__main__":
    sys.exit(main())
