"""Figures of the paper and of its tangent, training and benchmark: one function each. No physics is computed here."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mepmeta.figures.style import BLACK, BLUE, GREEN, PINK, RED, SKY, YELLOW
from mepmeta.training import History

__all__ = [
    "convergence",
    "curves",
    "energy_surface",
    "kinks",
    "multipliers",
    "training_history",
    "weight_function",
]


def energy_surface(
    energy: Callable,
    paths: Mapping[str, jax.Array],
    *,
    mep: jax.Array | None = None,
    theta_range: tuple[float, float] = (-np.pi / 2, np.pi / 2),
    phi_range: tuple[float, float] = (-0.35, np.pi + 0.35),
) -> Figure:
    r"""Energy over the angles, with paths on it.

    Args:
        energy: energy of a state :math:`(\theta, \varphi)`.
        paths: label to path, each of shape ``(P, 2)``; drawn in turn as dots, squares, triangles.
        mep: the minimum energy path, shape ``(P, 2)``; drawn as stars, and nothing else is.
        theta_range: range of :math:`\theta` in radian, the vertical axis.
        phi_range: range of :math:`\varphi` in radian, the horizontal axis.
    """
    theta, phi = np.linspace(*theta_range, 121), np.linspace(*phi_range, 181)
    states = jnp.stack(jnp.meshgrid(theta, phi, indexing="ij"), axis=-1)
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    ax.grid(False)
    surface = ax.contourf(phi, theta, jax.vmap(jax.vmap(energy))(states), levels=24, cmap="cividis")
    ax.contour(phi, theta, jax.vmap(jax.vmap(energy))(states), levels=12, colors="white", linewidths=0.3, alpha=0.6)
    styles = [("o", 26, RED), ("s", 22, SKY), ("^", 26, PINK)]
    shown = [(*item, *style) for item, style in zip(paths.items(), styles, strict=False)]
    if mep is not None:
        shown.insert(0, ("minimum energy path", mep, "*", 90, "white"))
    for label, path, marker, size, colour in shown:
        ax.plot(path[:, 1], path[:, 0], color=colour, linewidth=0.8, alpha=0.8)
        ax.scatter(
            path[:, 1], path[:, 0], s=size, marker=marker, color=colour, edgecolor=BLACK, linewidth=0.5, label=label,
            zorder=3,
        )  # fmt: skip
    ax.set(xlabel=r"longitude $\varphi$ (rad)", ylabel=r"latitude $\theta$ (rad)")
    ax.set_xticks([0, np.pi / 2, np.pi], ["0", "π/2", "π"])
    ax.set_yticks([-np.pi / 2, 0, np.pi / 2], ["−π/2", "0", "π/2"])
    figure.colorbar(surface, label=r"energy $E$ (units of $K_1$)", ticks=[-1, 0, 1, 2])
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def training_history(history: History, optimum: float | None = None) -> Figure:
    """Loss against iteration, and below it the metaparameters.

    Args:
        history: what :func:`~mepmeta.training.train` returned.
        optimum: a step size to mark, such as the one that theory expects.
    """
    epochs, iterations = history.loss.shape
    k = np.arange(epochs * iterations)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(5.6, 4.6), sharex=True, height_ratios=[3, 2])
    top.plot(k, history.loss.ravel(), ".", color=BLUE, markersize=1.5, label="training batch", rasterized=True)
    ends = (np.arange(epochs) + 1) * iterations
    top.plot(ends, history.test_loss, ".", color=RED, markersize=4, label="test paths, end of epoch")
    top.axhline(0, color=BLACK, linewidth=0.6)
    low, high = np.quantile(history.loss, [0.001, 0.999])
    top.set(ylabel="loss $L$", ylim=(low - 0.2, max(high, 0) + 0.3))
    top.legend(markerscale=2, loc="center right")
    styles = ["-", "--", ":"]
    names = [r"step $\gamma$", r"spring $\mu$", r"smoothness $\beta$"]
    for name, values, style in zip(names, history.params, styles, strict=True):
        bottom.plot(k, np.ravel(values), style, label=name)
    if optimum is not None:
        bottom.axhline(optimum, color=BLACK, linewidth=0.6)
        bottom.annotate(f"{optimum:g}", (k[-1], optimum), textcoords="offset points", xytext=(2, 3), fontsize=8)
    bottom.set(yscale="log", xlabel=f"iteration ({iterations} an epoch)", ylabel="metaparameter")
    bottom.legend(ncols=3, loc="lower right")
    return figure


def convergence(runs: Mapping[str, np.ndarray], floor: float) -> Figure:
    r"""Three columns for each set of parameters: rates, errors of the barrier, next error against error.

    Args:
        runs: label to overestimates :math:`\Delta(k)`, shape ``(paths, iterations + 1)``; one row of panels each.
        floor: :math:`\Delta` below which rounding rules. Rates are shown where the error was ten times above it.
    """
    figure, axes = plt.subplots(len(runs), 3, figsize=(7.6, 2.3 * len(runs)), squeeze=False, sharex="col", sharey="col")
    for (label, deltas), row in zip(runs.items(), axes, strict=True):
        _rates_panel(row[0], deltas, floor)
        for percentile in range(0, 101, 10):
            extreme = percentile in (0, 100)
            row[1].semilogy(
                np.percentile(deltas, percentile, axis=0),
                color=RED if extreme else BLUE,
                linewidth=1.2 if percentile in (0, 50, 100) else 0.6,
            )
        row[2].loglog(deltas[:, :-1].ravel(), deltas[:, 1:].ravel(), ".", color=BLUE, markersize=1.2, rasterized=True)
        ends = np.array([floor, 4 * deltas.max()])
        row[2].loglog(ends, ends, ":", color=RED)
        row[2].fill_between(ends, ends, ends[-1], color=RED, alpha=0.08, linewidth=0)
        row[2].set(ylabel=r"$\Delta(k+1)$", xlim=ends, ylim=ends)
        row[1].set(ylabel=r"$\Delta(k)$ / $K_1$")
        row[0].set(ylabel=r"$\rho(k)$")
        row[1].set_title(label)
    worse = "sublinear or worse:\n" r"$\rho \geq 1$"
    axes[0, 2].text(0.04, 0.93, worse, transform=axes[0, 2].transAxes, va="top", fontsize=7, color=RED)
    axes[-1, 0].set_xlabel("iteration $k$")
    axes[-1, 1].set_xlabel("iteration $k$")
    axes[-1, 2].set_xlabel(r"$\Delta(k)$ / $K_1$")
    return figure


def _rates_panel(ax: Axes, deltas: np.ndarray, floor: float) -> None:
    """Extremes, geometric mean, 10th and 90th percentile of the rates, while half of the paths are above rounding.

    The geometric mean is what the loss looks at. The axis ends where the error grows; what lies above is cut off.
    """
    before, after = deltas[:, :-1], deltas[:, 1:]
    usable = before > 10 * floor
    shown = usable.mean(axis=0) >= 0.5
    k = np.nonzero(shown)[0]
    rates = [(after / before)[usable[:, n], n] for n in k]
    for q, colour, line in ((0, RED, "-"), (100, RED, "-"), (10, YELLOW, "--"), (90, YELLOW, "--")):
        ax.plot(k, [np.percentile(r, q) for r in rates], line, color=colour)
    ax.plot(k, [np.exp(np.mean(np.log(r))) for r in rates], ":", color=BLACK)
    ax.axhline(1, color=BLACK, linewidth=0.6)
    ax.set_ylim(0, 1.2)


def curves(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    markers: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    level: float | None = None,
) -> Figure:
    """Several curves on one pair of axes.

    Args:
        series: label to abscissae and ordinates, each of shape ``(n,)``.
        xlabel, ylabel: axis labels with symbol and unit.
        logx, logy: logarithmic abscissae, ordinates.
        markers: a mark on every point.
        marks: abscissae to mark with a vertical line, each with a label.
        level: an ordinate to mark with a horizontal line.
    """
    figure, ax = plt.subplots()
    styles = zip(["-", "--", "-.", ":"] * 2, "osD^vP<>", strict=True)
    for (label, (x, y)), (line, marker) in zip(series.items(), styles, strict=False):
        ax.plot(x, y, line, marker=marker if markers else None, markersize=4, label=label)
    for position, label in marks:
        ax.axvline(position, color=BLACK, linewidth=0.6)
        ax.annotate(label, (position, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8)
    if level is not None:
        ax.axhline(level, color=BLACK, linewidth=0.8, linestyle=":")
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear")
    if logy:
        ax.set_yscale("log")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(series), 4))
    return figure


def multipliers(
    n_images: np.ndarray,
    sizes: Mapping[str, np.ndarray],
    settled: Mapping[str, np.ndarray] | None = None,
    *,
    ylim: tuple[float, float] = (0, 3.5),
) -> Figure:
    """Size of the multiplier of the worst disturbance in one iteration, against the number of images.

    Args:
        n_images: numbers of images, shape ``(n,)``.
        sizes: label to sizes of the multiplier, each of shape ``(n,)``; above 1 the disturbance grows.
        settled: label to booleans, shape ``(n,)``: whether a run converged. Filled marks did, crosses did not.
        ylim: range of the vertical axis.
    """
    figure, ax = plt.subplots()
    colours, styles = [BLUE, RED, GREEN, YELLOW, PINK, SKY], ["-", "--", "-.", ":", "-", "--"]
    for (label, y), colour, style in zip(sizes.items(), colours, styles, strict=False):
        ax.plot(n_images, y, style, color=colour, label=label)
        if settled is not None:
            good = np.asarray(settled[label])
            ax.plot(n_images[good], np.asarray(y)[good], "o", color=colour, markersize=5)
            ax.plot(n_images[~good], np.asarray(y)[~good], "x", color=colour, markersize=6, markeredgewidth=1.5)
    ax.axhspan(1, ylim[1], color=RED, alpha=0.08, linewidth=0)
    ax.axhline(1, color=BLACK, linewidth=0.8, zorder=1)
    ax.text(0.99, 0.97, "grows", transform=ax.transAxes, ha="right", va="top", color=RED)
    ax.set(xlabel="number of images $P$", ylabel="largest multiplier (modulus)", ylim=ylim)
    ax.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=len(sizes))
    return figure


def weight_function(a: np.ndarray, W: np.ndarray, slopes: np.ndarray, weights: Mapping[str, np.ndarray]) -> Figure:
    r"""The weight of the smooth tangent: a map over its two arguments, and cuts for several :math:`\beta`.

    Args:
        a: values of both arguments on the map, shape ``(n,)``, energy.
        W: weight there, shape ``(n, n)``, the first axis for the first argument.
        slopes: abscissae of the cuts, shape ``(m,)``, energy.
        weights: label to weights, each of shape ``(m,)``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.2, 3.0), width_ratios=[1, 1.15])
    left.grid(False)
    shown = left.contourf(a, a, np.asarray(W).T, levels=np.linspace(0, 1, 21), cmap="cividis")
    lines = left.contour(a, a, np.asarray(W).T, levels=[0.1, 0.5, 0.9], colors="white", linewidths=0.8)
    left.clabel(lines, fmt="%.1f", fontsize=8)
    left.set(xlabel="slope $a$ (units of $K_1$)", ylabel="slope $b$ (units of $K_1$)", aspect="equal")
    left.set(xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1])
    figure.colorbar(shown, ax=left, label="$W(a; b)$", ticks=[0, 0.5, 1], shrink=0.85)
    for (label, y), style in zip(weights.items(), ["-", "--", "-.", ":"] * len(weights), strict=False):
        right.plot(slopes, y, style, label=label)
    right.set(xlabel="$a + b$ (units of $K_1$)", ylabel="weight $a^+$ of the forward difference")
    right.legend(loc="upper left")
    return figure


def kinks(paths: Mapping[str, jax.Array], turns: Mapping[str, np.ndarray]) -> Figure:
    r"""Two bands seen from above, and how sharply each tangent lets its band turn.

    Args:
        paths: label to path, each of shape ``(P, 2)``, states :math:`(\theta, \varphi)`.
        turns: label to the sharpest turn of the band at each iteration, degree, shape ``(steps + 1,)``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.0, 3.2))
    for (label, path), style, colour in zip(paths.items(), ["o-", "s-"], [RED, BLUE], strict=False):
        left.plot(path[:, 1], path[:, 0], style, markersize=3, linewidth=0.8, color=colour, label=label)
    left.set(xlabel=r"longitude $\varphi$ (rad)", ylabel=r"latitude $\theta$ (rad)")
    left.set_xticks([0, np.pi / 2, np.pi], ["0", "π/2", "π"])
    for (label, y), colour, style in zip(
        turns.items(), [RED, BLUE, YELLOW, GREEN], ["-", "--", "-.", ":"], strict=False
    ):
        right.semilogy(y, style, color=colour, label=label)
    right.set(xlabel="iteration $k$", ylabel="sharpest turn (degree)", ylim=(1e-5, 400))
    for ax in (left, right):
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8)
    return figure
