"""Vampire: the unit cell file, and the file of materials that has its moments."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy as sp

from mepmeta._files import write
from mepmeta.magnets.couplings import MU_B, Anisotropy, Coupling
from mepmeta.magnets.files.pairs import Entry, built, check_magnet, from_both_ends, split, tensor, to_both_ends
from mepmeta.magnets.files.text import Line, Lines, lines_of, written
from mepmeta.magnets.magnet import Magnet

__all__ = ["read_vampire", "write_vampire"]

#: Numbers in a row by the type of exchange, which older files give as a digit.
KINDS = {"isotropic": 1, "vectorial": 3, "tensorial": 9, "0": 1, "1": 3, "2": 9}
MOMENT, DIRECTION = "atomic-spin-moment", "uniaxial-anisotropy-direction"
CONSTANTS = ("uniaxial-anisotropy-constant", "second-order-uniaxial-anisotropy-constant")
#: What says how a material looks or relaxes, and is not part of the energy.
BESIDE = ("damping-constant", "material-name", "material-element", "initial-spin-direction", "unit-cell-category",
          "minimum-height", "maximum-height", "relative-gamma", "host-alloy", "save-host-alloy-profile", "density",
          "constrained", "core-shell-size", "temperature", "rescaling-exponent")  # fmt: skip
#: Units that may stand after a value, in joule or Bohr magnetons.
ENERGIES = {"": 1.0, "j": 1.0, "j/atom": 1.0, "ev": sp.constants.e, "ev/atom": sp.constants.e,
            "mev": 1e-3 * sp.constants.e, "mev/atom": 1e-3 * sp.constants.e}  # fmt: skip
MOMENTS = {"": 1 / MU_B, "j/t": 1 / MU_B, "mub": 1.0}


def read_vampire(path: str | Path, materials: str | Path | None = None) -> Magnet:
    r"""The magnet of a unit cell file of Vampire :cite:p:`evans2014`, energies in joule.

    Vampire lists every pair from both ends and counts each with a half: J here is J there. The field, and which axes
    close, stand in its input and are not read.

    Args:
        path: of the unit cell file, ``.ucf``.
        materials: the file with moments and anisotropies; by default the only ``.mat`` beside the unit cell file, if
            there is one. Without it the magnet has no moments.

    Raises:
        ValueError: with file and line, for anything that is not understood or that this package has no term for.
    """
    notes = ["Vampire lists every pair from both ends with a factor 1/2: J here = J there; nothing divided by S^2"]
    lines = lines_of(path)
    lengths = np.array(_exactly(lines.next("three lengths of the cell"), 3, "three lengths of the cell, angstrom"))
    rows = [_exactly(lines.next("a vector of the cell"), 3, "a vector of the cell") for _ in range(3)]
    cell = np.array(rows) * lengths
    head = lines.next("the number of atoms")
    n = head.wholes(1, what="the number of atoms")[0]
    if n < 1:
        raise head.wrong("expected one atom or more")
    fractions, kinds = [], []
    for k in range(n):
        line = lines.next(f"atom {k + 1} of {n}")
        what = f"atom {k}: its number, position in the cell, and material"
        if line.wholes(1, what=what) != [k] or len(line.words) not in (4, 5, 6, 7):
            raise line.wrong(f"expected {what}")
        fractions.append(line.numbers(3, 1, what=what))
        kinds.append(line.wholes(1, 4, what=what)[0] if len(line.words) > 4 else 0)
    pairs = _interactions(lines, n)
    if lines:
        raise lines.next("").wrong(
            "expected the end of the file: there is more than was announced, or biquadratic exchange"
        )
    if materials is None:
        beside = sorted(Path(path).parent.glob("*.mat"))
        if len(beside) > 1:
            raise ValueError(f"{path}: {len(beside)} files .mat are beside it: say which, materials=...")
        materials = beside[0] if beside else None
    moments, anisotropy = None, []
    if materials is None:
        notes.append("no file of materials: moments and anisotropies are not given")
    else:
        of = _materials(lines_of(materials))
        if (largest := max(kinds)) >= len(of) or min(kinds) < 0:
            raise ValueError(f"{materials}: an atom is of material {largest}, counted from 0, and {len(of)} are there")
        moments = [of[k][0] for k in kinds]
        anisotropy = [Anisotropy(i, of[k][1], of[k][2]) for i, k in enumerate(kinds) if of[k][1]]
    return built(path, cell, np.array(fractions) @ cell, moments, "joule", pairs, anisotropy, notes=notes)


def _exactly(line: Line, count: int, what: str) -> list[float]:
    if len(line.words) != count:
        raise line.wrong(f"expected {what}")
    return line.numbers(count, what=what)


def _interactions(lines: Lines, n: int) -> list[Coupling]:
    head = lines.next("the number of interactions")
    count = head.wholes(1, what="the number of interactions, and their type")[0]
    kind = head.words[1] if len(head.words) == 2 else ""
    if kind not in KINDS or count < 0:
        raise head.wrong(
            f"expected the number of interactions, and their type, {', '.join(KINDS)}; others are not read"
        )
    entries = []
    for k in range(count):
        line = lines.next(f"interaction {k + 1} of {count}")
        what = f"interaction {k}: its number, two atoms, three numbers of cells, and {KINDS[kind]} of exchange"
        _, i, j, *R = line.wholes(6, what=what)
        if not (0 <= i < n and 0 <= j < n) or len(line.words) != 6 + KINDS[kind]:
            raise line.wrong(f"expected {what}, atoms 0 to {n - 1}")
        x = np.array(line.numbers(KINDS[kind], 6, what=what))
        terms = (float(x[0]), None, None) if x.size == 1 else split(np.diag(x) if x.size == 3 else x.reshape(3, 3))
        entries.append(Entry(line, i, j, tuple(R), *terms))
    return from_both_ends(entries, 1.0)


def _materials(lines: Lines) -> list[tuple[float, float, tuple[float, ...]]]:
    """Moment, constant and axis of every material."""
    count, found = None, {}
    while lines:
        line = lines.next("a material")
        words = re.fullmatch(
            r"\s*material(?:\[(\d{1,6})\])?:([\w-]+)\s*(?:=\s*([^!]*?)\s*)?(?:!\s*(\S+)\s*)?", line.text
        )
        if not words:
            raise line.wrong("expected material[1]:keyword = value !unit")
        number, key, value, unit = words.groups()
        if key == "num-materials":
            count = line._replace(text=value or "").wholes(1, what="the number of materials")[0]
            continue
        own = found.setdefault(int(number or 0), {})
        if key in (MOMENT, DIRECTION, *CONSTANTS):
            kind = "constant" if key in CONSTANTS else key
            if kind in own:
                raise line.wrong(f"{kind} of this material is there already")
            units = {MOMENT: MOMENTS, "constant": ENERGIES}.get(kind, {"": 1.0})
            if (unit or "").lower() not in units:
                raise line.wrong(f"the unit must be one of {', '.join(u or 'none' for u in units)}")
            size = 3 if kind == DIRECTION else 1
            numbers = line._replace(text=(value or "").replace(",", " "))
            x = np.array(_exactly(numbers, size, f"{size} numbers")) * units[(unit or "").lower()]
            if (kind == MOMENT and x[0] < 0) or (kind == DIRECTION and not np.any(x)):
                raise line.wrong("expected a moment that is not negative, a direction that is not zero")
            own[kind] = x
        elif key not in BESIDE:
            raise line.wrong(f"this package has no such energy, or does not read it: {key}")
    if count is None or sorted(found) != list(range(1, count + 1)) or any(MOMENT not in own for own in found.values()):
        raise ValueError(f"{lines.file}: expected material:num-materials and {MOMENT} of each of them; is it cut?")
    zero, z = np.zeros(1), np.array([0.0, 0.0, 1.0])
    rows = [found[k] for k in range(1, count + 1)]
    return [(float(r[MOMENT][0]), float(r.get("constant", zero)[0]), tuple(r.get(DIRECTION, z).tolist())) for r in rows]


def write_vampire(magnet: Magnet, path: str | Path) -> None:
    """Write a magnet as a unit cell file, and its moments and anisotropies as a ``.mat`` of the same name.

    Atoms that are outside the cell are moved into it, as Vampire wants them; the cells they count to change with that.

    Raises:
        ValueError: for a magnet without moments, or an atom with two axes of anisotropy.
    """
    check_magnet(magnet)
    own = {a.atom: a for a in magnet.anisotropy}
    if magnet.moments is None or len(own) < len(magnet.anisotropy):
        raise ValueError("Vampire has a moment and one axis of anisotropy for every atom")
    magnet, n = magnet.in_unit("joule"), len(magnet.positions)
    moved = np.floor(magnet.positions @ np.linalg.inv(magnet.cell) + 1e-9)
    couplings = [c._replace(R=np.array(c.R) + moved[c.j] - moved[c.i]) for c in magnet.couplings]
    magnet = replace(magnet, positions=magnet.positions - moved @ magnet.cell, couplings=couplings)
    own = {a.atom: a for a in magnet.anisotropy}
    lengths = np.linalg.norm(magnet.cell, axis=1)
    scalar = all(c.D is None and c.A is None for c in magnet.couplings)
    rows = to_both_ends(magnet)
    out = ["# lengths of the cell, angstrom, and its vectors", written(*lengths)]
    out += [written(*(v / lengths)) for v in magnet.cell]
    out += ["# atoms", f"{n} {n}"]
    inside = magnet.positions @ np.linalg.inv(magnet.cell)
    out += [f"{i} {written(*r)} {i}" for i, r in enumerate(inside)]
    out += ["# interactions", f"{len(rows)} {'isotropic' if scalar else 'tensorial'}"]
    for k, c in enumerate(rows):
        numbers = (c.J,) if scalar else tensor(c).ravel()
        out.append(f"{k} {c.i} {c.j} {' '.join(map(str, c.R))} {written(*numbers)}")
    write(path, ("\n".join(out) + "\n").encode())
    out = [f"material:num-materials = {n}"]
    for i, mu in enumerate(magnet.moments):
        at = f"material[{i + 1}]:"
        out.append(f"{at}material-name = {magnet.names[i]}")
        if a := own.get(i):
            out.append(f"{at}{DIRECTION} = {','.join(map(repr, map(float, a.axis)))}")
            out.append(f"{at}{CONSTANTS[0]} = {a.K!r} !J/atom")
        out.append(f"{at}{MOMENT} = {float(mu)!r} !muB")
    write(Path(path).with_suffix(".mat"), ("\n".join(out) + "\n").encode())
