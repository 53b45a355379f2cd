"""A search under way: the band between its chunks of iterations, the looks it takes, and the counts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta import paths
from mepmeta.force import Tangent
from mepmeta.methods.loop import CHUNK, begin
from mepmeta.problem import Problem
from mepmeta.search import band
from mepmeta.search.climb import climbed
from mepmeta.search.newton import Stationary, newton
from mepmeta.search.relaxation import downhill
from mepmeta.search.result import StationaryPoint, profile_of
from mepmeta.search.spread import along
from mepmeta.search.valley import valleys
from mepmeta.spectra.modes import LANCZOS_STEPS, Modes, largest_curvature, lowest

__all__ = ["COARSE", "Rules", "Search"]

#: A stationary state is refined by so many Newton steps at most.
LATE = 300
#: A saddle with several negative modes is left along one of them, by so much of the unit of length.
KICK = 0.3
#: The saddle is refined to this part of the tolerance of the path.
SHARPER = 1e-3
#: Half-way between two images the energy may be off the profile by this part of its range; beyond, images are too few.
COARSE = 0.25


class Rules(NamedTuple):
    """How a band moves: until its saddle is found, from there on, in turns with these; whether valleys are followed."""

    approach: Any
    finish: Any
    fallback: Any
    patience: int
    tangent: Tangent
    beta: float
    valleys: bool


class Search:
    """One search: the band between its chunks of iterations, and the counts. All in units of the problem."""

    def __init__(
        self,
        problem: Problem,
        path: Array,
        rules: Rules,
        max_steps: int,
        bar: tqdm | None,
        before: "Search | None" = None,
        ends: Sequence[StationaryPoint] | None = None,
    ):
        self.problem, self.path, self.rules, self.max_steps, self.bar = problem, path, rules, max_steps, bar
        self.residual, self.largest = np.inf, 0.0
        self.ends, self.astray = ends, [[], []]  # minima at the ends, if they are; the valleys that lead elsewhere
        if before is None:
            # Off the middle: there a first path may lead through what is hard, and far away from the saddle.
            curvature = float(largest_curvature(problem, np.asarray(path)[path.shape[0] // 4], problem.geometry))
            # What scales the force for methods that learn no curvature; a step that was given has its unit already.
            self.stiffness = self._real(max(1.0, curvature) if np.isfinite(curvature) and rules.beta == 0 else 1.0)
            self.steps, self.evaluations, self.history, self.used = 0, 2 * LANCZOS_STEPS, [], []
        else:  # of another band for the same path
            self.stiffness = before.stiffness
            self.count(before)
        self.seen, self.parts = path, None  # a path, and the parts that belong to it
        self.lost, self._off, self._half, self._at_ends = "", None, None, None
        self.release()

    def count(self, before: "Search") -> None:
        """Count on from another search."""
        self.steps, self.evaluations = before.steps, before.evaluations
        self.history, self.used = [*before.history], [*before.used]

    def _real(self, x: float) -> np.ndarray:
        return np.asarray(x, self.path.dtype)

    def image(self, n: int) -> np.ndarray:
        return np.asarray(self.path)[n]

    def restart(self) -> None:
        """Forget what the method has learned: the path or the force has become another one."""
        self.largest, self.since = 0.0, 0
        self._begin(self.rules.finish if np.any(self.held) else self.rules.approach)

    def _begin(self, method: Any) -> None:
        """The method with nothing learned."""
        self.method, self.march = method, begin(method, np.asarray(self.path), np.asarray(self.path)[1:-1])

    def take(self, path: Array) -> None:
        """Another path of as many images, of which nothing is known."""
        self.path, self.residual, self._at_ends = path, np.inf, None
        self.release()

    def release(self) -> None:
        """Let every inner image move."""
        self.too_few = False
        self.held = np.zeros(self.path.shape[0] - 2, bool)
        self.restart()

    @property
    def top(self) -> int:
        """The highest inner image."""
        return 1 + int(np.argmax(np.asarray(self.parts.energies)[1:-1]))

    @property
    def rounding(self) -> float:
        """The least force that can be told from zero."""
        return 100 * float(jnp.finfo(self.path.dtype).eps) * float(self.stiffness)

    def run(self, tol: float, at_most: float = np.inf) -> bool:
        """Iterate until the residual is below ``tol``; False when the iterations are used up or the band is lost."""
        last, stuck = min(self.max_steps, self.steps + at_most), False
        while True:
            if self.since >= self.rules.patience:
                if self.coarseness() > COARSE:
                    self.too_few = True
                    return False
                # The method creeps: the other one's turn.
                fallback, self.since = self.rules.fallback, 0
                if fallback is not None:
                    other = self.method is not fallback
                    self.restart()
                    if other:
                        self._begin(fallback)
            steps = min(CHUNK, max(last - self.steps, 0))
            fresh = bool(self.march.fresh)
            if not fresh and (steps == 0 or self.residual <= tol):
                return self.residual <= tol
            d = band.run(
                self.problem, self.method, self.march, self.held, self.stiffness, self._real(self.rules.beta),
                self._real(tol), np.asarray(self.steps + (not fresh), np.int32), np.asarray(steps, np.int32),
                tangent=self.rules.tangent,
            )  # fmt: skip
            looks, k = int(d.looks), int(d.looks) - fresh
            self.evaluations += looks * (self.path.shape[0] - 2)
            self.residual, finite = float(d.residual), np.all(np.isfinite(d.parts.energies))
            if not (np.isfinite(self.residual) and finite):
                self.residual, energies, self.lost = np.inf, np.asarray(d.parts.energies), "a force became infinite"
                if (lost := np.flatnonzero(~np.isfinite(energies))).size:
                    self.lost = f"the energy of image {lost[0]} became {energies[lost[0]]}"
                return False
            self.march, self.path, self.parts = d.march, d.march.path, d.parts
            self.seen, self._off, self._half = self.path, None, None
            self._record(k, np.stack([np.asarray(d.residuals), np.asarray(d.tops)], axis=-1)[:looks])
            if self.residual <= tol or self.steps >= last or (stuck and k == 0):
                return self.residual <= tol
            stuck = k < steps
            if stuck:  # moves that fold the path have been limited to nothing: take the folds out
                pinned = np.pad(self.held, 1, constant_values=True)
                self.path = paths.unfolded(self.path, pinned, self.problem.geometry)
                self._begin(self.method)

    def _record(self, k: int, rows: np.ndarray) -> None:
        self.steps, self.since = self.steps + k, self.since + k
        self.largest = max(self.largest, float(rows[:, 0].max()))
        self.history.append(rows[rows.shape[0] - k :])
        name = type(self.method).__name__ + (" by image" if getattr(self.method, "by_image", False) else "")
        if self.used and self.used[-1][0] == name:
            name, before = self.used.pop()
            k += before
        self.used.append((name, k))
        self.bar.update(len(self.history[-1]))
        E, _, F = self.problem.units
        energies = np.asarray(self.parts.energies)
        barrier = E * float(energies.max() - energies[0])
        self.bar.set_postfix(barrier=f"{barrier:.6g}", residual=f"{F * self.residual:.1e}")

    def profile(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions of the images of the path that was seen, their energies, and the slopes along the path there."""
        path, lengths = np.asarray(self.seen), np.asarray(self.parts.lengths)
        if self._at_ends is None:
            self._at_ends = [np.asarray(self.problem.look(x)[2]) for x in (path[0], path[-1])]
            self.evaluations += 2
        ways = self.problem.way(path[0], path[1]), self.problem.way(path[-1], path[-2])
        first, last = (float(np.vdot(g, way)) for g, way in zip(self._at_ends, ways, strict=True))
        slopes = [first / lengths[0], *np.asarray(self.parts.slope), -last / lengths[-1]]
        return np.append(0, np.cumsum(lengths)), np.asarray(self.parts.energies), np.array(slopes, path.dtype)

    def coarseness(self) -> float:
        """How far the energy half-way between images is from the profile, as a part of the range of energies."""
        if self._off is None:  # once for each path that was seen
            profile = profile_of(*self.profile())
            half = np.asarray(band.halfway(self.problem, self.seen)) if self._half is None else self._half
            self.evaluations += half.size // 2
            off = np.abs(half - profile((profile.x[:-1] + profile.x[1:]) / 2))
            worst = np.max(np.where(off >= 0, off, np.inf))  # of NaN nothing is known
            self._off = float(worst / max(np.ptp(self.parts.energies), np.finfo(float).tiny))
        return self._off

    def at(self, position: float, s: np.ndarray) -> Array:
        """The state at a distance along the path."""
        return along(self.problem, np.asarray(self.path), s, [position])[0]

    def modes(self, x: Array, k: int = 4) -> Modes:
        modes = lowest(self.problem, x, k, self.problem.geometry)
        self.evaluations += 2 * modes.products
        return modes

    def refined(self, x: Array, *, climb: bool, tol: float, max_steps: int = LATE, **limits: float) -> Stationary:
        """The stationary state near x, a saddle or a minimum."""
        tol, refine = max(SHARPER * tol, self.rounding), climbed if climb else newton
        found = refine(self.problem, x, tol=tol, max_steps=max_steps, **limits)
        self.evaluations += found.evaluations
        return found

    def described(self, x: Array, position: float, modes: Modes | None = None) -> StationaryPoint:
        """A stationary state with its modes."""
        modes = self.modes(x) if modes is None else modes
        value, force, _ = self.problem.look(x)
        self.evaluations += 1
        return StationaryPoint(x, value, float(position), force, modes.values, modes.negative, modes.zero)

    def adopt(self, saddle: StationaryPoint) -> None:
        """Bend the path so that the image nearest to a saddle becomes the saddle, and stays there."""
        path, x = np.asarray(self.path), np.asarray(saddle.state)
        n = 1 + int(np.argmin(np.linalg.norm((path[1:-1] - x).reshape(path.shape[0] - 2, -1), axis=1)))
        path = np.array(paths.bent(path, n, self.problem.way(path[n], x), self.problem.geometry))
        path[n] = x
        self.path = path
        self.hold(n)

    def hold(self, *images: int) -> None:
        """Keep these images, and no others, where they are."""
        self.release()
        self.held[np.array(images) - 1] = True
        self.restart()

    def follow(self, mode: np.ndarray, tol: float, first: int = 0, last: int | None = None) -> bool:
        """Put images into the valleys on both sides of the saddle that is held; whether both lead to the ends.

        The ends are those of the path, or images ``first`` and ``last`` of it, with one that is held between them.
        """
        path = np.array(self.path)
        last = path.shape[0] - 1 if last is None else last
        top = 1 + int(np.argmax(self.held[first : last - 1]))
        path[first : last + 1], count, self.astray = valleys(self.problem, path[first : last + 1], top, mode, tol)
        self.path, self.evaluations = path, self.evaluations + count
        self._begin(self.method)
        return not any(self.astray)

    def look(self) -> float:
        """The residual of the path as it is."""
        self.parts, residual, half = band.looked_at(self.problem, self.path, self.held)
        self.residual, self.seen, self._off, self._half = float(residual), self.path, None, np.asarray(half)
        self.evaluations += self.path.shape[0] - 2
        return self.residual

    def bend(self, n: int, move: Array) -> None:
        """Bend the path at image n."""
        self.path = paths.bent(self.path, n, move, self.problem.geometry)
        self.release()

    def kick(self, x: Array) -> bool:
        """Bend the path along the lowest mode of x that is not the path's own; False where there is none."""
        aside = self.aside(x)
        if aside is not None:
            self.bend(self.top, self.problem.way(x, aside))
        return aside is not None

    def aside(self, x: Array) -> Array | None:
        """The state off x along its lowest mode that is not the path's own; None where there is none."""
        modes = self.modes(x)
        along = np.ravel(np.asarray(self.parts.unit)[self.top - 1])
        others = [v for v in modes.vectors[: modes.negative] if (np.ravel(v) @ along) ** 2 < 0.5]
        size = KICK * min(1.0, float(np.sum(self.parts.lengths)))
        return downhill(self.problem, x, others[0], size) if others else None
