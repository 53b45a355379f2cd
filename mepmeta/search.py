"""The search behind ``find_mep``: a band between its chunks of iterations, and what is decided there."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.interpolate import CubicHermiteSpline
from tqdm import tqdm

from mepmeta import _compiled
from mepmeta import band as chain
from mepmeta.geometry import Geometry
from mepmeta.methods import FIRE, SteepestDescent
from mepmeta.modes import POWER_STEPS, Modes, curvature_scale, lowest_modes
from mepmeta.neb import NEBParams, Tangent
from mepmeta.newton import newton
from mepmeta.relaxation import kick_sign
from mepmeta.result import StationaryPoint, extrema, profile_of

__all__ = ["Search", "converge", "highest"]

#: Springs, in units of the largest curvature of the energy, for the methods that use them.
SPRING = 0.1
#: Climbing begins when the largest force across the path is below this part of the largest curvature times the unit.
NEAR, NEAR_AFTER_KICK = 0.1, 1e-4
#: A saddle with several negative modes is left along one of them this often, by so much of the unit.
KICKS, KICK = 6, 0.3
#: The saddle is refined to this part of the tolerance of the path.
SHARPER = 1e-3
#: A maximum or minimum of the profile counts when it stands out by this part of the range of energies.
PROMINENCE = 1e-3
#: The saddle is refined when the band has come to this part of the same force, or after so many iterations.
CLOSE, ENOUGH = 1e-2, 300


class Search:
    """One search: the band between its chunks of iterations, and the counts."""

    def __init__(
        self,
        energy: Callable,
        path: Array,
        geometry: Geometry,
        method: Any,
        tangent: Tangent,
        params: NEBParams | None,
        max_steps: int,
        bar: tqdm,
    ):
        self.energy, self.path, self.geometry, self.tangent, self.bar = energy, path, geometry, tangent, bar
        ends_and_middle = path[0], path[path.shape[0] // 2], path[-1]
        curvature = max(curvature_scale(energy, x, geometry=geometry) for x in ends_and_middle) or 1.0
        spring, beta = (SPRING * curvature, 0.0) if params is None else (params.mu, params.beta)
        self.method = method if params is None else SteepestDescent(params.gamma * curvature)
        self.unit = float(geometry.unit(path[0], path[-1]))
        self.scales = chain.Scales(*(jnp.asarray(x, path.dtype) for x in (curvature, spring, beta, self.unit)))
        self.remove = jnp.ones(path.shape[0] - 2, path.dtype)
        self.residual, self.band, self.history, self.steps, self.max_steps = np.inf, None, [], 0, max_steps
        self.evaluations = len(ends_and_middle) * 2 * POWER_STEPS
        self.restart()

    def restart(self) -> None:
        """Forget what the method has learned: the force has become another one."""
        self.memory = self.method.init(self.path[1:-1])

    @property
    def top(self) -> int:
        """The highest inner image."""
        return 1 + int(jnp.argmax(self.band.energies[1:-1]))

    def climb(self) -> None:
        self.remove = jnp.ones_like(self.remove).at[self.top - 1].set(2)
        self.restart()

    def run(self, tol: float, at_most: float = np.inf) -> bool:
        """Iterate until the residual is below ``tol``; False when the iterations are used up or the band is lost."""
        last = min(self.max_steps, self.steps + at_most)
        while True:
            now = jnp.asarray(self.steps, jnp.int32)
            steps = jnp.asarray(min(chain.CHUNK, max(last - self.steps, 0)), jnp.int32)
            path, memory, k, residuals, tops, residual, band = chain.run(
                self.energy, self.path, self.method, self.memory, self.remove, self.scales, self._real(tol), now,
                self.geometry, self.tangent, steps,
            )  # fmt: skip
            rows = np.stack([residuals, tops], axis=-1)[: int(k)]
            if not self._take(path, residual, band, rows):
                return False
            self.memory = memory
            if self.residual <= tol or self.steps >= last:
                return self.residual <= tol

    def finish(self, tol: float) -> bool:
        """To ``tol`` by the method, or where it creeps by FIRE: slow, but no soft mode throws it off its way."""
        if self.run(tol, at_most=ENOUGH) or not np.isfinite(self.residual):
            return self.residual <= tol
        self.method = FIRE()
        self.restart()
        return self.run(tol)

    def _real(self, x: float) -> Array:
        return jnp.asarray(x, self.path.dtype)

    def _take(self, path: Array, residual: Array, band: Any, rows: np.ndarray) -> bool:
        """Accept a new path and show it, unless the band was lost."""
        steps = len(rows)
        self.evaluations += (steps + 1) * (path.shape[0] - 2)
        if not (np.isfinite(residual) and np.all(np.isfinite(band.energies))):
            self.residual = np.inf
            return False
        self.path, self.residual, self.band, self.steps = path, float(residual), band, self.steps + steps
        self.history.append(rows)
        self.bar.update(steps)
        barrier = float(jnp.max(band.energies) - band.energies[0])
        self.bar.set_postfix(barrier=f"{barrier:.6g}", residual=f"{self.residual:.1e}")
        return True

    def kick(self, x: Array, towards: Array | None = None) -> None:
        """Bend the path at its highest image: along the lowest mode of x that is not its own, else towards a state."""
        modes = self.modes(x)
        along = jnp.ravel(self.band.unit[self.top - 1])
        others = [v for v in modes.vectors[: modes.negative] if jnp.vdot(jnp.ravel(v), along) ** 2 < 0.5]
        if others:
            mode = kick_sign(others[0])
            move = mode * (KICK * self.unit / jnp.max(self.geometry.sizes(mode)))
        else:
            move = jnp.zeros_like(x) if towards is None else _compiled.connect(x, towards, self.geometry)[1]
        self.path = chain.bent(self.path, self.top, move, self.geometry)
        self.remove = jnp.ones_like(self.remove)
        self.restart()

    def adopt(self, saddle: StationaryPoint) -> StationaryPoint | None:
        """Let the image nearest to a saddle become the saddle; if none is near, bend the path towards it: None."""
        distances = np.asarray(_compiled.distances(self.path[1:-1], saddle.state, self.geometry))
        n = 1 + int(np.argmin(distances))
        s = self.profile()[0]
        if distances[n - 1] > 1.5 * s[-1] / s.size:
            self.kick(self.path[self.top], saddle.state)
            return None
        self.path = self.path.at[n].set(saddle.state)
        self.remove = jnp.ones_like(self.remove).at[n - 1].set(2)
        self.restart()
        return saddle._replace(position=float(s[n]))

    def turns_back(self) -> bool:
        """Whether the ways from the highest image to its two neighbours lead the same way."""
        n = self.top
        one, other = (_compiled.connect(self.path[n], self.path[m], self.geometry)[1] for m in (n - 1, n + 1))
        return float(jnp.vdot(one, other)) > 0

    def profile(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s, slopes = chain.slopes(self.energy, self.path, self.geometry, self.band.unit)
        return np.asarray(s), np.asarray(self.band.energies), np.asarray(slopes)

    def at(self, position: float, s: np.ndarray) -> Array:
        """The state at a distance along the path."""
        n = int(np.clip(np.searchsorted(s, position) - 1, 0, s.size - 2))
        t = jnp.asarray((position - s[n]) / (s[n + 1] - s[n]), self.path.dtype)
        return _compiled.line(self.path[n], self.path[n + 1], t[None], self.geometry)[0]

    def modes(self, x: Array, k: int = 4) -> Modes:
        modes = lowest_modes(self.energy, x, k, geometry=self.geometry)
        self.evaluations += 2 * modes.products
        return modes

    def refined(self, x: Array, position: float, *, climb: bool, tol: float) -> StationaryPoint:
        """The stationary state near x, a saddle or a minimum, and its modes."""
        found = newton(
            self.energy, x, climb=climb, geometry=self.geometry, tol=max(SHARPER * tol, self.rounding), unit=self.unit
        )
        self.evaluations += found.evaluations
        return self.described(found.state, position)

    @property
    def rounding(self) -> float:
        """The least force that can be told from zero."""
        return 100 * float(jnp.finfo(self.path.dtype).eps) * float(self.scales.curvature)

    def stationary(self, point: StationaryPoint, tol: float) -> bool:
        return point.residual <= max(tol, self.rounding)

    def described(self, x: Array, position: float) -> StationaryPoint:
        """A stationary state with its modes."""
        modes = self.modes(x)
        value = float(_compiled.energies(self.energy, x[None])[0])
        force = float(_compiled.force(self.energy, x, self.geometry))
        self.evaluations += 1
        return StationaryPoint(x, value, float(position), force, modes.values, modes.negative, modes.zero)


def converge(search: Search, climb: bool, tol: float) -> tuple[StationaryPoint | None, str]:
    """Converge the band on a saddle with one negative mode: the saddle, or None and why not."""
    force = float(search.scales.curvature) * search.unit
    left = 0
    for kicks in range(KICKS + 1):
        # No climbing before the band is near; after a kick its forces are small although it is far.
        ready = search.run(max(tol, (NEAR if kicks == 0 else NEAR_AFTER_KICK) * force) if climb else tol)
        if ready and climb:
            search.climb()
            search.run(max(tol, CLOSE * force), at_most=ENOUGH)
        if not np.isfinite(search.residual):
            return None, "the band diverged: an image or its energy became infinite"
        if not ready:
            break
        profile = profile_of(*search.profile())
        position = profile.x[search.top] if climb else highest(profile)
        if position in (profile.x[0], profile.x[-1]):
            return None, "the path is highest at an end, and that end is no minimum"
        saddle = search.refined(search.at(position, profile.x), position, climb=True, tol=tol)
        if saddle.index == 0:
            return None, "the highest point of the path is no saddle: the ends are not separated by a barrier"
        if saddle.index > 1:
            search.kick(saddle.state)
            left += 1
            continue
        if not search.stationary(saddle, tol):
            force = f"the force on it is still {saddle.residual:.1e}"
            return None, f"the highest image was not refined into a saddle: {force}"
        if climb:
            saddle = search.adopt(saddle)
            if saddle is None:
                continue
            if not search.finish(tol):
                break
            E = search.band.energies
            if search.turns_back():
                return None, "the path turns back at its saddle, which lies beyond an end that is no minimum"
            if E[search.top] - saddle.energy > PROMINENCE * (saddle.energy - E[0]):
                continue  # the path has come to lead over a higher one
        return saddle, f"a saddle of higher index was left {left} times" if left else ""
    else:
        return None, f"{KICKS} kicks along negative modes of saddles led to no saddle with one"
    return None, f"the residual is {search.residual:.1e} after {search.steps} iterations, wanted {tol:.1e}"


def highest(profile: CubicHermiteSpline) -> float:
    """Position of the highest point of a profile."""
    turns = np.array([profile.x[0], *extrema(profile, 0), profile.x[-1]])
    return float(turns[np.argmax(profile(turns))])
