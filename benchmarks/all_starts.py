"""Training from every start: 8 to 14 images times five step sizes, 200 epochs each.

For each the table shows the trained metaparameters, the mean loss on 4000 fresh paths with its standard error and the
threshold it has to reach, and the worst loss at the end of an epoch after the tenth, which has to stay below zero.
"""

import sys
from functools import partial

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mepmeta as mm  # noqa: E402
from mepmeta.loss import log_overestimates, losses  # noqa: E402

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
IMAGES = range(8, 15)
STARTS = (0.002, 0.01, 0.03, 0.05, 0.1)
FRESH = 4000


def threshold(images):
    return -2.9 if images <= 11 else -2.75


def sampler(images):
    mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), images)
    return lambda key: mm.perturbed_path(key, mep)


@partial(jax.jit, static_argnums=0)
def fresh_losses(sample, params):
    paths = jax.vmap(sample)(jax.random.split(jax.random.key(2024), FRESH))
    before = log_overestimates(ENERGY, paths, 0.0, mm.Flat())
    return losses(ENERGY, paths, before, params, 5, 0.0)


def main():
    print("images  start     gamma     mu   beta     fresh loss        limit  worst after 10  verdict")
    failures, bar = 0, tqdm(total=len(IMAGES) * len(STARTS), desc="trainings")
    for images in IMAGES:
        sample = sampler(images)
        for gamma in STARTS:
            params, history = mm.train(
                jax.random.key(images), ENERGY, sample, mm.NEBParams(gamma), reference=0.0, progress=False
            )
            L = fresh_losses(sample, params)
            worst = history.test_loss[10:].max()
            passed = bool(L.mean() <= threshold(images) and worst <= 0)
            failures += not passed
            bar.update()
            row = f"{images:6d}  {gamma:5.3f}  {params.gamma:8.4f} {params.mu:6.3f} {params.beta:6.2f}"
            row += f"  {L.mean():8.3f} +- {L.std() / FRESH**0.5:.3f}  {threshold(images):7.2f}  {worst:14.3f}"
            tqdm.write(row + ("  pass" if passed else "  FAIL"), file=sys.stdout)
            sys.stdout.flush()
    bar.close()
    print(f"{failures} of {len(IMAGES) * len(STARTS)} failed, target 0")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
