"""Energies as the programs that they are now: numbers may change, and one text is compiled once."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rounding import rounding

import mepmeta as mm
from mepmeta._trace import by_shapes, traced

STATE = jax.ShapeDtypeStruct((3,), jnp.float64)
X = jnp.array([0.3, -0.2, 0.7])


def double_well(height, tilt):
    half = 0.5 * height

    def well(x):
        return half * jnp.sum((x**2 - 1) ** 2)

    return lambda x, *, offset=1.5: well(x) - tilt * jnp.sum(x) + offset


def structure(energy):
    return jax.tree.structure(traced(energy, STATE))


def test_functions_of_one_text_are_one_program_whatever_their_numbers():
    one, other = double_well(1.0, 0.1), double_well(2.5, -0.3)
    assert structure(one) == structure(other)
    for energy in (one, other):
        assert traced(energy, STATE)(X) == pytest.approx(float(energy(X)), abs=rounding(3, 10))
    assert structure(one) != structure(lambda x: jnp.sum(x))
    np_number = np.float64(0.3)
    assert traced(lambda x: np_number * jnp.sum(x), STATE)(X) == pytest.approx(0.3 * 0.8, abs=rounding(3, 10))


def test_a_second_search_compiles_nothing_and_has_its_own_barrier(caplog):
    start, end = -jnp.ones(3), jnp.array([1.0, -1.0, -1.0])
    first = mm.find_mep(double_well(1.0, 0.0), start, end, progress=False)
    with jax.log_compiles():
        second = mm.find_mep(double_well(3.0, 0.0), start, end, progress=False)
    assert not [r for r in caplog.records if "XLA compilation" in r.getMessage()]
    assert (first.barrier, second.barrier) == (pytest.approx(0.5, abs=1e-9), pytest.approx(1.5, abs=1e-9))


def test_a_number_that_changes_between_calls_counts():
    height = 1.0

    def energy(x):
        return height * jnp.sum((x**2 - 1) ** 2)

    start, end = -jnp.ones(1), jnp.ones(1)
    assert mm.find_mep(energy, start, end, progress=False).barrier == pytest.approx(1, abs=1e-9)
    height = 2.0
    assert mm.find_mep(energy, start, end, progress=False).barrier == pytest.approx(2, abs=1e-9)


def counting(count):
    def energy(x):
        nonlocal count
        count = count + 1.0
        return count * jnp.sum(x)

    return energy


def recursive(J):
    def energy(x, depth=2):
        return J * jnp.sum(x) + (energy(x, depth - 1) if depth else 0.0)

    return energy


def with_an_empty_cell(J):
    if J < 0:
        never = 1.0
    return lambda x: J * jnp.sum(x) if J > 0 else never


def known_numbers(J=0.5):
    power = 2.0
    remembered = functools.lru_cache(lambda: J)
    return {
        "exponent": lambda x: jnp.sum(jnp.abs(x) ** power),
        "choice": lambda x: jnp.sum(x) if J > 0 else -jnp.sum(x),
        "python": lambda x: math.sqrt(J) * jnp.sum(x),
        "numpy": lambda x: np.sin(J) * jnp.sum(x),
        "loop": lambda x: sum(jnp.sum(x) for _ in range(int(4 * J))),
        "cached": lambda x: remembered() * jnp.sum(x),
        "method": mm.Flat().sizes,
        "jitted": jax.jit(lambda x: J * jnp.sum(x)),
        "counting": counting(0.5),
        "recursive": recursive(0.5),
        "empty": with_an_empty_cell(0.5),
    }


@pytest.mark.parametrize("name", known_numbers())
def test_where_a_number_has_to_be_known_it_is(name):
    energy, again = known_numbers()[name], known_numbers()[name]
    assert traced(energy, STATE)(X) == pytest.approx(float(again(X)), abs=rounding(3, 10))


def test_a_known_exponent_keeps_its_derivatives_at_zero():
    power = 2.0
    energy = traced(lambda x: jnp.sum(x**power), STATE)
    np.testing.assert_array_equal(jax.hessian(energy)(jnp.zeros(3)), 2 * np.eye(3))


def test_derivatives_by_a_number_that_is_closed_over():
    def barrier(height):
        return mm.find_mep(double_well(height, 0.0), -jnp.ones(1), jnp.ones(1), progress=False).barrier

    assert jax.grad(barrier)(1.3) == pytest.approx(0.5, rel=1e-8)


@pytest.mark.parametrize("J", [1e-30, 1.0, 1e30])
def test_in_any_unit(J):
    r = mm.find_mep(lambda x: J * jnp.sum((x**2 - 1) ** 2), -jnp.ones(1), jnp.ones(1), progress=False)
    assert r.converged and r.barrier == pytest.approx(J, rel=1e-9)


def test_what_hangs_on_shapes_is_computed_once_for_all_numbers():
    calls = []

    @by_shapes
    def looked_at(energy, x):
        calls.append(energy)
        return len(calls)

    def energy(c, x):
        return jnp.sum(c * x**2)

    x = jnp.zeros(3)
    assert [looked_at(Partial(energy, c), x) for c in (1.0, 2.0, 3.0)] == [1, 1, 1]
    assert looked_at(Partial(energy, jnp.ones(3)), x) == 2  # another shape
    assert looked_at(Partial(energy, 1.0), jnp.zeros(4)) == 3  # of a state, too
    assert looked_at(Partial(energy, jnp.float32(1.0)), x) == 4  # another kind
    assert looked_at(Partial(lambda c, x: c * jnp.sum(x), 1.0), x) == 5  # another program
    assert looked_at(energy, x) == 6 and looked_at(energy, x) == 7  # of a plain function nothing is known
