"""The style of the book's figures."""

import matplotlib.pyplot as plt

__all__ = ["use_style"]

# Okabe-Ito: told apart by every kind of colour vision, and in grey.
BLUE, RED, YELLOW, GREEN, PINK, SKY, BLACK = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#222222"


def use_style() -> None:
    """Set matplotlib to the style of the book: narrow, sharp, colour-blind safe. Call it once a page."""
    plt.rcParams.update(
        {
            "figure.dpi": 200,
            "figure.figsize": (5.6, 3.2),
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, YELLOW, PINK, SKY, BLACK]),
            "legend.frameon": False,
            "lines.linewidth": 1.2,
        }
    )
