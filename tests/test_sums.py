"""Sums of energies: they are what their parts add up to, and tell what these tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import rounding

import mepmeta as mm

SHAPE = (4, 3)
BONDS = mm.nearest_neighbours("square", J=1.0, D=0.4)
WHOLE = mm.Heisenberg(SHAPE, BONDS, anisotropy=[(0.3, (0, 0, 1))], field=(0.1, 0, 0.2))
EXCHANGE, REST = (
    mm.Heisenberg(SHAPE, BONDS),
    mm.Heisenberg(SHAPE, anisotropy=[(0.3, (0, 0, 1))], field=(0.1, 0, 0.2)),
)


def state(seed, shape=SHAPE):
    S = np.random.default_rng(seed).normal(size=(*shape, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def tilt(S):
    return -0.25 * jnp.sum(S[..., 1])


@given(st.integers(0, 500))
@settings(max_examples=10)
def test_a_sum_has_the_energy_and_the_derivatives_of_its_parts(seed):
    S, v = state(seed), state(seed + 1)
    for total in (EXCHANGE + REST, mm.Sum(EXCHANGE, REST), mm.Sum(mm.Sum(REST), EXCHANGE)):
        assert total(S) == pytest.approx(float(WHOLE(S)), abs=rounding(30, 12))
        np.testing.assert_allclose(jax.grad(total)(S), jax.grad(WHOLE)(S), atol=rounding(10))
        np.testing.assert_allclose(
            jax.jvp(jax.grad(total), (S,), (v,))[1], jax.jvp(jax.grad(WHOLE), (S,), (v,))[1], atol=rounding(10)
        )
        first = total.component_first()(jnp.moveaxis(S, -1, 0))
        assert first == pytest.approx(float(WHOLE(S)), abs=rounding(30, 12))


def test_a_sum_of_magnets_has_their_sparse_hessian():
    S = state(3)
    sparse = mm.hessian(EXCHANGE + REST, S, geometry=mm.Spheres())
    np.testing.assert_allclose(
        sparse.toarray(), mm.hessian(WHOLE, S, geometry=mm.Spheres()).toarray(), atol=rounding(10)
    )
    assert sparse.nnz < sparse.shape[0] ** 2
    assert (EXCHANGE + REST).translations == (0, 1) and (EXCHANGE + REST).shape == SHAPE


def test_a_sum_tells_what_its_parts_tell():
    total = EXCHANGE + tilt
    assert isinstance(tilt + EXCHANGE, mm.Sum) and hasattr(total, "component_first") and hasattr(total, "damped")
    assert not hasattr(total, "pairs") and not hasattr(total, "live") and total.translations == ()
    assert hasattr(total, "rough_pairs")
    plain = mm.Sum(tilt, tilt)
    for name in ("component_first", "pairs", "rough_pairs", "live", "damped", "shape"):
        assert not hasattr(plain, name)
    open_end = mm.Heisenberg(SHAPE, BONDS, periodic=(True, False))
    assert (WHOLE + open_end).translations == (0,)


def test_a_site_is_alive_where_any_part_acts():
    K = np.zeros(SHAPE)
    K[0, 0] = 1.0
    b = np.zeros((*SHAPE, 3))
    b[1, 2] = 0.5
    total = mm.Heisenberg(SHAPE, anisotropy=[(K, (0, 0, 1))]) + mm.Heisenberg(SHAPE, field=b)
    expected = np.zeros(SHAPE, bool)
    expected[[0, 1], [0, 2]] = True
    np.testing.assert_array_equal(total.live(), expected)


def test_a_plain_function_is_a_part_in_every_search():
    H = mm.Heisenberg((1,), anisotropy=[(1.0, (0, 0, 1))])
    field = 0.5
    up, down = jnp.array([[0.0, 0.0, 1.0]]), jnp.array([[0.0, 0.0, -1.0]])
    r = mm.find_mep(H + (lambda S: -field * jnp.sum(S[..., 2])), up, down, geometry=mm.Spheres(), progress=False)
    # Stoner and Wohlfarth: the barrier is K (1 + b/2K)^2
    assert r.converged and r.barrier == pytest.approx((1 + field / 2) ** 2, rel=1e-9)
    assert r.reverse_barrier == pytest.approx((1 - field / 2) ** 2, rel=1e-9)
    x = jnp.array([0.2, 0.1])
    flat = mm.Sum(mm.single_spin(), lambda x: jnp.sum(x**2))
    assert flat(x) == pytest.approx(float(mm.single_spin()(x)) + 0.05, abs=rounding(3))
    assert mm.relax(flat, x).state == pytest.approx(np.zeros(2), abs=1e-5)


def test_a_sum_is_a_pytree_of_its_parts():
    S = state(5)
    slope = jax.jit(jax.grad(lambda E: E(S)))(EXCHANGE + REST)
    assert slope.parts[1].field == pytest.approx(-np.asarray(S).sum(axis=(0, 1)), abs=rounding(12))
    assert jax.jit(lambda E: E(S))(EXCHANGE + tilt) == pytest.approx(float(EXCHANGE(S) + tilt(S)), abs=rounding(30, 12))

    def barrier(K):
        one = mm.Heisenberg((1,), anisotropy=[(K, (1, 0, 0))]) + mm.Heisenberg((1,), anisotropy=[(-2.0, (0, 0, 1))])
        x = jnp.array([[1.0, 0.0, 0.0]])
        return mm.find_mep(one, x, -x, geometry=mm.Spheres(), progress=False).barrier

    assert jax.grad(barrier)(1.0) == pytest.approx(1, abs=1e-6)


def test_single_precision_stays():
    S = state(7).astype(jnp.float32)
    assert (EXCHANGE + REST)(S).dtype == jnp.float32
    assert jax.grad(EXCHANGE + tilt)(S).dtype == jnp.float32


def test_bad_sums_are_refused_in_words():
    with pytest.raises(ValueError, match="one shape"):
        EXCHANGE + mm.Heisenberg((3, 3))
    with pytest.raises(ValueError, match="one shape"):
        mm.Sum()
    with pytest.raises(ValueError, match="callables"):
        EXCHANGE + 1.0
    # An iterator that is at its end inside a part is a mistake, not the end of the sum.
    with pytest.raises(ValueError, match="StopIteration"):
        mm.curvature_scale(mm.Sum(tilt, lambda S: next(iter(()))), state(1), geometry=mm.Spheres())
    with pytest.raises(ValueError, match="takes a state of shape"):
        mm.lowest_modes(EXCHANGE + tilt, state(1, (3, 3)), geometry=mm.Spheres())
