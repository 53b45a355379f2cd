"""Pictures of a path to page through: a texture, and curves on which a dot moves. No physics is computed here."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mepmeta.figures.mep import extent, flat, texture
from mepmeta.figures.player import hidden, played
from mepmeta.figures.style import BLUE, RED

__all__ = ["Flipbook", "flipbook"]

#: Dots per inch of a frame, and its colours: so it takes some 10 kB.
DPI, COLOURS = 120, 64


@dataclass(frozen=True, repr=False)
class Flipbook:
    """Pictures that a notebook shows one at a time, with a slider and a button to play them.

    Everything is in the page itself: it needs no network. On paper, and where no script runs, the still stands there.

    Args:
        frames: pictures, PNG.
        labels: what each of them shows, in words.
        still: number of the one that is shown first.
    """

    frames: tuple[bytes, ...]
    labels: tuple[str, ...]
    still: int = 0

    def __repr__(self) -> str:
        return f"<Flipbook of {len(self.frames)} frames>"

    def _repr_png_(self) -> bytes:
        return self.frames[self.still]

    def _repr_html_(self) -> str:
        pictures = [
            f'<img class="frame" src="data:image/png;base64,{base64.b64encode(frame).decode()}" '
            f'alt="{html.escape(label)}" style="max-width: 100%; {hidden(k, self.still)}">'
            for k, (frame, label) in enumerate(zip(self.frames, self.labels, strict=True))
        ]
        return played("\n".join(pictures), self.labels, self.still)


def flipbook(
    states: Sequence[jax.Array],
    position: np.ndarray,
    curves: Mapping[str, np.ndarray],
    lattice: str = "square",
    *,
    still: int = 0,
    zoom: tuple[float, float, float, float] | None = None,
) -> Flipbook:
    """States of a path one after another, each beside curves along the path on which a dot says where it is.

    Args:
        states: of the frames, each of shape ``(*lattice, 3)``.
        position: of each of them along the path, shape ``(F,)``.
        curves: label of an axis to the values at the states, shape ``(F,)``; one panel each, below one another.
        lattice, zoom: as in :func:`~mepmeta.figures.mep.spin_texture`.
        still: number of the frame that is shown first, and on paper.

    Raises:
        ValueError: when curves have other numbers of values than there are states.
    """
    states, position = [flat(S, lattice) for S in states], np.asarray(position)
    curves = {name: np.asarray(values, float) for name, values in curves.items()}
    if any(values.shape != (len(states),) for values in (position, *curves.values())):
        raise ValueError(f"every one of the {len(states)} states has one position and one value of each curve")
    shape = states[0].shape[:-1]
    figure, grid = plt.figure(figsize=(6.2, 2.5)), (len(curves), 2)
    ax = plt.subplot2grid(grid, (0, 0), len(curves), fig=figure)
    shown, show = texture(ax, shape, lattice, zoom or extent(shape, lattice))
    figure.colorbar(shown, ax=ax, label="$S_z$", ticks=[-1, 0, 1], location="left", shrink=0.8, aspect=15)
    dots = []
    for k, (name, values) in enumerate(curves.items()):
        panel = plt.subplot2grid(grid, (k, 1), fig=figure)
        panel.plot(position, values, ".-", color=BLUE, markersize=3, linewidth=1)
        dots += panel.plot([], [], "o", color=RED, markersize=7)
        panel.margins(y=0.15)
        panel.set_ylabel(name)
        panel.tick_params(labelbottom=k == len(curves) - 1)
    panel.set_xlabel("distance along the path (rad)")
    frames, labels = [], []
    for k, state in enumerate(states):
        show(state)
        for dot, values in zip(dots, curves.values(), strict=True):
            dot.set_data([position[k]], [values[k]])
        frames.append(_png(figure))
        values = ", ".join(f"{name.replace('$', '')} {values[k] + 0.0:.2f}" for name, values in curves.items())
        labels.append(f"frame {k + 1} of {len(states)}: {values}")
    plt.close(figure)
    return Flipbook(tuple(frames), tuple(labels), still)


def _png(figure: Figure) -> bytes:
    """The figure in few colours, also of small things. Its layout is found once: frames must not jump."""
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, dpi=DPI)
    figure.set_layout_engine("none")
    Image.open(raw).convert("RGB").quantize(COLOURS, kmeans=1).save(small, "PNG", optimize=True)
    return small.getvalue()
