"""What one iteration of a band costs in each code, in CPU and in wall time, and what a machine could do at best.

Every function answers one job of a worker: it runs some iterations once and returns seconds for each. What it needs is
set up, and compiled, at the first call and kept, so that the codes can take turns.
"""

import time
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

import mepmeta as mm
from benchmarks.peers.problems import spec
from mepmeta._vectorised import sine_cosine

__all__ = ["compiling", "film", "machine", "parts", "spins"]

BATCH, IMAGES = 1000, 11


def _timed(run, iterations: int) -> tuple[float, float]:
    begin = time.process_time(), time.perf_counter()
    run()
    return (time.process_time() - begin[0]) / iterations, (time.perf_counter() - begin[1]) / iterations


def _example(n: int, images: int) -> tuple[mm.Heisenberg, np.ndarray]:
    """A square film of n times n spins, and a path of nearly parallel ones at random on it."""
    energy = mm.Heisenberg((n, n), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))], (0.0, 0.0, 0.1))
    path = 0.1 * np.random.default_rng(0).normal(size=(images, n, n, 3)) + np.array([0.0, 0.0, 1.0])
    return energy, path / np.linalg.norm(path, axis=-1, keepdims=True)


@partial(jax.jit, static_argnums=(2, 3))
def _iterated(energy, path, iterations, tangent):
    params, geometry = mm.NEBParams(gamma=0.01, mu=0.1, beta=3.0), mm.Spheres(axis=0)
    step = partial(mm.neb_step, geometry=geometry, tangent=tangent, spring="scaled")
    return jax.lax.fori_loop(0, iterations, lambda _, p: step(energy, p, params), path)


@cache
def _film(code: str, n: int, images: int, iterations: int):
    energy, path = _example(n, images)
    kind, _, option = code.partition(" ")
    if kind == "spirit":
        from benchmarks.peers import spirit_run

        band = spirit_run.Band(spec(energy), path[:, :, :, None], option, 1e-3, 0.1, amortize=spirit_run.FOREVER)
        run = partial(band.run, iterations)
    else:
        energy, path = energy.component_first(), jnp.moveaxis(jnp.asarray(path), -1, 1)
        run = lambda: jax.block_until_ready(_iterated(energy, path, iterations, option))  # noqa: E731
    run()
    return run


def film(code: str, n: int, images: int, iterations: int) -> tuple[float, float]:
    """CPU and wall seconds of an iteration on n times n spins; code is "spirit VP", "mepmeta improved", ..."""
    return _timed(_film(code, n, images, iterations), iterations)


@partial(jax.jit, static_argnums=(1, 2))
def _batch(paths, iterations, tangent):
    params = mm.NEBParams(gamma=0.2, mu=1.0, beta=3.0)
    return mm.iterate_batch(mm.single_spin(), paths, params, iterations, tangent=tangent).path


@cache
def _spins(code: str, iterations: int):
    paths = _bent(IMAGES)
    kind, _, option = code.partition(" ")
    if kind == "mepmeta":
        run = lambda: jax.block_until_ready(_batch(paths, iterations, option))  # noqa: E731
        run()
        return run, iterations * BATCH
    if kind == "ase":
        from benchmarks.peers import ase_run

        band = ase_run.Band(
            ase_run.single_spin(1.0, -2.0), np.asarray(paths[0]), "MDMin", "improvedtangent", 0.1, dt=0.2
        )
        loop = partial(band.optimiser.run, fmax=0.0, steps=iterations)  # what a user calls
        run = loop if option == "loop" else partial(band.run, iterations)
    else:
        from benchmarks.peers import spirit_run

        energy = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))], periodic=False)
        path = np.asarray(mm.angles_to_spin(paths[0])).reshape(IMAGES, 1, 1, 1, 3)
        # As shipped, the profile is interpolated at ten points after every iteration.
        shipped = {"amortize": 1, "interpolations": 10}
        lean = {"amortize": spirit_run.FOREVER, "interpolations": 1}
        band = spirit_run.Band(spec(energy), path, "VP", 1e-3, 0.1, **(shipped if option == "as shipped" else lean))
        run = partial(band.run, iterations)
    run()
    return run, iterations


def _bent(images: int) -> jax.Array:
    """A batch of bent paths of the paper's spin."""
    straight = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), images)
    return jax.vmap(lambda key: mm.bent_path(key, straight))(jax.random.split(jax.random.key(0), BATCH))


def spins(code: str, iterations: int) -> tuple[float, float]:
    """CPU and wall seconds for each path and iteration of the paper's spin.

    code is "mepmeta smooth" or "mepmeta improved" (a batch), "spirit lean", "spirit as shipped", "ase direct" (steps
    called one by one) or "ase loop" (the loop of its optimiser).
    """
    run, iterations = _spins(code, iterations)
    return _timed(run, iterations)


def compiling(n: int, images: int) -> dict[str, float]:
    """Wall seconds of the first call and of a second: one iteration, and a whole search. In a fresh process."""
    energy, path = _example(n, images)
    first, second = energy.component_first(), jnp.moveaxis(jnp.asarray(path), -1, 1)
    step = [_timed(lambda: jax.block_until_ready(_iterated(first, second, 1, "improved")), 1)[1] for _ in range(2)]
    film = mm.Heisenberg((n, n), mm.nearest_neighbours("square", 1.0, 0.3), [(0.15, (0, 0, 1))])
    start = mm.skyrmion((n, n), center=(n // 2, n // 2), radius=3.0, width=2.0)
    search = partial(mm.find_mep, film, start, mm.ferromagnet((n, n)), geometry=mm.Spheres(), n_images=images)
    whole = [_timed(partial(search, progress=False), 1)[1] for _ in range(2)]
    return {"step first": step[0], "step second": step[1], "search first": whole[0], "search second": whole[1]}


def machine(n: int, images: int) -> dict[str, float]:
    """For the roofline: what the machine does at best, and what the compiler says that an iteration does.

    Returns bytes/s that pass through memory when every number of a large array is changed, and floating point
    operations/s of a product of matrices, on one core in CPU time; operations and bytes of one iteration as XLA counts
    them, of a film or, for n = 1, of a path of the paper's spin.
    """
    if n == 1:
        counted, per = _batch.lower(_bent(images), 1, "improved"), BATCH
    else:
        energy, path = _example(n, images)
        energy, path = energy.component_first(), jnp.moveaxis(jnp.asarray(path), -1, 1)
        counted, per = _iterated.lower(energy, path, 1, "improved"), 1
    counted = counted.compile().cost_analysis()
    counted = counted[0] if isinstance(counted, list) else counted
    big, square, turns = jnp.ones(2**25), jnp.ones((1024, 1024)) / 1024, 10
    # In a loop, so that no new memory is asked of the system, which takes longer than the copy.
    change = jax.jit(lambda x: jax.lax.fori_loop(0, turns, lambda _, y: y + 1.0, x))
    product = jax.jit(lambda a: a @ a)
    best = lambda f, x: min(_timed(lambda: jax.block_until_ready(f(x)), 1)[0] for _ in range(6))  # noqa: E731
    return {
        "bandwidth": 2 * big.nbytes * turns / best(change, big),
        "peak": 2 * 1024**3 / best(product, square),
        "operations": float(counted["flops"]) / per,
        "bytes": float(counted["bytes accessed"]) / per,
    }


def parts(iterations: int) -> dict[str, float]:
    """CPU seconds of the parts of an iteration, each compiled alone: what bounds it. The best of five.

    For the batch of paths of one spin: an iteration, its gradients, the sines and cosines of all angles, and these by
    the library's calls. For the film of 30 x 30 spins and 12 images: an iteration, its gradients, the distances and
    directions of neighbouring images.
    """
    energy, geometry, found = mm.single_spin(), mm.Spheres(axis=0), {}
    paths = _bent(IMAGES)
    angles = jnp.moveaxis(paths, 0, -1)

    def repeated(f, x):
        # The result feeds the next one a little, so that nothing can be left out.
        run = jax.jit(lambda x: jax.lax.fori_loop(0, iterations, lambda _, y: x + 1e-12 * f(y), x))
        jax.block_until_ready(run(x))
        return min(_timed(lambda: jax.block_until_ready(run(x)), iterations)[0] for _ in range(5))

    jax.block_until_ready(_batch(paths, iterations, "improved"))
    found["spin iteration"] = min(
        _timed(lambda: jax.block_until_ready(_batch(paths, iterations, "improved")), iterations)[0] for _ in range(5)
    )
    found["spin gradient"] = repeated(jax.vmap(jax.vmap(jax.grad(energy), -1, -1)), angles)
    found["spin sine and cosine"] = repeated(lambda x: sum(sine_cosine(x)), angles)
    found["spin sine and cosine by calls"] = repeated(lambda x: jnp.sin(x) + jnp.cos(x), angles)
    film, path = _example(30, 12)
    film, path = film.component_first(), jnp.moveaxis(jnp.asarray(path), -1, 1)
    jax.block_until_ready(_iterated(film, path, iterations, "improved"))
    found["film iteration"] = min(
        _timed(lambda: jax.block_until_ready(_iterated(film, path, iterations, "improved")), iterations)[0]
        for _ in range(5)
    )
    found["film gradient"] = repeated(jax.vmap(jax.grad(film)), path)

    def connected(p):
        lengths, there, back = jax.vmap(geometry.connect)(p[:-1], p[1:])
        return jnp.zeros_like(p).at[1:].add(there - back + lengths.reshape(-1, 1, 1, 1))

    found["film directions"] = repeated(connected, path)
    return found
