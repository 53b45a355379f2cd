"""One loss-and-gradient: this package against reverse mode through the search at every barrier.

The paper takes the derivative of the whole algorithm, maximisation included, at all K + 1 barriers of K iterations, in
reverse mode, and names that as its bottleneck. Here the sum of logarithms telescopes to two barriers, the derivative of
a barrier needs no derivative of the search (envelope theorem), and three derivatives are carried forward along the
iterations. Both ways are compiled and fed the same 100 paths of 11 images; first their losses and gradients are
compared, then they run in turn, one call at a time and 20 on a batch as training does, and the ratio of the medians is
printed with its target. A second table shows time and memory of both against K.
"""

import statistics
import sys
import time
from functools import partial

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import mepmeta as mm  # noqa: E402
from mepmeta.barrier import GOLDEN  # noqa: E402
from mepmeta.loss import log_overestimates, losses_and_gradients  # noqa: E402

TARGET = 8
ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
PARAMS = mm.NEBParams(gamma=0.01, mu=1.0, beta=3.0)
IMAGES, BATCH, STEPS, EPOCH = 11, 100, 5, 20

#: Golden section steps of the other way's search: 0.618^12 narrows a segment to 1/300 of itself, where the parabola
#: through the three best points gives the maximum to rounding in two more.
GOLDEN_STEPS, PARABOLIC_STEPS = 12, 2


def searched_maximum(f):
    """Golden section, then successive parabolic interpolation, a fixed number of steps for the sake of reverse mode."""

    def golden(bracket, _):
        lo, hi, x, w, fx, fw = bracket  # two inner points x < w and their values
        left = fx > fw
        lo, hi = jnp.where(left, lo, x), jnp.where(left, w, hi)
        u = jnp.where(left, lo + GOLDEN * (hi - lo), hi - GOLDEN * (hi - lo))
        fu = f(u)
        bracket = jnp.where(left, u, w), jnp.where(left, x, u), jnp.where(left, fu, fw), jnp.where(left, fx, fu)
        return (lo, hi, *bracket), None

    def parabolic(points, _):
        (x, w, v), (fx, fw, fv) = points  # best, second, third
        r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
        bottom = 2 * (r - q)
        usable = jnp.abs(bottom) > 1e-18
        u = jnp.clip(x + ((x - v) * q - (x - w) * r) / jnp.where(usable, bottom, 1) * usable, 0, 1)
        new_x, new_f = jnp.stack([x, w, v, u]), jnp.stack([fx, fw, fv, f(u)])
        order = jnp.argsort(-new_f)[:3]
        return (new_x[order], new_f[order]), None

    x, w = jnp.asarray(GOLDEN), jnp.asarray(1 - GOLDEN)
    (lo, hi, x, w, fx, fw), _ = lax.scan(golden, (0.0, 1.0, x, w, f(x), f(w)), length=GOLDEN_STEPS)
    points = jnp.stack([lo, hi, jnp.where(fx > fw, x, w)])
    values = jnp.stack([f(lo), f(hi), jnp.maximum(fx, fw)])
    order = jnp.argsort(-values)
    (_, found), _ = lax.scan(parabolic, (points[order], values[order]), length=PARABOLIC_STEPS)
    return jnp.max(jnp.concatenate([found, jnp.stack([f(0.0), f(1.0)])]))


def searched_barrier(path):
    on_segment = lambda a, b: searched_maximum(lambda t: ENERGY((1 - t) * a + t * b))  # noqa: E731
    return jnp.max(jax.vmap(on_segment)(path[:-1], path[1:]))


def searched_loss(params, path, steps):
    """The mean of ln rho over the iterations, a barrier searched after each."""

    def iteration(path, _):
        after = mm.neb_step(ENERGY, path, params)
        return after, searched_barrier(after)

    _, Q = lax.scan(iteration, path, length=steps)
    deltas = jnp.concatenate([searched_barrier(path)[None], Q])  # the saddle is at zero
    return jnp.mean(jnp.log(deltas[1:] / deltas[:-1]))


@partial(jax.jit, static_argnums=2)
def theirs(params, paths, steps):
    return jax.vmap(jax.value_and_grad(searched_loss), (None, 0, None))(params, paths, steps)


@partial(jax.jit, static_argnums=2)
def ours(params, paths, steps):
    before = log_overestimates(ENERGY, paths, 0.0, mm.Flat())
    return losses_and_gradients(ENERGY, paths, before, params, steps, 0.0)


def epoch(way, paths):
    """Twenty losses and gradients on one batch, at parameters that change a little, as in an epoch of training."""

    @jax.jit
    def run():
        def at(gamma):
            L, g = way(PARAMS._replace(gamma=gamma), paths, STEPS)
            return L.mean(), jax.tree.map(jnp.mean, g)

        return lax.map(at, PARAMS.gamma * jnp.linspace(1, 1.1, EPOCH))

    return run


def seconds(f, *args):
    t = time.perf_counter()
    jax.block_until_ready(f(*args))
    return time.perf_counter() - t


def compare(paths):
    """Largest difference of the losses; median and largest of the gradients; how many gradients differ."""
    (L, g), (L2, g2) = ours(PARAMS, paths, STEPS), theirs(PARAMS, paths, STEPS)
    size = jnp.sqrt(sum(x**2 for x in g))
    off = jnp.sqrt(sum((x - y) ** 2 for x, y in zip(g, g2, strict=True))) / size
    return jnp.abs(L - L2).max(), jnp.median(off), jnp.max(off), int((off > 1e-4).sum())


def main():
    mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), IMAGES)
    paths = jax.vmap(lambda key: mm.perturbed_path(key, mep))(jax.random.split(jax.random.key(0), BATCH))
    print(f"{BATCH} paths, {IMAGES} images, K = {STEPS}, (gamma, mu, beta) = (0.01, 1, 3)")
    for name, way in (("ours", ours), ("theirs", theirs)):
        print(f"compiled and run once, {name:7s} {seconds(way, PARAMS, paths, STEPS):8.2f} s", flush=True)
    loss, median, largest, differ = compare(paths)
    print(f"losses differ by at most {loss:.1e}; gradients, relative: median {median:.1e}, largest {largest:.1e}")
    agree = loss < 1e-8 and differ == 0

    # One call by itself, as a user makes it; and an epoch's worth of 20 on one batch in one call, as training makes
    # them: no dispatch from Python in between, and what does not change from one to the next is computed once.
    ratios = []
    for what, each, ways in (
        ("one call", 1, {"ours": lambda: ours(PARAMS, paths, STEPS), "theirs": lambda: theirs(PARAMS, paths, STEPS)}),
        ("an epoch", EPOCH, {"ours": epoch(ours, paths), "theirs": epoch(theirs, paths)}),
    ):
        times = {name: [] for name in ways}
        for turn in range(1 + 100 // (5 if each > 1 else 1)):
            for name, way in ways.items():
                t = seconds(way) / each
                if turn:  # the first compiles
                    times[name].append(t)
        mine, other = (1e3 * statistics.median(times[name]) for name in ("ours", "theirs"))
        ratios.append(other / mine)
        print(f"{what}, in turn: ours {mine:.2f} ms, reverse mode through the search {other:.2f} ms each", flush=True)
    print(f"ratio of one call {ratios[0]:.1f}; ratio in training {ratios[1]:.1f}, target >= {TARGET}")

    print("\n    K   ours: time   memory   through the search: time   memory")
    sizes = []
    for steps in (5, 50, 500, 5000):
        row = [f"{steps:5d}"]
        for name, way, most in (("ours", ours, 5000), ("theirs", theirs, 500)):
            if steps > most:
                row.append("             (not run)")
                continue
            compiled = way.lower(PARAMS, paths, steps).compile()
            size = compiled.memory_analysis().temp_size_in_bytes
            jax.block_until_ready(compiled(PARAMS, paths))
            t = min(seconds(compiled, PARAMS, paths) for _ in range(3))
            sizes += [size] if name == "ours" else []
            row.append(f"{1e3 * t:10.1f} ms {size / 2**20:8.2f} MiB")
        print("".join(row), flush=True)
    grows = max(sizes) > min(sizes)
    print(f"memory of ours at K = 5000 over K = 5: {sizes[-1] / sizes[0]:.2f}, target 1.00")
    return 0 if agree and ratios[1] >= TARGET and not grows else 1


if __name__ == "__main__":
    sys.exit(main())
