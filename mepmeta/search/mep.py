"""``find_mep``: an energy and two states in; a minimum energy path, its barrier and its saddle, checked, out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta._arguments import known
from mepmeta._checks import check_untraced
from mepmeta.force import Tangent
from mepmeta.geometry import Flat, Geometry
from mepmeta.methods import LBFGS
from mepmeta.neb import NEB, NEBParams
from mepmeta.problem import Problem, pose, tolerance
from mepmeta.search.beyond import SAME
from mepmeta.search.converge import PROMINENCE, Verdict, converge
from mepmeta.search.first_path import first_path
from mepmeta.search.neighbour import continued
from mepmeta.search.pieces import over_minima
from mepmeta.search.relaxation import Relaxed, public, relaxed
from mepmeta.search.report import reported
from mepmeta.search.result import MEP, StationaryPoint
from mepmeta.search.scout import LEAST, SCOUTS, scouted
from mepmeta.search.settings import FALLBACK, Settings, checked
from mepmeta.search.spread import spread
from mepmeta.search.state import Rules, Search
from mepmeta.search.window import windowed
from mepmeta.spectra.modes import LANCZOS_STEPS, lowest

__all__ = ["find_mep", "searched"]

#: The band moves as a whole until its saddle is found; then, unless its valleys give the rest, every image by itself.
DEFAULT, FINISH = LBFGS(memory=10), LBFGS(memory=10, by_image=True)
#: Images of the path; more of them where these turn out to be too few.
IMAGES = 14, 28, 56
#: The residual to reach, in units of force of the problem.
TOL = 1e-7
#: What is said where a first path that was not tried is lower than the saddle.
LOWER = "only one first path was tried, and the images of another one stay below, at most {:.6g} above the start: "
LOWER += "find_paths tries several"
#: What is said where the window has no place around the saddle.
ALL = "the window does not fit into the path: this is all of it"
OVER = "other minima lie on the way, so this is all of the path and no window"


def find_mep(
    energy: Callable[[Array], Array],
    start: Array,
    end: Array,
    *,
    geometry: Geometry = Flat(),
    n_images: int | None = None,
    path: Array | None = None,
    window: float | None = None,
    method: Any = None,
    fallback: Any = FALLBACK,
    patience: int = 200,
    params: NEBParams | None = None,
    tangent: Tangent | None = None,
    climb: bool = True,
    relax_endpoints: bool = True,
    endpoint_tol: float | None = None,
    tol: float | None = None,
    max_steps: int = 5000,
    progress: bool = True,
) -> MEP:
    r"""Find the minimum energy path between two states, its barrier and its saddle, and check the saddle.

    The ends are relaxed into minima; a path is laid between them, and a nudged elastic band moves, first of five images
    and then, where they find no saddle whose valleys lead to the ends, of all. From where it is highest a climb along
    the lowest mode looks for the saddle, early, and the band stays as it is if that fails: the saddle counts if it is
    stationary, has exactly one negative mode and lies on the way of the band. An image is then held there, and the
    others are found from it down its two valleys; where these lead elsewhere, the band goes on. A
    band can converge on a saddle of higher index, since it keeps a symmetry of its start: then the path is bent along a
    negative mode, and the search goes on; a saddle of index one beside it is looked for first. Where a valley leads to
    another minimum than the end, that minimum is kept, the pieces between are searched one by one, and put together
    into one path over all of them; only with the default method and relaxed ends. Its images are at least six for each
    saddle by default, and the steps of the path are :attr:`~mepmeta.search.result.MEP.crossings`.

    Where the minima are far away, a ``window`` leaves out most of the path: the saddle is found as above, images follow
    its two valleys at equal distances, and the search ends there. A band with loose ends would have to hold these on a
    level of energy; here every image follows from the one above it, and no end has to. So that the barrier is still
    that of the path from start to end, both ends of the window are relaxed for some gradients. Where one comes to
    another minimum than the end, or to none, energies have to show that a way on from there stays below the saddle: the
    shortest one, that of the first path, or a few steps of a band. If none does, ``converged`` is False, and the
    message says so.

    One first path leads to one path. Where the images of another one that was looked at stay below the saddle, the
    message says so: :func:`~mepmeta.search.several.find_paths` tries several.

    .. math:: \text{residual} = \max_{n,i}\,\big|\,(\partial E - (\partial E\cdot\hat\tau)\,\hat\tau)_{n,i}\big|

    over the particles i and the images n that are not held on a saddle, where the force is smaller still. Everything is
    computed in units that are measured from the energy itself, so a change of units changes those of the result only.

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        start, end: the two states, shape ``shape``; for spins unit vectors, ``(*lattice, 3)``.
        geometry: the space of the states: ``Flat()`` or ``Spheres()``.
        n_images: images P of the path, both ends included. By default 14, and twice or four times as many where the
            energy between them turns out to be off the profile; a number that is given and too few is named so.
        path: a path to start from, shape ``(P, *shape)``, instead of the shortest one; its ends are replaced by
            the relaxed ``start`` and ``end``.
        window: length of the part of the path around the saddle that is wanted, on spheres in radian, as
            ``position`` in the result. Its images are equally far apart, half of them on each side;
            where a side ends in its minimum, the other one gets what is left. The path itself if that is shorter.
            ``n_images``, at least 5, are then those of the window, and a ``path`` may have any other number.
        method: how the band moves, see :mod:`mepmeta.methods`. By default L-BFGS: of the whole band until its saddle is
            found, then image by image; and the valleys of the saddle are followed first.
        fallback, patience: the method that takes turns with the first one where the residual has not been reached after
            ``patience`` iterations, by default FIRE; None for none.
        params: metaparameters :math:`(\gamma, \mu, \beta)` of the paper's method in the "scaled" reading of
            :func:`~mepmeta.neb.neb_step`; replaces ``method``, and the tangent is the smooth one.
        tangent: "improved" (the default), "smooth" or "central". "smooth" needs ``params`` for its :math:`\beta`.
        climb: look for the saddle while the band is under way, and hold an image there.
        relax_endpoints: relax the ends into minima first. If not, they are used as they are; a saddle that is found
            beyond such an end, off the path between them, does not count.
        endpoint_tol: largest force on a particle at the relaxed ends, energy over coordinate (radian for spins). By
            default 1e-9 of the unit of force: the largest curvature at the ends, times their distance or a radian.
        tol: residual to reach, the same unit; by default 1e-7 of the unit of force, or what rounding allows.
        max_steps: iterations of the bands in all, at most.
        progress: show a bar with barrier and residual.

    Returns:
        :class:`~mepmeta.search.result.MEP`. With ``converged=False`` its message says why; an interrupted search
        (Ctrl-C) returns what it has. Under ``jax.grad`` by constants of the energy ``barrier`` and ``reverse_barrier``
        carry their exact derivatives: at stationary states those of the energy with the states held fixed.

    Raises:
        ValueError: states that are not finite floats of one shape, spins that are not of unit length, equal states,
            a bad path, energy, metaparameter or count; and under ``jit`` or ``vmap``.

    Source: :cite:t:`henkelman2000tangent`, :cite:t:`henkelman2000climbing`; on spheres :cite:t:`bessarab2015`; a
        part of the path: :cite:t:`lobanov2017`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> spin = lambda S: -S[0] ** 2 + 2 * S[2] ** 2  # the spin of the paper, K1 = 1 and K2 = -2
    >>> ends = jnp.array([1.0, 0.0, 0.0]), jnp.array([-1.0, 0.0, 0.0])
    >>> r = mm.find_mep(spin, *ends, geometry=mm.Spheres(), progress=False)
    >>> round(r.barrier, 6), r.eigenvalues.round(6).tolist(), r.converged
    (1.0, [-2.0, 4.0], True)
    >>> r = mm.find_mep(spin, *ends, geometry=mm.Spheres(), window=0.5, n_images=5, progress=False)
    >>> round(r.barrier, 6), r.position.round(6).tolist()
    (1.0, [0.0, 0.125, 0.25, 0.375, 0.5])
    """
    settings = Settings(
        geometry, n_images, path, window, method, fallback, patience, params, tangent, climb, relax_endpoints,
        endpoint_tol, tol, max_steps, progress,
    )  # fmt: skip
    energy, settings = checked(energy, start, end, settings)

    def search(energy: Callable) -> MEP:
        check_untraced("find_mep", energy)
        return searched(energy, np.asarray(start), np.asarray(end), settings)

    return search(energy) if known(energy) else _differentiated(search, energy)


def _differentiated(search: Callable[[Callable], MEP], energy: Callable) -> MEP:
    """The result with barriers that carry their derivative by the constants of the energy."""
    found = []

    @jax.custom_jvp
    def barriers(energy: Callable) -> tuple[Array, Array]:
        found[:] = [search(energy)]
        return jnp.asarray(found[0].barrier), jnp.asarray(found[0].reverse_barrier)

    @barriers.defjvp
    def rule(primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        values, primals = barriers(*primals), jax.tree.map(_once, primals)
        ends = [p.state for p in found[0].points] or found[0].path  # those of a window are no minima
        states = [jax.lax.stop_gradient(x) for x in (found[0].saddle, ends[0], ends[-1])]
        _, (saddle, start, end) = jax.jvp(lambda energy: [energy(x) for x in states], primals, tangents)
        return values, (saddle - start, saddle - end)

    barrier, reverse = barriers(energy)
    return replace(found[0], barrier=barrier, reverse_barrier=reverse)


@jax.custom_jvp
def _once(x: Array) -> Array:
    """What must not be differentiated again."""
    return x


@_once.defjvp
def _never(primals: tuple, tangents: tuple) -> tuple:
    raise ValueError("second derivatives of a barrier are not supported: they need the motion of the saddle")


def searched(
    energy: Callable,
    start: np.ndarray,
    end: np.ndarray,
    how: Settings,
    turn: np.ndarray | None = None,
    alone: bool = True,
    near: MEP | None = None,
) -> MEP:
    """:func:`find_mep`, unchecked; with a ``turn``, so much of each mode of the start, along a path to that side.

    A search that is ``alone`` tells of a lower first path. From the path of a problem that is ``near`` it goes on where
    that leads to an answer.
    """
    path = how.path
    if hasattr(energy, "live"):  # spins of sites without a moment have nowhere to go
        live = energy.live()[..., None]
        end = np.where(live, end, start)
        path = None if path is None else np.where(live, path, start)
    problem = pose(energy, how.geometry, start, end)
    ends = [problem.inside(x) for x in (start, end)]
    ends = [problem.moved_by(x, np.zeros_like(x)) for x in ends]
    notes, known_ends, modes, evaluations, reached, together = [], None, None, 4 * LANCZOS_STEPS, True, False
    try:
        if how.relax_endpoints:
            found = [relaxed(problem, x, how.endpoint_tol, how.max_steps) for x in ends]
            evaluations += sum(r.evaluations for r in found)
            for name, r in zip(("start", "end"), found, strict=True):
                if not r.converged:
                    notes.append(f"the {name} is no minimum: {r.message}")
                    reached = False
                elif r.moved > SAME * problem.units[1]:
                    off = ", off a saddle" if r.kicks else ""
                    notes.append(f"the {name} moved by {r.moved:.3g} into its minimum{off}")
            together = problem.distance(found[0].state, found[1].state) <= SAME
            modes = found[0].modes.vectors if reached else None
            found = [public(problem, r) for r in found]
            if reached and not together:  # in units of the minima themselves
                problem = pose(energy, how.geometry, *(r.state for r in found))
            ends = [problem.inside(r.state) for r in found]
            known_ends = [_as_point(problem, x, r) for x, r in zip(ends, found, strict=True)]
    except KeyboardInterrupt:
        notes, reached = ["interrupted while the ends were relaxed"], False
    methods = DEFAULT, FINISH
    if how.method is not None:
        methods = how.method, how.method
    if how.params is not None:
        E, length, _ = problem.units
        gamma, mu, beta = how.params
        methods = (NEB(NEBParams(gamma * E / length**2, mu * length**2 / E, beta * E), "scaled"),) * 2
    fallback = None if how.params is not None else how.fallback
    beta = 0.0 if how.params is None else how.params.beta * problem.units[0]
    own = how.method is None and how.params is None and how.tangent == "improved"
    rules = Rules(*methods, fallback, how.patience, how.tangent, beta, valleys=own)
    band, over, points, aside, window, short = None, None, [], None, None, False
    if turn is not None:
        lowest_ones = lowest(problem, ends[0], 4, problem.geometry).vectors if modes is None else np.asarray(modes)
        aside = np.tensordot(turn[: len(lowest_ones)], lowest_ones, 1).astype(ends[0].dtype)
    minima = known_ends if own and how.climb and reached and how.relax_endpoints else None
    there = None
    if near is not None and how.window is None and minima is not None and not together:
        line, other = first_path(problem, *ends, near.path.shape[0], modes)
        wanted = tolerance(how.tol, TOL, problem, line.dtype)
        there = continued(problem, minima, line, rules, how.max_steps, near, wanted)
    band, verdict = there or (band, None)
    # Of a window the number of images is that of the window alone.
    given = None if path is None and (how.n_images is None or how.window is not None) else (how.n_images,)
    for images in () if there else given or IMAGES:
        line, other = problem.inside(path, axis=1) if path is not None else None, np.inf
        if line is None:
            line, other = first_path(problem, *ends, images, modes, aside)
        line = _between(ends, line)
        wanted = tolerance(how.tol, TOL, problem, line.dtype)
        with tqdm(total=how.max_steps, disable=not how.progress, desc="band") as bar:
            few, last = None, band
            verdict = Verdict(None, why="both ends relax into the same minimum" if together else "")
            go = reached and not together
            try:
                if go and own and how.climb and last is None and (line.shape[0] >= LEAST or how.window):
                    few = Search(problem, spread(problem, line, SCOUTS), rules, how.max_steps // 2, bar, ends=minima)
                    over = scouted(few, line, wanted)
                band = Search(problem, line, rules, how.max_steps, bar, few or band, minima)
                if go:
                    verdict = converge(band, how.climb, wanted, over, how.window is not None)
                if verdict.saddle is not None and how.window is not None:
                    counts = IMAGES if how.n_images is None else (how.n_images,)
                    found = windowed(band, verdict, over, how.window / problem.units[1], counts, wanted)
                    short = found is None
                    band, verdict, window = found or (band, verdict, None)
                    break
                if verdict.beyond:
                    notes += [OVER] if how.window is not None else []
                    if found := over_minima(band, verdict, wanted, given and (line.shape[0],)):
                        band, verdict, points = found
                        break
                    band.ends, minima = None, None  # the band alone
                    band.take(line)
                    verdict = converge(band, how.climb, wanted)
            except KeyboardInterrupt:
                verdict = Verdict(None, why="interrupted")
                # What it has is the last band that has moved, and the counts of the scouts.
                band = next((b for b in (band, last) if b is not None and b.parts is not None), band)
                if band is None:
                    band = Search(problem, line, rules, how.max_steps, bar, few)
                    band.look()
                break
        if not band.too_few or band.steps >= how.max_steps:
            break
    band.evaluations += evaluations
    if short:
        r = searched(energy, start, end, how._replace(window=None), turn, alone)
        return replace(r, message=f"{r.message}; {ALL}", evaluations=r.evaluations + band.evaluations)
    notes.append(verdict.why)
    if verdict.saddle is not None and known_ends is None:
        known_ends = [band.described(x, 0.0) for x in ends]
    if verdict.saddle is not None and alone:
        top, bottom = verdict.saddle.energy, known_ends[0].energy
        if top - other > PROMINENCE * (top - bottom):
            notes.append(LOWER.format((other - bottom) * problem.units[0]))
    return reported(band, verdict.saddle, notes, wanted, known_ends, points, window)


def _as_point(problem: Problem, x: Array, r: Relaxed) -> StationaryPoint:
    """A relaxed end, once more in units of the problem."""
    E, length, F = problem.units
    values = r.modes.values / (E / length**2)
    return StationaryPoint(x, r.energy / E, 0.0, r.residual / F, values, r.modes.negative, r.modes.zero)


def _between(ends: list[Array], path: Array) -> np.ndarray:
    """The path with these ends, to the last digit."""
    path = np.array(path)
    path[0], path[-1] = ends
    return path
