"""Paths over several minima, their steps, and several first paths between two states."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.optimize import brentq

import mepmeta as mm
from mepmeta.problem import pose
from mepmeta.search import mep, pieces
from mepmeta.search.beyond import Passage, same
from mepmeta.search.network import Network
from mepmeta.search.result import StationaryPoint
from mepmeta.search.settings import Settings

SPHERES = mm.Spheres()


# A row of cosine barriers of unequal heights in a bent valley; its extrema by bisection


def height(u):
    return -(1 + 0.25 * np.sin(1.3 * u)) * np.cos(2 * np.pi * u) + 0.2 * u


def slope(u):
    wave = 2 * np.pi * (1 + 0.25 * np.sin(1.3 * u)) * np.sin(2 * np.pi * u)
    return wave - 0.25 * 1.3 * np.cos(1.3 * u) * np.cos(2 * np.pi * u) + 0.2


WELLS = 4
EXTREMA = np.array([brentq(slope, k / 2 - 0.2, k / 2 + 0.2, xtol=1e-14) for k in range(2 * WELLS - 1)])


def _row(R, a, c, x):
    u, w = R.T @ x / a
    f = -(1 + 0.25 * jnp.sin(1.3 * u)) * jnp.cos(2 * jnp.pi * u) + 0.2 * u
    return c * (f + 6 * (w - 0.3 * jnp.sin(1.7 * u)) ** 2)


def row(turn=0.0, a=1.0, c=1.0):
    """The energy, turned and in other units, and where its wells are."""
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wells = a * np.stack([EXTREMA, 0.3 * np.sin(1.7 * EXTREMA)], axis=-1) @ R.T
    return Partial(_row, jnp.asarray(R), a, c), jnp.asarray(wells[0]), jnp.asarray(wells[-1])


@pytest.mark.parametrize(
    "turn, a, c, back",
    [(0.0, 1.0, 1.0, False), (0.7, 1.0, 1.0, True), (0.3, 1e-3, 1e-20, False), (2.0, 1e5, 1e12, True)],
)
def test_a_row_of_barriers(turn, a, c, back):
    energy, *ends = row(turn, a, c)
    r = mm.find_mep(energy, *(ends[::-1] if back else ends), progress=False)
    expected = c * height(EXTREMA)[:: -1 if back else 1]
    assert r.converged and [p.index for p in r.points] == [k % 2 for k in range(2 * WELLS - 1)], r.message
    np.testing.assert_allclose([p.energy / c for p in r.points], expected / c, atol=1e-8)
    assert r.barrier / c == pytest.approx((expected.max() - expected[0]) / c, rel=1e-8)
    steps = (expected[1::2] - expected[:-2:2]) / c
    np.testing.assert_allclose([x.barrier / c for x in r.crossings], steps, rtol=1e-7)
    np.testing.assert_allclose(
        [x.reverse_barrier / c for x in r.crossings], (expected[1::2] - expected[2::2]) / c, rtol=1e-7
    )
    assert r.slowest.barrier / c == pytest.approx(steps.max(), rel=1e-7)
    # One path: every point is an image of it, in order, and images are about as far apart everywhere.
    assert np.all(np.diff([p.position for p in r.points]) > 0)
    for p in r.points:
        assert jnp.linalg.norm(r.path - p.state, axis=-1).min() < 1e-6 * a
    gaps = np.diff(r.position)
    assert gaps.max() < 3 * gaps.min()


def test_a_row_costs_the_same_in_other_units():
    runs = [mm.find_mep(*row(0.3, a, c), progress=False) for a, c in ((1.0, 1.0), (2.0**20, 2.0**-60))]
    assert runs[0].evaluations == runs[1].evaluations and runs[0].message == runs[1].message
    assert runs[0].evaluations < 2500  # a search of one barrier takes some 200


@pytest.mark.parametrize("n", [7, 13, 40])
def test_so_many_images_as_are_asked_for(n):
    r = mm.find_mep(*row(), n_images=n, progress=False)
    assert r.path.shape[0] == n
    assert r.converged or (n == 7 and "too few" in r.message)


def test_fewer_images_than_the_path_has_points_are_named():
    r = mm.find_mep(*row(), n_images=5, progress=False)
    assert not r.converged and "too few" in r.message and np.all(np.isfinite(r.path))


def test_where_a_piece_is_missing_the_band_goes_on(monkeypatch):
    monkeypatch.setattr(mep, "over_minima", lambda *_: None)
    r = mm.find_mep(*row(), progress=False)
    assert r.converged and r.barrier == pytest.approx(height(EXTREMA).max() - height(EXTREMA[0]), rel=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_pieces_share_the_iterations(steps):
    assert mm.find_mep(*row(), max_steps=steps, progress=False).steps <= steps


def test_an_interrupted_piece(monkeypatch):
    calls = []

    def interrupted(band, tol):
        calls.append(band)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pieces.converge(band, True, tol)

    monkeypatch.setattr(pieces, "_searched", interrupted)
    r = mm.find_mep(*row(), progress=False)
    assert len(calls) == 2 and not r.converged and "interrupted" in r.message and r.evaluations > 100
    assert np.all(np.isfinite(r.path)) and np.all(np.isfinite(r.energies))


def ring(x):
    """Four minima on a circle; the way above is higher than the way below."""
    r, angle = jnp.linalg.norm(x), jnp.arctan2(x[1], x[0])
    return 8 * (r - 1) ** 2 - 0.5 * jnp.cos(4 * angle) + 0.1 * jnp.sin(angle)


@pytest.mark.parametrize("side", [1, -1])
def test_pieces_stay_on_the_side_of_a_path_that_is_given(side):
    angle = jnp.linspace(0, side * jnp.pi, 16)
    path = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    r = mm.find_mep(ring, path[0], path[-1], path=path, progress=False)
    assert r.converged and r.path.shape == path.shape and [p.index for p in r.points] == [0, 1, 0, 1, 0]
    assert np.all(side * np.asarray(r.path)[1:-1, 1] > 0)


# Magnets


def narrow_walls(back=False):
    """A film that turns over column by column: with this anisotropy walls are narrow, and every column is a barrier."""
    field = np.zeros((5, 3, 3))
    field[0, :, 2] = 1
    bonds = mm.nearest_neighbours("square", 1.0)
    film = mm.Heisenberg((5, 3), bonds, [(1.2, (0, 0, 1))], field=field, periodic=False)
    ends = mm.ferromagnet((5, 3)), mm.domain_wall((5, 3), center=1.5, width=0.6)
    return film, mm.find_mep(film, *(ends[::-1] if back else ends), geometry=SPHERES, progress=False)


@pytest.fixture(scope="module")
def walls():
    return narrow_walls()


def leads(energy, crossing):
    """Whether the valleys of a saddle, by relaxation off it, end in the minima before and after it."""
    v = mm.lowest_modes(energy, crossing.saddle.state, 1, geometry=SPHERES).vectors[0]
    sides = [SPHERES.retract(crossing.saddle.state, s * 0.02 * v / jnp.abs(v).max()) for s in (1, -1)]
    found = [mm.relax(energy, x, geometry=SPHERES).state for x in sides]
    wanted = [crossing.before.state, crossing.after.state]
    far = [[float(SPHERES.distance(x, y)) for y in wanted] for x in found]
    return max(far[0][0], far[1][1]) < 1e-4 or max(far[0][1], far[1][0]) < 1e-4


def test_a_wall_over_narrow_barriers(walls):
    film, r = walls
    assert r.converged and len(r.crossings) > 1 and r.steps < 1000, r.message
    assert all(leads(film, crossing) for crossing in r.crossings)
    top = max(r.crossings, key=lambda crossing: crossing.saddle.energy)
    assert r.barrier == pytest.approx(top.saddle.energy - r.points[0].energy, rel=1e-9)
    for one, other in zip(r.crossings[:-1], r.crossings[1:], strict=True):
        assert one.after is other.before


def test_every_step_of_a_path_has_a_rate(walls):
    film, r = walls
    for x in r.crossings:
        k = mm.transition_rate(film, x.before.state, x.saddle.state, damping=0.3)
        assert k.barrier == pytest.approx(x.barrier, abs=1e-7) and np.isfinite(k.rate(0.1))


def test_the_way_back_over_narrow_barriers(walls):
    _, r = walls
    _, back = narrow_walls(back=True)
    assert back.converged and back.barrier == pytest.approx(r.reverse_barrier, rel=1e-8)


@pytest.mark.parametrize("D, K", [(0.3, 0.15), (0.4, 0.2)])
def test_beside_a_saddle_of_higher_index(D, K):
    """A skyrmion on a site collapses by symmetry over a saddle of index three; the lower ones are beside it.

    Down from one of these it may come to rest some cells away, at the energy of the start.
    """
    film = mm.Heisenberg((12, 12), mm.nearest_neighbours("square", 1.0, D), [(K, (0, 0, 1))])
    start = mm.skyrmion((12, 12), center=(6, 6), radius=3.0, width=2.0)
    start = mm.relax(film, start, geometry=SPHERES, tol=1e-11).state  # what is off the symmetry grows on the way
    r = mm.find_mep(film, start, mm.ferromagnet((12, 12)), geometry=SPHERES, progress=False)
    assert r.converged and "higher index was left" in r.message and r.evaluations < 3000, r.message
    modes = mm.lowest_modes(film, r.saddle, geometry=SPHERES)
    assert modes.negative == 1
    sides = [SPHERES.retract(r.saddle, s * 0.02 * modes.vectors[0] / jnp.abs(modes.vectors[0]).max()) for s in (1, -1)]
    found = [float(mm.relax(film, x, geometry=SPHERES).energy) for x in sides]
    np.testing.assert_allclose(sorted(found), sorted([r.energies[0], r.energies[-1]]), atol=1e-7)


# The network of minima


def point(x, energy=0.0):
    return StationaryPoint(np.array([float(x)]), energy, 0.0, 0.0, np.array([1.0]), 0, 0)


def between(one, other, energy):
    saddle = point((one.state[0] + other.state[0]) / 2, energy)
    return Passage(saddle, np.array([1.0]), (one, other), ([saddle.state, one.state], [saddle.state, other.state]))


def network(*others):
    problem = pose(Partial(lambda x: jnp.sum(x**2)), mm.Flat(), jnp.array([0.0]), jnp.array([1.0]))
    n = Network(problem, (point(0.0), point(1.0)))
    for m in others:
        n.number(m)
    return n


def test_the_way_over_the_lowest_highest_saddle():
    a, b, c = point(0.3), point(0.6), point(0.8)
    n = network(a, b, c)
    start, end = n.minima[:2]
    for p in (between(start, end, 9.0), between(a, start, 1.0), between(a, b, 5.0), between(end, b, 2.0)):
        n.add(p)
    n.add(between(a, b, 7.0))  # higher than what is known
    assert [p.saddle.energy for p in n.way()] == [1.0, 5.0, 2.0]
    for p, q in zip(n.way()[:-1], n.way()[1:], strict=True):
        assert p.minima[1] is q.minima[0] or same(n.problem, p.minima[1], q.minima[0])
    n.add(between(a, c, 3.0))
    n.add(between(c, end, 4.0))
    assert [p.saddle.energy for p in n.way()] == [1.0, 3.0, 4.0]


def test_missing_pieces_are_short_and_are_tried_once():
    n, pairs = network(point(0.4), point(0.7)), []
    while (pair := n.missing()) is not None:
        pairs.append(pair)
        n.add(between(*(n.minima[k] for k in pair), 1.0))
    assert sorted(pairs) == [(0, 2), (1, 3), (2, 3)] and len(n.way()) == 3
    n, pairs = network(point(0.4), point(0.7)), []
    while (pair := n.missing()) is not None:  # and none is found
        pairs.append(pair)
    assert len(set(pairs)) == len(pairs) and (0, 1) not in pairs and n.way() == []


def test_one_minimum_found_twice_is_one():
    n = network(point(0.4))
    assert n.number(point(0.4 + 1e-5)) == 2 and n.number(point(0.45)) == 3
    ring = [point(x)._replace(zero_modes=1, eigenvalues=np.array([0.0, 1.0])) for x in (0.5, 0.9)]
    assert n.number(ring[0]) == n.number(ring[1]) == 4
    n.add(between(n.minima[2], n.minima[2], 1.0))
    assert not n.passages


# Several first paths


def islands(K=1.0, D=2.5, h=0.2, c=1.0):
    """Two islands with easy axis z in the plane xz, in a row along z, in a field along x; up, and down."""
    pair = mm.Heisenberg((2,), [], [(c * K, (0, 0, 1)), (-3 * c * K, (0, 1, 0))], field=(c * h, 0, 0))
    energy = mm.Sum(pair, Partial(lambda D, S: D * (S[0] @ S[1] - 3 * S[0, 2] * S[1, 2]), c * D))
    # Together over (2K + 3D)(1 - h/(2K + 3D))^2; the opposite ways round over 2K + D + h^2/(2K + 3D).
    both = 2 * K + 3 * D
    return energy, c * both * (1 - h / both) ** 2, c * (2 * K + D + h**2 / both)


UP = mm.ferromagnet((2,))


@pytest.mark.parametrize("c, D", [(1.0, 2.5), (1e-20, 2.5), (1e12, 2.8)])
def test_two_islands_turn_opposite_ways(c, D):
    energy, together, opposite = islands(D=D, c=c)
    found = mm.find_paths(energy, UP, -UP, geometry=SPHERES, progress=False)
    assert all(r.converged for r in found)
    assert found[0].barrier / c == pytest.approx(opposite / c, rel=1e-8)
    assert any(r.barrier / c == pytest.approx(together / c, rel=1e-8) for r in found[1:])
    assert np.all(np.diff([r.barrier / c for r in found]) > 0)
    assert all(f"{r.barrier:.6g}" in found[0].message for r in found)


@pytest.mark.parametrize("c", [1.0, 1e-20])
def test_a_search_of_one_first_path_says_when_another_one_is_lower(c):
    energy, together, opposite = islands(c=c)
    r = mm.find_mep(energy, UP, -UP, geometry=SPHERES, progress=False)
    assert r.converged and r.barrier / c == pytest.approx(together / c, rel=1e-8)
    assert "only one first path was tried" in r.message and "find_paths" in r.message
    said = float(r.message.split("at most ")[1].split(" above")[0])
    assert 0.9 * opposite < said < together  # images of a path, not its highest point


@pytest.mark.parametrize("D", [0.1, 0.3])
def test_no_lower_path_is_claimed_where_there_is_none(D):
    """Side by side along x: islands turn one after the other, over a barrier lower than that of all first paths."""
    pair = mm.Heisenberg((2,), [], [(1.0, (0, 0, 1)), (-3.0, (0, 1, 0))], field=(0.1, 0, 0))
    energy = mm.Sum(pair, Partial(lambda D, S: D * (S[0] @ S[1] - 3 * S[0, 0] * S[1, 0]), D))
    r, *_ = mm.find_paths(energy, UP, -UP, geometry=SPHERES, progress=False, paths=3)
    assert r.converged and "only one" not in mm.find_mep(energy, UP, -UP, geometry=SPHERES, progress=False).message
    assert r.barrier < 1.0


def test_random_first_paths_repeat_with_their_key():
    energy, *_ = islands()
    runs = [
        mm.find_paths(energy, UP, -UP, geometry=SPHERES, paths=7, key=jax.random.key(3), progress=False) for _ in "ab"
    ]
    assert [r.barrier for r in runs[0]] == [r.barrier for r in runs[1]] and "7 first paths" in runs[0][0].message


def test_arcs_in_flat_space():
    """Round a hill the way below is lower; the straight path leads over one side or the other."""
    hill = lambda x: 9 * (jnp.linalg.norm(x) - 1) ** 2 - x[0] ** 2 + 0.3 * x[1]  # noqa: E731
    found = mm.find_paths(hill, jnp.array([-1.0, 0.2]), jnp.array([1.0, 0.2]), progress=False)
    assert [float(np.sign(r.saddle[1])) for r in found] == [-1.0, 1.0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"path": jnp.zeros((5, 2, 3))}, "lays its own first paths"),
        ({"paths": 0}, "paths"),
        ({"key": "abc"}, "the key must be one random key"),
        ({"max_steps": -1}, "max_steps"),
    ],
)
def test_mistakes_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        mm.find_paths(islands()[0], UP, -UP, geometry=SPHERES, progress=False, **options)


def test_a_result_that_has_not_converged_has_no_steps():
    r = mm.find_mep(*row(), max_steps=1, progress=False)
    assert r.converged or (r.crossings == () and r.slowest is None)


def test_options_of_several_paths_have_the_defaults_of_one():
    signature = inspect.signature(mm.find_mep).parameters
    assert {name: signature[name].default for name in Settings._fields} == Settings()._asdict()
