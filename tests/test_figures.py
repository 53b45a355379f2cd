"""Figures: what stands at the axes, and one cell for every spin."""

import io
import re

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.markers import MarkerStyle
from PIL import Image

import mepmeta as mm
from mepmeta import figures


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def labels(figure):
    return figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()


def test_axes_have_the_units_of_the_path():
    flat = mm.find_mep(
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), progress=False
    )
    spin = mm.Heisenberg((1,), anisotropy=[(1.0, (1, 0, 0)), (-2.0, (0, 0, 1))])
    ends = mm.ferromagnet((1,), (1, 0, 0)), mm.ferromagnet((1,), (-1, 0, 0))
    turn = mm.find_mep(spin, *ends, geometry=mm.Spheres(), progress=False)
    assert labels(figures.energy_profile(flat)) == ("distance along the path", "energy above the start")
    assert labels(figures.energy_profile(turn)) == ("distance along the path (rad)", "energy above the start")
    named = figures.energy_profile({"a": flat, "b": flat}, unit="eV", length="Å")
    assert labels(named) == ("distance along the path (Å)", "energy above the start (eV)")


@pytest.mark.parametrize(
    "lattice, shape", [("square", (6, 5)), ("cubic", (6, 5, 1)), ("square", (6, 5, 1)), ("honeycomb", (4, 5, 2))]
)
def test_every_spin_has_a_cell_and_cells_fill_the_film(lattice, shape):
    kind = lattice if len(shape) == 2 or lattice == "honeycomb" else "cubic"
    S = mm.skyrmion(shape, kind, center=(2, 2), radius=1.5)
    figure = figures.spin_texture({"a": S, "b": S}, lattice)
    (cells,) = [
        c for c in figure.axes[0].collections if hasattr(c, "get_paths") and len(c.get_paths()) == S[..., 0].size
    ]
    np.testing.assert_allclose(cells.get_array(), np.ravel(S[..., 2]))
    corners = np.array([p.vertices[:-1] for p in cells.get_paths()])
    np.testing.assert_allclose(
        corners.mean(axis=1), np.asarray(mm.positions(shape, kind))[..., :2].reshape(-1, 2), atol=1e-9
    )
    x, y = corners[..., 0], corners[..., 1]
    area = np.sum(x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y, axis=1) / 2
    np.testing.assert_allclose(area, 3**0.5 / 4 if lattice == "honeycomb" else 1.0, rtol=1e-9)


def test_a_movement_holds_every_frame_at_its_place():
    frames = np.zeros((3, 2, 2))
    frames[:, 1] = [[0.0, np.pi], [np.pi / 4, np.pi], [np.pi / 2, np.pi]]
    shown = figures.moving_paths(
        mm.single_spin(), {"a < b": frames}, ["one", "two", "three"], alt="a path", phi_range=(0.0, np.pi)
    )
    lines = re.findall(r'<polyline id="(.*?-0-\d)" points="(.*?)"', shown.html)
    places = [[tuple(map(float, point.split(","))) for point in frame.split()] for _, frame in lines]
    assert shown.html.count('class="frame"') == 3 and shown.html.count('display: none"') == 2
    assert len({place[0] for place in places}) == 1, "the first image stays"
    heights = [place[1][1] for place in places]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2) and heights[0] > heights[2]
    assert len({place[1][0] for place in places}) == 1 and places[0][1][0] > places[0][0][0]
    assert '["one", "two", "three"]' in shown.html and "a &lt; b" in shown.html and shown._repr_html_() == shown.html
    line = lines[0][0]
    below, above = re.findall(rf'<use href="#{line}"[^>]*?stroke="(.*?)" stroke-width="(.*?)"', shown.html)
    assert below[0] == "#fff" != above[0] and float(below[1]) > float(above[1]), "white around the path"
    near = figures.moving_paths(
        mm.single_spin(), {"a": frames}, ["one", "two", "three"], alt="a path", theta_range=(-0.1, 0.1)
    )
    assert all(f">{label}</text>" in near.html for label in ("−0.1", "0", "0.1"))
    for wrong in ({"a": frames[:2]}, {"a": frames[0]}, dict.fromkeys("abcd", frames)):
        with pytest.raises(ValueError, match="expected shape|at most"):
            figures.moving_paths(mm.single_spin(), wrong, ["one", "two", "three"], alt="a path")


def test_a_flipbook_holds_a_picture_of_every_state_and_needs_no_network():
    states = [mm.skyrmion((9, 9), center=(4, 4), radius=r) for r in (3.0, 2.0, 1.0)]
    book = figures.flipbook(states, np.arange(3.0), {"energy (meV)": np.array([0.0, 2.5, 1.0])}, still=1)
    page = book._repr_html_()
    assert page.count("data:image/png;base64,") == 3 and page.count('display: none"') == 2 and "://" not in page
    assert book._repr_png_() == book.frames[1] and len(set(book.frames)) == 3
    assert all(frame.startswith(b"\x89PNG") and len(frame) < 30_000 for frame in book.frames)
    pixels = np.asarray(Image.open(io.BytesIO(book.frames[1])).convert("RGB")).astype(int)
    assert np.min(np.sum(np.abs(pixels - (213, 94, 0)), axis=-1)) < 30, "the dot keeps its colour"
    assert book.labels[1] == "frame 2 of 3: energy (meV) 2.50" and book.labels[1] in page
    again = figures.flipbook(states, np.arange(3.0), {"energy (meV)": np.array([0.0, 2.5, 1.0])}, still=1)
    assert again.frames == book.frames
    with pytest.raises(ValueError, match="3 states"):
        figures.flipbook(states, np.arange(3.0), {"energy": np.zeros(2)})


def test_up_in_the_plane_and_down_differ_in_grey_print():
    """The light of a colour as the eye weighs it (Rec. 709) grows with S_z, and by much on either side of zero."""
    figure = figures.spin_texture({"a": mm.skyrmion((9, 9), center=(4, 4), radius=2)})
    cells = figure.axes[0].collections[0]
    light = cells.cmap(np.linspace(0, 1, 101))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(light[::5]) > 0)
    assert light[50] - light[0] > 0.15 and light[100] - light[50] > 0.15


def test_residuals_have_a_panel_each_and_their_end():
    falling = np.geomspace(1.0, 1e-6, 50)
    swinging = falling * np.where(np.arange(50) % 2, 30.0, 1.0)
    figure = figures.residuals({"a": falling, "b": swinging, "c": falling[:1]}, 1e-5, unit="J/rad")
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]
    for ax, residual in zip(figure.axes, (falling, swinging, falling[:1]), strict=True):
        lowest, end, _ = ax.lines
        np.testing.assert_allclose(lowest.get_ydata(), np.minimum.accumulate(residual))
        np.testing.assert_allclose(end.get_xydata(), [[len(residual), residual[-1]]])
        heights = ax.collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [residual.min(), residual.max()])


def test_stars_are_the_minimum_energy_path_and_nothing_else():
    mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 5)
    paths = {name: mep.at[1:-1, 0].add(0.1 * n) for n, name in enumerate("abc", start=1)}

    def shapes(figure):
        drawn = [c for c in figure.axes[0].collections if c.get_label() in {*paths, "minimum energy path"}]
        return {c.get_label(): len(c.get_paths()[0].vertices) for c in drawn}

    star = len(MarkerStyle("*").get_path().vertices)
    without, with_it = (shapes(figures.energy_surface(mm.single_spin(), paths, mep=m)) for m in (None, mep))
    assert star not in without.values() and set(without) == set(paths)
    assert with_it == without | {"minimum energy path": star}


def test_rates_are_drawn_with_their_geometric_mean():
    deltas = np.array([[1.0, 0.1, 0.001], [1.0, 0.4, 0.16]])  # rates 0.1, 0.4 and 0.01, 0.4
    panel = figures.convergence({"a": deltas}, 1e-16).axes[0]
    (mean,) = [line for line in panel.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(mean.get_ydata(), [0.2, 0.004**0.5])
    assert panel.get_yscale() == "linear" and panel.get_ylim() == (0, 1.2)


def test_arrows_follow_the_state_that_is_shown():
    first, second = mm.ferromagnet((4, 4), (1, 0, 0)), mm.ferromagnet((4, 4), (0.6, 0, 0.8))
    figure, ax = plt.subplots()
    cells, show = figures.mep.texture(ax, (4, 4), "square", figures.mep.extent((4, 4), "square"))
    (arrows,) = [c for c in ax.collections if hasattr(c, "U")]
    for S in (first, second):
        show(S)
        np.testing.assert_allclose(cells.get_array(), np.ravel(S[..., 2]))
        np.testing.assert_allclose(arrows.U, 0.9 * np.ravel(S[..., 0]))
    show(mm.ferromagnet((4, 4)))
    assert np.all(arrows.Umask)


def test_map_of_lifetimes_has_a_line_at_a_second():
    T, B = np.linspace(5.0, 20.0, 16), np.array([0.0, 0.5, 1.0])
    figure = figures.lifetime_map(T, B, 1e-9 * np.exp((200 - 50 * B)[:, None] / T), limit=np.array([20.0, 15.0, 10.0]))
    ax = figure.axes[0]
    names = [text.get_text() for text in ax.texts]
    assert "1 s" in names and labels(figure) == ("temperature (K)", "field (T)")
    np.testing.assert_allclose(ax.get_yticks(), B)
