"""The problems of the comparison with other codes, and the measure by which all are judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import rounding

import mepmeta as mm
from benchmarks.peers import problems, records, tables
from benchmarks.peers.measure import measure


@pytest.mark.parametrize("family", problems.SETS)
def test_halves_share_no_problem(family):
    development, test = (problems.problems(family, part) for part in problems.HALVES)
    assert not set(development) & set(test)
    assert sorted(development + test) == problems.problems(family)


def test_landscapes_have_their_published_extrema():
    wells = [float(problems.muller_brown(jnp.array(w))) for w in problems.WELLS]
    assert wells == pytest.approx([-146.700, -80.768, -108.167], abs=1e-3)
    assert float(problems.leps(jnp.array([0.742, 3.5]))) == pytest.approx(-4.5, abs=0.1)


def test_spin_of_the_paper_has_its_energy_in_angles_and_as_a_lattice():
    problem = problems.load("spin-00")
    angles = mm.spin_to_angles(jnp.asarray(problem.path[3, 0]))
    assert float(problem.energy(problem.path[3])) == pytest.approx(float(mm.single_spin()(angles)), abs=rounding(3))
    assert problem.path.shape == (8, 1, 3)


def test_constants_of_a_film_are_handed_on_in_full():
    energy = problems.load("skyrmion-04").energy
    spec = problems.spec(energy)
    S = np.random.default_rng(0).normal(size=(32, 32, 3))
    S /= np.linalg.norm(S, axis=-1, keepdims=True)
    total = -sum(K * np.sum((S @ axis) ** 2) for K, *axis in spec["anisotropy"]) - np.sum(S @ spec["field"])
    for a, b, _, J, *D in spec["pairs"]:
        T = np.roll(S, (-a, -b), axis=(0, 1))
        total -= np.sum(J * np.sum(S * T, axis=-1) + np.cross(S, T) @ D)
    assert total == pytest.approx(float(energy(S)), abs=1e-9)


def test_measure_is_zero_on_the_path_of_the_spin_and_knows_the_saddle():
    straight = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 9)
    path = mm.angles_to_spin(straight)[:, None]
    energy = problems.load("spin-00").energy
    r = measure(energy, path, mm.Spheres())
    assert r.image == 4 and r.barrier == pytest.approx(1.0)
    assert max(r.band, r.across, r.top) < rounding(4)


def test_measure_sees_the_force_across_and_the_climbing_image():
    # Straight along x in a valley whose floor is y = 0, and off it by 0.1 at every image.
    energy = jax.tree_util.Partial(lambda x: jnp.cos(x[0]) + x[1] ** 2 / 2)
    x = jnp.linspace(-3, 3, 8)
    path = jnp.stack([x, jnp.full(8, 0.1)], axis=-1)
    r = measure(lambda x: energy(x), path, mm.Flat())
    top = x[r.image]
    assert r.across == pytest.approx(0.1)
    assert r.band == pytest.approx(float(jnp.hypot(jnp.sin(top), 0.1)))
    assert r.top == pytest.approx(r.band)  # turning a force round leaves its length


def test_measure_calls_a_lost_band_infinitely_far_off():
    path = np.full((5, 2), np.nan)
    assert measure(problems.leps, path, mm.Flat()).band == np.inf


def test_profile_counts_what_was_not_solved_as_infinite():
    result = lambda solved, cpu: {"solved": solved, "cpu": cpu}  # noqa: E731
    found = tables.profile({"a": {"p": result(True, 1.0), "q": result(True, 6.0)},
                            "b": {"p": result(True, 2.0), "q": result(False, 1.0)}}, "cpu")  # fmt: skip
    assert found["a"].tolist() == [1.0, 1.0]
    assert found["b"].tolist() == [2.0, np.inf]


def test_records_are_read_as_they_were_written(tmp_path):
    rows = [{"code": "a", "n": 3, "t": 0.25, "fine": True}]
    records.write(tmp_path / "x.csv", rows, "a test")
    header, back = records.read(tmp_path / "x.csv")
    assert back == rows
    assert header["what"] == "a test" and {"processor", "versions", "date"} <= set(header)


def test_a_first_answer_is_one_of_a_solver_that_had_it_every_time():
    def row(code, first, solved=True):
        return {"code": code, "loading_s": 1.0, "first_s": first, "second_s": first / 2, "solved": solved}

    rows = [row("mepmeta", 3.0), row("mepmeta", 5.0), row("spirit A", 1.0), row("spirit A", 1.0, solved=False),
            row("spirit B", 4.0), row("spirit B", 4.0), row("spirit C", 9.0), row("spirit C", 9.0)]  # fmt: skip
    assert tables.first_answer(rows, "mepmeta") == (5.0, 2.0)
    assert tables.first_answer(rows, "spirit") == (5.0, 2.0)
    assert tables.first_answer(rows[2:4], "spirit") == (float("inf"), float("inf"))
