"""The whole published training: 200 epochs of 20 iterations on batches of 100 paths with 11 images, K = 5.

Compile time is shown by itself: the first run, of one epoch, compiles; the second run is the training from the start.
"""

import sys
import time

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

import mepmeta as mm  # noqa: E402

TARGET = 15.0
MEP = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 11)


def sample(key):
    return mm.perturbed_path(key, MEP)


def train(epochs, progress=True):
    start = time.perf_counter()
    params, history = mm.train(
        jax.random.key(0), mm.single_spin(), sample, mm.NEBParams(), epochs=epochs, reference=0.0, progress=progress
    )
    return time.perf_counter() - start, params, history


def main():
    first, _, _ = train(1, progress=False)
    seconds, params, history = train(200)
    print(f"one epoch with compilation {first:.1f} s, so compilation takes about {first - seconds / 200:.1f} s")
    trained = ", ".join(f"{name} = {float(value):.3g}" for name, value in params._asdict().items())
    print(f"{history.message}: {trained}, loss {history.loss[0, 0]:.3f} -> {history.test_loss[-1]:.3f}")
    print(f"training {seconds:.1f} s, target <= {TARGET:.0f} s on 2 cores")
    return 0 if seconds <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
