"""Figures of rates and of stochastic dynamics. No physics is computed here."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mepmeta.figures.style import BLACK, BLUE, GREEN, PINK, RED, YELLOW

__all__ = ["Measured", "arrhenius", "histograms", "lifetime_map", "lifetimes", "ratios"]

#: Lifetimes that the eye knows, second.
KNOWN = {"1 ns": 1e-9, "1 µs": 1e-6, "1 ms": 1e-3, "1 s": 1.0, "1 hour": 3600.0, "1 year": 3.156e7}
COLOURS, STYLES = [BLUE, RED, GREEN, YELLOW, PINK, BLACK], ["-", "--", "-.", ":"]


class Measured(NamedTuple):
    """Values with the ends of their error bars: arrays ``at``, ``value``, ``low``, ``high`` of one length."""

    at: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _bars(measured: Measured) -> np.ndarray:
    return np.array([measured.value - measured.low, measured.high - measured.value])


def arrhenius(
    panels: Mapping[str, Mapping[str, np.ndarray]], barrier_over_kT: np.ndarray, measured: Mapping[str, Measured]
) -> Figure:
    r"""Rates against :math:`\Delta E/k_BT` on a logarithmic axis, one panel for each damping.

    Args:
        panels: title to label to rates at ``barrier_over_kT``; every panel has the same labels.
        barrier_over_kT: where the lines are drawn.
        measured: title to simulated rates.
    """
    figure, axes = plt.subplots(2, 2, figsize=(5.6, 5.0), sharex=True, sharey=True)
    for ax, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        for (label, rates), colour, style in zip(curves.items(), COLOURS, STYLES, strict=False):
            ax.semilogy(barrier_over_kT, rates, style, color=colour, label=label)
        points = measured[title]
        ax.errorbar(
            points.at, points.value, _bars(points), fmt="o", color=BLACK, markersize=4, markerfacecolor="white",
            capsize=2, zorder=4, label="simulated",
        )  # fmt: skip
        ax.set_title(title)
    figure.supxlabel(r"$\Delta E / k_BT$", fontsize=9)
    figure.supylabel(r"rate ($\gamma K_1/\mu$)", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def ratios(
    curves: Mapping[str, np.ndarray], at: np.ndarray, measured: Mapping[str, Measured], *, xlabel: str, ylabel: str
) -> Figure:
    """Ratios to a theory: lines, and points with error bars of the same label and colour; a thin line at one."""
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    ax.axhline(1, color=BLACK, linewidth=0.8)
    for (label, values), colour, style, mark in zip(curves.items(), COLOURS, STYLES, "osD^", strict=False):
        ax.plot(at, values, style, color=colour, label=label)
        if label in measured:
            points = measured[label]
            ax.errorbar(
                points.at, points.value, _bars(points), fmt=mark, color=colour, markersize=4, markerfacecolor="white",
                capsize=2, zorder=4,
            )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def histograms(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray, Mapping[str, np.ndarray]]], *, ylabel: str = "fraction"
) -> Figure:
    """Exact fractions as bars and simulated ones as points: (label of the axis, edges, exact, label to simulated)."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.6, 2.9), sharey=True)
    for ax, (name, edges, exact, simulated) in zip(np.atleast_1d(axes), panels, strict=True):
        middle = (edges[1:] + edges[:-1]) / 2
        ax.bar(middle, exact, np.diff(edges), color="#cfe3f1", edgecolor="white", label="Boltzmann, exact")
        for (label, seen), colour, marker in zip(simulated.items(), [RED, GREEN, BLUE, YELLOW], "os^v", strict=False):
            ax.plot(middle, seen, marker, color=colour, markersize=3.2, label=label)
        ax.set_xlabel(name)
    np.atleast_1d(axes)[0].set_ylabel(ylabel)
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def lifetimes(curves: Mapping[str, np.ndarray], temperature: np.ndarray) -> Figure:
    """Lifetime in seconds against temperature in kelvin, with what the eye measures it by: a nanosecond to a year."""
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    for (label, values), colour, style in zip(curves.items(), COLOURS, STYLES, strict=False):
        ax.semilogy(temperature, values, style, color=colour, label=label)
    bottom, top = ax.get_ylim()
    for name, seconds in {name: KNOWN[name] for name in ("1 ns", "1 s", "1 year")}.items():
        if bottom < seconds < top:
            ax.axhline(seconds, color="#888888", linewidth=0.7)
            ax.annotate(
                name, (temperature[-1], seconds), xytext=(0, 2), textcoords="offset points", ha="right", color="#666666"
            )
    ax.set(xlabel="temperature (K)", ylabel="lifetime (s)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def lifetime_map(
    temperature: np.ndarray, field: np.ndarray, lifetime: np.ndarray, limit: np.ndarray | None = None
) -> Figure:
    """Lifetime over temperature and field: colour, and lines at what the eye knows, a nanosecond to a year.

    Args:
        temperature: kelvin, shape ``(n,)``.
        field: tesla, shape ``(m,)``; ticks stand at these fields.
        lifetime: seconds, shape ``(m, n)``.
        limit: temperature at each field up to which the theory is meant, shape ``(m,)``; hatched beyond it.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    powers = np.log10(lifetime)
    whole = np.arange(np.floor(powers.min()), np.ceil(powers.max()) + 1)
    levels = np.linspace(whole[0], whole[-1], 4 * len(whole) - 3)
    shown = ax.contourf(temperature, field, powers, levels, cmap="cividis")
    inside = {name: np.log10(s) for name, s in KNOWN.items() if powers.min() < np.log10(s) < powers.max()}
    lines = ax.contour(
        temperature, field, powers, sorted(inside.values()), colors="white", linewidths=0.9, linestyles="-"
    )
    ax.clabel(lines, fmt={power: name for name, power in inside.items()}, fontsize=8)
    if limit is not None:
        ax.plot(limit, field, "--", color=RED, label="end of the range of the theory")
        ax.fill_betweenx(field, limit, temperature[-1], facecolor="none", edgecolor="white", hatch="//", linewidth=0)
        figure.legend(loc="outside upper center")
    ax.set(xlabel="temperature (K)", ylabel="field (T)", yticks=field, xlim=(temperature[0], temperature[-1]))
    ax.grid(False)
    ticks = whole[:: max(1, len(whole) // 7)]
    figure.colorbar(shown, ax=ax, label="lifetime (s)", format=lambda power, _: f"$10^{{{int(power)}}}$", ticks=ticks)
    return figure
