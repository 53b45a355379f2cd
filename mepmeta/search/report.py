"""What a search has found, told to its caller: every stationary point on the path, and how it ended."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mepmeta.paths import lengths_along
from mepmeta.problem import Problem
from mepmeta.search.beyond import SAME
from mepmeta.search.converge import PROMINENCE
from mepmeta.search.result import MEP, StationaryPoint, extrema, highest, profile_of
from mepmeta.search.state import Search
from mepmeta.search.window import Window

__all__ = ["reported"]

#: An extremum of the profile this near to the saddle, in distances between images, is the saddle.
NEARBY = 0.5


def reported(
    search: Search,
    saddle: StationaryPoint | None,
    notes: list[str],
    tol: float,
    ends: list[StationaryPoint],
    inner: Sequence[StationaryPoint] = (),
    window: Window | None = None,
) -> MEP:
    """The result of a search, in the arrays and units of the caller, with all stationary points on the path.

    ``inner`` ones are known, of a path with images held on them; all of them, of a window.
    """
    problem, path, points, interpolated = search.problem, search.seen, [], 0.0
    if search.parts is None:  # nothing was iterated
        energies = np.asarray(problem.energies(path))
        position = np.asarray(lengths_along(path, problem.geometry))
        slopes, top = np.zeros_like(energies), int(np.argmax(energies))
    else:
        position, energies, slopes = search.profile()
        profile = profile_of(position, energies, slopes)
        interpolated, top = float(profile(highest(profile)) - energies[0]), search.top
    bottoms = [float(energies[0]), float(energies[-1])]
    if window is not None:  # its ends are no minima
        interpolated, bottoms = interpolated + bottoms[0] - ends[0].energy, [end.energy for end in ends]
    if saddle is not None and window is not None:
        points, saddle = list(window.points), next(p for p in window.points if p.index == 1)
    elif saddle is not None:
        held = 1 + np.flatnonzero(np.asarray(search.held))
        if held.size and not inner:  # the image that became the saddle
            saddle = saddle._replace(position=float(position[held[0]]))
        inner = list(inner) or [saddle]
        points, before = [ends[0], ends[1]._replace(position=float(position[-1]))], energies[0]
        for turn in extrema(profile, PROMINENCE * np.ptp(energies)):
            higher, before = profile(turn) > before, profile(turn)
            known = min(inner, key=lambda p: abs(turn - p.position))
            if abs(turn - known.position) < NEARBY * position[-1] / position.size:
                points.append(known)
                continue
            point = search.refined(search.at(turn, position), climb=bool(higher), tol=tol)
            if point.ended == "converged":
                # Where images are far apart a profile may turn where the energy does not.
                if min(problem.distance(point.state, p.state) for p in [*points, *inner]) > SAME:
                    points.append(search.described(point.state, turn))
            else:
                at = turn * problem.units[1]
                notes = [*notes, f"an extremum at {at:.3g} along the path was not refined into a stationary point"]
        points.sort(key=lambda p: p.position)
    none = StationaryPoint(np.asarray(path)[top], float(energies[top]), float(position[top]), np.inf, np.zeros(0), 0, 0)
    found = saddle or none
    if problem.by_differences:
        notes = [*notes, "second derivatives are differences of forces, the energy has none of its own"]
    if path.dtype == jnp.float32:
        known_to = 4 * float(jnp.finfo(path.dtype).eps * np.abs(energies).max()) * problem.units[0]
        notes = [*notes, f"single precision: energies are known to {known_to:.1g}"]
    message = "; ".join(note for note in notes if note) or "converged on a saddle with one negative mode"
    if found.zero_modes:
        message += f"; {found.zero_modes} zero modes of the saddle: a continuous symmetry moves it"
    history = np.concatenate(search.history) if search.history else np.zeros((0, 2))
    E, length, F = problem.units
    return MEP(
        path=problem.outside(path, axis=1),
        energies=energies * E,
        position=position * length,
        slopes=slopes * F,
        barrier=(found.energy - bottoms[0]) * E,
        reverse_barrier=(found.energy - bottoms[1]) * E,
        interpolated_barrier=interpolated * E,
        saddle=problem.outside(found.state),
        eigenvalues=found.eigenvalues * (E / length**2),
        zero_modes=found.zero_modes,
        points=tuple(_public(problem, p) for p in points),
        residual=search.residual * F,
        steps=search.steps,
        evaluations=search.evaluations,
        history=history * np.array([F, E]),
        methods=tuple(search.used),
        converged=saddle is not None and (window is None or window.whole),
        message=message,
    )


def _public(problem: Problem, p: StationaryPoint) -> StationaryPoint:
    """A stationary point in the arrays and units of the caller."""
    E, length, F = problem.units
    return p._replace(
        state=problem.outside(p.state), energy=p.energy * E, position=p.position * length, residual=p.residual * F,
        eigenvalues=p.eigenvalues * (E / length**2),
    )  # fmt: skip
