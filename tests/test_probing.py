"""Hessians of local energies that tell nothing about themselves, against those of energies that do."""

import jax.numpy as jnp
import numpy as np
import pytest

import mepmeta as mm
from mepmeta.spectra.probing import probed

SPHERES = mm.Spheres()


def local_matrix(shape, reach, seed=0):
    """A symmetric matrix on a lattice that closes on itself, of entries up to ``reach`` cells apart along each axis."""
    N = int(np.prod(shape))
    cells = np.array(list(np.ndindex(shape)))
    apart = np.abs(cells[:, None] - cells[None])
    near = np.all(np.minimum(apart, np.array(shape) - apart) <= reach, axis=-1)
    H = np.random.default_rng(seed).normal(size=(2 * N, 2 * N)) * np.tile(near, (2, 2))
    return H + H.T


@pytest.mark.parametrize("shape", [(40,), (7, 11), (12, 6), (5, 4, 2), (3, 3), (10, 9, 2)])
@pytest.mark.parametrize("reach", [1, 2])
def test_a_local_matrix_is_found_from_few_products(shape, reach):
    H, count = local_matrix(shape, reach), []
    found = probed(lambda v: count.append(1) or H @ v, shape, 1e-16)
    np.testing.assert_allclose(found.toarray(), H, atol=1e-11)
    if shape == (40,):
        assert len(count) <= 20 and found.nnz == 2 * 80 * (2 * reach + 1)


def test_what_acts_far_is_not_local():
    H = local_matrix((40,), 1)
    H[0, 17] = H[17, 0] = 0.1
    assert probed(lambda v: H @ v, (40,), 1e-16) is None


def test_a_large_film_with_cubic_anisotropy_has_a_rate():
    """All spins turn together from z to x: eigenvalues 4K, and -4K and 2K at the saddle, each with every wave."""
    n, J, K = 46, 1.0, 0.002
    film = mm.Heisenberg((n, n), mm.nearest_neighbours("square", J))

    def energy(S):
        return film(S) - K * jnp.sum(S**4)

    minimum, saddle = mm.ferromagnet((n, n)), mm.ferromagnet((n, n), (1, 0, 1))
    H = mm.hessian(energy, saddle, geometry=SPHERES)
    assert H.nnz < 20 * 2 * n * n
    k = mm.transition_rate(energy, minimum, saddle, damping=0.3)
    q = 2 * np.pi * np.fft.fftfreq(n)
    f = 2 * J * (2 - np.cos(q)[:, None] - np.cos(q)[None])
    entropy = np.sum(2 * np.log(f + 4 * K) - np.log(np.abs(f - 4 * K)) - np.log(f + 2 * K)) / 2
    assert k.barrier == pytest.approx(n * n * K / 2, rel=1e-9) and k.log_entropy == pytest.approx(entropy, rel=1e-7)
    a, b = 1 + 0.3**2, 0.3 * (2 * K - 4 * K)  # (1 + a^2) rate^2 + a (h1 + h2) rate + h1 h2 = 0
    assert k.dynamical == pytest.approx((-b + np.sqrt(b**2 + 4 * a * 8 * K**2)) / (2 * a), rel=1e-7)
    assert k.harmonic == pytest.approx(np.sqrt(8) * K, rel=1e-7)


def test_a_large_magnet_that_is_not_local_is_refused_in_words():
    up = mm.ferromagnet((46, 46), (1, 0, 1))
    with pytest.raises(ValueError, match="dense Hessian of 4232 .* acts over more than 4 cells"):
        mm.hessian(lambda S: -(jnp.sum(S[..., 2]) ** 2) - jnp.sum(S[..., 2] ** 2), up, geometry=SPHERES)
    with pytest.raises(ValueError, match=r"dense Hessian of 5000 .* has no pairs"):
        mm.hessian(lambda x: jnp.sum(x**2), jnp.ones(5000))
