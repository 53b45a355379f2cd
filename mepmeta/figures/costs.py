"""Figures of the comparison with other codes. No measuring and no physics here: plain data in, a Figure out."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mepmeta.figures.style import BLACK, BLUE, GREEN, PINK, RED, SKY, YELLOW

__all__ = ["iteration_costs", "learning_costs", "performance_profiles", "roofline"]

COLOURS, LINES, MARKS = (BLUE, RED, GREEN, YELLOW, PINK, SKY, BLACK), ("-", "--", "-.", ":"), "osD^vP<"

Series = Mapping[str, tuple[np.ndarray, np.ndarray]]


def _styles(labels: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, line and mark of every label, the same in all panels of a figure."""
    return {label: (COLOURS[n % 7], LINES[n % 4], MARKS[n % 7]) for n, label in enumerate(labels)}


def _plain(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda y, _: f"{y:g}")
    axis.set_minor_locator(NullLocator())


def performance_profiles(panels: Mapping[str, Mapping[str, np.ndarray]], *, xlabel: str, columns: int = 2) -> Figure:
    """Dolan-More profiles: the part of the problems that a code solved at no more than a multiple of the least cost.

    Args:
        panels: title to label to the sorted ratios of the cost on each problem to the least cost of all codes, inf
            where a problem was not solved.
        xlabel: what the ratio is of.
        columns: panels in a row.
    """
    rows = -(-len(panels) // columns)
    styles = _styles(list(dict.fromkeys(label for panel in panels.values() for label in panel)))
    height = 2.2 * rows + 0.2 * -(-len(styles) // 3)  # and the rows of the legend
    figure, axes = plt.subplots(rows, columns, figsize=(6.2, height), sharey=True, squeeze=False)
    for ax, (title, panel) in zip(axes.flat, panels.items(), strict=False):
        finite = np.concatenate([r[np.isfinite(r)] for r in panel.values()])
        end = 1.3 * finite.max(initial=2.0)
        for label, ratios in panel.items():
            colour, line, _ = styles[label]
            reached = ratios[np.isfinite(ratios)]
            part = np.arange(1, reached.size + 1) / ratios.size
            ax.step([1, *reached, end], [0, *part, part[-1] if part.size else 0], line, where="post", color=colour)
            ax.plot([], [], line, color=colour, label=label)
        ax.set(title=title, xscale="log", xlim=(0.95, end), ylim=(-0.03, 1.05))
        ax.set_xlabel(xlabel)
        if end < 100:
            _plain(ax.xaxis)
    for ax in axes[:, 0]:
        ax.set_ylabel("part of problems solved")
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    handles = {h.get_label(): h for ax in figure.axes for h in ax.lines if h.get_label()[0] != "_"}
    handles = {label: handles[label] for label in styles}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return figure


def iteration_costs(
    spins: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    images: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
    """Time of an iteration for each spin and image, against the number of spins and of images.

    Args:
        spins: label to numbers of spins, and median, lower and upper quartile of the time, ns, each shape ``(n,)``.
        images: the same against numbers of images.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.2, 3.2), sharey=True)
    styles = _styles(list(spins))
    for ax, series in ((left, spins), (right, images)):
        for label, (x, middle, low, high) in series.items():
            colour, line, mark = styles[label]
            around = np.maximum([np.subtract(middle, low), np.subtract(high, middle)], 0)
            ax.errorbar(
                x, middle, around, color=colour, linestyle=line, marker=mark, markersize=4, capsize=2, label=label
            )
        ax.set(xscale="log", yscale="log")
    _plain(left.yaxis)
    left.set(xlabel="number of spins", ylabel="time per spin and image (ns)")
    right.set(xlabel="number of images")
    right.set_xticks([6, 12, 24, 48], ["6", "12", "24", "48"])
    right.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def roofline(bandwidth: float, peak: float, points: Mapping[str, tuple[float, float]]) -> Figure:
    """Rate of floating point operations against operations for each byte moved, below what the machine allows.

    Args:
        bandwidth: of memory, byte/s.
        peak: rate of operations when nothing waits for memory, 1/s.
        points: label to operations for each byte and operations for each second.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    intensities = [x for x, _ in points.values()]
    x = np.geomspace(min(*intensities, peak / bandwidth) / 4, max(*intensities, peak / bandwidth) * 4, 200)
    ax.loglog(x, np.minimum(x * bandwidth, peak) / 1e9, color=BLACK, linewidth=1.2)
    ax.annotate(f"copy {bandwidth / 1e9:.1f} GB/s", (x[20], x[20] * bandwidth / 1e9), textcoords="offset points",
                xytext=(8, -8), fontsize=8)  # fmt: skip
    ax.annotate(f"product of matrices {peak / 1e9:.0f} GFLOP/s", (x[-3], peak / 1e9), ha="right",
                textcoords="offset points", xytext=(0, 4), fontsize=8)  # fmt: skip
    for n, (label, (intensity, rate)) in enumerate(points.items()):
        ax.plot(intensity, rate / 1e9, MARKS[n % 7], color=COLOURS[n % 7], label=label)
    ax.set(xlabel="operations for each byte", ylabel="rate ($10^9$ operations/s)")
    ax.set_ylim(top=peak / 1e9 * 3)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def learning_costs(times: Series, memory: Series) -> Figure:
    """Time and memory of one loss and its gradient against the number of iterations.

    Args:
        times: label to numbers of iterations K and seconds, each of shape ``(n,)``.
        memory: label to K and MiB.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.0))
    styles = _styles(list(times))
    for ax, series, ylabel in zip(axes, (times, memory), ("time (s)", "memory (MiB)"), strict=True):
        for label, (x, y) in series.items():
            colour, line, mark = styles[label]
            ax.loglog(x, y, line, marker=mark, markersize=4, color=colour, label=label)
        ax.set(xlabel="iterations $K$", ylabel=ylabel)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(times))
    return figure
