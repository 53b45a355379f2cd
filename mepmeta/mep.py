"""``find_mep``: an energy and two states in; a minimum energy path, its barrier and its saddle, checked, out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.interpolate import CubicHermiteSpline
from tqdm import tqdm

from mepmeta import band as chain
from mepmeta._checks import as_pytree, check_count, check_energy, check_option, check_params, check_path, check_state
from mepmeta.energies import Heisenberg
from mepmeta.geometry import Flat, Geometry, Spheres
from mepmeta.methods import FIRE, LBFGS, SteepestDescent
from mepmeta.modes import Modes, curvature_scale, lowest_modes
from mepmeta.neb import TANGENTS, NEBParams, Tangent
from mepmeta.newton import newton
from mepmeta.paths import arc_length
from mepmeta.relaxation import kick_sign, relax
from mepmeta.result import MEP, StationaryPoint, extrema, profile_of

__all__ = ["find_mep"]

DEFAULT = LBFGS()
#: Springs, in units of the largest curvature of the energy, for the methods that use them.
SPRING = 0.1
#: Climbing begins when the largest force across the path is below this part of the largest curvature times the unit.
NEAR, NEAR_AFTER_KICK = 0.1, 1e-4
#: A saddle with several negative modes is left along one of them this often, by so much of the unit.
KICKS, KICK = 6, 0.3
#: Iterations between two looks from Python: progress, interruption, choice of the climbing image.
CHUNK = 50
#: The saddle is refined to this part of the tolerance of the path.
SHARPER = 1e-3
#: A maximum or minimum of the profile counts when it stands out by this part of the range of energies.
PROMINENCE = 1e-3
#: Two states closer than this part of the unit are one.
SAME = 1e-3
#: The saddle is refined when the band has come to this part of the same force, or after so many iterations.
CLOSE, ENOUGH = 1e-2, 300
#: An extremum of the profile this near to the saddle, in distances between images, is the saddle.
NEARBY = 0.5


class _Search:
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
        self.evaluations = 72
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
            path, memory, k, residuals, tops, residual, band = chain.run(
                self.energy, self.path, self.method, self.memory, self.remove, self.scales, self._real(tol),
                jnp.asarray(self.steps, jnp.int32), self.geometry, self.tangent, jnp.asarray(min(CHUNK, max(last - self.steps, 0)), jnp.int32)
            )  # fmt: skip
            rows = np.stack([residuals, tops], axis=-1)[: int(k)]
            if not self._take(path, residual, band, rows, int(k), 1):
                return False
            self.memory = memory
            if self.residual <= tol or self.steps >= last:
                return self.residual <= tol

    def finish(self, tol: float) -> bool:
        """To ``tol`` by the method, or where it creeps by FIRE: slow and sure, for no soft mode throws it off its way."""
        if self.run(tol, at_most=ENOUGH) or not np.isfinite(self.residual):
            return self.residual <= tol
        self.method = FIRE()
        self.restart()
        return self.run(tol)

    def _real(self, x: float) -> Array:
        return jnp.asarray(x, self.path.dtype)

    def _take(self, path: Array, residual: Array, band: Any, rows: np.ndarray, steps: int, gradients: int) -> bool:
        """Accept a new path and show it, unless the band was lost."""
        self.evaluations += (steps * gradients + 1) * (path.shape[0] - 2)
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
            move = self.geometry.connect(x, towards)[1] if towards is not None else jnp.zeros_like(x)
        self.path = chain.bent(self.path, self.top, move, self.geometry)
        self.remove = jnp.ones_like(self.remove)
        self.restart()

    def adopt(self, saddle: StationaryPoint) -> StationaryPoint | None:
        """Let the image nearest to a saddle become the saddle; if none is near, bend the path towards it and say None."""
        distances = jax.vmap(lambda x: self.geometry.distance(x, saddle.state))(self.path[1:-1])
        n = 1 + int(jnp.argmin(distances))
        s = self.profile()[0]
        if distances[n - 1] > 1.5 * s[-1] / s.size:
            self.kick(self.path[self.top], saddle.state)
            return None
        self.path = self.path.at[n].set(saddle.state)
        self.remove = jnp.ones_like(self.remove).at[n - 1].set(2)
        self.restart()
        return saddle._replace(position=float(s[n]))

    def profile(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s, slopes = chain.slopes(self.energy, self.path, self.geometry, self.band.unit)
        return np.asarray(s), np.asarray(self.band.energies), np.asarray(slopes)

    def at(self, position: float, s: np.ndarray) -> Array:
        """The state at a distance along the path."""
        n = int(np.clip(np.searchsorted(s, position) - 1, 0, s.size - 2))
        t = jnp.asarray((position - s[n]) / (s[n + 1] - s[n]), self.path.dtype)
        return self.geometry.interpolate(self.path[n], self.path[n + 1], t)

    def modes(self, x: Array, k: int = 4) -> Modes:
        modes = lowest_modes(self.energy, x, k, geometry=self.geometry)
        self.evaluations += 2 * modes.products
        return modes

    def refined(self, x: Array, position: float, *, climb: bool, tol: float) -> StationaryPoint:
        """The stationary state near x, a saddle or a minimum, and its modes."""
        sharp = max(SHARPER * tol, 100 * float(jnp.finfo(x.dtype).eps) * float(self.scales.curvature))
        found = newton(self.energy, x, climb=climb, geometry=self.geometry, tol=sharp, unit=self.unit)
        self.evaluations += found.evaluations
        return self.described(found.state, position)

    def described(self, x: Array, position: float) -> StationaryPoint:
        """A stationary state with its modes."""
        modes = self.modes(x)
        return StationaryPoint(x, float(self.energy(x)), float(position), modes.values, modes.negative, modes.zero)


def _converge(search: _Search, climb: bool, tol: float) -> tuple[StationaryPoint | None, str]:
    """Converge the band on a saddle with one negative mode: the saddle, or None and why not."""
    force = float(search.scales.curvature) * search.unit
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
        position = profile.x[search.top] if climb else _highest(profile)
        saddle = search.refined(search.at(position, profile.x), position, climb=True, tol=tol)
        if saddle.index == 0:
            return None, "the highest point of the path is no saddle: the ends are not separated by a barrier"
        if saddle.index > 1:
            search.kick(saddle.state)
            continue
        if climb:
            saddle = search.adopt(saddle)
            if saddle is None:
                continue
            if not search.finish(tol):
                break
            E = search.band.energies
            if E[search.top] - saddle.energy > PROMINENCE * (saddle.energy - E[0]):
                continue  # the path has come to lead over a higher one
        return saddle, f"a saddle of higher index was left {kicks} times" if kicks else ""
    else:
        return None, f"{KICKS} kicks along negative modes of saddles led to no saddle with one"
    return None, f"the residual is {search.residual:.1e} after {search.steps} iterations, wanted {tol:.1e}"


def _highest(profile: CubicHermiteSpline) -> float:
    """Position of the highest point of a profile."""
    turns = np.array([profile.x[0], *extrema(profile, 0), profile.x[-1]])
    return float(turns[np.argmax(profile(turns))])


def find_mep(
    energy: Callable[[Array], Array],
    start: Array,
    end: Array,
    *,
    geometry: Geometry = Flat(),
    n_images: int = 14,
    path: Array | None = None,
    method: Any = DEFAULT,
    params: NEBParams | None = None,
    tangent: Tangent | None = None,
    climb: bool = True,
    relax_endpoints: bool = True,
    endpoint_tol: float = 1e-8,
    tol: float = 1e-6,
    max_steps: int = 5000,
    progress: bool = True,
) -> MEP:
    r"""Find the minimum energy path between two states, its barrier and its saddle, and check the saddle.

    The ends are relaxed into minima; a path is laid between them; a nudged elastic band converges on it, its
    highest image climbing; and the climbing image is refined by Newton steps. A converged band is not an
    answer yet, since a symmetric start can converge on a saddle of higher index. So the lowest eigenvalues of the
    Hessian are computed: with more than one below zero the path is bent along such a mode, and the search goes on.

    .. math:: 	ext{residual} = \max_{n,i}\,ig|\,(\partial E - r_n(\partial E\cdot\hat	au)\,\hat	au)_{n,i}ig|,
        \qquad r_n = 2 	ext{ on the climbing image, else } 1

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        start, end: the two states, shape ``shape``; for spins unit vectors, ``(*lattice, 3)``.
        geometry: the space of the states: ``Flat()`` or ``Spheres()``.
        n_images: images P of the path, both ends included.
        path: a path to start from, shape ``(P, *shape)``, instead of the shortest one; its ends are replaced by
            the relaxed ``start`` and ``end``.
        method: how the band moves, see :mod:`mepmeta.methods`.
        params: metaparameters :math:`(\gamma, \mu, eta)` of the paper's method in the "scaled" reading of
            :func:`~mepmeta.neb.neb_step`; replaces ``method``, and the tangent is the smooth one.
        tangent: "improved" (the default), "smooth" or "central". "smooth" needs ``params`` for its :math:`eta`.
        climb: let the highest image climb.
        relax_endpoints: relax the ends into minima first. If not, they are used as they are.
        endpoint_tol: largest force on a particle at the relaxed ends, energy over coordinate (radian for spins).
        tol: residual to reach, the same unit.
        max_steps: iterations of the band, at most.
        progress: show a bar with barrier and residual.

    Returns:
        :class:`~mepmeta.result.MEP`. With ``converged=False`` its message says why; an interrupted search (Ctrl-C)
        returns what it has.

    Raises:
        ValueError: states that are not finite floats of one shape, spins that are not of unit length, equal states,
            a bad path, energy, metaparameter or count.

    Source: :cite:t:`henkelman2000tangent`, :cite:t:`henkelman2000climbing`; on spheres :cite:t:`bessarab2015`.

    >>> import jax.numpy as jnp, mepmeta as mm
    >>> spin = lambda S: -S[0] ** 2 + 2 * S[2] ** 2  # the spin of the paper, K1 = 1 and K2 = -2
    >>> ends = jnp.array([1.0, 0.0, 0.0]), jnp.array([-1.0, 0.0, 0.0])
    >>> r = mm.find_mep(spin, *ends, geometry=mm.Spheres(), progress=False)
    >>> round(r.barrier, 6), r.eigenvalues.round(6).tolist(), r.converged
    (1.0, [-2.0, 4.0], True)
    """
    energy, start, end, path, tangent = _checked(
        energy, start, end, geometry, n_images, path, params, tangent, (tol, endpoint_tol), max_steps
    )
    planes = isinstance(energy, Heisenberg) and geometry == Spheres()
    if planes:  # x, y, z as planes: the order in memory that is fast
        energy, geometry = energy.component_first(), Spheres(axis=0)
        start, end = jnp.moveaxis(start, -1, 0), jnp.moveaxis(end, -1, 0)
        path = None if path is None else jnp.moveaxis(path, -1, 1)
    notes, evaluations, ends = [], 0, [geometry.retract(x, jnp.zeros_like(x)) for x in (start, end)]
    reached = True
    if relax_endpoints:
        unit = float(geometry.unit(*ends))
        relaxed = [relax(energy, x, geometry=geometry, tol=endpoint_tol, unit=unit) for x in ends]
        ends, evaluations = [r.state for r in relaxed], sum(r.evaluations for r in relaxed)
        for name, r in zip(("start", "end"), relaxed, strict=True):
            if not r.converged:
                notes.append(f"the {name} is no minimum: {r.message}")
                reached = False
            elif r.moved > SAME * unit:
                notes.append(
                    f"the {name} moved by {r.moved:.3g} into its minimum" + (", off a saddle" if r.kicks else "")
                )
    together = float(geometry.distance(*ends)) <= SAME * float(geometry.unit(*ends) if not relax_endpoints else unit)
    if path is None:
        t = jnp.linspace(0, 1, n_images, dtype=ends[0].dtype)
        path = jax.vmap(lambda t: geometry.interpolate(ends[0], ends[1], t))(t)
    path = path.at[0].set(ends[0]).at[-1].set(ends[1])
    with tqdm(total=max_steps, disable=not progress, desc="band") as bar:
        search = _Search(energy, path, geometry, method, tangent, params, max_steps, bar)
        search.evaluations += evaluations
        try:
            if together:
                saddle, why = None, "both ends relax into the same minimum"
            elif not reached:
                saddle, why = None, ""
            else:
                saddle, why = _converge(search, climb, tol)
        except KeyboardInterrupt:
            saddle, why = None, "interrupted"
        return _result(search, saddle, [*notes, why], tol, planes)


def _result(search: _Search, saddle: StationaryPoint | None, notes: list[str], tol: float, planes: bool) -> MEP:
    def public(x: Array) -> Array:
        return jnp.moveaxis(x, x.ndim - 1 - len(search.path.shape[2:]), -1) if planes else x

    path, points, interpolated = search.path, [], 0.0
    if search.band is None:  # nothing was iterated
        energies = np.asarray(jax.vmap(search.energy)(path))
        position, slopes = np.asarray(arc_length(path, geometry=search.geometry)), np.zeros_like(energies)
        top = int(np.argmax(energies))
    else:
        position, energies, slopes = search.profile()
        profile = profile_of(position, energies, slopes)
        interpolated, top = float(profile(_highest(profile)) - energies[0]), search.top
    if saddle is not None:
        path = path.at[top].set(saddle.state) if search.remove[top - 1] == 2 else path
        points = [search.described(path[0], 0.0), search.described(path[-1], position[-1])]
        before = energies[0]
        for turn in extrema(profile, PROMINENCE * np.ptp(energies)):
            higher, before = profile(turn) > before, profile(turn)
            if abs(turn - saddle.position) < NEARBY * position[-1] / position.size:
                points.append(saddle)
            else:
                points.append(search.refined(search.at(turn, position), turn, climb=bool(higher), tol=tol))
        points = [p._replace(state=public(p.state)) for p in sorted(points, key=lambda p: p.position)]
    found = saddle or StationaryPoint(path[top], float(energies[top]), float(position[top]), np.zeros(0), 0, 0)
    message = "; ".join(note for note in notes if note) or "converged on a saddle with one negative mode"
    if found.zero_modes:
        message += f"; {found.zero_modes} zero modes of the saddle: a continuous symmetry moves it"
    history = np.concatenate(search.history) if search.history else np.zeros((0, 2))
    return MEP(
        path=public(path),
        energies=energies,
        position=position,
        slopes=slopes,
        barrier=found.energy - float(energies[0]),
        reverse_barrier=found.energy - float(energies[-1]),
        interpolated_barrier=interpolated,
        saddle=public(found.state),
        eigenvalues=found.eigenvalues,
        zero_modes=found.zero_modes,
        points=tuple(points),
        residual=search.residual,
        steps=search.steps,
        evaluations=search.evaluations,
        history=history,
        converged=saddle is not None,
        message=message,
    )


def _checked(
    energy: Callable,
    start: Array,
    end: Array,
    geometry: Geometry,
    n_images: int,
    path: Array | None,
    params: NEBParams | None,
    tangent: Tangent | None,
    tols: tuple[float, float],
    max_steps: int,
) -> tuple[Callable, Array, Array, Array | None, Tangent]:
    for name, x in {"start": start, "end": end}.items():
        check_state(x, name)
        geometry.check(np.asarray(x), name)
    if start.shape != end.shape or start.dtype != end.dtype:
        kinds = f"{start.shape} of {start.dtype} and {end.shape} of {end.dtype}"
        raise ValueError(f"start and end must have one shape and dtype, got {kinds}")
    if np.array_equal(start, end):
        raise ValueError("start and end are the same state: there is no path between them")
    check_count("max_steps", max_steps)
    if path is not None:
        check_path(path, geometry)
        if path.shape[1:] != start.shape:
            raise ValueError(f"the path must hold states of shape {start.shape}, got shape {path.shape}")
    elif not isinstance(n_images, int) or n_images < 3:
        raise ValueError(f"a path needs at least 3 images, got n_images={n_images}")
    if params is not None:
        check_params(params)
    tangent = tangent or ("improved" if params is None else "smooth")
    check_option("tangent", tangent, TANGENTS)
    if tangent == "smooth" and params is None:
        raise ValueError("the smooth tangent needs its smoothness: pass params=NEBParams(gamma, mu, beta)")
    if not all(0 < t < np.inf for t in tols):
        raise ValueError(f"tol and endpoint_tol must be positive numbers, got {tols}")
    energy = as_pytree(energy)
    check_energy(energy, jnp.stack([start, end]))
    return energy, jnp.asarray(start), jnp.asarray(end), None if path is None else jnp.asarray(path), tangent
