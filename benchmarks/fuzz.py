"""Bad input to every public call: it must be refused in words, or give a result that says what is wrong with it.

``python -m benchmarks.fuzz [inputs [seed [part of a name]]]``; by default 10 000 inputs and the seed 0. One or two
arguments of a small good call are made bad at a time, or two are swapped, or bytes of a file are. Faults are an error
of another kind than ``ValueError``, one that was not raised by this package, a result that is not finite without a
flag, a bad value that passes for a good one, and more than ten seconds of a processor. The exit status is their number.
"""

import collections
import faulthandler
import io
import linecache
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy as sp

import mepmeta as mm

PACKAGE, SLOW = str(Path(mm.__file__).parent), 10.0
KEPT = tempfile.TemporaryDirectory()  # goes with the process
FOLDER = Path(KEPT.name)

# Good values: one spin in its chart, sixteen spins on a film, one on the sphere. ------------------------------------

jax.config.update("jax_enable_x64", True)
SPIN, SPHERES, PARAMS, KEY = mm.single_spin(), mm.Spheres(), mm.NEBParams(0.1, 1.0, 3.0), jax.random.key(0)
LINE = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 5)
BENT = mm.bent_path(KEY, LINE)
BONDS = mm.nearest_neighbours("square", 1.0, 0.3)
FILM = mm.Heisenberg((4, 4), BONDS, [(0.5, (0, 0, 1))])
UP = mm.ferromagnet((4, 4))
ONE = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
X, Y = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])
HELD = np.arange(16).reshape(4, 4) < 4
MAGNET = mm.Magnet(
    3.0 * np.eye(3), [[0, 0, 0]], [2.0], "meV", [mm.Coupling(0, 0, (1, 0, 0), 5.0, (0, 0, 1.0))],
    [mm.Anisotropy(0, 0.5, (0, 0, 1))], cells=(4, 4, 1), periodic=(True, True, False),
)  # fmt: skip
CHAIN, HESSIAN = mm.Heisenberg((4,), mm.nearest_neighbours("chain", 1.0)), mm.hessian(SPIN, jnp.array([0.0, 0.3]))
TURN = jnp.stack([X, Y, -X])
ENDS = tuple(mm.StationaryPoint(x, 0.0, s, 0.0, np.array([2.0, 4.0]), 0, 0) for x, s in ((X, 0.0), (-X, np.pi)))
FOUND = mm.MEP(
    TURN, np.array([0.0, 1.0, 0.0]), np.linspace(0, np.pi, 3), np.zeros(3), 1.0, 1.0, 1.0, Y, np.array([-2.0, 4.0]), 0,
    ENDS, 1e-9, 1, 2, np.zeros((1, 2)), (("LBFGS", 1),), True, "made by hand",
)  # fmt: skip
RATE = mm.TransitionRate(1.0, 0.2, 0.0, 0.0, 2.0, 2.8, 0.5, 2, np.array([2.0, 6.0]), np.array([-2.0, 4.0]), (), ())
WAYS = BENT[2:] - BENT[1:-1], BENT[1:-1] - BENT[:-2]


def sample(key):
    return mm.perturbed_path(key, LINE)


# Bad values by the kind of an argument: (label, function of the good value, whether it must be refused). -----------

JUNK = [None, "word", b"bytes", object(), {}, {"a": 1}, set(), 1j, lambda: 0, float, np.datetime64(0, "s"), "", ...]
LISTS = [[], (), [None], ["a"], [[1.0], [1.0, 2.0]], [1.0, 2.0, 3.0], "abc", np.zeros((2, 2)), np.array("x"), range(3)]
NOT_FINITE = [np.nan, np.inf, -np.inf, np.float64("nan"), np.array(np.inf), 10**400]
WIDE = [1e300, -1e300, 1e-300, 5e-324, 1e30, -1e-30, 10**30, np.float32(0.3), np.float16(0.3), np.array(0.3),
    jnp.ones(())]
NOT_NUMBERS = [*JUNK, *LISTS[:-1], "1.0", True, False, np.array([1.0]), np.array(1.0, object), np.ma.masked]


def bad(values, must=True):
    # Functions have no text: they are known by their place in the list.
    names = [f"function {k}" if "lambda" in repr(v) or "_raises" in repr(v) else repr(v)[:60] for k,
        v in enumerate(values)]
    return [(name, lambda good, value=value: value, must) for name, value in zip(names, values, strict=True)]


def changed(must=True, **ways):
    return [(name, way, must) for name, way in ways.items()]


def put(value):
    def way(x):
        x = np.array(x)
        x.flat[x.size // 2] = value
        return x

    return way


ARRAY = [
    *bad([*JUNK, *LISTS[:-1], *NOT_FINITE, True, 3, 1.0]),
    *changed(nan=put(np.nan), inf=put(np.inf), all_nan=lambda x: x * np.nan, objects=lambda x: np.array(x, object)),
    *changed(ints=lambda x: np.array(x).astype(int), complex=lambda x: np.array(x) + 0j,
    text=lambda x: np.array(x).astype(str)),
    *changed(bools=lambda x: np.array(x) > 0, a_list=lambda x: np.array(x).tolist(), half=lambda x: x[..., :-1]),
    *changed(empty=lambda x: x[:0], scalar=lambda x: x.ravel()[0], longer=lambda x: np.concatenate([x, x], axis=-1)),
    *changed(False, axis=lambda x: x[None], huge=put(1e300), all_huge=lambda x: x * 1e300, tiny=lambda x: x * 1e-300),
    *changed(False, subnormal=put(5e-324), zeros=lambda x: 0 * x, minus=lambda x: -x, f32=lambda x: np.float32(x)),
    *changed(False, f16=lambda x: np.float16(x), turned=lambda x: np.array(x).T, flat=lambda x: x.ravel()),
    *changed(False, masked=lambda x: np.ma.masked_greater(np.array(x), 0.5), big_endian=lambda x: np.array(x, ">f8")),
    *changed(False, constant=lambda x: 0 * x + x.ravel()[0], backwards=lambda x: x[::-1],
    matrix=lambda x: sp.sparse.eye(3)),
]
SPINS = [*ARRAY, *changed(double=lambda x: 2 * x, zero=lambda x: 0 * x, a_zero=put(0.3), planes=lambda x: x[..., :2])]
PATH = [*ARRAY, *changed(two=lambda x: x[:2], same=lambda x: x[jnp.array([0, 1, 1, *range(2, len(x))])])]
PATH += changed(False, closed=lambda x: jnp.concatenate([x, x[:1]]), back=lambda x: jnp.concatenate([x, x[1:2], x[:1]]))
BATCH = [row for row in PATH if row[0] != "same"]  # the same path twice is a batch
NUMBER = [*bad([*NOT_NUMBERS, *NOT_FINITE]), *bad(WIDE, False), *bad([0, 0.0, -0.0, -1, -0.5, 1, 7.0], False)]
NATURAL = [*NUMBER, *bad([-1, -0.5, -1e300, -1e-30])]
POSITIVE = [*NATURAL, *bad([0, 0.0, -0.0])]
MOMENTS = [row for row in POSITIVE if row[0] != "array([1.])"]
COUNT = [*bad([*NOT_NUMBERS, *NOT_FINITE, 0, -1, 1.5, 2.0, -(10**30), 10**30, 1e300, np.array([3]), "3", np.int8(-1)])]
COUNT += [*bad([np.int64(3), np.uint8(3), 1, np.array(3)], False)]
FLAG = bad([*[x for x in JUNK], *LISTS, *NOT_FINITE, "no", "False", 2, 0.0, np.array([True, False]), np.array([])])
OPTION = bad([*JUNK, *LISTS, *NOT_FINITE, 0, True, "nonsense", "SQUARE", " raw", ["raw"], 1.0])
KEYS = bad([*JUNK, *LISTS, *NOT_FINITE, 0, 1.0, True, -1, np.zeros(2), np.zeros(3, np.uint32), np.zeros(2, int)])
KEYS += [*changed(batch=lambda k: jax.random.split(k, 3), again=lambda k: k[None])]
KEYS += changed(False, legacy=lambda k: jax.random.key_data(k), other=lambda k: jax.random.key(7))
GEOMETRY = bad([*JUNK, *LISTS, *NOT_FINITE, 0, "Flat", mm.Flat, mm.Spheres, mm.Spheres(5)])
GEOMETRY += bad([mm.Flat(), mm.Spheres(), mm.Spheres(0), mm.Spheres(-2)], False)


def _raises(error):
    def energy(x):
        raise error

    return energy


FUNCTION = bad([*(x for x in JUNK if not callable(x)), *LISTS, *NOT_FINITE, 0, True, float, mm.Heisenberg, mm.Flat()])
FUNCTION += bad([lambda: 0.0, lambda x, y: 0.0, _raises(KeyError("k")), _raises(ZeroDivisionError()),
    _raises(OSError(2))])
ENERGY = FUNCTION + bad(
    [
        lambda x: x, lambda x: x[None], lambda x: jnp.sum(x, keepdims=True).ravel()[:1], lambda x: jnp.sum(x) * 1j,
        lambda x: 1, lambda x: jnp.sum(x > 0), lambda x: None, lambda x: "E", lambda x: [jnp.sum(x)],
        lambda x: {"E": 0.0},
        lambda x: jnp.sum(x) * jnp.nan, lambda x: jnp.inf + 0 * jnp.sum(x), lambda x: float(np.sum(x)),
        lambda x: jnp.sum(x) if x[0] > 0 else 0.0, lambda x: np.linalg.norm(x), lambda x: x @ jnp.ones((7, 5)),
        lambda x: jnp.sqrt(-1 - jnp.sum(x**2)), lambda x: next(iter(())), lambda x: x.nonsense,
        lambda x: jnp.sum(x > 0) > 1,
        _raises(RuntimeError("no")), _raises(AttributeError("no")), mm.Sum, CHAIN, lambda x: mm.single_spin("a")(x),
    ]
)  # fmt: skip
ENERGY += bad(
    [
        lambda x: jnp.sum(x) * 0, lambda x: jnp.sum(x), lambda x: -jnp.sum(x**2), lambda x: 1e300 * jnp.sum(x**2),
        lambda x: 1e-300 * jnp.sum(x**2), lambda x: jnp.sum(jnp.sqrt(x)), lambda x: jnp.sum(1 / x), lambda x: 1.0,
        lambda x: jnp.exp(1e3 * jnp.sum(x)), lambda x: jnp.max(jnp.abs(x)),
        lambda x: jnp.float32(1) * jnp.sum(x).astype("f"),
        lambda x: jnp.sum(jnp.log(x)), lambda x: jnp.sum(jnp.abs(x) ** 0.5),
        lambda x: jnp.where(jnp.sum(x) > 1, jnp.nan, 1.0) * jnp.sum(x),
        FILM, ONE, SPIN, mm.single_spin(1e300, 1e300), mm.single_spin(0.0, 0.0),
    ],
    False,
)  # fmt: skip
PARAM = bad([*JUNK, *LISTS, *NOT_FINITE, 0, True, 0.1, (0.1, 1.0, 3.0), mm.NEBParams, mm.Coupling(0, 0, (1, 0, 0))])
PARAM += bad([PARAMS._replace(**{name: x}) for name in PARAMS._fields for x in [*NOT_NUMBERS, *NOT_FINITE, -1, -1e300]])
PARAM += bad([PARAMS._replace(**{name: x}) for name in PARAMS._fields for x in [*WIDE, 0, 0.0, 1, 100.0]], False)
SHAPE = bad([*JUNK, *LISTS, *NOT_FINITE, 0, 4.0, True, -4, (0, 4), (-1, 4), (4.0, 4), (4, 4.5)])
SHAPE += bad([((4,), 4), "44", (True, 4), (4, None), (4, "4"), (np.nan, 4), (10**30, 4), (10**9, 10**9),
    np.ones((2, 2), int)])
SHAPE += bad([4, [4, 4], np.array([4, 4]), (4,), (4, 4, 4), (4, 4, 2), (4, 4, 1, 1), (1, 1), (3, 5),
    (np.int64(4), 4)], False)
VECTOR = bad([*JUNK, *LISTS[:5], *LISTS[6:-1], *NOT_FINITE, 0, True, 1.0, (1, 0), (0, 0, np.nan), (0, 0, np.inf),
    ("a", 0, 1)])
VECTOR += bad([(1j, 0, 0), (None, 0, 1), np.zeros((3, 3)), (0, 0, 0, 1), (True, False, False)])
VECTOR += bad([(0, 0, 0), (1e300, 0, 0), (5e-324, 0, 0), (1e-300, 0, 1e-300), [1, 0, 0], (1.0, 1e-8, 0)], False)
CENTRE = bad([*JUNK, *LISTS, *NOT_FINITE, 0, (1,), (1, 2, 3), (np.nan, 1), (np.inf, 1), ("a", 1), (1j, 1)])
CENTRE += bad([(-1, 1), (1e300, 1), (1e9, 2), [1, 2], (0.5, 0.5)], False)
BOOLS = bad([*(x for x in JUNK if x is not None), *LISTS, *NOT_FINITE, 2, (True,), (True,) * 4, (True, "no"),
    (True, None), (1, 0.5)])
HOLDS = bad([*JUNK, *LISTS, *NOT_FINITE, 0, HELD.T[:2], HELD.ravel(), HELD.astype(int), HELD.astype(object),
    HELD[:1]])
BAD_BONDS = [
    *[mm.Bond(o) for o in [(0, 0), (9, 0), (1,), (1, 0, 0), None, "ab", (1.0, 0), (1, np.nan), 1, (True, 0), [1, "0"],
        1j]],
    *[mm.Bond((1, 0), J=x) for x in [*NOT_FINITE, "a", None, 1j, [1, 2], np.ones((3, 3)), object(), True, "1"]],
    *[mm.Bond((1, 0), D=x) for x in [*NOT_FINITE, "abc", 1.0, (1, 2), (1, 2, 1j), (1, 2, np.nan), np.ones((4, 4)),
    object(), {}]],
    *[mm.Bond((1, 0), A=x) for x in [*NOT_FINITE, "a", 1.0, np.ones(3), np.arange(9.0).reshape(3, 3),
    np.eye(3) * np.nan, 1j * np.eye(3)]],
    *[(), (1,), ((1, 0), 1, None, None, None), "bond", None, 3, ((1, 0), {})],
]
BOND = bad([*JUNK[:1], *JUNK[3:4], *JUNK[6:9], *NOT_FINITE, 0, True, 1.0, BONDS * 2, [*BONDS, mm.Bond((-1, 0), 1.0)]])
BOND += bad([[b] for b in BAD_BONDS])
AXES = bad([*JUNK[:1], *JUNK[3:4], *JUNK[6:9], *NOT_FINITE, 0, True, "ab", [1.0], [(1.0,)], [(1.0, (0, 0, 1), 2)],
    [(1, 2)], ["ab"]])
AXES += bad([[(K, (0, 0, 1))] for K in [*NOT_FINITE, "a", None, 1j, [1, 2], object(), True]])
AXES += bad([[(1.0, axis)] for axis in [None, "abc", (0, 0, 0), (0, 0), (np.nan, 0, 0), (1j, 0, 0),
    np.ones((3, 3, 3))]])
METHOD = bad([*JUNK[1:], *LISTS, *NOT_FINITE, 0, True, mm.methods.FIRE, "LBFGS", mm.Flat(), PARAMS])
METHOD += bad([mm.methods.LBFGS(memory=m) for m in [0, -1, 1.5, None, "a", np.nan, True, 10**30]])
METHOD += bad([c(step=s) for c in (mm.methods.SteepestDescent, mm.methods.FIRE, mm.methods.Momentum) for s in ["a",
    None, np.nan, 1j, -1.0, [1, 2]]])
METHOD += bad([mm.methods.SteepestDescent(1e300), mm.methods.Momentum(0.1, 5.0), mm.methods.StringMethod(),
    mm.methods.Anderson()], False)
TENSORS = bad([*JUNK, *LISTS[:5], *NOT_FINITE, 0, np.zeros((2, 3)), np.ones((3, 3)) * np.nan, "chain", np.ones((2, 2))])
TENSORS += bad([["a", "b"], [[1, 0, 0], [1j, 0, 0]], [[1, 0, 0], [1, 0]], np.ones((2, 3), object),
    [[1e300, 0, 0], [0, 1, 0]]])
TENSORS += bad([[[1, 0, 0], [1e-9, 1e-9, 0]], [[1e-300, 0, 0], [0, 1e-300, 0]], [[1, 0, 0], [1, 1e-6, 0]]], False)
MATRIX = bad([*JUNK, *LISTS, *NOT_FINITE, 0, np.ones((2, 3)), sp.sparse.csc_array(np.full((2, 2), np.nan)),
    np.eye(2) * 1j])
MATRIX += bad([sp.sparse.csc_array(np.ones((2, 3))), sp.sparse.csc_array(np.array([[1.0, 2], [3, 4]])),
    HESSIAN.tocsc() * np.inf])
MATRIX += bad([sp.sparse.csc_array(np.zeros((2, 2))), HESSIAN * 1e300, HESSIAN * 1e-300, HESSIAN.toarray(),
    HESSIAN.tocsr()], False)
COUPLINGS = bad([*JUNK[1:4], *JUNK[6:9], *NOT_FINITE, 0, True, 1.0, [None], [3], ["ab"], [()], [(0,)],
    MAGNET.couplings * 2])
COUPLINGS += bad([[MAGNET.couplings[0]._replace(**{n: x})] for n in ("i", "j") for x in [None, "a", 1, -1, 0.5, 1j,
    np.nan, True]])
COUPLINGS += bad([[MAGNET.couplings[0]._replace(R=x)] for x in [None, "abc", 1, (1,), (0, 0, 0), (0.5, 0, 0),
    (np.nan, 0, 0), (1e300, 0, 0)]])
COUPLINGS += bad([[MAGNET.couplings[0]._replace(**{n: x})] for n in "JDA" for x in ["a", 1j, [1, 2], {}, np.nan,
    np.inf, object()]])
KS = bad([*JUNK[1:4], *JUNK[6:9], *NOT_FINITE, 0, True, [None], [3], ["ab"], [()], [(0, 1.0)],
    [(0, np.nan, (0, 0, 1))]])
KS += bad([[(a, K, v)] for a, K, v in [(1, 1.0, (0, 0, 1)), (-1, 1, (0, 0, 1)), (0.5, 1, (0, 0, 1)),
    (0, "a", (0, 0, 1)), (0, 1j, (0, 0, 1))]])
KS += bad([[(0, 1.0, v)] for v in [(0, 0, 0), (0, 0), "abc", None, (np.nan, 0, 0), (1j, 0, 0)]])
PLACES = bad([*JUNK, *LISTS, *NOT_FINITE, 0, [[0, 0]], [[0, 0, np.nan]], [["a", 0, 0]], [[0, 0, 0], [0, 0, 0]],
    [[0, 0, 0], [3, 0, 0]]])
CELL = bad([*JUNK, *LISTS, *NOT_FINITE, 0, np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) * np.nan, np.eye(2),
    np.eye(3) * 1j])
NUMBERS = bad([*JUNK[:1], "word", object(), {}, set(), lambda: 0, "", *LISTS[2:5], np.nan, -1.0, [-1.0, 1.0],
    [np.nan, 1.0], 1j, True])
NUMBERS += bad([0, 1e300, 1e-300, 5e-324, [], [0.1, 0.2], np.zeros(0), np.ones((2, 2))], False)
OUT = bad([*(x for x in JUNK if not isinstance(x, (str, bytes))), *NOT_FINITE, 1.0, [], "", FOLDER,
    FOLDER / "none" / "file"])
IN = [*OUT, *bad([FOLDER / "missing", "missing", "a\0b", "x" * 5000])]
SLOPE = bad([*JUNK, *NOT_FINITE, "1.0", True, [1.0, np.nan], np.array(1.0, object)]) + bad(WIDE, False)


def optional(kind):
    return [row for row in kind if row[0] != "None"]


# Public calls: a function and its good arguments, each with its kind. ------------------------------------------------

CALLS = {}


def call(name, f, weight=1.0, /, **arguments):
    CALLS[name] = f, weight, arguments


def written(name, write):
    folder = Path(tempfile.mkdtemp(dir=FOLDER))  # of its own: codes look for other files beside it
    write(folder / name)
    return folder / name


g, n_o = (GEOMETRY, mm.Flat()), (OPTION, "smooth")
spin, flat, bent = (ENERGY, SPIN), (ARRAY, jnp.array([0.1, 0.3])), (PATH, BENT)
film, up, on, vectors = (ENERGY, FILM), (SPINS, UP), (GEOMETRY, SPHERES), (ARRAY, UP)
band = dict(energy=spin, path=bent, params=(PARAM, PARAMS))
how = dict(geometry=g, tangent=(OPTION, "smooth"), spring=(OPTION, "raw"))
tols = dict(tol=(optional(POSITIVE), 1e-6), max_steps=(COUNT, 100))
cost = dict(reference=(NUMBER, 0.0), geometry=g)
call("neb_step", mm.neb_step, **band, **how, climb=(FLAG, False))
call("iterate", mm.iterate, **band, steps=(COUNT, 3), **how, climb=(FLAG, False),
    observe=(optional(FUNCTION), lambda p: p[1]))
call("iterate_batch", mm.iterate_batch, **band | {"path": None} | {"paths": (BATCH, BENT[None])}, steps=(COUNT, 3),
    **how)
call("barrier", mm.barrier, energy=spin, path=bent, geometry=g)
call("highest_point", mm.highest_point, energy=film, path=(PATH, jnp.stack([UP, -UP, UP])), geometry=on)
call("segment_maximum", mm.segment_maximum, f=(ENERGY[: len(FUNCTION)] + ENERGY[len(FUNCTION) + 1 :],
    lambda t: jnp.sin(3 * t)))
call("overestimate", mm.overestimate, energy=spin, path=bent, **cost)
call("convergence_rates", mm.convergence_rates, overestimates=(
    [row for row in ARRAY if row[0] not in ("longer", "half")], jnp.array([1.0, 0.5, 0.1])))
call("loss", mm.loss, **band, steps=(COUNT, 3), **cost, spring=(OPTION, "raw"))
call("loss_and_gradient", mm.loss_and_gradient, energy=spin, paths=(BATCH, BENT[None]), params=(PARAM, PARAMS),
    steps=(COUNT, 3), **cost, spring=(OPTION, "raw"))
call("rate_limit", mm.rate_limit, **band | {"path": (PATH, LINE)}, **how)
call("train", mm.train, 0.5, key=(KEYS, KEY), energy=spin, sample=(FUNCTION, sample), params=(PARAM, PARAMS),
    steps=(COUNT, 2),
     epochs=(COUNT, 1), iterations=(COUNT, 2), batch=(COUNT, 2), **cost, spring=(OPTION, "raw"), safeguard=(FLAG, True),
     checkpoint=(optional(OUT), None), progress=(FLAG, False))  # fmt: skip
call("straight_path", mm.straight_path, start=(ARRAY, LINE[0]), end=(ARRAY, LINE[-1]), n_images=(COUNT, 5), geometry=g)
LONGER = [row for row in PATH if row[0] != "longer"]  # states of more coordinates
call("perturbed_path", mm.perturbed_path, key=(KEYS, KEY), path=(LONGER, LINE), amplitude=(NATURAL, 0.05))
call("bent_path", mm.bent_path, key=(KEYS, KEY), path=(LONGER, LINE), amplitude=(NATURAL, 0.05))
call("Spheres", mm.Spheres, axis=(bad([*NOT_NUMBERS, *NOT_FINITE, 0.5]), -1))
# Two equal states are a path, of no length, or two directions.
TWICE = [row for row in ARRAY if row[0] != repr(np.zeros((2, 2)))]
call("arc_length", mm.arc_length, path=(
    [row for row in TWICE if row[0] not in ("half", "longer")], BENT), geometry=g)
call("angles_to_spin", mm.angles_to_spin, x=(TWICE, flat[1]))
call("spin_to_angles", mm.spin_to_angles, S=(ARRAY, UP))
call("single_spin", lambda **K: mm.single_spin(**K)(jnp.zeros(2)), K1=(NUMBER, 1.0), K2=(NUMBER, -2.0))
call("single_spin()", SPIN, x=([row for row in ARRAY if row[0] != "a_list"], flat[1]))
call("Sum", lambda a, b: mm.curvature_scale(mm.Sum(a, b), jnp.zeros(2)), a=spin, b=spin)
call("Sum()", mm.Sum(FILM, FILM), x=([row for row in ARRAY if "huge" not in row[0]], UP))
call("tangents.central", mm.tangents.central, forward=(ARRAY, WAYS[0]), backward=(ARRAY, WAYS[1]))
call("tangents.improved", mm.tangents.improved, forward=(ARRAY, WAYS[0]), backward=(ARRAY, WAYS[1]),
    energies=(ARRAY, jnp.arange(5.0)))
call("tangents.smooth", mm.tangents.smooth, forward=(ARRAY, WAYS[0]), backward=(ARRAY, WAYS[1]),
    gradients=(ARRAY, WAYS[0]), beta=(NATURAL, 3.0))
call("tangents.weight", mm.tangents.weight, a=(SLOPE, 0.5), b=(SLOPE, 0.1), beta=(NATURAL, 3.0))
call("find_mep", mm.find_mep, 0.5, energy=(ENERGY, ONE), start=(SPINS, X), end=(SPINS, -X), geometry=on,
    n_images=(optional(COUNT), 5),
     method=(METHOD, None), fallback=(METHOD, None), patience=(COUNT, 50), params=(optional(PARAM), None),
     tangent=(optional(OPTION), None),
     climb=(FLAG, True), relax_endpoints=(FLAG, True), endpoint_tol=(optional(POSITIVE), None), **tols,
     progress=(FLAG, False))  # fmt: skip
TWO = [mm.Heisenberg((1,), anisotropy=[(K, (1, 0, 0)), (-2.0, (0, 0, 1))]) for K in (1.0, 1.1)]
SEVERAL = bad([*JUNK, *LISTS[2:], *NOT_FINITE, 0, True, ONE, {"a": ONE}, (ONE, None), [ONE, CHAIN]])
SEVERAL += [(f"second {label}", lambda good, way=way: [good[0], way(good[1])], must) for label, way, must in ENERGY]
call("find_meps", mm.find_meps, 0.7, energies=(SEVERAL, TWO), starts=(SPINS, X), ends=(SPINS, -X), geometry=on,
    checkpoint=(optional(OUT), None), workers=(optional(COUNT), 1), **tols, progress=(FLAG, False))
call("find_paths", mm.find_paths, 0.5, energy=(ENERGY, ONE), start=(SPINS, X), end=(SPINS, -X), paths=(COUNT, 2),
    key=(optional(KEYS), KEY),
    geometry=on, **tols, progress=(FLAG, False))
call("find_mep, path", mm.find_mep, 0.4, energy=spin, start=(ARRAY, LINE[0]), end=(ARRAY, LINE[-1]),
    path=(optional(PATH), BENT), **tols, progress=(FLAG, False))
call("relax", mm.relax, 0.7, energy=film, state=up, geometry=on, **tols, unit=(optional(POSITIVE), 1.0))
call("relax, flat", mm.relax, 0.7, energy=spin, state=flat, geometry=g, **tols, unit=(optional(POSITIVE), 1.0))
call("find_saddles", mm.find_saddles, 0.5, energy=(ENERGY, ONE), minimum=(SPINS, X), geometry=on, modes=(COUNT, 2),
    **tols, unit=(optional(POSITIVE), None), progress=(FLAG, False))
call("lowest_modes", mm.lowest_modes, energy=film, x=up, k=(COUNT, 2), geometry=on)
call("curvature_scale", mm.curvature_scale, energy=film, x=up, geometry=on)
call("hessian", mm.hessian, energy=spin, x=flat, geometry=g)
call("lowest_eigenpairs", mm.lowest_eigenpairs, H=(MATRIX, HESSIAN), k=(COUNT, 1))
call("log_determinant", mm.log_determinant, H=(MATRIX, HESSIAN), across=(
    [row for row in optional(ARRAY) if row[0] not in ("a_list", "ints")], jnp.array([[0.0], [1.0]])))
call("transition_rate", mm.transition_rate, 0.7, energy=(ENERGY, ONE), minimum=(SPINS, X), saddle=(SPINS, Y),
    damping=(NATURAL, 0.5),
     moments=(MOMENTS, 1.0), multiplicity=(COUNT, 2), soft=(optional(NATURAL), None))  # fmt: skip
for method in ("rate", "prefactor", "harmonic_rate"):
    call(f"TransitionRate.{method}", getattr(RATE, method), 0.5, temperature=(NUMBERS, 0.1))
# A lifetime may be infinite: its inverse is the rate.
call("TransitionRate.lifetime", lambda temperature: 1 / RATE.lifetime(temperature), 0.5, temperature=(NUMBERS, 0.1))
call("time_unit", mm.time_unit, moment=(POSITIVE, 3.0), energy=(POSITIVE, 1e-22))
call("relaxation_rates", mm.relaxation_rates, energy=(ENERGY, ONE), temperature=(POSITIVE, 0.5),
    damping=(POSITIVE, 0.5), degree=(COUNT, 15), k=(COUNT, 1))
noise = dict(temperature=(NATURAL, 0.1), damping=(NATURAL, 0.5), dt=(POSITIVE, 0.01), steps=(COUNT, 3),
    moments=(MOMENTS, 1.0), progress=(FLAG, False))
call("simulate", mm.simulate, key=(KEYS, KEY), energy=film, states=(SPINS, UP[None]), **noise,
    observe=(optional(FUNCTION), lambda S: S[0, 0, 0]), every=(COUNT, 2))
call("count_escapes", mm.count_escapes, key=(KEYS, KEY), energy=(ENERGY, ONE), states=(SPINS, X[None]),
    core=(FUNCTION, lambda S: jnp.sign(S[0, 0]).astype(int)), **noise)
call("Heisenberg", lambda **a: mm.Heisenberg(**a)(UP), shape=(SHAPE, (4, 4)), bonds=(BOND, BONDS),
    anisotropy=(AXES, [(0.5, (0, 0, 1))]), field=(VECTOR, (0, 0, 0.5)), periodic=(BOOLS, True))
# As bare functions they say what numbers give: for huge ones infinity.
VECTORS = [row for row in ARRAY if "huge" not in row[0]], UP
call("Heisenberg()", FILM, S=VECTORS)
call("Dipolar", lambda **a: mm.Dipolar(**a)(UP), shape=(SHAPE, (4, 4)), vectors=(TENSORS, "square"),
    moments=(NUMBER, 2.0), a=(POSITIVE, 3.0), periodic=(BOOLS, True), prefactor=(POSITIVE, 1.0))
call("Dipolar, basis", lambda **a: mm.Dipolar(**a)(UP), shape=(SHAPE, (4, 4)),
    vectors=([row for row in TENSORS if row[0] != "'chain'"], "chain"),
    basis=(PLACES, [[0, 0.1 * k, 0] for k in range(4)]))
call("Dipolar()", mm.Dipolar((4, 4), "square"), S=VECTORS)
NONE = bad([*(x for x in JUNK if not callable(x)), *LISTS, *NOT_FINITE, float, mm.Sum])
call("pinned", lambda **a: mm.pinned(**a)(UP), energy=(NONE, FILM), state=up, held=(HOLDS, HELD))
call("Pinned.placed", mm.pinned(FILM, UP, HELD).placed, x=vectors)
call("vacancies", lambda **a: mm.vacancies(**a)(UP), energy=(ENERGY, FILM), missing=(HOLDS, HELD))
call("nearest_neighbours", lambda **a: mm.Heisenberg((4, 4), mm.nearest_neighbours(**a))(UP),
    lattice=(OPTION, "square"), J=(NUMBER, 1.0), D=(NUMBER, 0.3), dmi=(OPTION, "neel"))
call("positions", mm.positions, shape=(SHAPE, (4, 4)), lattice=(OPTION, "square"))
call("topological_charge", mm.topological_charge, state=up, lattice=(OPTION, "square"), periodic=(BOOLS, True))
call("ferromagnet", mm.ferromagnet, shape=(SHAPE, (4, 4)), direction=(VECTOR, (0, 0, 1)))
call("domain_wall", mm.domain_wall, shape=(SHAPE, (4, 4)), center=(NUMBER, 1.5), width=(POSITIVE, 1.0),
    axis=([*bad([*NOT_NUMBERS, *NOT_FINITE, 2, -1, 0.5])], 0), domains=(VECTOR, (0, 0, 1)), plane=(VECTOR, (1, 0, 0)))
round_ = dict(shape=(SHAPE, (4, 4)), lattice=(OPTION, "square"), center=(CENTRE, (2, 2)), radius=(POSITIVE, 1.0),
    width=(POSITIVE, 1.0), helicity=(NUMBER, 0.1),
              vorticity=(bad([*NOT_NUMBERS, *NOT_FINITE, 0.5, 1e300]), 1), periodic=(FLAG, True))  # fmt: skip
call("skyrmion", mm.skyrmion, **round_)
call("skyrmionium", mm.skyrmionium, **round_, inner=(optional(POSITIVE), 0.5))
call("bimeron", mm.bimeron, **round_)
call("spiral", mm.spiral, shape=(SHAPE, (4, 4)), lattice=(OPTION, "square"), 
    wavevector=([row for row in VECTOR if row[0] != "(1, 0)"], (0.5, 0, 0)),
    axis=(VECTOR, (0, 0, 1)))
call("Magnet", lambda **a: mm.Magnet(**a).energy((4, 4))(UP), cell=(CELL, 3 * np.eye(3)),
    positions=(PLACES, [[0, 0, 0]]),
     moments=(bad([*JUNK[1:], *LISTS, *NOT_FINITE, 1.0, [-1.0], [np.nan], ["a"], [1j], [1.0, 2.0]]), [2.0]),
     unit=(OPTION, "meV"),
     couplings=(COUPLINGS, MAGNET.couplings), anisotropy=(KS, MAGNET.anisotropy), field=(VECTOR, (0, 0, 1)),
     cells=(optional(SHAPE), (4, 4, 1)),
     periodic=(BOOLS, None), names=(bad([*JUNK[3:], 3, ["a", "a"], [None], [3], True]), ("Fe",)))  # fmt: skip
call("Magnet.energy", lambda **a: MAGNET.energy(**a)(UP), cells=(optional(SHAPE), (4, 4)), periodic=(BOOLS, True),
    field=(optional(VECTOR), (0, 0, 1)))
call("Magnet.sites", MAGNET.sites, cells=(SHAPE, (4, 4)))
call("Magnet.supercell", MAGNET.supercell, cells=(SHAPE, (2, 1, 1)), periodic=(BOOLS, True))
call("Magnet.within", MAGNET.within, radius=(POSITIVE, 4.0))
call("Magnet.in_unit", MAGNET.in_unit, unit=(OPTION, "mRy"))
call("MEP.profile", FOUND.profile, position=([*bad([*JUNK, *LISTS[2:5], *NOT_FINITE, 1e9, -1.0, "1"])], 0.5))
call("MEP.save", FOUND.save, file=(OUT, FOLDER / "again.npz"))
call("MEP.load", mm.MEP.load, file=(IN, written("found.npz", FOUND.save)))
call("save", mm.save, path=(OUT, FOLDER / "again.ovf"), states=([row for row in ARRAY if row[0] not in ("ints",
    "a_list")], UP), band=(optional(FLAG), None), atoms=(COUNT, 1), data=(OPTION, "text"))
call("load", mm.load, path=(IN, written("found.ovf", FOUND.save)), atoms=(COUNT, 1))
for code in ("spirit", "tb2j", "uppasd", "vampire"):
    read, write = getattr(mm, f"read_{code}"), getattr(mm, f"write_{code}")
    (FOLDER / f"again_{code}").mkdir()
    # That of UppASD is a folder, which is made.
    where = ("folder", [row for row in OUT if "PosixPath" not in row[0]]) if code == "uppasd" else ("path", OUT)
    target = {where[0]: (where[1], FOLDER / f"again_{code}" / "file")}
    call(f"write_{code}", write, magnet=(bad([*JUNK, *LISTS, *NOT_FINITE, FILM, mm.Magnet]), MAGNET), **target)
    call(f"read_{code}", read, path=([row for row in IN if row[0] != repr(FOLDER)],
        written(f"good_{code}", lambda p, write=write: write(MAGNET, p))))
for name, (f, weight, arguments) in CALLS.items():
    CALLS[name] = f, weight, {k: v for k, v in arguments.items() if v is not None}

# Files: their bytes are made bad. -----------------------------------------------------------------------------------


def text_ovf(path):
    mm.save(path, UP, data="text")


def _train(path):
    return mm.train(KEY, SPIN, sample, PARAMS, steps=2, epochs=1, iterations=2, batch=2, reference=0.0,
        checkpoint=path, progress=False)


def _map(path):
    return mm.find_meps(TWO, X, -X, geometry=SPHERES, checkpoint=path, progress=False)


def kept(make):
    """What writes the checkpoint of a call, which is made once."""
    file = FOLDER / f"kept{make.__name__}.npz"

    def write(path):
        if not file.exists():
            make(file)
        shutil.copy(file, path)

    return write


FILES = {
    "find_meps, checkpoint": (kept(_map), _map),
    "MEP.load": (FOUND.save, mm.MEP.load), "load, binary": (lambda p: mm.save(p, UP), mm.load),
        "load, text": (text_ovf, mm.load),
    "train, checkpoint": (kept(_train), _train),
    **{f"read_{c}": (lambda p, c=c: getattr(mm, f"write_{c}")(MAGNET, p),
    getattr(mm, f"read_{c}")) for c in ("spirit", "tb2j", "uppasd", "vampire")},
}  # fmt: skip


def spoiled(raw, rng):
    """The bytes of a file with something wrong, what that is, and whether it must be refused."""
    at, rows = int(rng.integers(len(raw))), raw.split(b"\n")
    k, m = (int(i) for i in rng.integers(len(rows), size=2))
    words = rows[k].split(b" ")
    w = int(rng.integers(len(words)))
    ways = {
        "cut": (raw[:at], False), "empty": (b"", True), "zeros": (bytes(len(raw)), True),
        "noise": (rng.bytes(300), True), "a byte": (raw[:at] + rng.bytes(1) + raw[at + 1 :], False),
        "sixteen": (raw.decode(errors="replace").encode("utf-16"), True), "twice": (raw + raw, False),
        "a row less": (b"\n".join(rows[:k] + rows[k + 1 :]), False),
        "a row twice": (b"\n".join(rows[:k] + rows[k : k + 1] + rows[k:]), False),
        "rows swapped": (b"\n".join(rows[m] if i == k else rows[k] if i == m else r for i, r in enumerate(rows)),
        False),
        **{
            f"{word!r} for {words[w][:20]!r}": (b"\n".join([*rows[:k], b" ".join([*words[:w], word, *words[w + 1 :]]),
                *rows[k + 1 :]]), False)
            for word in (b"nan", b"inf", b"1e999", b"-1", b"word", b"0", b"1e300", b"99999999999999999999", b"")
        },
    }  # fmt: skip
    name = list(ways)[rng.integers(len(ways))]
    return *ways[name][:1], name, ways[name][1]


# What came of it. ---------------------------------------------------------------------------------------------------


def in_words(error):
    """Whether an error was raised by a line of this package that says ``raise``, with a sentence."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    line = linecache.getline(file, trace.tb_lineno).strip()
    return file.startswith(PACKAGE) and line.startswith("raise") and len(str(error)) > 15


def not_finite(result):
    """Whether numbers of a result are not finite and nothing in it says so."""
    if isinstance(result, list) and any(isinstance(r, mm.MEP) for r in result):
        return any(map(not_finite, result))
    parts = vars(result) if isinstance(result, (mm.MEP, mm.Magnet, mm.TransitionRate)) else result
    if isinstance(result, mm.MEP):  # its history tells of moves that were taken back
        parts = {name: part for name, part in parts.items() if name != "history"}
    numbers = []
    for leaf in jax.tree.leaves(parts):
        if isinstance(leaf, (float, np.ndarray, jax.Array)) and getattr(leaf, "dtype", np.dtype(float)).kind in "fc":
            numbers.append(np.ravel(np.asarray(leaf, complex)))
    return bool(numbers) and not np.all(np.isfinite(np.concatenate(numbers))) and not flagged(result)


def flagged(result):
    if isinstance(result, list):
        return any(map(flagged, result))
    said = [getattr(result, name, None) is False for name in ("converged", "completed")]
    return any(said) or bool(np.any(np.asarray(getattr(result, "diverged", False))))


class Late(BaseException):
    """A call that is not back in time."""


def late(*_):
    raise Late


def tried(f, must):
    """The outcome of a call in a word, what it says, and the seconds of a processor it took; capitals are faults."""
    start = time.process_time()
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, 4 * SLOW, 1.0)  # again and again: a callback of JAX swallows what it raises
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = jax.block_until_ready(f())
        if result is not None and not_finite(result):
            kind, said = "NOT FINITE", f"{result!r:.150}"
        elif must and not flagged(result):
            kind, said = "SILENT", f"{result!r:.150}"
        else:
            kind, said = "result", ""
    except ValueError as error:
        kind, said = ("refused" if in_words(error) else "NOT IN WORDS"), f"{type(error).__name__}: {error!s:.200}"
    except Late:
        kind, said = "SLOW", "stopped"
    except Exception as error:
        kind, said = f"ERROR {type(error).__name__}", f"{error!s:.200}"
    signal.setitimer(signal.ITIMER_PROF, 0)
    return kind, said.replace("\n", " "), time.process_time() - start


def case(rng, only=""):
    """A call with bad arguments: its name, what is bad, the call, and whether it must be refused."""
    if rng.random() < 0.12 and (names := [n for n in FILES if only in n]):
        name = names[rng.integers(len(names))]
        write, read = FILES[name]
        target = written("bad", write)
        place = sorted(p for p in target.parent.rglob("*") if p.is_file())
        place = place[rng.integers(len(place))]
        raw, what, must = spoiled(place.read_bytes(), rng)
        must &= not (name == "find_meps, checkpoint" and what == "empty")  # left by a run that was interrupted at once
        place.write_bytes(raw)
        return f"{name} of a file", f"{place.name if target.is_dir() else ''} {what}", lambda: read(target), must
    names = [n for n in CALLS if only in n]
    weights = np.array([CALLS[n][1] * (2 + len(CALLS[n][2])) for n in names])
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    f, _, good = CALLS[name]
    values, what, must = {k: v for k, (_, v) in good.items()}, [], False
    if rng.random() < 0.04 and len(good) > 1:
        a, b = rng.choice(list(good), 2, replace=False)
        values[a], values[b] = values[b], values[a]
        what = [f"{a} and {b} swapped"]
    else:
        for arg in rng.choice(list(good), min(len(good), 1 + (rng.random() < 0.08)), replace=False):
            kind, value = good[arg]
            label, way, refuse = kind[rng.integers(len(kind))]
            try:
                values[arg] = way(value if value is not None else 1.0)
            except Exception:  # there is no such value of this one, as of a text no transpose
                values[arg], label = None, "None"
                refuse = any(row[0] == "None" and row[2] for row in kind)
            what.append(f"{arg}={label}")
            must |= refuse
    return name, ", ".join(what), called(name, values), must


def called(name, values):
    f = CALLS[name][0]
    return (lambda: f(*values.values())) if name.endswith("()") else (lambda: f(**values))


def good(name):
    """The good call."""
    return called(name, {k: v for k, (_, v) in CALLS[name][2].items()})


def main(inputs=10_000, seed=0, only=""):
    os.chdir(FOLDER)  # a name may be that of a file here
    outcomes, per_call, sound, start = collections.Counter(), collections.Counter(), set(), time.perf_counter()
    for k in range(int(inputs)):
        name, what, f, must = case(np.random.default_rng([int(seed), k]), only)
        if name in CALLS and name not in sound:
            assert (came := tried(good(name), False))[0] in ("result", "SLOW"), (name, *came)
            sound.add(name)
        faulthandler.dump_traceback_later(900, exit=True)
        sys.stdout, shown = io.StringIO(), sys.stdout
        kind, said, took = tried(f, must)
        if took > SLOW and kind != "SLOW":  # compiled in that time, perhaps
            kind, said, took = tried(f, must)
        sys.stdout = shown
        if took > SLOW:
            kind, said = "SLOW", f"{took:.0f} s {kind}"
        outcomes[kind] += 1
        per_call[name] += 1
        if kind.split()[0].isupper():
            print(f"{kind} {name}: {what}\n      {said}", flush=True)
        if k % 500 == 499:
            print(f"{k + 1} inputs, {time.perf_counter() - start:.0f} s: {dict(outcomes)}", flush=True)
    print("inputs by call:", ", ".join(f"{name} {count}" for name, count in sorted(per_call.items())))
    print("outcomes:", dict(outcomes))
    return sum(n for kind, n in outcomes.items() if kind.split()[0].isupper())


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 100))
