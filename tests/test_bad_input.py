"""Bad input to the public calls: refused in words that say what came and what was expected, at the door."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy as sp

import mepmeta as mm
from benchmarks import fuzz

SPIN, SPHERES, PARAMS, KEY = mm.single_spin(), mm.Spheres(), mm.NEBParams(0.1, 1.0, 3.0), jax.random.key(0)
LINE = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 5)
X = jnp.array([[1.0, 0.0, 0.0]])
ONE = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
UP = mm.ferromagnet((4, 4))


def sample(key):
    return mm.perturbed_path(key, LINE)


#: A call with good arguments, and which of them is of what kind.
CALLS = {
    "neb_step": (mm.neb_step, dict(energy=SPIN, path=LINE, params=PARAMS, geometry=mm.Flat(), climb=False)),
    "iterate": (mm.iterate, dict(energy=SPIN, path=LINE, params=PARAMS, steps=2, geometry=mm.Flat(), observe=jnp.sum)),
    "iterate_batch": (mm.iterate_batch, dict(energy=SPIN, paths=LINE[None], params=PARAMS, steps=2, climb=False)),
    "barrier": (mm.barrier, dict(energy=SPIN, path=LINE, geometry=mm.Flat())),
    "loss": (mm.loss, dict(energy=SPIN, path=LINE, params=PARAMS, steps=2, reference=0.0, geometry=mm.Flat())),
    "rate_limit": (mm.rate_limit, dict(energy=SPIN, path=LINE, params=PARAMS, geometry=mm.Flat())),
    "train": (
        mm.train,
        dict(key=KEY, energy=SPIN, params=PARAMS, steps=2, reference=0.0, safeguard=True, progress=False)
        | dict(sample=sample, geometry=mm.Flat()),
    ),
    "arc_length": (mm.arc_length, dict(path=LINE, geometry=mm.Flat())),
    "perturbed_path": (mm.perturbed_path, dict(key=KEY, path=LINE, amplitude=0.1)),
    "find_mep": (
        mm.find_mep,
        dict(energy=ONE, start=X, end=-X, geometry=SPHERES, n_images=5, tol=1e-6, climb=True, progress=False)
        | dict(window=0.5),
    ),
    "relax": (mm.relax, dict(energy=ONE, state=X, geometry=SPHERES, max_steps=9, tol=1e-6)),
    "find_saddles": (mm.find_saddles, dict(energy=ONE, minimum=X, geometry=SPHERES, modes=2, progress=False)),
    "hessian": (mm.hessian, dict(energy=ONE, x=X, geometry=SPHERES)),
    "lowest_modes": (mm.lowest_modes, dict(energy=ONE, x=X, k=1, geometry=SPHERES)),
    "curvature_scale": (mm.curvature_scale, dict(energy=ONE, x=X, geometry=SPHERES)),
    "simulate": (
        mm.simulate,
        dict(key=KEY, energy=ONE, states=X[None], temperature=0.1, damping=0.5, dt=0.01, steps=2, progress=False),
    ),
    "time_unit": (mm.time_unit, dict(moment=1.0, energy=1e-22)),
    "skyrmion": (mm.skyrmion, dict(shape=(4, 4), center=(2, 2), radius=1.0, width=1.0, periodic=True)),
    "Heisenberg": (mm.Heisenberg, dict(shape=(4, 4), periodic=True)),
    "Dipolar": (mm.Dipolar, dict(shape=(4, 4), vectors="square", a=1.0, periodic=True)),
    "Magnet.within": (fuzz.MAGNET.within, dict(radius=1.0)),
}
#: Kinds of arguments by name, and what is said of bad values.
STATES, COUNTS = (
    ("path", "paths", "start", "state", "minimum", "x", "states"),
    ("steps", "n_images", "max_steps", "modes", "k"),
)
LENGTHS = ("tol", "dt", "moment", "radius", "width", "a", "window")
TABLE = [
    (STATES, lambda x: None, "must be a float array, got NoneType"),
    (STATES, lambda x: np.asarray(x).tolist(), "got list"),
    (STATES, lambda x: x.astype(int), "got int64"),
    (STATES, lambda x: np.asarray(x) + 0j, "got complex128"),
    (STATES, lambda x: x > 0, "got bool"),
    (STATES, lambda x: np.asarray(x, object), "got object"),
    (STATES, lambda x: np.float16(x), "must be a float array of single or double precision, got float16"),
    (STATES, lambda x: np.asarray(x, ">f8"), "got >f8"),
    (STATES, lambda x: np.ma.masked_equal(np.asarray(x), 0), "got a masked array"),
    (STATES, lambda x: x[:0], "must hold numbers, got an array of shape"),
    (STATES, lambda x: x.at[..., 0].set(jnp.nan), "coordinates that are not finite"),
    (STATES, lambda x: x.at[..., -1].set(-jnp.inf), "coordinates that are not finite"),
    (COUNTS, lambda n: 0, "must be at least ., a whole number, got 0"),
    (COUNTS, lambda n: -3, "whole number, got -3"),
    (COUNTS, lambda n: True, "whole number, got True"),
    (COUNTS, lambda n: 2.0, "whole number, got 2.0"),
    (COUNTS, lambda n: 10**30, "whole number, got 1000000000"),
    (COUNTS, lambda n: "3", "whole number, got '3'"),
    (LENGTHS, lambda x: 0.0, "must be a positive number, got 0.0"),
    (LENGTHS, lambda x: -1e-300, "must be a positive number, got -1e-300"),
    (LENGTHS, lambda x: np.nan, "must be a positive number, got nan"),
    (LENGTHS, lambda x: 10**400, "must be a positive number, got 1000000"),
    (LENGTHS, lambda x: True, "must be a positive number, got True"),
    (LENGTHS, lambda x: "1.0", "must be a positive number, got '1.0'"),
    (LENGTHS, lambda x: 1j, "must be a positive number, got 1j"),
    (LENGTHS, lambda x: [1.0], "must be a positive number, got .1.0."),
    (LENGTHS, lambda x: np.ones(2), r"must be a positive number, a scalar, got shape \(2,\)"),
    (("geometry",), lambda g: mm.Spheres, r"must be Flat\(\) or Spheres\(\), .* got the class Spheres"),
    (("geometry",), lambda g: "Flat", r"must be Flat\(\) or Spheres\(\), .* got 'Flat'"),
    (("geometry",), lambda g: None, r"must be Flat\(\) or Spheres\(\), .* got None"),
    (("energy",), lambda f: 3.0, "must be .*got 3.0|must be callable, x -> scalar, got float|positive"),
    (("climb", "progress", "safeguard"), lambda b: "no", "must be True or False, got 'no'"),
    (("climb", "progress", "safeguard"), lambda b: 1, "must be True or False, got 1"),
    (("climb", "progress", "safeguard"), lambda b: None, "must be True or False, got None"),
    (("periodic",), lambda b: "no", "periodic must be True"),
    (("shape",), lambda s: 4, "must be numbers of cells"),
    (("shape",), lambda s: "44", "must be numbers of cells"),
    (("shape",), lambda s: (4, True), "must be numbers of cells"),
    (("shape",), lambda s: ((4,), 4), "must be numbers of cells"),
    (("shape",), lambda s: (10**6, 10**6), "too large"),
    (("key",), lambda k: 0, r"must be one random key, jax.random.key\(seed\), got 0"),
    (("key",), lambda k: jax.random.split(k), "must be one random key"),
    (("key",), lambda k: np.zeros(2), "must be one random key"),
    (("params",), lambda p: tuple(p), r"params must be NEBParams\(gamma, mu, beta\), got \(0.1"),
    (("params",), lambda p: p._replace(mu="a"), "mu must be a finite number >= 0, got 'a'"),
    (("params",), lambda p: p._replace(beta=None), "beta must be a finite number >= 0, got None"),
    (("params",), lambda p: p._replace(gamma=True), "gamma must be a finite number >= 0, got True"),
    (("params",), lambda p: p._replace(gamma=10**400), "gamma must be a finite number >= 0, got 1000000"),
    (("reference",), lambda q: "0", "reference must be one energy, got '0'"),
    (("amplitude",), lambda q: -0.1, "amplitude must be a finite number >= 0, got -0.1"),
    (("sample", "observe"), lambda f: 3, "must be a function, got 3"),
    (("sample", "observe"), lambda f: lambda a, b: a, "does not take"),
]  # fmt: skip
CASES = [
    pytest.param(call, name, bad, words, id=f"{call}-{name}-{n}")
    for n, (names, bad, words) in enumerate(TABLE)
    for call, (_, good) in CALLS.items()
    for name in names
    if name in good and not (name == "energy" and call == "time_unit")
]


@pytest.mark.parametrize("call, name, bad, words", CASES)
def test_a_bad_argument_is_refused_in_words(call, name, bad, words):
    f, good = CALLS[call]
    with pytest.raises(ValueError, match=words) as error:
        f(**good | {name: bad(good[name])})
    assert fuzz.in_words(error.value)  # raised by this package, not by what it is built on


@pytest.mark.parametrize(
    "energy, words",
    [
        (lambda x: x, "must map an image of shape"),
        (lambda x: 1, "to a float scalar, got"),
        (lambda x: jnp.sum(x).astype(complex), "to a float scalar, got"),
        (lambda x: {"E": jnp.sum(x)}, "it must return one number or array, got"),
        (lambda x: float(np.sum(x)), "does not take an image of shape"),
        (lambda x: jnp.sum(x) if jnp.sum(x) > 0 else 0.0, "with jnp.where in place of if"),
        (lambda x: {}["missing"], "does not take an image of shape .* 'missing'"),
        (lambda x: x.nonsense, "has no attribute"),
        (lambda x: 1 / 0, "division by zero"),
        (lambda x: np.zeros(3).reshape(2), "cannot reshape"),
        (lambda x, y: 0.0, "missing 1 required positional argument"),
        (mm.Sum, "must be callable, x -> scalar, got the class Sum"),
    ],
    ids=["vector", "whole", "complex", "tree", "numpy", "if", "key", "attribute", "zero", "shape", "two", "class"],
)
@pytest.mark.parametrize("call", ["neb_step", "barrier", "relax", "hessian", "simulate", "find_mep"])
def test_a_bad_energy_is_refused_in_words(call, energy, words):
    f, good = CALLS[call]
    with pytest.raises(ValueError, match=words) as error:
        f(**good | {"energy": energy})
    assert fuzz.in_words(error.value)


def test_a_path_whose_squares_vanish_is_refused_and_not_bent_into_nothing():
    for scale in (1e-200, 1e200):
        for random in (mm.bent_path, mm.perturbed_path):
            with pytest.raises(ValueError, match="too short or too long"):
                random(KEY, scale * LINE)


def test_every_part_of_a_sum_is_an_energy():
    for part in (lambda x: 1, lambda x: jnp.sum(x) > 0, lambda x: x[:1]):
        with pytest.raises(ValueError, match="to a float scalar, got"):
            mm.barrier(mm.Sum(SPIN, part), LINE)


def test_an_energy_of_spins_is_not_taken_in_flat_coordinates():
    """Chords of the sphere would be taken for the way between spins, and the barrier be a wrong number."""
    film = mm.Heisenberg((4, 4), mm.nearest_neighbours("square", 1.0))
    path = jnp.stack([UP, jnp.roll(UP, 1, -1), -UP])
    for call in (mm.barrier, mm.highest_point, lambda *a: mm.overestimate(*a, reference=0.0)):
        with pytest.raises(ValueError, match="live on spheres"):
            call(film, path)


@pytest.mark.parametrize(
    "H, words",
    [
        (np.eye(2), "square and sparse"),
        (sp.sparse.csc_array(np.ones((2, 3))), "square and sparse"),
        (sp.sparse.csc_array(np.array([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (sp.sparse.csc_array(np.array([[1.0, np.nan], [np.nan, 1.0]])), "finite real numbers"),
        (sp.sparse.csc_array(np.eye(2) * 1j), "finite real numbers"),
    ],
    ids=["dense", "oblong", "skew", "nan", "complex"],
)
@pytest.mark.parametrize(
    "call", [mm.log_determinant, lambda H: mm.lowest_eigenpairs(H, 1)], ids=["determinant", "pairs"]
)
def test_a_bad_matrix_is_refused_in_words(call, H, words):
    with pytest.raises(ValueError, match=words):
        call(H)


@pytest.mark.parametrize("names", [("a", "a"), ("Fe", "Fe", "Co"), (None, "Co"), "FeCo"])
def test_names_of_atoms_are_counted_and_told_apart(names):
    with pytest.raises(ValueError, match="2 atoms have 2 names, no two the same"):
        mm.Magnet(3 * np.eye(3), [[0, 0, 0], [1, 0, 0]], [1.0, 1.0], "meV", names=names)
    with pytest.raises(ValueError, match="1 atoms have 1 names"):
        mm.Magnet(3 * np.eye(3), [[0, 0, 0]], [1.0], "meV", names=("a", "a"))


def test_directions_of_any_length_are_directions():
    """Squares of large and of small numbers are infinite and zero, and the direction is there all the same."""
    for scale in (5e-324, 1e-300, 1e-160, 1e160, 1e300):
        np.testing.assert_array_equal(mm.ferromagnet((2,), (0, scale, 0)), mm.ferromagnet((2,), (0, 1, 0)))
        (K, axis), *_ = mm.Heisenberg((2,), anisotropy=[(1.0, (0, 0, scale))]).anisotropy
        np.testing.assert_array_equal(axis, (0, 0, 1))


READERS = [mm.load, mm.MEP.load, mm.read_spirit, mm.read_tb2j, mm.read_uppasd, mm.read_vampire]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__qualname__)
def test_files_that_cannot_be_read(read, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(999))
    names = [None, 3, "", "a\0b", tmp_path / "missing", tmp_path, "x" * 5000, tmp_path / "empty", tmp_path / "noise"]
    for path in names:
        with pytest.raises(ValueError, match=".{20}") as error:
            read(path)
        assert fuzz.in_words(error.value), path


def test_files_that_cannot_be_written(tmp_path):
    for write in (fuzz.FOUND.save, lambda p: mm.save(p, UP), *(
        lambda p, w=w: w(fuzz.MAGNET, p) for w in (mm.write_spirit, mm.write_tb2j, mm.write_vampire)
    )):  # fmt: skip
        for path in (None, 3, "", tmp_path, tmp_path / "no" / "folder"):
            with pytest.raises(ValueError, match="cannot be written|named by a string") as error:
                write(path)
            assert fuzz.in_words(error.value), path
    assert not list(tmp_path.iterdir())


CHEAP = [
    "tangents",
    "skyrmion",
    "Magnet",
    "Heisenberg",
    "read_",
    "write_",
    "load",
    "save",
    "positions",
    "spiral",
    "wall",
]


@pytest.mark.parametrize("only", CHEAP)
def test_random_bad_input(only):
    """A few of the random inputs of ``make fuzz``, of calls that compile next to nothing."""
    faults = []
    for k in range(60):
        name, what, f, must = fuzz.case(np.random.default_rng([7, k]), only)
        kind, said, _ = fuzz.tried(f, must)
        if kind.split()[0].isupper():
            faults.append((kind, name, what, said))
    assert not faults


def test_counts_of_few_digits_count_as_far_as_others():
    """NumPy's whole numbers of one byte: 200 + 200 is none of them."""
    n, key, line = np.uint8(200), jax.random.key(0), mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, 3.0]), 5)
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    start, how = jnp.array([[[0.6, 0.0, 0.8]]]), {"temperature": 0.1, "damping": 0.1, "dt": 0.01, "progress": False}

    def core(x):
        return jnp.where(x[0, 0] > 0, 1, 2)

    for count in (
        lambda n: mm.simulate(key, spin, start, steps=n, every=n, **how).states,
        lambda n: mm.count_escapes(key, spin, start, core, steps=n, **how).time,
        lambda n: mm.iterate(mm.single_spin(), line, mm.NEBParams(0.1, 1.0, 3.0), n).path,
        lambda n: mm.loss(mm.single_spin(), line, mm.NEBParams(0.1, 1.0, 3.0), steps=n, reference=1.0),
        lambda n: mm.loss_and_gradient(mm.single_spin(), line[None], mm.NEBParams(), steps=n, reference=1.0)[0],
        lambda n: mm.relax(mm.single_spin(), jnp.array([0.2, 0.1]), max_steps=n).state,
        lambda n: mm.straight_path(line[0], line[-1], n),
        lambda n: mm.find_mep(mm.single_spin(), line[0], line[-1], max_steps=n, patience=n, progress=False).barrier,
    ):
        np.testing.assert_array_equal(count(n), count(200))
