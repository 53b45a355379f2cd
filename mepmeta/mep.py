"""``find_mep``: an energy and two states in; a minimum energy path, its barrier and its saddle, checked, out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from mepmeta import _compiled
from mepmeta._checks import as_pytree, check_count, check_energy, check_option, check_params, check_path, check_state
from mepmeta.energies import Heisenberg
from mepmeta.geometry import Flat, Geometry, Spheres
from mepmeta.methods import LBFGS
from mepmeta.neb import TANGENTS, NEBParams, Tangent
from mepmeta.paths import arc_length
from mepmeta.relaxation import relax
from mepmeta.result import MEP, StationaryPoint, extrema, profile_of
from mepmeta.search import PROMINENCE, Search, converge, highest

__all__ = ["find_mep"]

DEFAULT = LBFGS()
#: Two states closer than this part of the unit are one.
SAME = 1e-3
#: An extremum of the profile this near to the saddle, in distances between images, is the saddle.
NEARBY = 0.5


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

    .. math:: \text{residual} = \max_{n,i}\,\big|\,(\partial E - r_n(\partial E\cdot\hat\tau)\,\hat\tau)_{n,i}\big|,
        \qquad r_n = 2 \text{ on the climbing image, else } 1

    Args:
        energy: twice differentiable callable, state of shape ``shape`` to scalar.
        start, end: the two states, shape ``shape``; for spins unit vectors, ``(*lattice, 3)``.
        geometry: the space of the states: ``Flat()`` or ``Spheres()``.
        n_images: images P of the path, both ends included.
        path: a path to start from, shape ``(P, *shape)``, instead of the shortest one; its ends are replaced by
            the relaxed ``start`` and ``end``.
        method: how the band moves, see :mod:`mepmeta.methods`.
        params: metaparameters :math:`(\gamma, \mu, \beta)` of the paper's method in the "scaled" reading of
            :func:`~mepmeta.neb.neb_step`; replaces ``method``, and the tangent is the smooth one.
        tangent: "improved" (the default), "smooth" or "central". "smooth" needs ``params`` for its :math:`\beta`.
        climb: let the highest image climb.
        relax_endpoints: relax the ends into minima first. If not, they are used as they are; a saddle that is found
            beyond such an end, off the path between them, does not count.
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
    notes, evaluations, ends = [], 0, [_compiled.moved(x, jnp.zeros_like(x), geometry) for x in (start, end)]
    reached, unit = True, float(geometry.unit(*ends))
    if relax_endpoints:
        relaxed = [relax(energy, x, geometry=geometry, tol=endpoint_tol, unit=unit) for x in ends]
        ends, evaluations = [r.state for r in relaxed], sum(r.evaluations for r in relaxed)
        for name, r in zip(("start", "end"), relaxed, strict=True):
            if not r.converged:
                notes.append(f"the {name} is no minimum: {r.message}")
                reached = False
            elif r.moved > SAME * unit:
                off = ", off a saddle" if r.kicks else ""
                notes.append(f"the {name} moved by {r.moved:.3g} into its minimum{off}")
    together = float(_compiled.distance(*ends, geometry)) <= SAME * unit
    if path is None:
        t = jnp.linspace(0, 1, n_images, dtype=ends[0].dtype)
        path = _compiled.line(*ends, t, geometry)
    path = path.at[0].set(ends[0]).at[-1].set(ends[1])
    with tqdm(total=max_steps, disable=not progress, desc="band") as bar:
        search = Search(energy, path, geometry, method, tangent, params, max_steps, bar)
        search.evaluations += evaluations
        try:
            if together:
                saddle, why = None, "both ends relax into the same minimum"
            elif not reached:
                saddle, why = None, ""
            else:
                saddle, why = converge(search, climb, tol)
        except KeyboardInterrupt:
            saddle, why = None, "interrupted"
        return _result(search, saddle, [*notes, why], tol, planes)


def _result(search: Search, saddle: StationaryPoint | None, notes: list[str], tol: float, planes: bool) -> MEP:
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
        interpolated, top = float(profile(highest(profile)) - energies[0]), search.top
    if saddle is not None:
        pinned = 1 + np.flatnonzero(np.asarray(search.remove) == 2)
        if pinned.size:  # the image that became the saddle
            saddle = saddle._replace(position=float(position[pinned[0]]))
        points = [search.described(path[0], 0.0), search.described(path[-1], position[-1])]
        before = energies[0]
        for turn in extrema(profile, PROMINENCE * np.ptp(energies)):
            higher, before = profile(turn) > before, profile(turn)
            if abs(turn - saddle.position) < NEARBY * position[-1] / position.size:
                points.append(saddle)
            else:
                point = search.refined(search.at(turn, position), turn, climb=bool(higher), tol=tol)
                if search.stationary(point, tol):
                    points.append(point)
                else:
                    notes = [
                        *notes,
                        f"an extremum at {turn:.3g} along the path was not refined into a stationary point",
                    ]
        points = [p._replace(state=public(p.state)) for p in sorted(points, key=lambda p: p.position)]
    found = saddle or StationaryPoint(path[top], float(energies[top]), float(position[top]), np.inf, np.zeros(0), 0, 0)
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
    if isinstance(energy, Heisenberg) and isinstance(geometry, Flat):
        raise ValueError("the spins of a Heisenberg energy live on spheres: pass geometry=Spheres()")
    for name, x in {"start": start, "end": end}.items():
        check_state(x, name)
        if x.ndim == 0:
            raise ValueError(f"{name} must be an array with one axis or more, its last one the coordinates")
        geometry.check(np.asarray(x), name)
    if start.shape != end.shape or start.dtype != end.dtype:
        kinds = f"{start.shape} of {start.dtype} and {end.shape} of {end.dtype}"
        raise ValueError(f"start and end must have one shape and dtype, got {kinds}")
    if np.array_equal(start, end):
        raise ValueError("start and end are the same state: there is no path between them")
    check_count("max_steps", max_steps)
    if path is not None:
        check_path(path, geometry)
        if path.shape[1:] != start.shape or path.dtype != start.dtype:
            states, kind = f"{start.shape} of {start.dtype}", f"{path.shape} of {path.dtype}"
            raise ValueError(f"the path must hold states of shape {states}, got shape {kind}")
    elif not isinstance(n_images, (int, np.integer)) or n_images < 3:
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
