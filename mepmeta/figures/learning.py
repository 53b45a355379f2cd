"""Figures of learned methods: what a network does to the coefficients, and how its training went."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mepmeta.figures.style import BLACK, BLUE, GREEN, RED

__all__ = ["factors", "training_curves"]

STYLES = ((BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "D"))


def factors(ratios: np.ndarray, series: Mapping[str, np.ndarray]) -> Figure:
    """Learned factors against the ratio of a pair's curvature to that of the newest one.

    Args:
        ratios: curvature ratios, shape ``(n,)``.
        series: label to factors, shape ``(n,)``; 1 is what the classical method has.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    for (label, y), (colour, line, mark) in zip(series.items(), STYLES, strict=False):
        ax.loglog(ratios, y, line, color=colour, marker=mark, markersize=4, markevery=8, label=label)
    ax.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=":")
    ax.set(xlabel="curvature of the pair / that of the newest", ylabel="learned factor")
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    ax.yaxis.set_minor_formatter(lambda y, _: f"{y:.1f}")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def training_curves(losses: Mapping[str, np.ndarray]) -> Figure:
    """Mean loss of the candidates, generation by generation, as a running mean over ten.

    Args:
        losses: label to losses, each of shape ``(n,)``.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.0))
    for (label, y), (colour, line, _) in zip(losses.items(), STYLES, strict=False):
        width = min(10, y.size)
        ax.plot(np.arange(width, y.size + 1), np.convolve(y, np.ones(width) / width, "valid"), line, color=colour,
                label=label)  # fmt: skip
    ax.axhline(0.0, color=BLACK, linewidth=0.8, linestyle=":")
    ax.set(xlabel="generation", ylabel="mean of ln(gradients / default's)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
