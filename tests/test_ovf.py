"""States and bands in OVF 2.0: what is written is read, files of other codes, and files that are wrong."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mepmeta as mm

KINDS = ["text", "binary 4", "binary 8"]


def spins(seed, shape):
    S = np.random.default_rng(seed).normal(size=(*shape, 3))
    return S / np.linalg.norm(S, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("ovf") / "file.ovf"


@pytest.mark.parametrize("data", KINDS)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    images=st.integers(0, 3),
)
def test_what_is_saved_is_loaded(file, data, seed, shape, images):
    """Every shape, also several atoms in a cell; every digit but those that four bytes have not."""
    S = spins(seed, (*[images] * (images > 0), *shape))
    mm.save(file, S, band=images > 0, data=data)
    back = mm.load(file)
    assert back.shape == S.shape and back.dtype == jnp.result_type(float)
    np.testing.assert_allclose(back, S, rtol=0, atol=2e-7 if data == "binary 4" else 0)


def test_what_is_a_band(file):
    film, crystal = spins(0, (4, 5)), spins(1, (3, 4, 5))
    for states, segments in [(film, 1), ([film, film], 2), (np.stack([film] * 3), 3), ([crystal], 1), (crystal, 3)]:
        mm.save(file, states)
        assert file.read_bytes().count(b"Begin: Segment") == segments
        assert np.array_equal(mm.load(file), states)
    mm.save(file, crystal, band=False)
    assert file.read_bytes().count(b"Begin: Segment") == 1 and np.array_equal(mm.load(file), crystal)


def test_x_is_fastest_and_atoms_are_faster(file):
    S = spins(2, (2, 3, 4, 2))
    mm.save(file, S, band=False, atoms=2, data="text")
    text = file.read_text()
    assert [int(n) for n in re.findall(r"# [xyz]nodes: (\d+)", text)] == [4, 3, 4]
    rows = np.array([row.split() for row in text.split("Data Text\n")[1].split("#")[0].splitlines()], float)
    expected = [S[x, y, z, a] for z in range(4) for y in range(3) for x in range(2) for a in range(2)]
    np.testing.assert_array_equal(rows, expected)


def test_several_atoms_in_a_cell_of_a_film(file):
    S = spins(3, (2, 4, 5, 3))
    mm.save(file, S, atoms=3)
    assert re.findall(r"[xyz]nodes: (\d+)", file.read_bytes().decode(errors="replace"))[:3] == ["12", "5", "1"]
    assert np.array_equal(mm.load(file), S)
    text = file.read_bytes().replace(b"mepmeta", b"another", 1)  # as Spirit has it: each image has its own description
    file.write_bytes(text.replace(b"mepmeta", b"a second"))
    assert np.array_equal(mm.load(file, atoms=3), S)
    assert mm.load(file).shape == (2, 12, 5, 3)
    with pytest.raises(ValueError, match="atoms=5"):
        mm.load(file, atoms=5)
    with pytest.raises(ValueError, match="2 atoms in a cell"):
        mm.save(file, S, atoms=2)


OTHER = """# OOMMF OVF 2.0
#
# Segment count: 1
#
# Begin: Segment
# Begin: Header
# Title: m
# meshtype: RECTANGULAR
# meshunit: m
# xmin: 0
# VALUEDIM: 3   ## field dimensionality
# valuelabels: m_x m_y m_z
# Desc: Total simulation time:  1e-10  s
# xbase: 5e-10
# XNodes: 3
# ynodes: 2
# znodes: 1
# end: header
# begin: DATA text
1 0 0
0 2 0
0 0 3

-1 0 0
0 -1 0
0 0 -1# End: Data Text
# End: segment
"""
STATE = np.array([[[1, 0, 0], [-1, 0, 0]], [[0, 1, 0], [0, -1, 0]], [[0, 0, 1], [0, 0, -1]]])


def test_a_file_of_another_code(file):
    """Keywords in any case, remarks, no line end before the end of the data, vectors of any length, commas."""
    file.write_text(OTHER)
    np.testing.assert_array_equal(mm.load(file), STATE)
    body = OTHER.replace("DATA text", "Data CSV").replace("Data Text", "Data CSV").replace("0 2 0", "0, 2, 0,")
    file.write_text(body.replace("\n", "\r\n"))
    np.testing.assert_array_equal(mm.load(file), STATE)
    S = STATE.transpose(1, 0, 2).astype("<f4")
    binary = np.float32(1234567.0).tobytes() + S.tobytes()
    head, tail = OTHER.replace("DATA text", "DATA binary 4").split("1 0 0\n")[0], OTHER.split("0 0 -1")[1]
    for between in (b"", b"\n"):
        file.write_bytes(head.encode() + binary + between + tail.replace("Data Text", "Data Binary  4").encode())
        np.testing.assert_array_equal(mm.load(file), STATE)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("OVF 2.0", "OVF 1.0", "line 1: expected"),
        ("Segment count: 1", "Segment count: 2", "is it cut"),
        ("Segment count: 1", "Segment count: 0", "line 3: expected one segment or more"),
        ("XNodes: 3", "XNodes: 4", "expected 24 numbers below, 18 are there"),
        ("XNodes: 3", "XNodes: -3", "xnodes, ynodes and znodes"),
        ("XNodes: 3", "Nodes: 3", "xnodes, ynodes and znodes"),
        ("RECTANGULAR", "irregular", "meshtype: rectangular"),
        ("VALUEDIM: 3", "VALUEDIM: 1", "valuedim: 3"),
        ("0 2 0", "0 two 0", "line 19: expected 18 numbers below, not all are"),
        ("0 2 0", "0 nan 0", "must be finite"),
        ("0 2 0", "0 0 0", "vector 2 is zero"),
        ("0 2 0", "0 2", "expected 18 numbers below, 17 are there"),
        ("DATA text", "DATA hex", "line 19: expected"),
        ("# End: Data Text", "# End: Data Binary 8", "line 26: expected"),
        ("# End: segment", "# End", "line 27: expected"),
        ("# End: segment\n", "# End: segment\nmore", "the end of the file after 1 segments"),
        ("# Title: m", "Title: m", "line 7: expected a line of the head"),
        ("Total simulation", "mepmeta state of shape 2 2, atoms 1", "do not fit to 1 segments"),
    ],
)
def test_what_is_wrong_is_said(file, old, new, message):
    assert old in OTHER
    text = OTHER.replace(old, new)
    if "mepmeta" in new:
        text = text.replace(":  1e-10  s", "").replace("atoms 1 time", "atoms 1")
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        mm.load(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("data", KINDS)
@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_a_file_that_is_cut_is_refused(file, data, draw):
    band = spins(4, (2, 3, 2))
    mm.save(file, band, band=True, data=data)
    raw = file.read_bytes()
    file.write_bytes(raw[: draw.draw(st.integers(0, len(raw) - 2))])  # the last line end may be missing
    with pytest.raises(ValueError, match="ovf"):
        mm.load(file)


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_a_byte_that_is_changed_is_refused_or_a_state(file, draw):
    mm.save(file, spins(4, (2, 3, 2)), band=True, data=draw.draw(st.sampled_from(KINDS)))
    raw = bytearray(file.read_bytes())
    raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    file.write_bytes(raw)
    try:
        S = mm.load(file)
    except ValueError as error:
        assert str(file) in str(error)
    else:
        np.testing.assert_allclose(np.linalg.norm(S, axis=-1), 1, atol=1e-12)


def test_bad_states_are_refused(file):
    for states in (np.ones((3, 2)), np.ones(3), np.full((2, 3), np.nan), np.ones((0, 3)), []):
        with pytest.raises(ValueError, match="finite vectors"):
            mm.save(file, states)
    with pytest.raises(ValueError, match="data"):
        mm.save(file, np.ones((2, 3)), data="binary 2")


def test_a_path_is_saved_as_a_band(file, tmp_path):
    energy = mm.Heisenberg((4,), mm.nearest_neighbours("chain", 1.0), [(0.3, (0, 0, 1)), (-0.1, (0, 1, 0))])
    up = mm.ferromagnet((4,), (0.1, 0.01, 1))
    r = mm.find_mep(energy, up, -up, geometry=mm.Spheres())
    r.save(tmp_path / "band.ovf")
    assert jnp.array_equal(mm.load(tmp_path / "band.ovf"), r.path) and r.path.ndim == 3
    with pytest.raises(ValueError, match="mm.load reads them"):
        mm.MEP.load(tmp_path / "band.ovf")
    r.save(tmp_path / "all.npz")
    assert jnp.array_equal(mm.MEP.load(tmp_path / "all.npz").path, r.path)
