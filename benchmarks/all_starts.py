"""Does training arrive from everywhere? 8 to 14 images, five initial step sizes, the published 200 epochs each.

A run passes if the mean loss of 4000 fresh paths reaches the threshold and no epoch after the tenth ends with a
positive loss, that is, where the band diverges.
"""

import sys

import jax
import jax.numpy as jnp
from tqdm import tqdm

import mepmeta as mm

jax.config.update("jax_enable_x64", True)

THRESHOLD = {n: -2.9 if n <= 11 else -2.75 for n in range(8, 15)}
STARTS = (0.002, 0.01, 0.03, 0.05, 0.1)


def main():
    energy, failures = mm.single_spin(), 0
    print("images  start    gamma     mu     beta   fresh L  threshold  worst end after epoch 10")
    for n in tqdm(THRESHOLD, desc="images"):
        mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), n)

        def sample(key, mep=mep):
            return mm.perturbed_path(key, mep)

        fresh = jax.vmap(sample)(jax.random.split(jax.random.key(99), 4000))
        for gamma in STARTS:
            start = mm.NEBParams(gamma, 1.0, 3.0)
            p, history = mm.train(jax.random.key(1), energy, sample, start, reference=0.0, progress=False)
            L = float(jnp.mean(mm.loss_and_gradient(energy, fresh, p, reference=0.0)[0]))
            worst = history.loss[10:, -1].max()
            passed = L <= THRESHOLD[n] and worst <= 0
            failures += not passed
            trained = f"{p.gamma:>8.3f} {p.mu:>6.3f} {p.beta:>8.1f}"
            result = f"{L:>9.2f} {THRESHOLD[n]:>10} {worst:>10.2f}  {'passed' if passed else 'FAILED'}"
            tqdm.write(f"{n:>6} {gamma:>6} {trained} {result}")
    print(f"{len(THRESHOLD) * len(STARTS) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
