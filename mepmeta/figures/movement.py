"""Figures that move: paths that change from frame to frame, with a slider and a button, without a network."""

import base64
import html
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from mepmeta.figures.player import hidden, played
from mepmeta.figures.style import BLACK, BLUE, RED

__all__ = ["Movement", "moving_paths"]

#: Size of the drawing, and of its frame within, in units of the SVG.
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 560, 316, 52, 30, 12, 44
#: Colour, dashes and radius of the marks of each path in turn.
STYLES = ((RED, "none", 4.0), (BLUE, "6 4", 3.0), (BLACK, "2 3", 2.0))


class Movement(NamedTuple):
    """What :func:`moving_paths` returns: a notebook shows it, and a reader moves it."""

    html: str

    def __repr__(self) -> str:
        return "Movement"

    def _repr_html_(self) -> str:
        return self.html


def _place(path: np.ndarray, xlim: tuple[float, float], ylim: tuple[float, float]) -> str:
    """The points of a path, states (latitude, longitude), as SVG has them."""
    x = LEFT + (path[:, 1] - xlim[0]) / (xlim[1] - xlim[0]) * (WIDTH - LEFT - RIGHT)
    y = TOP + (ylim[1] - path[:, 0]) / (ylim[1] - ylim[0]) * (HEIGHT - TOP - BOTTOM)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _map(energy: Callable, xlim: tuple[float, float], ylim: tuple[float, float]) -> str:
    """The energy over the angles as a small picture, in the address of an image."""
    theta, phi = np.meshgrid(np.linspace(*ylim[::-1], 60), np.linspace(*xlim, 110), indexing="ij")
    values = jax.vmap(jax.vmap(energy))(jnp.stack([theta, phi], axis=-1))
    picture = io.BytesIO()
    plt.imsave(picture, np.asarray(values), cmap="cividis", format="png")
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()


def moving_paths(
    energy: Callable,
    paths: Mapping[str, np.ndarray],
    captions: Sequence[str],
    *,
    alt: str,
    phi_range: tuple[float, float] = (-0.35, np.pi + 0.35),
    theta_range: tuple[float, float] = (-np.pi / 2, np.pi / 2),
) -> Movement:
    r"""Paths over the energy surface of a spin, frame by frame.

    Args:
        energy: energy of a state :math:`(\theta, \varphi)`.
        paths: label to the path at each of ``T`` frames, shape ``(T, P, 2)``; at most three.
        captions: what stands below each frame, ``T`` of them.
        alt: the picture in words.
        phi_range, theta_range: what the axes show, radian.

    Raises:
        ValueError: if a path has not as many frames as there are captions, or there are more than three paths.
    """
    if len(paths) > len(STYLES):
        raise ValueError(f"at most {len(STYLES)} paths have a style of their own, got {len(paths)}")
    for label, frames in paths.items():
        if np.ndim(frames) != 3 or len(frames) != len(captions) or np.shape(frames)[2] != 2:
            raise ValueError(f"path {label!r}: expected shape ({len(captions)}, P, 2), got {np.shape(frames)}")
    points = [[_place(np.asarray(path), phi_range, theta_range) for path in frames] for frames in paths.values()]
    right, low, key = WIDTH - RIGHT, HEIGHT - BOTTOM, f"movement-{zlib.crc32(alt.encode()):08x}"
    frame = f'x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{low - TOP}"'
    parts = [
        f'<image {frame} preserveAspectRatio="none" href="{_map(energy, phi_range, theta_range)}"/>',
        f'<clipPath id="{key}"><rect {frame}/></clipPath>',
    ]
    for value, label in ((0.0, "0"), (np.pi / 2, "π/2"), (np.pi, "π")):
        x, _ = _place(np.array([[0.0, value]]), phi_range, theta_range).split(",")
        parts.append(f'<text x="{x}" y="{low + 16}" text-anchor="middle">{label}</text>')
    for value in (theta_range[0], sum(theta_range) / 2, theta_range[1]):
        label = {np.pi / 2: "π/2", -np.pi / 2: "−π/2"}.get(value, f"{value:g}".replace("-", "−"))
        _, y = _place(np.array([[value, 0.0]]), phi_range, theta_range).split(",")
        parts.append(f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">longitude φ (rad)</text>')
    middle = (TOP + low) / 2
    parts.append(
        f'<text transform="rotate(-90 12 {middle})" x="12" y="{middle}" text-anchor="middle">latitude θ (rad)</text>'
    )
    lines = []
    for number, (label, (colour, dashes, radius)) in enumerate(zip(paths, STYLES, strict=False)):
        name, x = f"{key}-{number}", LEFT + (right - LEFT) // len(STYLES) * number
        line = (
            f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
            f' marker-start="url(#{name})" marker-mid="url(#{name})" marker-end="url(#{name})"'
        )
        lines.append(line)
        parts.append(
            f'<marker id="{name}" markerWidth="12" markerHeight="12" refX="6" refY="6" markerUnits="userSpaceOnUse">'
            f'<circle cx="6" cy="6" r="{radius}" fill="{colour}" stroke="#fff"/></marker>'
            f'<polyline points="{x + 6},12 {x + 34},12" {line}/><text x="{x + 44}" y="16">{html.escape(label)}</text>'
        )
    for k in range(len(captions)):
        # Each path is drawn twice, white below, so that no colour of the map hides it.
        drawn = [
            f'<defs><polyline id="{key}-{n}-{k}" points="{points[n][k]}" fill="none"/></defs>'
            f'<use href="#{key}-{n}-{k}" stroke="#fff" stroke-width="5"/><use href="#{key}-{n}-{k}" {line}/>'
            for n, line in enumerate(lines)
        ]
        parts.append(
            f'<g class="frame" style="{hidden(k, 0)}" clip-path="url(#{key})" stroke-linejoin="round">'
            f"{''.join(drawn)}</g>"
        )
    return Movement(
        played(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(alt)}" font-family="sans-serif"'
            f' font-size="12">{"".join(parts)}</svg>',
            captions,
        )
    )
