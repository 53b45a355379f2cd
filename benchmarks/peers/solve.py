"""One problem solved by one code to a residual that :mod:`.measure` finds; iterations, gradients and time of it.

Spirit and ASE are asked after every few iterations whether they are there, by our measure and at no cost to them. Then
the same iterations run again without a stop, and that run is timed: they get a perfect criterion for free. mepmeta is
timed as a user calls it: its own criterion, its checks of the saddle and all.
"""

import time
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import mepmeta as mm
from benchmarks.peers.measure import Residuals, measure
from benchmarks.peers.problems import Problem, leps, muller_brown, spec

__all__ = ["TOL", "Outcome", "answer", "solve"]

#: Residual to reach, in the unit of a problem, and iterations to give up after.
TOL, CAP = 1e-5, 20_000
#: Spirit and ASE are looked at after every iteration on problems with fewer numbers than SMALL; on larger ones, where a
#: look takes as long as some iterations, every 10 when they are within a factor of ten of the goal, else every 50.
SMALL, CHECK, SELDOM = 5000, 10, 50


class Outcome(NamedTuple):
    """How it went.

    Args:
        solved: whether the residual of the band came below ``TOL``.
        iterations: of the band, until then or until it was given up.
        evaluations: gradients of a state, inner images only; for mepmeta its checks are included.
        cpu, wall: seconds, of iterating alone: no setting up, no compiling, no looking.
        band, top: residuals at the end, in the unit of the problem; ``barrier`` in its units of energy.
        top_at: iterations until the force on the highest image was below ``TOL`` (nan for mepmeta, which goes on).
        index: negative eigenvalues of the Hessian at the highest image of a solved band, 1 for a saddle; else -1.
        message: why it failed, in words.
    """

    solved: bool
    iterations: int
    evaluations: int
    cpu: float
    wall: float
    band: float
    top: float
    barrier: float
    top_at: float
    index: int
    message: str


def solve(code: str, problem: Problem, settings: dict, repeats: int = 1, cap: int = CAP) -> list[Outcome]:
    """Outcomes of ``repeats`` timed runs of "mepmeta", "spirit" or "ase"."""
    return {"mepmeta": _mepmeta, "spirit": _spirit, "ase": _ase}[code](problem, settings, repeats, cap)


def answer(code: str, problem: Problem, settings: dict) -> dict[str, float | bool]:
    """CPU seconds until a fresh process has its answer: what it loads, the first solution and a second one.

    ``solved`` says whether both are solutions; where a code gives up, the seconds are no answer.

    A worker has JAX and mepmeta loaded when it gets a job; that counts for mepmeta, and not for Spirit.
    """
    begin = 0.0
    if code == "spirit":
        begin = time.process_time()
        import benchmarks.peers.spirit_run  # noqa: F401
    loading = time.process_time() - begin
    first, second = (solve(code, problem, settings)[0] for _ in range(2))
    solved = first.solved and second.solved
    return {"loading_s": loading, "first_s": first.cpu, "second_s": second.cpu, "solved": solved}


def _outcome(r: Residuals, problem: Problem, k: int, per: int, times, top_at, index: int, message: str) -> Outcome:
    band, top = r.band / problem.unit, r.top / problem.unit
    solved = band <= TOL
    evaluations = k * per * (problem.path.shape[0] - 2)
    return Outcome(solved, k, evaluations, *times, band, top, r.barrier, top_at, index, "" if solved else message)


def _index(problem: Problem, x: np.ndarray) -> int:
    return mm.lowest_modes(problem.energy, jnp.asarray(x), geometry=problem.geometry).negative


def _mepmeta(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    outcomes = []
    for _ in range(repeats):
        begin = time.process_time(), time.perf_counter()
        r = mm.find_mep(
            problem.energy, problem.path[0], problem.path[-1], path=problem.path, geometry=problem.geometry,
            relax_endpoints=False, tol=TOL * problem.unit, progress=False, **settings,
        )  # fmt: skip
        times = time.process_time() - begin[0], time.perf_counter() - begin[1]
        found = measure(problem.energy, r.path, problem.geometry)
        index = _index(problem, r.path[found.image]) if r.converged else -1
        outcome = _outcome(found, problem, r.steps, 1, times, np.nan, index, r.message)
        solved = outcome.solved and r.converged
        outcomes.append(outcome._replace(solved=solved, evaluations=r.evaluations, message="" if solved else r.message))
    return outcomes


def _search(look, advance, climb, problem: Problem, climb_at: float, cap: int):
    """Iterate and look; climb when the band is near, and again when another image has become the highest.

    Returns the last look, the iterations of each stage with the image that climbs after it, when the top was there, why
    it ended, and CPU and wall time of the iterations.
    """
    times = np.zeros(2)
    k, climbing, since, stages, top_at, r = 0, None, 0, [], np.nan, look()
    small = problem.path.size < SMALL
    while k < cap:
        n = 1 if small else CHECK if r.band <= 10 * TOL * problem.unit or k < SELDOM else SELDOM
        begin = time.process_time(), time.perf_counter()
        advance(n)
        times += time.process_time() - begin[0], time.perf_counter() - begin[1]
        k += n
        r = look()
        if not np.isfinite(r.band):
            return r, [*stages, (k - since, None)], top_at, "diverged", times
        if np.isnan(top_at) and climbing is not None and r.top <= TOL * problem.unit:
            top_at = k
        if climbing is not None and r.band <= TOL * problem.unit:
            break
        near = climbing is None and r.across <= climb_at * problem.unit
        moved = climbing is not None and r.image != climbing and k - since >= 100
        if near or moved:
            stages.append((k - since, r.image))
            climbing, since = r.image, k
            climb(r.image)
    return r, [*stages, (k - since, None)], top_at, f"not there after {k} iterations", times


#: What the search with looks found, so that later rounds repeat the timed run alone.
_found = {}


def _peer(code: str, problem: Problem, settings: dict, repeats: int, cap: int, make, unpack, per: int) -> list[Outcome]:
    """Search with looks once, then timed runs of the same iterations; without those, the time of the search counts.

    ``make(timed)`` sets up a band in the other code, ``unpack`` turns its path into one of the shape of the problem.
    """
    look = lambda band: measure(problem.energy, unpack(band.path()), problem.geometry)  # noqa: E731
    key = code, problem.name, repr(settings), cap
    if key not in _found:
        band = make(False)
        found = _search(lambda: look(band), band.advance, band.climb, problem, settings["climb_at"], cap)
        r = found[0]
        solved = r.band <= TOL * problem.unit
        _found[key] = *found, _index(problem, unpack(band.path())[r.image]) if solved else -1
        band.close()
    r, stages, top_at, why, times, index = _found[key]
    k, outcomes = sum(n for n, _ in stages), []
    for _ in range(repeats):
        band, times = make(True), np.zeros(2)
        for n, image in stages:
            times += band.run(n)
            if image is not None:
                band.climb(image)
        band.close()
        # Only its time counts. Two runs differ in their last digits, and a solver without a damping amplifies that: the
        # search has shown that so many iterations are enough.
        outcomes.append(_outcome(r, problem, k, per, times, top_at, index, why))
    return outcomes or [_outcome(r, problem, k, per, times, top_at, index, why)]


def _spirit(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    from benchmarks.peers import spirit_run

    energy, shape = spec(problem.energy), problem.path.shape
    path = problem.path.reshape(shape[0], *energy["cells"], 3)
    options = {key: value for key, value in settings.items() if key != "climb_at"}

    def make(timed: bool) -> spirit_run.Band:
        return spirit_run.Band(energy, path, **options, amortize=spirit_run.FOREVER if timed else 1)

    per = spirit_run.FORCES[settings["solver"]]
    return _peer("spirit", problem, settings, repeats, cap, make, lambda path: path.reshape(shape), per)


def _ase(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    from benchmarks.peers import ase_run

    options = {key: value for key, value in settings.items() if key != "climb_at"}
    if isinstance(problem.geometry, mm.Spheres):  # the paper's spin, in its angles
        (K1, _), (K2, _) = problem.energy.anisotropy
        both, start = ase_run.single_spin(float(K1), float(K2)), np.asarray(mm.spin_to_angles(problem.path[:, 0]))
        unpack = lambda path: np.asarray(mm.angles_to_spin(path))[:, None]  # noqa: E731
    else:
        both, start = {muller_brown: ase_run.muller_brown, leps: ase_run.leps}[problem.energy], problem.path
        unpack = lambda path: path  # noqa: E731
    return _peer("ase", problem, settings, repeats, cap, lambda _: ase_run.Band(both, start, **options), unpack, 1)
