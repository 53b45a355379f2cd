"""``find_meps``: what one search after the other would find, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import loky
import numpy as np
import pytest
from jax.tree_util import Partial
from rounding import rounding

import mepmeta as mm
from mepmeta.search import many, workers

ENDS = jnp.array([-1.0, 0.4]), jnp.array([1.0, 0.3])


def well(c, a, x):
    """Minima at (-1, a) and (1, a), saddle at the origin, barrier c."""
    return c * (x[0] ** 2 - 1) ** 2 + 2 * c * (x[1] - a * x[0] ** 2) ** 2


def wells(heights=(1.0, 1.2, 1.4), bends=(0.2, 0.4, 0.6), unit=1.0):
    return [Partial(well, jnp.float64(c * unit), jnp.float64(a)) for c in heights for a in bends]


def find(energies, start=ENDS[0], end=ENDS[1], **options):
    return mm.find_meps(energies, start, end, **({"progress": False} | options))


def began(r):
    return "it began with the path of a neighbour" in r.message


@pytest.fixture(scope="module")
def found():
    return find(wells())


def test_barriers_are_those_of_one_by_one_in_their_order(found):
    for k, (energy, r) in enumerate(zip(wells(), found, strict=True)):
        one = mm.find_mep(energy, *ENDS, progress=False)
        assert r.converged and one.converged
        assert r.barrier == pytest.approx((1.0, 1.2, 1.4)[k // 3], abs=rounding(10))
        assert one.barrier == pytest.approx(r.barrier, abs=rounding(10))
        # The same kind of answer: ends, saddle, its modes, and a path without a force across it.
        np.testing.assert_allclose(r.path[0], one.path[0], atol=1e-8)
        np.testing.assert_allclose(r.saddle, one.saddle, atol=1e-8)
        np.testing.assert_allclose(r.eigenvalues, one.eigenvalues, rtol=1e-6)
        assert [p.index for p in r.points] == [0, 1, 0] and r.path.shape == one.path.shape
        assert r.residual <= 1e-5 and r.position[-1] == pytest.approx(one.position[-1], rel=0.02)


def test_all_but_the_first_begin_with_a_neighbour_and_take_fewer_gradients(found):
    assert sum(map(began, found)) == len(found) - 1
    root = next(r for r in found if not began(r))
    assert max(r.evaluations for r in found if began(r)) < root.evaluations


def test_spins_each_with_states_of_its_own():
    def spin(K, S):
        return -K * S[0] ** 2 + 2 * S[2] ** 2

    energies = [Partial(spin, jnp.float64(K)) for K in (1.0, 1.1, 1.2)]
    starts = [jnp.array([np.cos(t), np.sin(t), 0.0]) for t in (0.0, 0.2, -0.2)]
    found = find(energies, starts, jnp.array([-1.0, 0.0, 0.0]), geometry=mm.Spheres())
    assert [r.barrier for r in found] == pytest.approx([1.0, 1.1, 1.2], abs=rounding(10))


def test_a_unit_of_energy_changes_nothing(found):
    scaled = find(wells(unit=1e-20))
    for r, s in zip(found, scaled, strict=True):
        assert began(s) == began(r) and s.barrier * 1e20 == pytest.approx(r.barrier, rel=rounding(10))


def split(b, x):
    """At b < 0 the saddle at the origin has two negative modes, and there is one on both its sides."""
    return (x[0] ** 2 - 1) ** 2 + (b + 2 * x[0] ** 2) * x[1] ** 2 + x[1] ** 4


def test_a_saddle_that_has_become_one_of_higher_index_is_left():
    b = np.array([0.6, 0.3, 0.1, -0.2, -0.5, -0.8])
    found = find([Partial(split, v) for v in b], ENDS[0] + 0.1, ENDS[1])
    expected = 1 - np.minimum(b, 0) ** 2 / 4
    assert [r.barrier for r in found] == pytest.approx(expected, abs=rounding(100))
    assert all(r.converged and p.index == 1 for r in found for p in r.points[1:-1])


def holes(depth, x):
    """A way with a second minimum where the hole is deep."""
    return (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 - depth * jnp.exp(-20 * jnp.sum(x**2))


def test_a_path_over_several_saddles_is_no_neighbour():
    found = find([Partial(holes, d) for d in np.array([0.0, 0.02, 0.6, 0.7])])
    for d, r in zip((0.0, 0.02, 0.6, 0.7), found, strict=True):
        one = mm.find_mep(Partial(holes, jnp.float64(d)), *ENDS, progress=False)
        assert r.converged and len(r.points) == len(one.points) == (3 if d < 0.1 else 5)
        assert r.barrier == pytest.approx(one.barrier, abs=1e-9)  # the saddle is stationary to 1e-10


def test_a_failure_is_named_and_stops_no_other():
    def log(c, x):
        return well(1.0, 0.2, x) + 0 * jnp.log(c)

    energies = [Partial(log, jnp.float64(c)) for c in (1.0, -1.0, 2.0, 3.0)]
    found = find(energies)
    assert [r.converged for r in found] == [True, False, True, True]
    assert "finite" in found[1].message and np.isnan(found[1].barrier)
    same = find(wells()[:2], [ENDS[0], ENDS[0]], [ENDS[1], ENDS[0] + 0.1])
    assert [r.converged for r in same] == [True, False] and "the same minimum" in same[1].message


def counted(monkeypatch):
    calls, one = [], workers.search
    monkeypatch.setattr(workers, "search", lambda *args: calls.append(None) or one(*args))
    return calls


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.columns().values(), other.columns().values(), strict=True))


def test_an_interrupted_map_goes_on_to_the_same_answer(found, tmp_path, monkeypatch):
    file, calls, one = tmp_path / "map", [], workers.search

    def often(*args):
        calls.append(None)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return one(*args)

    monkeypatch.setattr(workers, "search", often)
    part = find(wells(), checkpoint=file, workers=1)
    assert sum(r is not None for r in part) == 4
    monkeypatch.setattr(workers, "search", one)
    calls = counted(monkeypatch)
    resumed = find(wells(), checkpoint=file)
    assert len(calls) == 5 and all(same(r, s) for r, s in zip(found, resumed, strict=True))
    again = find(wells(), checkpoint=file)
    assert len(calls) == 5 and all(same(r, s) for r, s in zip(found, again, strict=True))


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import jax
jax.config.update("jax_enable_x64", True)
from test_map import find, wells
from mepmeta.search import workers
one = workers.search
def slow(*args):
    time.sleep(0.5)
    return one(*args)
workers.search = slow
find(wells(), checkpoint={file!r}, workers=1)
"""


def test_a_killed_map_goes_on_to_the_same_answer(found, tmp_path, monkeypatch):
    file = tmp_path / "map"
    script = KILLED.format(tests=str(Path(__file__).parent), file=str(file))
    process = subprocess.Popen([sys.executable, "-c", script])
    last = time.monotonic() + 300
    while (not file.exists() or file.stat().st_size < 10_000) and process.poll() is None and time.monotonic() < last:
        time.sleep(0.01)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    calls = counted(monkeypatch)
    resumed = find(wells(), checkpoint=file)
    assert 0 < len(calls) < len(found)
    for r, s in zip(found, resumed, strict=True):
        assert s.converged and s.barrier == pytest.approx(r.barrier, abs=rounding(10))


def test_what_a_file_holds_is_looked_at(found, tmp_path):
    file = tmp_path / "map"
    find(wells(), checkpoint=file)
    whole = file.read_bytes()
    with pytest.raises(ValueError, match="another map"):
        find(wells((1.0, 1.2, 1.5)), checkpoint=file)
    with pytest.raises(ValueError, match="another map"):
        find(wells(), checkpoint=file, tol=1e-5)
    for at in (60, 3000, len(whole) - 9):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            find(wells(), checkpoint=file)
        assert file.read_bytes() == damaged  # and left as it is
    file.write_bytes(whole[:-100])  # the last record is half written
    resumed = find(wells(), checkpoint=file)
    assert all(same(r, s) for r, s in zip(found, resumed, strict=True)) and len(file.read_bytes()) == len(whole)
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="none of a map"):
        find(wells(), checkpoint=file)
    with pytest.raises(ValueError, match="cannot be"):
        find(wells(), checkpoint=tmp_path)


def test_two_runs_do_not_write_to_one_file(tmp_path):
    file = tmp_path / "map"
    with many.Kept(file, bytes(32)), pytest.raises(ValueError, match="another run"):
        find(wells(), checkpoint=file)


def test_neighbours_are_near_and_known_beforehand():
    energies = wells(np.linspace(0, 1, 5) + 1, np.linspace(0, 10, 7))
    root, parent = many.tree(energies)
    assert root == 2 * 7 + 3 and parent[root] == -1  # the middle
    for k, m in enumerate(parent):
        if k != root:
            # One step along one axis; a step of the finer axis is shorter.
            assert abs(k // 7 - m // 7) + abs(k % 7 - m % 7) == 1
    steps = [0]
    assert all(steps.append(0) or _root_of(k, parent) == root for k in range(len(parent)))
    other = [*energies[:3], lambda x: jnp.sum(x**2)]
    assert many.tree([mm.Sum(*other[:1], lambda x: x[0]), *other])[1].tolist() in ([1, 2, -1, 2, 3], [1, -1, 1, 2, 3])


def _root_of(k, parent):
    for _ in range(len(parent)):
        if parent[k] < 0:
            return k
        k = parent[k]
    return None


SPREAD = """
import sys
sys.path.insert(0, {tests!r})
import jax
jax.config.update("jax_enable_x64", True)
from test_map import find, wells
r = find(wells())
print(len(jax.devices()), len({{d for one in r for d in one.path.devices()}}), *(x.barrier for x in r))
"""


def test_searches_are_spread_over_devices(found):
    environment = os.environ | {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    }
    script = SPREAD.format(tests=str(Path(__file__).parent))
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    devices, used, *barriers = out.stdout.split()
    assert (devices, used) == ("2", "2")
    assert [float(b) for b in barriers] == pytest.approx([r.barrier for r in found], abs=rounding(10))


class Deadly:
    """An energy that ends every process to which it is sent."""

    def __init__(self, energy):
        self.energy = energy

    def __call__(self, x):
        return self.energy(x)

    def __reduce__(self):
        return os._exit, (1,)


@pytest.fixture
def processes(monkeypatch):
    """Other processes begin at once; the futures that they were given."""
    futures, submit = [], loky.ProcessPoolExecutor.submit
    monkeypatch.setattr(workers, "START", 0.0)
    monkeypatch.setattr(loky.ProcessPoolExecutor, "submit", lambda *args: futures.append(submit(*args)) or futures[-1])
    return futures


@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_searches_are_made_in_several_processes(found, processes):
    heights, lock = (1.0, 1.2, 1.4), threading.Lock()
    kinds = {
        "constants": wells(),
        "closures": [lambda x, c=c, a=a: well(c, a, x) for c in heights for a in (0.2, 0.4, 0.6)],
        "not to be sent": [lambda x, e=e: e(x) if lock else None for e in wells()],
        "deadly": [Deadly(e) for e in wells()],
    }
    for kind, energies in kinds.items():
        processes.clear()
        for r, s in zip(found, find(energies, workers=2), strict=True):
            assert s.converged and s.barrier == pytest.approx(r.barrier, abs=rounding(10))
        assert processes and any(f.exception() is None for f in processes) == (kind in ("constants", "closures"))


def test_processes_end_with_the_one_that_began_them(tmp_path):
    script = KILLED.format(tests=str(Path(__file__).parent), file=str(tmp_path / "map"))
    script = script.replace("workers=1", "workers=2").replace("import workers\n", "import workers; workers.START = 0\n")
    process = subprocess.Popen([sys.executable, "-c", script])
    last, children = time.monotonic() + 300, Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("the system does not tell the children of a process")
    while len(begun := children.read_text().split()) < 2 and process.poll() is None and time.monotonic() < last:
        time.sleep(0.01)
    assert process.poll() is None
    process.kill()
    process.wait()
    while any(map(_runs, begun)) and time.monotonic() < last:
        time.sleep(0.1)
    assert not any(map(_runs, begun))


def _runs(pid):
    """Whether a process runs; one that has ended may wait to be asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_problems_have_no_results(tmp_path):
    assert find([]) == []
    assert find([], checkpoint=tmp_path / "map") == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"energies": wells()[0]}, "energies must be a list"),
        ({"energies": "wells"}, "energies must be a list"),
        ({"energies": np.ones(3)}, "energies must be a list"),
        ({"energies": [1.0]}, "problem 0: the energy must be callable"),
        ({"energies": [*wells()[:2], lambda x: x]}, "problem 2: the energy must map"),
        ({"start": [ENDS[0]] * 2}, "starts must be one state, or a list of 9"),
        ({"start": jnp.array([np.nan, 0.0])}, "problem 0: start has coordinates that are not finite"),
        ({"start": [ENDS[0]] * 8 + [ENDS[1]]}, "problem 8: start and end are the same"),
        ({"start": jnp.zeros((2, 2)) - 1, "end": jnp.ones((2, 2))}, "problem 0: the energy must map"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"progress": "no"}, "progress must be True or False"),
        ({"tol": -1.0}, "problem 0: tol must be"),
        ({"path": jnp.zeros((5, 2))}, "pass a path to find_mep"),
        ({"checkpoint": 3}, "a file is named by"),
    ],
)
def test_bad_input_is_refused_in_words(change, why):
    options = {"energies": wells(), "start": ENDS[0], "end": ENDS[1]} | change
    with pytest.raises(ValueError, match=why):
        find(options.pop("energies"), options.pop("start"), options.pop("end"), **options)


def test_states_of_several_shapes_are_refused():
    def any_shape(x):
        return jnp.sum((x**2 - 1) ** 2)

    with pytest.raises(ValueError, match="problem 1: the states of all problems must have one shape"):
        find([any_shape] * 2, [jnp.array([-1.0]), jnp.array([-1.0, 0.1])], [jnp.array([1.0]), jnp.array([1.0, 0.1])])


def test_traced_constants_are_refused():
    with pytest.raises(ValueError, match="find_meps is a search that decides"):
        jax.grad(lambda c: find([Partial(well, c, jnp.float64(0.2))])[0].barrier)(1.0)
