"""Another unit of energy or of length, and another frame, change the numbers of a result and nothing else.

Units that are powers of two are exact: there every step is the same to the last bit. Others agree to rounding.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial
from rounding import rounding

import mepmeta as mm
from mepmeta.magnets.exchange import damped

SPHERES = mm.Spheres()
exponents = st.integers(-99, 99)
decades = st.floats(-30, 30)
few = settings(max_examples=5)


def chain(c, turn=None):
    """Four spins with all kinds of interactions; no symmetry but the one that turns all of it."""
    a, b, d = np.eye(3) if turn is None else turn
    bonds, easy = [mm.Bond((1,), 0.5 * c, 0.1 * c * d)], c * jnp.array([1.0, 1.2, 0.9, 1.05])
    return mm.Heisenberg((4,), bonds, [(easy, a), (-0.7 * c, d)], field=0.05 * c * b, periodic=False)


def _landscape(c, a, x):
    """Two wells with a curved way between them and a stiff direction across."""
    x, y = x[0] / a, x[1] / a
    return c * ((x**2 - 1) ** 2 + 0.3 * x + 8 * (y - 0.4 * x**2) ** 2)


def landscape(c, a):
    return Partial(_landscape, jnp.asarray(float(c)), jnp.asarray(float(a)))


def along(direction, n=4):
    return mm.ferromagnet((n,), direction)


@cache
def search(c, a=None, method=None, **options):
    if a is None:
        energy, ends, geometry = chain(c), (along((1, 0, 0)), along((-1, 0, 0))), SPHERES
    else:
        energy, ends, geometry = landscape(c, a), (jnp.array([-1.0, 0.5]) * a, jnp.array([1.0, 0.4]) * a), mm.Flat()
    return mm.find_mep(energy, *ends, geometry=geometry, method=method, progress=False, n_images=9, **options)


def agrees(r, one, c, a, rtol):
    """The result r in units c and a is the result ``one`` in units of one; rtol 0 asks for equal bits."""
    same = np.testing.assert_array_equal if rtol == 0 else partial_close(rtol)
    assert r.converged == one.converged and r.steps == one.steps and r.zero_modes == one.zero_modes
    same(r.barrier / c, one.barrier)
    same(r.reverse_barrier / c, one.reverse_barrier)
    same(np.asarray(r.path) / a, np.asarray(one.path))
    same(r.eigenvalues / (c / a**2), one.eigenvalues)
    assert [p.index for p in r.points] == [p.index for p in one.points]
    assert r.methods == one.methods


def partial_close(rtol):
    return lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


@few
@given(exponents)
def test_find_mep_on_spheres_in_other_units_of_energy(k):
    r, one = search(2.0**k), search(1.0)
    assert one.converged and r.evaluations == one.evaluations and r.message == one.message
    agrees(r, one, 2.0**k, 1.0, 0)


@few
@given(decades)
def test_find_mep_on_spheres_to_rounding(d):
    agrees(search(10.0**d), search(1.0), 10.0**d, 1.0, 1e-6)


@few
@given(exponents, exponents)
def test_find_mep_in_flat_space_in_other_units(k, m):
    r, one = search(2.0**k, 2.0**m), search(1.0, 1.0)
    assert one.converged and r.evaluations == one.evaluations
    agrees(r, one, 2.0**k, 2.0**m, 0)


@few
@given(decades, decades)
def test_find_mep_in_flat_space_to_rounding(d, e):
    agrees(search(10.0**d, 10.0**e), search(1.0, 1.0), 10.0**d, 10.0**e, 1e-6)


@pytest.mark.parametrize("c, a", [(2.0**-70, 2.0**40), (2.0**60, 2.0**-80)])
def test_every_method_takes_the_same_steps_in_other_units(method, c, a):
    options = {"max_steps": 60, "fallback": None, "relax_endpoints": False}
    # Weights of a network cannot be a key of what was computed before.
    r, one = (search.__wrapped__(*units, method, **options) for units in ((c, a), (1.0, 1.0)))
    assert r.steps == one.steps > 3
    np.testing.assert_array_equal(r.history / [c / a, c], one.history)


def test_absolute_tolerances_are_forces_in_the_units_of_the_energy():
    c, a = 2.0**-66, 2.0**17
    loose, one = search(c, a, tol=1.0 * c / a), search(1.0, 1.0, tol=1.0)
    assert loose.evaluations == one.evaluations < search(1.0, 1.0).evaluations
    assert loose.residual * a / c == pytest.approx(one.residual, rel=1e-6) and 1e-3 < one.residual <= 1.0


@few
@given(exponents, exponents, st.booleans())
def test_relax(k, m, on_the_saddle):
    """From a slope, and from a saddle, where only the energy says what a length is."""

    def run(c, a):
        x = jnp.array([0.037370129, 0.000558610]) if on_the_saddle else jnp.array([0.7, 0.9])
        return mm.relax(landscape(c, a), x * a)

    r, one, c, a = run(2.0**k, 2.0**m), run(1.0, 1.0), 2.0**k, 2.0**m
    assert one.converged and r.message == one.message and r.evaluations == one.evaluations and r.kicks == one.kicks
    np.testing.assert_array_equal(r.state / a, one.state)
    np.testing.assert_array_equal(r.modes.values * (a**2 / c), one.modes.values)
    assert r.energy / c == one.energy and r.moved / a == one.moved


@few
@given(decades, decades)
def test_find_saddles(d, e):
    """An egg-box: the four saddles around a minimum that lies at the origin, where no coordinate is a length."""

    def box(c, a, x):
        return -c * (jnp.cos(x[0] / a) + 1.3 * jnp.cos(x[1] / a))

    c, a = 10.0**d, 10.0**e
    found = mm.find_saddles(Partial(box, jnp.asarray(c), jnp.asarray(a)), jnp.zeros(2), progress=False)
    np.testing.assert_allclose([s.barrier / c for s in found], [2.0, 2.0, 2.6, 2.6], rtol=1e-9)
    assert all(s.connected for s in found)
    np.testing.assert_allclose(np.abs([s.state / a for s in found]).max(axis=1), np.pi, rtol=1e-7)


@few
@given(exponents, exponents)
def test_lowest_modes_and_hessian(k, m):
    c, a, x = 2.0**k, 2.0**m, jnp.array([0.3, -0.2])
    modes, one = mm.lowest_modes(landscape(c, a), x * a), mm.lowest_modes(landscape(1.0, 1.0), x)
    np.testing.assert_allclose(modes.values * (a**2 / c), one.values, atol=rounding(float(np.abs(one.values).max())))
    assert modes.negative == one.negative and modes.zero == one.zero
    # Of either sign, and as far apart as the matrix times the inverse of the distance of its eigenvalues.
    np.testing.assert_allclose(np.abs(modes.vectors), np.abs(one.vectors), atol=rounding(10))
    H = mm.hessian(landscape(c, a), x * a).toarray() * (a**2 / c)
    np.testing.assert_array_equal(H, mm.hessian(landscape(1.0, 1.0), x).toarray())


@few
@given(decades, st.booleans())
def test_rates_scale_with_the_unit_of_energy(d, circle):
    """Times are in units of mu/gamma over the energy; a saddle that is a circle has a power of the temperature, too."""
    c = 10.0**d

    def rate(c):
        axes = [(c, (0, 0, 1))] if circle else [(c, (0, 0, 1)), (-0.5 * c, (0, 1, 0))]
        spin = mm.Heisenberg((1,), anisotropy=axes)
        return mm.transition_rate(spin, along((0, 0, 1), 1), along((1, 0, 0), 1), damping=0.3)

    k, one = rate(c), rate(1.0)
    assert k.saddle_zero_modes == one.saddle_zero_modes and k.power == one.power
    assert float(k.rate(0.1 * c)) / c == pytest.approx(float(one.rate(0.1)), rel=1e-9)
    assert float(k.harmonic_rate(0.1 * c)) / c == pytest.approx(float(one.harmonic_rate(0.1)), rel=1e-9)
    assert float(k.lifetime(0.1 * c)) * c == pytest.approx(float(one.lifetime(0.1)), rel=1e-9)


@few
@given(exponents)
def test_training_with_parameters_in_stated_units(k):
    """gamma is 1/energy here, mu a number (raw springs of angles), beta 1/energy."""
    line = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 6)

    def train(c):
        start = mm.NEBParams(0.05 / c, 1.0, 3.0 / c)
        energy, sample = mm.single_spin(c, -2.0 * c), lambda key: mm.perturbed_path(key, line)
        return mm.train(
            jax.random.key(1), energy, sample, start, epochs=2, iterations=3, batch=8, reference=0.0, progress=False
        )

    c = 2.0**k
    (params, history), (one, first) = train(c), train(1.0)
    np.testing.assert_allclose(history.loss, first.loss, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([params.gamma * c, params.mu, params.beta * c], one, rtol=1e-9)


@few
@given(st.integers(0, 1000))
def test_turning_spins_axes_and_couplings_changes_nothing(seed):
    """Ends are antipodal: no axis of the coordinates may decide which way the spins turn."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    ends = along(turn[0]), along(-turn[0])
    r = mm.find_mep(chain(1.0, turn), *ends, geometry=SPHERES, n_images=9, progress=False)
    one = search(1.0)
    assert r.converged and r.barrier == pytest.approx(one.barrier, rel=1e-9)
    np.testing.assert_allclose(r.eigenvalues, one.eigenvalues, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(np.asarray(r.saddle) @ turn.T, one.saddle, atol=1e-6)


@jax.tree_util.register_pytree_node_class
class Elastic:
    """Sites in double wells on an elastic chain, which tells how stiff its short waves are."""

    def __init__(self, c, a):
        self.c, self.a = c, a

    def __call__(self, x):
        u = x / self.a
        return self.c * (jnp.sum((u**2 - 1) ** 2) / 4 + 2 * jnp.sum((u - jnp.roll(u, 1)) ** 2))

    def damped(self, v, mass):
        return damped(v, v.shape, [(1,)], [4 * self.c / self.a**2], mass, 0)

    def tree_flatten(self):
        return (self.c, self.a), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@pytest.mark.parametrize("c, a", [(2.0**50, 2.0**-20), (2.0**-70, 2.0**20), (1.0, 2.0**-40)])
def test_what_is_stiff_is_stiff_in_every_unit(c, a):
    """The mass beside an exchange in flat space is an energy over a squared length."""
    start = jnp.asarray(np.random.default_rng(0).uniform(0.2, 2, 16))
    one, found = (mm.relax(Elastic(jnp.asarray(u), jnp.asarray(b)), b * start, unit=b) for u, b in ((1.0, 1.0), (c, a)))
    assert one.converged and found.converged and found.evaluations == one.evaluations
    np.testing.assert_array_equal(found.state / a, one.state)
    plain = mm.relax(lambda x: Elastic(1.0, 1.0)(x), start, unit=1.0)
    assert one.evaluations < plain.evaluations
