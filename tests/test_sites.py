"""Magnets whose sites are not alike: moments of their own, pinned spins, vacancies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2

import mepmeta as mm

SPHERES = mm.Spheres()
QUIET = {"progress": False}
#: Neighbours on the honeycomb lattice, two atoms in a cell: from the first to the second.
HONEYCOMB = ((0, 0, 1), (-1, 0, 1), (0, -1, 1))


def two_sublattices(J=-1.0, staggered=0.2, D=0.1):
    """A honeycomb magnet of 3x3 cells with an easy axis z and a hard axis y, in a field that the saddle tilts in."""
    angles = np.radians([30, 150, 270])
    bonds = [mm.Bond(o, J, (D * np.sin(a), -D * np.cos(a), 0.0)) for o, a in zip(HONEYCOMB, angles, strict=True)]
    K = jnp.broadcast_to(jnp.array([0.3, 0.3 + staggered]), (3, 3, 2))
    return mm.Heisenberg((3, 3, 2), bonds, [(K, (0, 0, 1)), (-0.25, (0, 1, 0))], periodic=(True, True, False))


def turned_over(energy, sign):
    """The minimum along z with the second atoms along ``sign`` z, and the saddle where all have turned to x."""
    signs = jnp.array([1.0, sign])[:, None]
    minimum, side = (signs * mm.ferromagnet((3, 3, 2), d) for d in ((0, 0, 1), (1, 0, 0)))
    return minimum, side


def dense_hessian(energy, x):
    """The Hessian in the plane across every spin, by JAX's second derivatives and another basis; rows spin by spin."""
    x = np.asarray(x).reshape(-1, 3)
    H = np.asarray(jax.hessian(lambda v: energy(v.reshape(3, 3, 2, 3)))(jnp.ravel(x)))
    slope = np.asarray(jax.grad(lambda v: energy(v.reshape(3, 3, 2, 3)))(jnp.ravel(x))).reshape(-1, 3)
    B, turn = np.zeros((x.size, 2 * len(x))), np.zeros((2 * len(x),) * 2)
    for i, S in enumerate(x):
        first = np.cross(S, [0.3, -0.5, 0.8])
        first /= np.linalg.norm(first)
        B[3 * i : 3 * i + 3, 2 * i : 2 * i + 2] = np.stack([first, np.cross(S, first)], axis=1)
        turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[0, -1], [1, 0]]  # S x v
    H = H - np.kron(np.diag(np.sum(slope * x, axis=1)), np.eye(3))
    return B.T @ H @ B, turn


@pytest.mark.parametrize("J, sign, moments", [(-1.0, -1, (1.0, 1.0)), (-1.0, -1, (2.3, 0.8)), (2.0, 1, (0.6, 1.9))])
@pytest.mark.parametrize("damping", [0.0, 0.2, 1.5])
def test_langers_rate_of_unequal_moments(J, sign, moments, damping):
    """Antiferromagnet, ferrimagnet, ferromagnet, against all eigenvalues of the linearised equation of motion."""
    energy = two_sublattices(J)
    minimum, saddle = turned_over(energy, sign)
    k = mm.transition_rate(energy, minimum, saddle, damping=damping, moments=np.array(moments))
    H0, _ = dense_hessian(energy, minimum)
    H, turn = dense_hessian(energy, saddle)
    m = np.repeat(np.tile(moments, 9), 2)
    motion = (turn - damping * np.eye(m.size)) @ (H / m[:, None]) / (1 + damping**2)
    spectrum = np.linalg.eigvals(motion)
    growing = spectrum[(spectrum.real > 1e-6) & (np.abs(spectrum.imag) < 1e-6)].real
    assert growing.size == 1 and k.dynamical == pytest.approx(growing[0], rel=1e-10)
    values, vectors = np.linalg.eigh(H)
    b = turn @ vectors[:, 0] / m
    assert values[0] < 0 < values[1] and k.harmonic == pytest.approx(np.sqrt(-values[0] * (b @ H @ b)), rel=1e-10)
    entropy = (np.linalg.slogdet(H0)[1] - np.linalg.slogdet(H)[1]) / 2
    assert k.log_entropy == pytest.approx(entropy, rel=1e-10)


@pytest.mark.parametrize("m, damping", [(0.01, 0.3), (7.0, 0.0), (130.0, 2.0), (1e-250, 0.3), (1e250, 0.3)])
def test_equal_moments_are_another_unit_of_time(m, damping):
    energy = two_sublattices()
    one, other = (
        mm.transition_rate(energy, *turned_over(energy, -1), damping=damping, moments=moments)
        for moments in (1.0, np.full((3, 3, 2), m))
    )
    assert other.dynamical * m == pytest.approx(one.dynamical, rel=1e-11)
    assert other.harmonic * m == pytest.approx(one.harmonic, rel=1e-12)
    assert (other.log_entropy, other.barrier) == (one.log_entropy, one.barrier)


@pytest.mark.parametrize("moments", [(1.0, 1.0), (0.4, 1.6)])
def test_two_rigid_spins_turn_over_a_circle_as_one_of_their_sum(moments):
    """Brown's rate: the saddle has a zero mode, and the pair the moment and the anisotropy of both."""
    K, damping = 0.5, 0.3
    pair = mm.Heisenberg((2,), [mm.Bond((1,), 1e4)], [(K, (0, 0, 1))], periodic=False)
    ends = mm.ferromagnet((2,)), mm.ferromagnet((2,), (1, 0, 0))
    k = mm.transition_rate(pair, *ends, damping=damping, moments=np.array(moments))
    assert k.saddle_zero_modes == ("rotation about (0, 0, 1)",)
    assert k.dynamical == pytest.approx(2 * K * damping / (1 + damping**2), rel=1e-3)  # but for K/J
    assert k.rate(0.1) == pytest.approx(k.dynamical * np.sqrt(2 * K / np.pi / 0.1) * np.exp(-2 * K / 0.1), rel=1e-3)


def random_spins(seed, shape):
    S = np.random.default_rng(seed).normal(size=(*shape, 3))
    return jnp.asarray(S / np.linalg.norm(S, axis=-1, keepdims=True))


def test_trajectories_of_equal_moments_are_those_of_another_step():
    energy, start = two_sublattices(), random_spins(0, (4, 3, 3, 2))
    run = {"temperature": 0.3, "damping": 0.2, "steps": 100, **QUIET}
    slow = mm.simulate(jax.random.key(1), energy, start, dt=0.08, moments=jnp.full((2,), 4.0), **run)
    fast = mm.simulate(jax.random.key(1), energy, start, dt=0.02, **run)
    assert jnp.array_equal(slow.states, fast.states) and slow.time == pytest.approx(4 * fast.time)


def test_every_spin_precesses_by_its_own_moment():
    moments, b, t = np.array([1.0, 0.4, 2.5]), 0.7, 2.0
    field, start = mm.Heisenberg((3,), field=(0, 0, b)), mm.ferromagnet((3,), (1, 0, 0))[None]
    run = {"temperature": 0.0, "dt": 0.001, "steps": 2000, **QUIET}
    end = mm.simulate(jax.random.key(0), field, start, damping=0.0, moments=moments, **run).states[0]
    turned = np.stack([np.cos(b * t / moments), np.sin(b * t / moments), 0 * moments], axis=1)
    np.testing.assert_allclose(end, turned, atol=1e-6)  # of the midpoint rule
    end = mm.simulate(jax.random.key(0), field, start, damping=0.4, moments=moments, **run).states[0]
    np.testing.assert_allclose(end[:, 2], np.tanh(0.4 * b * t / moments / (1 + 0.4**2)), atol=1e-6)


def test_averages_do_not_depend_on_moments():
    """The relative angle of two coupled spins, p(u) ~ exp(J u / T); each by itself points anywhere."""
    n, J, temperature, edges = 4000, -1.0, 0.6, np.linspace(-1, 1, 17)
    pair = mm.Heisenberg((2,), [mm.Bond((1,), J)], periodic=False)
    end = mm.simulate(
        jax.random.key(7), pair, jnp.tile(mm.ferromagnet((2,)), (n, 1, 1)), temperature=temperature, damping=0.5,
        dt=0.04, steps=900, moments=np.array([0.5, 2.0]), **QUIET,
    ).states  # fmt: skip
    angle = [quad(lambda u: np.exp(J * u / temperature), *ends)[0] for ends in zip(edges[:-1], edges[1:], strict=True)]
    for seen, parts in [
        (jnp.sum(end[:, 0] * end[:, 1], axis=-1), np.array(angle)),
        (end[:, 0, 2], np.diff(edges)),
        (end[:, 1, 2], np.diff(edges)),
    ]:
        expected = n * parts / parts.sum()
        statistic = np.sum((np.histogram(np.asarray(seen), edges)[0] - expected) ** 2 / expected)
        assert statistic < chi2.isf(1e-6, edges.size - 2)  # once in a million by chance


def test_escapes_of_a_heavier_spin_are_rarer_by_its_moment():
    """The exact rate of one spin, in another unit of time."""
    spin, temperature = mm.Heisenberg((2,), anisotropy=[(1.0, (0, 0, 1))]), 0.2

    def core(S):
        return jnp.where(jnp.abs(S[0, 2]) > 0.8, jnp.sign(S[0, 2]).astype(jnp.int32), 0)

    start = jnp.tile(mm.ferromagnet((2,)), (512, 1, 1))
    found = mm.count_escapes(
        jax.random.key(3), spin, start, core, temperature=temperature, damping=0.5, dt=0.05, steps=4000,
        moments=np.array([2.0, 0.7]), **QUIET,
    )  # fmt: skip
    exact = mm.relaxation_rates(mm.Heisenberg((1,), anisotropy=[(1.0, (0, 0, 1))]), temperature, 0.5)[0] / 2 / 2.0
    assert found.count > 200 and found.rate == pytest.approx(exact, rel=0.05 + 5 / found.count**0.5)


def test_bad_moments_are_refused():
    energy = two_sublattices()
    ends = turned_over(energy, -1)
    for moments in (0.0, -1.0, np.inf, np.nan, np.array([1.0, 0.0])):
        with pytest.raises(ValueError, match="moments must be finite numbers > 0"):
            mm.transition_rate(energy, *ends, damping=0.1, moments=moments)
    run = {"temperature": 0.1, "damping": 0.1, "dt": 0.01, "steps": 5, **QUIET}
    with pytest.raises(ValueError, match=r"over the sites \(3, 3, 2\), got \(3,\)"):
        mm.simulate(jax.random.key(0), energy, ends[0][None], moments=np.ones(3), **run)
    with pytest.raises(ValueError, match="over the least moment"):
        mm.simulate(jax.random.key(0), energy, ends[0][None], moments=1e-3, **run)


# Pinned spins


def pinned_wall(n=14, J=1.0, K=0.15, tilt=0.0):
    """A chain with a wall whose two spins at each end are held, and the chain between them in the fields of these.

    The second one is written by hand: what it lacks is a constant.
    """
    bonds, axes = [mm.Bond((1,), J, (0.0, 0.05, 0.1)), mm.Bond((2,), 0.2)], [(K, (0, 0, 1)), (-0.05, (0, 1, 0))]
    field = jnp.array([0.02, 0.0, 0.01 + tilt])
    whole = mm.Heisenberg((n,), bonds, axes, field, periodic=False)
    ends = np.isin(np.arange(n), (0, 1, n - 2, n - 1))
    wall = mm.domain_wall((n,), center=n / 2 - 2.3, width=1.5)
    inner = np.tile(np.asarray(field), (n - 4, 1))
    for bond in whole.bonds:
        (step,), D = bond.offset, np.zeros(3) if bond.D is None else np.asarray(bond.D)
        for i in range(n - step):
            S, T = np.asarray(wall[i]), np.asarray(wall[i + step])
            if ends[i] and not ends[i + step]:
                inner[i + step - 2] += float(bond.J) * S + np.cross(D, S)  # D.(S x T) = T.(D x S)
            if ends[i + step] and not ends[i]:
                inner[i - 2] += float(bond.J) * T + np.cross(T, D)  # D.(S x T) = S.(T x D)
    by_hand = mm.Heisenberg((n - 4,), bonds, axes, jnp.asarray(inner), periodic=False)
    return whole, mm.pinned(whole, wall, ends), by_hand, wall, ends


def test_gradient_and_hessian_of_a_pinned_chain():
    whole, energy, by_hand, wall, ends = pinned_wall()
    a, b = (energy.placed(random_spins(k, (14,))) for k in range(2))
    slope = jax.grad(energy)(a)
    assert not np.any(slope[ends]) and energy.live().tolist() == (~ends).tolist()
    np.testing.assert_allclose(slope[~ends], jax.grad(whole)(a)[~ends], atol=1e-12)
    assert float(energy(a) - energy(b)) == pytest.approx(float(by_hand(a[~ends]) - by_hand(b[~ends])), abs=1e-11)
    first = energy.component_first()
    assert float(first(a.T)) == pytest.approx(float(energy(a)), abs=1e-12)
    live = np.tile(~ends, 2)
    H = mm.hessian(energy, a, geometry=SPHERES).toarray()
    np.testing.assert_allclose(H[live][:, live], mm.hessian(by_hand, a[~ends], geometry=SPHERES).toarray(), atol=1e-11)
    # Without pairs the same matrix is made of products.
    plain = mm.pinned(lambda S: whole(S), wall, ends)
    np.testing.assert_allclose(
        mm.hessian(plain, a, geometry=SPHERES).toarray()[live][:, live], H[live][:, live], atol=1e-11
    )
    assert not np.any(mm.hessian(plain, a, geometry=SPHERES).toarray()[~live])


def test_barrier_and_rate_between_pinned_ends_are_those_of_explicit_fields():
    """A wall that the ends hold apart: the spins between turn through +y or -y, and all over the hard axis."""
    _, energy, by_hand, wall, ends = pinned_wall()
    mirrored = jnp.where(ends[:, None], wall, wall * jnp.array([-1.0, 1.0, 1.0]))
    found, cut = [], []
    for start in (wall, mirrored):
        r = mm.relax(energy, start, geometry=SPHERES)
        assert r.converged
        np.testing.assert_allclose(r.state[ends], wall[ends], atol=1e-13)
        found.append(r.state), cut.append(r.state[~ends])
        assert mm.relax(by_hand, start[~ends], geometry=SPHERES).converged
    assert float(SPHERES.distance(*found)) > 0.5
    r = mm.find_mep(energy, *found, geometry=SPHERES, **QUIET)
    expected = mm.find_mep(by_hand, *cut, geometry=SPHERES, **QUIET)
    assert r.converged and expected.converged
    np.testing.assert_allclose(r.path[:, ends], jnp.broadcast_to(wall[ends], (len(r.path), 4, 3)), atol=1e-13)
    assert r.barrier == pytest.approx(expected.barrier, rel=1e-9)
    assert float(r.position[-1]) == pytest.approx(float(expected.position[-1]), rel=1e-3)
    np.testing.assert_allclose(r.eigenvalues, expected.eigenvalues[: r.eigenvalues.size], rtol=1e-6)
    np.testing.assert_allclose(
        mm.lowest_modes(energy, r.saddle, 6, geometry=SPHERES).values,
        mm.lowest_modes(by_hand, r.saddle[~ends], 6, geometry=SPHERES).values, rtol=1e-9, atol=1e-11,
    )  # fmt: skip
    moments = np.linspace(0.5, 2, 14)
    k = mm.transition_rate(energy, r.path[0], r.saddle, damping=0.2, moments=moments)
    other = mm.transition_rate(by_hand, r.path[0][~ends], r.saddle[~ends], damping=0.2, moments=moments[~ends])
    assert k.rate(0.05) == pytest.approx(float(other.rate(0.05)), rel=1e-9)
    assert k.harmonic_rate(0.05) == pytest.approx(float(other.harmonic_rate(0.05)), rel=1e-9)
    # Which of the saddles around a minimum is found hangs on rounding; that it is one does not.
    saddles = mm.find_saddles(energy, r.path[0], geometry=SPHERES, modes=1, **QUIET)
    assert saddles
    for s in saddles:
        assert mm.lowest_modes(by_hand, s.state[~ends], 2, geometry=SPHERES).negative == 1
        slope = SPHERES.project(s.state[~ends], jax.grad(by_hand)(s.state[~ends]))
        assert jnp.max(jnp.abs(slope)) < 1e-7


def test_noise_does_not_turn_a_pinned_spin():
    _, energy, _, wall, ends = pinned_wall()
    run = {"temperature": 0.1, "damping": 0.3, "dt": 0.05, "steps": 30, **QUIET}
    end = mm.simulate(jax.random.key(0), energy, wall[None], **run).states[0]
    assert np.array_equal(np.linalg.norm(end - wall, axis=1) > 1e-3, ~ends)
    np.testing.assert_allclose(end[ends], wall[ends], atol=1e-14)


def test_modes_of_a_large_pinned_magnet_without_pairs():
    """Products alone: spins that are held have no modes, and so no eigenvalues of zero."""
    energy = mm.Heisenberg((18, 18), mm.nearest_neighbours("square", 1.0), [(0.2, (0, 0, 1))])
    up, held = mm.ferromagnet((18, 18)), np.zeros((18, 18), bool)
    held[0], held[:, 5] = True, True
    sparse = mm.lowest_modes(mm.pinned(energy, up, held), up, 3, geometry=SPHERES)
    products = mm.lowest_modes(mm.pinned(lambda S: energy(S), up, held), up, 3, geometry=SPHERES)
    np.testing.assert_allclose(products.values, sparse.values, rtol=1e-7)
    assert sparse.values[0] > 0.4 and not np.any(np.asarray(products.vectors)[:, held])


def test_a_pinned_row_leaves_the_shifts_along_it():
    film = mm.Heisenberg((6, 5), mm.nearest_neighbours("square", 1.0))
    row, corner = np.zeros((6, 5), bool), np.zeros((6, 5), bool)
    row[0], corner[0, 0] = True, True
    up = mm.ferromagnet((6, 5))
    assert mm.pinned(film, up, row).translations == mm.pinned(film, up, row).component_first().translations == (1,)
    assert mm.pinned(film, up, corner).translations == ()
    assert mm.pinned(film, random_spins(0, (6, 5)), row).translations == ()


def test_the_derivative_of_a_pinned_barrier_is_exact():
    """Two spins, one held along x: the other one turns over in the field J of the first, K (1 - J / 2K)^2 from -x."""

    def barrier(J, K):
        axes = [(K, (1, 0, 0)), (-2.0, (0, 0, 1))]
        pair = mm.Heisenberg((2,), [mm.Bond((1,), J)], axes, periodic=False)
        along = mm.ferromagnet((2,), (1, 0, 0))
        energy = mm.pinned(pair, along, np.array([True, False]))
        flipped = along.at[1].multiply(-1)
        return mm.find_mep(energy, flipped, along, geometry=SPHERES, **QUIET).barrier

    by_J, by_K = jax.grad(barrier, argnums=(0, 1))(0.5, 1.0)
    assert float(barrier(0.5, 1.0)) == pytest.approx(0.75**2, rel=1e-9)
    assert float(by_J) == pytest.approx(-0.75, rel=1e-7) and float(by_K) == pytest.approx(1 - 0.25**2, rel=1e-7)


def test_pinned_in_single_precision():
    with jax.enable_x64(False):
        _, energy, _, wall, ends = pinned_wall()
        r = mm.relax(energy, wall, geometry=SPHERES)
    assert r.converged and r.state.dtype == jnp.float32
    np.testing.assert_allclose(r.state[ends], wall[ends], atol=1e-5)


def test_bad_pins_are_refused():
    _, energy, _, wall, ends = pinned_wall()
    off = wall.at[1].set(jnp.array([1.0, 0.0, 0.0]))
    inside = wall.at[6].set(jnp.array([1.0, 0.0, 0.0]))
    message = "has 1 spins that are held and not in place"
    with pytest.raises(ValueError, match=f"end {message}"):
        mm.find_mep(energy, wall, off, geometry=SPHERES, **QUIET)
    with pytest.raises(ValueError, match=f"path {message}"):
        mm.find_mep(energy, wall, inside, geometry=SPHERES, path=jnp.stack([wall, off, inside]), **QUIET)
    for call in (mm.relax, mm.lowest_modes, mm.hessian):
        with pytest.raises(ValueError, match=f"the state {message}"):
            call(energy, off, geometry=SPHERES)
    with pytest.raises(ValueError, match=f"the saddle {message}"):
        mm.transition_rate(energy, wall, off, damping=0.1)
    whole = energy.energy
    for held, message in [
        (np.ones(14, bool), "every spin is held"), (np.zeros(14, bool), "no spin is held"),
        (np.ones(14), "True or False"), (np.ones(13, bool), r"shape \(14,\), got an array of bool, shape \(13,\)"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            mm.pinned(whole, wall, held)
    with pytest.raises(ValueError, match="unit vectors"):
        mm.pinned(whole, 2 * wall, ends)


# Vacancies


def test_a_missing_row_opens_the_lattice():
    bonds = [mm.Bond((1, 0), 1.0, (0.1, -0.3, 0.2)), mm.Bond((0, 1), 0.7), mm.Bond((-1, 1), 0.2), mm.Bond((1, 2), 0.1)]
    K, field = jnp.linspace(0.1, 0.3, 20).reshape(5, 4), jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)))
    whole = mm.Heisenberg((5, 4), bonds, [(K, (0, 0, 1)), (0.2, (1, 1, 0))], field)
    missing = np.zeros((5, 4), bool)
    missing[4] = True
    holes = mm.vacancies(whole, missing)
    strip = mm.Heisenberg((4, 4), bonds, [(K[:4], (0, 0, 1)), (0.2, (1, 1, 0))], field[:4], (False, True))
    S = random_spins(2, (5, 4))
    assert float(holes(S)) == pytest.approx(float(strip(S[:4])), abs=1e-12)
    live, H = np.tile(np.ravel(~missing), 2), mm.hessian(holes, S, geometry=SPHERES)
    np.testing.assert_allclose(
        H.toarray()[live][:, live], mm.hessian(strip, S[:4], geometry=SPHERES).toarray(), atol=1e-12
    )
    assert np.array_equal(holes.live(), ~missing) and whole.live().all()


def test_vacancies_of_constants_at_every_site_and_their_derivative():
    missing = np.zeros(6, bool)
    missing[2] = True

    def energy(J):
        return mm.vacancies(mm.Heisenberg((6,), [mm.Bond((1,), J)], periodic=True), missing)(mm.ferromagnet((6,)))

    np.testing.assert_array_equal(jax.grad(energy)(jnp.ones(6)), [-1, 0, 0, -1, -1, -1])
    with pytest.raises(ValueError, match="missing must be True or False"):
        mm.vacancies(mm.Heisenberg((6,)), np.zeros(6))


def test_a_sum_is_pinned_as_a_whole():
    """An island with dipoles and a held edge: barrier of the spins that move, by the dense energy of these alone."""
    shape, edge = (6, 3), np.zeros((6, 3), bool)
    edge[0] = True
    H = mm.Heisenberg(shape, mm.nearest_neighbours("square", 1.0), [(0.6, (0, 0, 1))], (0, 0, 0.02), periodic=False)
    whole = H + mm.Dipolar(shape, "square", 1.0, periodic=False, prefactor=0.05)
    up, side = mm.ferromagnet(shape), mm.ferromagnet(shape, (1, 0, 0))
    with pytest.raises(ValueError, match="pin them in the sum"):
        mm.Sum(mm.pinned(H, side, edge), mm.Dipolar(shape, "square", 1.0, periodic=False))
    with pytest.raises(ValueError, match="pin them in the sum"):
        mm.pinned(H, side, edge) + mm.Dipolar(shape, "square", 1.0, periodic=False)
    fixed = mm.pinned(whole, side, edge)
    r = mm.find_mep(fixed, fixed.placed(up), fixed.placed(-up), geometry=SPHERES, **QUIET)
    assert r.converged and np.abs(np.asarray(r.path)[:, edge] - np.asarray(side)[edge]).max() < 1e-9

    def free(S):  # the same by hand
        return whole(jnp.concatenate([side[:1], S]))

    by_hand = mm.find_mep(free, *r.path[jnp.array([0, -1]), 1:], geometry=SPHERES, **QUIET)
    assert by_hand.converged and by_hand.barrier == pytest.approx(r.barrier, rel=1e-7)
    one = mm.transition_rate(fixed, r.path[0], r.saddle, damping=0.2)
    other = mm.transition_rate(free, by_hand.path[0], by_hand.saddle, damping=0.2)
    assert one.dynamical == pytest.approx(other.dynamical, rel=1e-6)
    assert one.log_entropy == pytest.approx(other.log_entropy, abs=1e-6)
