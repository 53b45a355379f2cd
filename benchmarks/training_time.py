"""How long the published training takes: 200 epochs of 20 iterations with 100 paths of 11 images.

Compilation is shown apart: the first run compiles, the second does not.
"""

import sys
import time

import jax
import jax.numpy as jnp

import mepmeta as mm

jax.config.update("jax_enable_x64", True)

TARGET = 15.0  # seconds, on two cores, after compilation


def main():
    mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 11)
    energy = mm.single_spin()

    def sample(key):
        return mm.perturbed_path(key, mep)

    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        params, history = mm.train(jax.random.key(2020), energy, sample, mm.NEBParams(), reference=0.0)
        seconds.append(time.perf_counter() - start)
    print(f"compiled in {seconds[0] - seconds[1]:.1f} s, ran in {seconds[1]:.1f} s; target {TARGET:.0f} s")
    print("trained to", ", ".join(f"{name} {value:.3g}" for name, value in params._asdict().items()))
    print(f"test loss {history.test_loss[-1]:.2f}; {history.message}")
    return 0 if seconds[1] <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
