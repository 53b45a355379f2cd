"""The result of ``find_mep``: a path with everything that was found out about it."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array

from mepmeta._arguments import check_file, check_numbers, shown
from mepmeta._files import read_arrays, write
from mepmeta.magnets.files import ovf

__all__ = ["MEP", "Crossing", "StationaryPoint"]


class StationaryPoint(NamedTuple):
    """A minimum or a saddle that the path goes through.

    Args:
        state: the state, shape ``shape``.
        energy: its energy.
        position: distance along the path from its start.
        residual: largest force on a particle there.
        eigenvalues: lowest eigenvalues of the Hessian there.
        index: number of negative ones: 0 for a minimum, 1 for a saddle.
        zero_modes: number of eigenvalues that are zero: directions of a continuous symmetry.
    """

    state: Array
    energy: float
    position: float
    residual: float
    eigenvalues: np.ndarray
    index: int
    zero_modes: int


class Crossing(NamedTuple):
    """One step of a path: out of a minimum, over one saddle, into the next minimum.

    Args:
        before, saddle, after: the three stationary points.
    """

    before: StationaryPoint
    saddle: StationaryPoint
    after: StationaryPoint

    @property
    def barrier(self) -> float:
        """Energy of the saddle above the minimum before it."""
        return self.saddle.energy - self.before.energy

    @property
    def reverse_barrier(self) -> float:
        """Energy of the saddle above the minimum after it."""
        return self.saddle.energy - self.after.energy


@dataclass(frozen=True)
class MEP:
    """A minimum energy path as :func:`~mepmeta.search.mep.find_mep` returns it.

    Args:
        path: images, shape ``(P, *shape)``; its ends are the relaxed ones, those of a window are no minima.
        energies: their energies, shape ``(P,)``.
        position: distance of the images along the path, shape ``(P,)``.
        slopes: derivative of the energy by that distance at the images, shape ``(P,)``.
        barrier: energy of the highest saddle above the start; of the highest image where there is no saddle.
        reverse_barrier: energy of the highest saddle above the end.
        interpolated_barrier: highest point of the profile above the start, see :meth:`profile`.
        saddle: the highest saddle, shape ``shape``; stationary to a tolerance of its own, tighter than the path's.
        eigenvalues: lowest eigenvalues of the Hessian there; one is negative when ``converged``.
        zero_modes: how many of its eigenvalues are zero.
        points: all minima and saddles on the path in order, :class:`StationaryPoint` s, the ends included. Of a window:
            start, saddle and end, and the minima that its valleys lead to; the positions of those beyond its ends, the
            first one negative, are as if the way there were straight.
        residual: largest force across the path on a particle of an inner image that is not held on a saddle; energy
            over coordinate, for spins over radian.
        steps: iterations of the band.
        evaluations: gradients of a state that were computed, checks and endpoints included; a Hessian-vector product
            counts two.
        history: residual and highest energy of the band after every iteration, shape ``(steps, 2)``; infinite where
            the energy was not finite and the move was taken back.
        methods: which method moved the band, and for how many iterations, in turn.
        converged: whether the path met the tolerance and its saddle has exactly one negative mode; and of a window,
            whether a way from start to end over this saddle is known on which nothing is higher.
        message: how it ended, in words.
    """

    path: Array
    energies: np.ndarray
    position: np.ndarray
    slopes: np.ndarray
    barrier: float
    reverse_barrier: float
    interpolated_barrier: float
    saddle: Array
    eigenvalues: np.ndarray
    zero_modes: int
    points: tuple[StationaryPoint, ...]
    residual: float
    steps: int
    evaluations: int
    history: np.ndarray
    methods: tuple[tuple[str, int], ...]
    converged: bool
    message: str

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """The steps of the path in order, one for each saddle on it; none where it has not converged.

        Of a window it is the one over its saddle, between the minima that its valleys lead to; an end of the path
        stands for one that was too far away, which the message says.

        Each has a barrier and a rate of its own, ``mm.transition_rate(energy, c.before.state, c.saddle.state, ...)``.
        """
        marks = [k for k, p in enumerate(self.points) if p.index == 0 and self.converged]
        return tuple(
            Crossing(self.points[i], max(self.points[i + 1 : j], key=lambda p: p.energy), self.points[j])
            for i, j in zip(marks[:-1], marks[1:], strict=True)
            if j > i + 1
        )

    @property
    def slowest(self) -> Crossing | None:
        """The step with the largest barrier of its own; None where the path has not converged.

        At a temperature low enough it has the smallest rate of all. It need not be the step over the highest saddle:
        out of a deep minimum a lower saddle may be farther up. How often the system goes back before it takes the
        step is no part of this; for that, solve the rate equations with the rates of all crossings, both ways.
        """
        return max(self.crossings, key=lambda c: c.barrier, default=None)

    def profile(self, position: np.ndarray) -> np.ndarray:
        """Energy at distances along the path: the cubic through energies and slopes of the neighbouring images.

        Raises:
            ValueError: for a distance that is not between the ends of the path, up to rounding.
        """
        s, (first, *_, last) = check_numbers("position", position), self.position
        if np.any(np.abs(s - (first + last) / 2) > (0.5 + 1e-9) * (last - first)):
            raise ValueError(f"the path goes from {first:.6g} to {last:.6g}, got position {shown(position)}")
        return profile_of(self.position, self.energies, self.slopes)(np.clip(s, first, last))

    def save(self, file: str | Path) -> None:
        """Write the result to a NumPy archive, ``.npz``; :meth:`load` reads it.

        Of a name that ends in ``.ovf`` the file is the path alone, images of spins as other codes take a band, see
        :func:`~mepmeta.magnets.files.ovf.save`; :func:`~mepmeta.magnets.files.ovf.load` reads them.
        """
        if check_file(file).suffix.lower() == ".ovf":
            ovf.save(file, self.path, band=True)
            return
        stream = io.BytesIO()
        np.savez_compressed(stream, **self.columns())
        write(file, stream.getvalue())

    def columns(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name, which :meth:`of_columns` takes back."""
        columns = {
            field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "points"
        }
        for name in StationaryPoint._fields:
            columns[f"points.{name}"] = np.array([np.asarray(getattr(point, name)) for point in self.points])
        return columns

    @classmethod
    def load(cls, file: str | Path) -> MEP:
        """Read a result that :meth:`save` wrote.

        Raises:
            ValueError: when the file holds something else.
        """
        if check_file(file).suffix.lower() == ".ovf":
            raise ValueError(f"{file} holds the images alone: mm.load reads them")
        return cls.of_columns(read_arrays(file, "a saved MEP"), file)

    @classmethod
    def of_columns(cls, columns: dict[str, np.ndarray], file: str | Path) -> MEP:
        """The result of :meth:`columns`, which came from a file; a ``ValueError`` where they are something else."""
        wanted = {field.name for field in fields(cls)} - {"points"} | {f"points.{p}" for p in StationaryPoint._fields}
        missing = wanted - set(columns)
        if missing:
            raise ValueError(f"{file} is not a saved MEP: it has no {', '.join(sorted(missing))}")
        P = len(np.atleast_1d(columns["position"]))
        lengths = {name: np.shape(columns[name])[:1] for name in ("path", "energies", "slopes")}
        if any(length != (P,) for length in lengths.values()) or P < 2:
            raise ValueError(f"{file} is not a saved MEP: energies, slopes and positions are not those of its images")
        rows = zip(*(columns.pop(f"points.{name}") for name in StationaryPoint._fields), strict=True)
        values = {name: value.item() if value.ndim == 0 else value for name, value in columns.items()}
        plain = {name: kind for name, kind in StationaryPoint.__annotations__.items() if kind in (int, float)}
        points = [StationaryPoint(*row) for row in rows]
        points = [p._replace(**{name: kind(getattr(p, name)) for name, kind in plain.items()}) for p in points]
        values["points"] = tuple(points)
        values["methods"] = tuple((str(name), int(count)) for name, count in values["methods"])
        return cls(**(values | {name: jnp.asarray(values[name]) for name in ("path", "saddle")}))


def profile_of(position: np.ndarray, energies: np.ndarray, slopes: np.ndarray) -> sp.interpolate.CubicHermiteSpline:
    """The energy along the path between its images, as cubics with the energies and slopes of the images."""
    return sp.interpolate.CubicHermiteSpline(position, energies, slopes, extrapolate=False)


def extrema(profile: sp.interpolate.CubicHermiteSpline, prominence: float) -> list[float]:
    """Positions of maxima and minima inside a profile in turn, each at least ``prominence`` above or below the next."""
    ends = profile.x[0], profile.x[-1]
    inside = profile.derivative().roots(discontinuity=False, extrapolate=False)
    inside = inside[np.isfinite(inside) & (inside > ends[0]) & (inside < ends[1])]
    # The images belong to them: a root that falls on one may be lost to rounding.
    turns = [*np.unique([*inside, *profile.x])]
    # Drop the least of all rises and falls until none is too small; what is dropped takes both its ends along.
    while len(turns) > 2:
        heights = np.diff(profile(np.array(turns)))
        k = int(np.argmin(np.abs(heights)))
        same = [i for i in range(1, len(turns) - 1) if heights[i - 1] * heights[i] >= 0]  # no extremum at all
        if same:
            del turns[same[0]]
        elif abs(heights[k]) < prominence:
            inner = [i for i in (k, k + 1) if 0 < i < len(turns) - 1]
            for i in reversed(inner):
                del turns[i]
        else:
            break
    return [float(t) for t in turns[1:-1]]


def highest(profile: sp.interpolate.CubicHermiteSpline) -> float:
    """Position of the highest point of a profile."""
    turns = np.array([profile.x[0], *extrema(profile, 0), profile.x[-1]])
    return float(turns[np.argmax(profile(turns))])
