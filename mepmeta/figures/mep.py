"""Figures of minimum energy paths on lattices: one function each. No physics is computed here."""

from collections.abc import Callable, Mapping

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mepmeta.figures.style import BLACK, BLUE, GREEN, PINK, RED, SKY, YELLOW
from mepmeta.magnets.lattices import positions
from mepmeta.search.result import MEP

__all__ = ["energy_profile", "residuals", "spin_texture"]

COLOURS = [BLUE, RED, GREEN, YELLOW, PINK, SKY, BLACK]
#: Marks of the points of a path, by their index.
KINDS = {"minimum": "v", "saddle": "^", "saddle of higher index": "X"}
#: Cells around sites: number of corners, angles of the first one around each atom (degree), distance of neighbours.
CELLS = {
    "chain": (4, (45,), 1.0),
    "square": (4, (45,), 1.0),
    "triangular": (6, (30,), 1.0),
    "honeycomb": (3, (90, 30), 3**-0.5),
}
#: Of S_z: the darker the further down, so also in grey print; light enough in the plane for arrows.
COLOUR_MAP = "GnBu_r"
#: Arrows along a side of a panel, at most.
ARROWS = 22
#: Spins that lie in the plane by less than this part get no arrow.
VISIBLE = 0.1


def energy_profile(results: MEP | Mapping[str, MEP], *, unit: str | None = None, length: str | None = None) -> Figure:
    """Energy above the start against distance along the path: images, the cubics between them, minima and saddles.

    Thin dotted lines lead from the ends of a window to the minima beyond.

    Args:
        results: one result of :func:`~mepmeta.search.mep.find_mep`, or label to result.
        unit, length: symbols of the units of energy and of distance, for example "meV" and "Å"; without one the axis
            has a name alone. By default spins have their distance in "rad".
    """
    runs = results if isinstance(results, Mapping) else {"": results}
    figure, ax = plt.subplots()
    for (label, r), colour, style in zip(runs.items(), COLOURS, ["-", "--", "-.", ":"] * 2, strict=False):
        s, start = np.linspace(r.position[0], r.position[-1], 400), r.points[0].energy if r.points else r.energies[0]
        ax.plot(s, r.profile(s) - start, style, color=colour, label=label or "profile", zorder=2)
        ax.plot(r.position, r.energies - start, "o", color=colour, markersize=3.5, label="_images", zorder=3)
        for k, sign in ((0, -1), (-1, 1)):  # from an end of a window to the minima beyond it, of which no more is known
            ways = [(p.position, p.energy) for p in r.points if sign * (p.position - r.position[k]) > 0]
            ways = np.array([(r.position[k], r.energies[k]), *sorted(ways, key=lambda way: sign * way[0])])
            ax.plot(ways[:, 0], ways[:, 1] - start, ":", color=colour, linewidth=1, zorder=1)
        for point in r.points:
            kind = list(KINDS)[min(point.index, 2)]
            ax.plot(
                point.position, point.energy - start, KINDS[kind], color="white", markeredgecolor=BLACK, markersize=8,
                label=kind, zorder=4,
            )  # fmt: skip
    ax.plot([], [], "o", color=BLACK if len(runs) > 1 else BLUE, markersize=3.5, label="images")
    ax.margins(y=0.1)
    if length is None and all(_spins(r.path) for r in runs.values()):
        length = "rad"
    names = ("distance along the path", length), ("energy above the start", unit)
    ax.set(
        **{axis: f"{name} ({u})" if u else name for axis, (name, u) in zip(("xlabel", "ylabel"), names, strict=True)}
    )
    entries = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # every label once
    entries = {label: entries[label] for label in sorted(entries, key=lambda label: label in KINDS)}
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=5, columnspacing=1.2)
    return figure


def residuals(runs: Mapping[str, np.ndarray], tol: float, *, unit: str, columns: int = 4) -> Figure:
    """Residuals against iterations, one panel a method, so that none hides another; all panels have the same axes.

    A line shows the lowest residual so far. What oscillates would be a smear: its range is shaded instead.

    Args:
        runs: label to residual after each iteration, shape ``(n,)``.
        tol: the residual that ends a search, a dotted line.
        unit: symbol of the unit of the residual.
        columns: panels in a row.
    """
    rows = -(-len(runs) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.2, 1.7 * rows), sharex=True, sharey=True, squeeze=False)
    for ax, (label, residual) in zip(axes.flat, runs.items(), strict=False):
        k = np.arange(1, len(residual) + 1)
        ax.loglog(k, np.minimum.accumulate(residual), color=BLUE)
        bins = np.unique(np.geomspace(1, len(residual), 40).astype(int)) - 1
        low, high = (extreme.reduceat(residual, bins) for extreme in (np.minimum, np.maximum))
        ax.fill_between(k[bins], low, high, step="post", color=SKY, alpha=0.5, linewidth=0)
        ax.plot(k[-1], residual[-1], "o", color=BLUE, markersize=4)
        ax.axhline(tol, color=BLACK, linewidth=0.8, linestyle=":")
        ax.set_title(label)
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
    for ax in axes.flat[len(runs) :]:
        ax.remove()
    figure.supxlabel("iterations of the band", fontsize=9)
    figure.supylabel(f"residual ({unit})", fontsize=9)
    return figure


def _spins(path: jax.Array) -> bool:
    """Whether the images hold unit vectors of three components."""
    return path.shape[-1] == 3 and bool(np.all(np.abs(np.linalg.norm(np.asarray(path), axis=-1) - 1) < 1e-4))


def spin_texture(
    states: Mapping[str, jax.Array],
    lattice: str = "square",
    *,
    zoom: tuple[float, float, float, float] | None = None,
) -> Figure:
    r"""Textures side by side: colour for :math:`S_z`, arrows for the components in the plane.

    Down is dark and up is light. Chains are drawn below one another. Where the spins are too many for arrows, every
    second, third, ... has one. A film of one layer, shape ``(n, m, 1, 3)``, is drawn as its lattice in the plane.

    Args:
        states: label to state, each of shape ``(*lattice, 3)``.
        lattice: "square", "triangular", "honeycomb", "chain", or "cubic" for one layer, see
            :func:`~mepmeta.magnets.lattices.positions`.
        zoom: part to show, ``(x_min, x_max, y_min, y_max)`` in lattice constants; everything by default.
    """
    states = {label: flat(S, lattice) for label, S in states.items()}
    n, shape = len(states), next(iter(states.values())).shape[:-1]
    chain = lattice == "chain"
    x0, x1, y0, y1 = zoom or extent(shape, lattice)
    size = (5.6, 0.1 + 0.55 * n) if chain else (6.2, 5.4 / n * (y1 - y0) / (x1 - x0) + 0.35)
    grid = (n, 1) if chain else (1, n)
    figure, axes = plt.subplots(*grid, figsize=size, squeeze=False, sharex=True, sharey=True)
    for (label, state), ax in zip(states.items(), axes.ravel(), strict=True):
        shown, show = texture(ax, shape, lattice, (x0, x1, y0, y1))
        show(state)
        ax.set_title(label)
    figure.colorbar(shown, ax=axes, label="$S_z$", ticks=[-1, 0, 1], shrink=0.8, aspect=15)
    return figure


def flat(state: jax.Array, lattice: str) -> np.ndarray:
    """A state as it is drawn: of a film of one layer, shape ``(n, m, 1, 3)``, its lattice in the plane."""
    state = np.asarray(state)
    return state[:, :, 0] if state.ndim == 4 and state.shape[2] == 1 and lattice != "honeycomb" else state


def extent(shape: tuple[int, ...], lattice: str) -> tuple[float, float, float, float]:
    """The rectangle around all cells, ``(x_min, x_max, y_min, y_max)`` in lattice constants."""
    at = _places(shape, lattice)
    (x0, y0), (x1, y1) = at.min(axis=0) - 0.6, at.max(axis=0) + 0.6
    return x0, x1, y0, y1


def _places(shape: tuple[int, ...], lattice: str) -> np.ndarray:
    return np.asarray(positions(shape, "square" if lattice == "cubic" else lattice))[..., :2].reshape(-1, 2)


def texture(
    ax: Axes, shape: tuple[int, ...], lattice: str, zoom: tuple[float, float, float, float]
) -> tuple[PolyCollection, Callable[[np.ndarray], None]]:
    """Cells and arrows on a pair of axes: the cells, and a function that shows a state of that shape in them."""
    lattice = "square" if lattice == "cubic" else lattice
    places, (x0, x1, y0, y1), (corners, first, near) = _places(shape, lattice), zoom, CELLS[lattice]
    angles = np.radians(np.array(first)[:, None] + 360 / corners * np.arange(corners))
    cell = near / 2 / np.cos(np.pi / corners) * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    cells = places[:, None] + np.tile(cell, (len(places) // len(first), 1, 1))
    sites = (places[:, 0] > x0 - 1) & (places[:, 0] < x1 + 1) & (places[:, 1] > y0 - 1) & (places[:, 1] < y1 + 1)
    every = 1 if lattice == "chain" else int(np.ceil(max(x1 - x0, y1 - y0) / ARROWS))
    armed = sites & np.all(np.indices(shape)[:2].reshape(len(shape[:2]), -1) % every == 0, axis=0)
    shown = PolyCollection(cells[sites], cmap=COLOUR_MAP, clim=(-1, 1), edgecolor="face", linewidth=0.4)
    ax.add_collection(shown)
    nothing = np.zeros(np.sum(armed))
    arrows = ax.quiver(
        *places[armed].T, nothing, nothing, pivot="mid", angles="xy", scale_units="xy", scale=1,
        color=BLACK, width=0.07 * every, units="xy", headwidth=4, headlength=4, headaxislength=3.5,
    )  # fmt: skip
    ax.set(aspect="equal", xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.5)

    def show(state: np.ndarray) -> None:
        S = np.asarray(state).reshape(-1, 3)
        shown.set_array(S[sites, 2])
        plane = 0.9 * every * S[armed, :2]
        upright = np.hypot(S[armed, 0], S[armed, 1]) <= VISIBLE
        arrows.set_UVC(*np.ma.array(plane, mask=np.stack([upright] * 2, axis=-1)).T)

    return shown, show
