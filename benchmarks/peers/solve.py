"""One problem solved by one code to a residual that :mod:`.measure` finds; iterations, gradients and time of it.

Spirit and ASE are asked after every few iterations whether they are there, by our measure and at no cost to them. Then
the same iterations run again without a stop, and that run is timed: they get a perfect criterion for free. mepmeta is
timed as a user calls it: its own criterion, its checks of the saddle and all.
"""

import time
from typing import NamedTuple

import numpy as np

from benchmarks.peers.measure import Residuals, measure
from benchmarks.peers.problems import Problem, leps, muller_brown, spec

__all__ = ["TOL", "Outcome", "solve"]

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
    message: str


def solve(code: str, problem: Problem, settings: dict, repeats: int = 1, cap: int = CAP) -> list[Outcome]:
    """Outcomes of ``repeats`` timed runs of "mepmeta", "spirit" or "ase"."""
    return {"mepmeta": _mepmeta, "spirit": _spirit, "ase": _ase}[code](problem, settings, repeats, cap)


def _outcome(r: Residuals, problem: Problem, k: int, per: int, times, top_at, message: str) -> Outcome:
    band, top = r.band / problem.unit, r.top / problem.unit
    solved = band <= TOL
    evaluations = k * per * (problem.path.shape[0] - 2)
    return Outcome(solved, k, evaluations, *times, band, top, r.barrier, top_at, "" if solved else message)


def _mepmeta(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    import mepmeta as mm

    outcomes = []
    for _ in range(repeats):
        begin = time.process_time(), time.perf_counter()
        r = mm.find_mep(
            problem.energy, problem.path[0], problem.path[-1], path=problem.path, geometry=problem.geometry,
            relax_endpoints=False, tol=TOL * problem.unit, progress=False, **settings,
        )  # fmt: skip
        times = time.process_time() - begin[0], time.perf_counter() - begin[1]
        found = measure(problem.energy, r.path, problem.geometry)
        outcome = _outcome(found, problem, r.steps, 1, times, np.nan, r.message)
        solved = outcome.solved and r.converged
        outcomes.append(outcome._replace(solved=solved, evaluations=r.evaluations, message="" if solved else r.message))
    return outcomes


def _search(look, advance, climb, problem: Problem, climb_at: float, cap: int):
    """Iterate and look; climb when the band is near, and again when another image has become the highest.

    Returns the last look, the iterations of each stage with the image that climbs after it, and when the top was there.
    """
    k, climbing, since, stages, top_at, r = 0, None, 0, [], np.nan, look()
    small = problem.path.size < SMALL
    while k < cap:
        n = 1 if small else CHECK if r.band <= 10 * TOL * problem.unit or k < SELDOM else SELDOM
        advance(n)
        k += n
        r = look()
        if not np.isfinite(r.band):
            return r, [*stages, (k - since, None)], top_at, "diverged"
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
    return r, [*stages, (k - since, None)], top_at, f"not there after {k} iterations"


def _spirit(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    from benchmarks.peers import spirit_run

    settings = dict(settings)
    climb_at = settings.pop("climb_at")
    energy, shape = spec(problem.energy), problem.path.shape
    path = problem.path.reshape(shape[0], *energy["cells"], 3)
    look = lambda band: measure(problem.energy, band.path().reshape(shape), problem.geometry)  # noqa: E731

    band = spirit_run.Band(energy, path, **settings)
    band.start()

    def climb(image: int) -> None:
        band.stop()
        band.climb(image)
        band.start()

    r, stages, top_at, why = _search(lambda: look(band), band.shots, climb, problem, climb_at, cap)
    band.stop()
    band.close()
    per, outcomes = spirit_run.FORCES[settings["solver"]], []
    k = sum(n for n, _ in stages)
    for _ in range(repeats):
        band = spirit_run.Band(energy, path, **settings, amortize=spirit_run.FOREVER)
        times = np.zeros(2)
        for n, image in stages:
            times += band.run(n)
            if image is not None:
                band.climb(image)
        again = look(band)
        band.close()
        # Two runs differ in their last digits, and iterations amplify that a little.
        if r.band <= TOL * problem.unit and again.band > 3 * r.band:
            raise RuntimeError(f"the timed run ended elsewhere: residual {again.band:.2e} instead of {r.band:.2e}")
        outcomes.append(_outcome(r, problem, k, per, times, top_at, why))
    return outcomes or [_outcome(r, problem, k, per, (np.nan, np.nan), top_at, why)]


def _ase(problem: Problem, settings: dict, repeats: int, cap: int) -> list[Outcome]:
    import mepmeta as mm
    from benchmarks.peers import ase_run

    settings = dict(settings)
    climb_at = settings.pop("climb_at")
    spins = isinstance(problem.geometry, mm.Spheres)
    if spins:
        (K1, _), (K2, _) = problem.energy.anisotropy
        both, start = ase_run.single_spin(float(K1), float(K2)), np.asarray(mm.spin_to_angles(problem.path[:, 0]))
    else:
        both, start = {muller_brown: ase_run.muller_brown, leps: ase_run.leps}[problem.energy], problem.path

    def look(band) -> Residuals:
        path = np.asarray(mm.angles_to_spin(band.path()))[:, None] if spins else band.path()
        return measure(problem.energy, path, problem.geometry)

    band = ase_run.Band(both, start, **settings)
    r, stages, top_at, why = _search(lambda: look(band), band.run, lambda image: band.climb(), problem, climb_at, cap)
    outcomes, k = [], sum(n for n, _ in stages)
    for _ in range(repeats):
        band = ase_run.Band(both, start, **settings)
        times = np.zeros(2)
        for n, image in stages:
            times += band.run(n)
            if image is not None:
                band.climb()
        outcomes.append(_outcome(r, problem, k, 1, times, top_at, why))
    return outcomes or [_outcome(r, problem, k, 1, (np.nan, np.nan), top_at, why)]
