"""Figures of energies of two coordinates: contour maps with paths, minima and saddles on them."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from mepmeta.figures.style import BLACK, RED, SKY, YELLOW

__all__ = ["contours"]

PATHS = [("o", RED), ("^", SKY), ("s", YELLOW)]
POINTS = [("o", "white"), ("X", "white")]


def contours(
    energy: Callable[[Array], Array],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    levels: Sequence[float] | np.ndarray,
    paths: Mapping[str, Array] | None = None,
    points: Mapping[str, Sequence[Array] | Array] | None = None,
    names: tuple[str, str] = ("$x$", "$y$"),
    unit: str = "energy",
    equal: bool = True,
    resolution: int = 201,
) -> Figure:
    """A contour map of an energy of two coordinates, with paths and stationary states on it.

    Args:
        energy: callable, state of shape ``(2,)`` to scalar.
        xlim, ylim: ranges of the two coordinates.
        levels: energies of the contours, ascending; what is higher than the last is grey.
        paths: label to path, each of shape ``(P, 2)``, up to three of them.
        points: label to states, each of shape ``(n, 2)``: circles for the first, crosses for the second.
        names: labels of the axes, with units.
        unit: label of the colour bar.
        equal: draw both coordinates at one scale.
        resolution: points of the grid along each axis.
    """
    x, y = np.linspace(*xlim, resolution), np.linspace(*ylim, resolution)
    states = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    values = np.asarray(jax.jit(jax.vmap(jax.vmap(energy)))(states))
    figure, ax = plt.subplots(figsize=(5.6, 3.9))
    ax.grid(False)
    ax.set_facecolor("#c8c8c8")  # what is higher than the last level
    surface = ax.contourf(x, y, values, levels=levels, cmap="cividis")
    ax.contour(x, y, values, levels=levels, colors="white", linewidths=0.3, linestyles="solid", alpha=0.6)
    for (label, path), (marker, colour) in zip((paths or {}).items(), PATHS, strict=False):
        ax.plot(*np.asarray(path).T, color="white", linewidth=2.6, solid_capstyle="round")
        ax.plot(
            *np.asarray(path).T, color=colour, marker=marker, markersize=4.5, markeredgecolor=BLACK,
            markeredgewidth=0.4, label=label,
        )  # fmt: skip
    for (label, at), (marker, colour) in zip((points or {}).items(), POINTS, strict=False):
        ax.scatter(
            *np.reshape(np.asarray(at), (-1, 2)).T, marker=marker, s=75, color=colour, edgecolor=BLACK, linewidth=1.0,
            zorder=4, label=label,
        )  # fmt: skip
    ax.set(xlabel=names[0], ylabel=names[1], xlim=xlim, ylim=ylim)
    if equal:
        ax.set_aspect("equal")
    figure.colorbar(surface, label=unit)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1))
    return figure
