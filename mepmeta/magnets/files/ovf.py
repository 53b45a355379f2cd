"""States and bands in OVF 2.0, the vector fields of OOMMF :cite:p:`donahue1999`, mumax and Spirit.

The package pyovf 0.3 has one segment in a file and rounds it to single precision, so that it cannot carry a band whose
barrier is a small difference: hence a reader here.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_answers, check_count, check_numbers, check_option
from mepmeta._files import read, write

__all__ = ["load", "save"]

#: How numbers are kept: type, and the number that stands first to tell the order of bytes.
BINARY = {"binary 4": ("<f4", 1234567.0), "binary 8": ("<f8", 123456789012345.0)}
OWN = "mepmeta {} of shape {}, atoms {}"
HEAD = """# Begin: Segment
# Begin: Header
# Title: spins
# Desc: {desc}
# valuedim: 3
# valueunits: none none none
# valuelabels: spin_x_unit spin_y_unit spin_z_unit
# meshunit: unspecified
# xmin: -0.5
# ymin: -0.5
# zmin: -0.5
# xmax: {xmax}
# ymax: {ymax}
# zmax: {zmax}
# meshtype: rectangular
# xbase: 0
# ybase: 0
# zbase: 0
# xstepsize: 1
# ystepsize: 1
# zstepsize: 1
# xnodes: {x}
# ynodes: {y}
# znodes: {z}
# End: Header
# Begin: Data {kind}
"""


def save(
    path: str | Path,
    states: Array | Sequence[Array],
    *,
    band: bool | None = None,
    atoms: int = 1,
    data: str = "binary 8",
) -> None:
    """Write a state, or the images of a band one after another, in OVF 2.0.

    Args:
        path: of the file.
        states: a state of unit vectors ``(*cells, 3)``, with several atoms in a cell ``(*cells, atoms, 3)``; or a band
            of them, ``(P, ...)``.
        band: whether the first axis counts images; by default where ``states`` is a list or has more than three axes.
        atoms: in a cell; where they are several, they stand next to each other along x, as Spirit has them.
        data: "binary 8", which keeps every digit, "binary 4" or "text", which keeps them, too.

    Raises:
        ValueError: for an array that is not of vectors, not finite, or with a zero vector; an unknown ``data``.
    """
    check_option("data", data, ("binary 8", "binary 4", "text"))
    atoms = check_count("atoms", atoms)
    if band is not None:
        check_answers(band=band)
    listed = isinstance(states, (list, tuple)) and np.ndim(states[0] if states else 0) > 1
    S = check_numbers("a state", states, wanted="finite vectors (*cells, 3)")
    band = listed or S.ndim > 3 if band is None else band
    if S.ndim < 2 + band or S.ndim > 5 + band or S.shape[-1] != 3 or 0 in S.shape or not np.all(np.isfinite(S)):
        raise ValueError(f"a state is finite vectors (*cells, 3), and a band (P, *cells, 3), got shape {S.shape}")
    if not np.all(np.any(S != 0, axis=-1)):
        raise ValueError("a vector of the states is zero, and has no direction")
    images = S if band else S[None]
    shape = images.shape[1:-1]
    atoms = shape[-1] if len(shape) == 4 else atoms
    if atoms != 1 and (len(shape) < 2 or shape[-1] != atoms):
        raise ValueError(f"states of {atoms} atoms in a cell are (*cells, {atoms}, 3), got {shape}")
    x, y, z = _cells(shape, atoms)
    nodes, kind = (x * atoms, y, z), data.capitalize()
    desc = OWN.format("band" if band else "state", " ".join(map(str, shape)), atoms)
    ends = dict(zip(("xmax", "ymax", "zmax"), (n - 0.5 for n in nodes), strict=True))
    head = HEAD.format(desc=desc, kind=kind, **dict(zip("xyz", nodes, strict=True)), **ends)
    out = [b"# OOMMF OVF 2.0\n#\n# Segment count: %d\n" % len(images)]
    for image in images:
        flat = image.reshape(x, y, z, atoms, 3).transpose(2, 1, 0, 3, 4).reshape(-1, 3)
        if data in BINARY:
            dtype, check = BINARY[data]
            body = np.array(check, dtype).tobytes() + flat.astype(dtype).tobytes() + b"\n"
        else:
            body = "".join(" ".join(map(repr, row)) + "\n" for row in flat.tolist()).encode()
        out += [head.encode(), body, f"# End: Data {kind}\n# End: Segment\n".encode()]
    write(path, b"".join(out))


def load(path: str | Path, *, atoms: int = 1) -> Array:
    """The state of an OVF 2.0 file, ``(*cells, 3)``, or of several segments the band ``(P, *cells, 3)``.

    Numbers as text, or binary of 4 or 8 bytes; keywords in any case. Vectors are divided by their length where it is
    not one. A file of :func:`save` gives the shape that was saved; of others, axes of one cell at the end are left out.

    Args:
        path: of the file.
        atoms: in a cell, of a file of Spirit: so many vectors along x are one cell, and the state is
            ``(*cells, atoms, 3)``. A file of :func:`save` knows.

    Raises:
        ValueError: with file and line, for a file that is cut or of another kind: another mesh, segments of different
            shape, vectors that are zero, not finite or not of three components.
    """
    atoms = check_count("atoms", atoms)
    file = _File(path)
    file.expect(r"OOMMF:?\s+OVF\s+2\.0")
    count = int(file.expect(r"Segment count\s*:\s*(\d{1,9})")[1])
    if count < 1:
        raise file.wrong("expected one segment or more")
    segments = [file.segment() for _ in range(count)]
    if file.raw[file.at :].strip():
        raise file.wrong(f"expected the end of the file after {count} segments")
    nodes = {image.shape[:-1] for image, _ in segments}
    if len(nodes) > 1:
        raise ValueError(f"{path}: its segments have different shapes, {sorted(nodes)}")
    (nodes,) = nodes
    own = re.fullmatch(OWN.format("(band|state)", r"((?:\d{1,9} ?){1,4})", r"(\d{1,9})"), segments[0][1])
    if own:
        shape, atoms = tuple(map(int, own[2].split())), int(own[3])
    else:
        cells = [nodes[0] // max(atoms, 1), *nodes[1:]]
        while len(cells) > 1 and cells[-1] == 1:
            cells.pop()
        shape = (*cells, *[atoms] * (atoms > 1))
    x, y, z = _cells(shape, atoms)
    if (x * atoms, y, z) != nodes or x * y * z * atoms != math.prod(shape) or (own and own[1] == "state" and count > 1):
        raise ValueError(
            f"{path}: states of shape {shape} do not fit to {count} segments of {nodes} nodes, atoms={atoms}"
        )
    S = np.stack([image for image, _ in segments]).reshape(count, x, atoms, y, z, 3)
    S = S.transpose(0, 1, 3, 4, 2, 5).reshape(count, *shape, 3)
    length = np.linalg.norm(S, axis=-1, keepdims=True)
    if np.any(length == 0):
        raise ValueError(f"{path}: vector {np.argmin(length.ravel())} is zero, and has no direction")
    S = np.where(np.abs(length - 1) < 1e-12, S, S / length)
    return jnp.asarray(S if count > 1 or (own and own[1] == "band") else S[0], float)


def _cells(shape: tuple[int, ...], atoms: int) -> tuple[int, int, int]:
    """Cells along three axes of a lattice of that shape, whose last axis is the atoms where they are several."""
    x, y, z, *_ = (*(shape[:-1] if len(shape) == 4 or atoms != 1 else shape), 1, 1, 1)
    return x, y, z


class _File:
    """A file that is read line by line, and where its numbers are, byte by byte."""

    def __init__(self, path: str | Path):
        self.path, self.raw, self.at, self.last = path, read(path), 0, 0

    def wrong(self, expected: str) -> ValueError:
        line = self.raw.count(b"\n", 0, self.last) + 1
        got = self.raw[self.last : self.last + 60].split(b"\n")[0]
        return ValueError(f"{self.path}, line {line}: {expected}, got {got.decode(errors='replace')!r}")

    def line(self) -> str:
        """The next line of the head without its ``#`` and remarks; those that say nothing are passed over."""
        while self.at < len(self.raw):
            self.last, end = self.at, self.raw.find(b"\n", self.at)
            if end < 0:
                end = len(self.raw)
            row, self.at = self.raw[self.last : end], end + 1
            text = row.decode(errors="replace").strip()
            if not text.startswith("#") and text:
                raise self.wrong("expected a line of the head, that starts with #")
            if said := text[1:].split("##")[0].strip():
                return said
        raise ValueError(f"{self.path}: the file ends in the middle; is it cut?")

    def expect(self, pattern: str) -> re.Match:
        if found := re.fullmatch(pattern, self.line(), re.IGNORECASE):
            return found
        raise self.wrong("expected " + re.sub(r"\\[sd.]\S*|[?:()]", " ", pattern))

    def segment(self) -> tuple[np.ndarray, str]:
        """Vectors of one segment, shape ``(x, y, z, 3)``, and its description."""
        self.expect(r"Begin\s*:\s*Segment")
        self.expect(r"Begin\s*:\s*Header")
        head: dict[str, str] = {"desc": ""}
        while not re.fullmatch(r"End\s*:\s*Header", text := self.line(), re.IGNORECASE):
            key, colon, value = text.partition(":")
            if not colon:
                raise self.wrong("expected keyword: value")
            head[key.strip().lower()] = value.strip()
        numbers = [head.get(key, "") for key in ("xnodes", "ynodes", "znodes")]
        rectangular = head.get("meshtype", "").lower() == "rectangular" and head.get("valuedim") == "3"
        if not rectangular or not all(re.fullmatch(r"0*[1-9]\d{0,8}", n) for n in numbers):
            raise self.wrong("expected a head with meshtype: rectangular, valuedim: 3, xnodes, ynodes and znodes")
        x, y, z = map(int, numbers)
        kind = re.sub(r"\s+", " ", self.expect(r"Begin\s*:\s*Data\s+(Text|CSV|Binary\s+[48])")[1].lower())
        values = self.binary(x * y * z * 3, *BINARY[kind]) if kind in BINARY else self.text(x * y * z * 3)
        if not np.all(np.isfinite(values)) or np.max(np.abs(values)) > 1e100:
            raise self.wrong("the vectors of this segment must be finite")
        self.expect(r"End\s*:\s*Data\s+" + kind.replace(" ", r"\s+"))
        self.expect(r"End\s*:\s*Segment")
        return values.reshape(z, y, x, 3).transpose(2, 1, 0, 3), head["desc"]

    def binary(self, count: int, dtype: str, check: float) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        end = self.at + size * (count + 1)
        if end > len(self.raw):
            raise ValueError(f"{self.path}: {count} numbers of {size} bytes are announced; the file is cut")
        values = np.frombuffer(self.raw[self.at : end], dtype)
        if values[0] != check:
            raise self.wrong(f"the number {check:.0f} must stand first: are the bytes in another order?")
        self.at = end
        return values[1:].astype(float)

    def text(self, count: int) -> np.ndarray:
        end = self.raw.find(b"#", self.at)
        words = self.raw[self.at : end if end >= 0 else len(self.raw)].replace(b",", b" ").split()
        try:
            values = np.array([float(w) for w in words if b"_" not in w])
        except ValueError as error:
            raise self.wrong(f"expected {count} numbers below, not all are ({error})") from None
        if end < 0 or len(words) != count or len(values) != count:
            raise self.wrong(f"expected {count} numbers below, {len(words)} are there; is the file cut?")
        self.at = end
        return values
