"""The paper's spin: values known by hand, the Cartesian form of the energy, and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mepmeta as mm

angles = st.tuples(st.floats(-7, 7), st.floats(-7, 7)).map(jnp.array)
constants = st.floats(-5, 5)

value = jax.jit(lambda K1, K2, x: mm.single_spin(K1, K2)(x))
slopes = jax.jit(jax.grad(lambda K1, K2, x: mm.single_spin(K1, K2)(x), argnums=(0, 1, 2)))


@pytest.mark.parametrize(
    "state, expected",
    [
        ((0.0, 0.0), -1.0),  # the minima: along +x and -x
        ((0.0, np.pi), -1.0),
        ((0.0, np.pi / 2), 0.0),  # the saddles have energy 0, and not -K2 = 2 as printed
        ((0.0, -np.pi / 2), 0.0),
        ((np.pi / 2, 0.3), 2.0),  # -K2 is the energy of the poles, at any longitude
        ((-np.pi / 2, 2.1), 2.0),
    ],
)
def test_stationary_points(state, expected):
    x = jnp.array(state)
    E = mm.single_spin(K1=1.0, K2=-2.0)
    assert E(x) == pytest.approx(expected, abs=1e-15)
    assert jnp.abs(jax.grad(E)(x)).max() < 1e-15


def test_curvatures_decide_what_is_a_minimum_and_what_a_saddle():
    E = mm.single_spin(K1=1.0, K2=-2.0)
    curvatures = {phi: np.diag(jax.hessian(E)(jnp.array([0.0, phi]))) for phi in (0.0, np.pi / 2)}
    np.testing.assert_allclose(curvatures[0.0], [6, 2], atol=1e-12)  # 2 (K1 - K2) across the path, 2 K1 along it
    np.testing.assert_allclose(curvatures[np.pi / 2], [4, -2], atol=1e-12)


@given(angles, constants, constants)
def test_agrees_with_the_cartesian_form(x, K1, K2):
    S = mm.angles_to_spin(x)
    assert value(K1, K2, x) == pytest.approx(float(-K1 * S[0] ** 2 - K2 * S[2] ** 2), abs=1e-14)


@given(angles, constants, constants)
def test_derivatives_agree_with_finite_differences(x, K1, K2):
    by_K1, by_K2, by_x = slopes(K1, K2, x)
    h = 1e-5
    for axis in range(2):
        step = h * jnp.eye(2)[axis]
        difference = (value(K1, K2, x + step) - value(K1, K2, x - step)) / (2 * h)
        assert by_x[axis] == pytest.approx(float(difference), abs=1e-8)
    # linear in its constants, so the derivative is minus the squared component
    S = mm.angles_to_spin(x)
    assert by_K1 == pytest.approx(-(float(S[0]) ** 2), abs=1e-14)
    assert by_K2 == pytest.approx(-(float(S[2]) ** 2), abs=1e-14)


def test_constants_are_leaves():
    E = mm.single_spin(K1=3.0, K2=-0.5)
    assert jax.tree.leaves(E) == [3.0, -0.5]
    barrier_by_constants = jax.grad(lambda E: E(jnp.array([0.0, jnp.pi / 2])) - E(jnp.array([0.0, 0.0])))(E)
    assert jax.tree.leaves(barrier_by_constants) == pytest.approx([1.0, 0.0], abs=1e-15)  # the barrier is K1


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 2)])
def test_wrong_shape_is_refused_in_words(shape):
    with pytest.raises(ValueError, match=r"one state \(theta, phi\) of shape \(2,\)"):
        mm.single_spin()(jnp.zeros(shape))
