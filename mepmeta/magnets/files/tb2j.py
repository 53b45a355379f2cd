"""TB2J: the file ``exchange.out``."""

import re
from pathlib import Path

import numpy as np

from mepmeta._files import write
from mepmeta.magnets.couplings import Anisotropy
from mepmeta.magnets.files.pairs import Entry, built, check_magnet, from_both_ends, to_both_ends
from mepmeta.magnets.files.text import NUMBER, Line, Lines, lines_of, written
from mepmeta.magnets.magnet import Magnet

__all__ = ["read_tb2j", "write_tb2j"]

#: Half of what the last digit that TB2J prints may be off, at both ends: of J and D in meV, and of the tensor.
DIGITS = {"J": 2.1e-4, "A": 2.1e-3}
#: What the file may hold beside the energy, named in the notes: in a line, and in the rest of a block.
BESIDE = ("dJ/dx", "d2J/dx2", "Jprime", "DMI2", "DMI_NJt", "Jani_NJt")
ORBITALS = "Orbital contributions"
ROW = re.compile(
    rf"\s*(\S+)\s+(\S+)\s*\(\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*\)\s*({NUMBER})"
    rf"\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*\)\s*({NUMBER})\s*"
)


def read_tb2j(path: str | Path) -> Magnet:
    r"""The magnet of a file ``exchange.out`` of TB2J :cite:p:`he2021`, energies in meV.

    TB2J lists every pair from both ends with the full value, :math:`E = -\sum_{i\ne j}[\dots]`, so that J, D and the
    tensor here are the sums of both ends. Its spins are unit vectors. Atoms without couplings are left out.
    The format has no count of its rows: what is cut off with both its ends is not missed, unless :func:`write_tb2j`
    wrote the file, which adds one.

    Args:
        path: of the file.

    Raises:
        ValueError: with file and line, for anything that is not understood; ends of a pair that differ by more than the
            digits that are printed; vectors that do not fit to cell and positions.
    """
    lines = lines_of(path, None)
    cell, atoms, anisotropy, entries, notes, count = None, {}, [], [], [], None
    while lines:
        line = lines.next("a section")
        text = line.text.strip()
        if found := re.fullmatch(r"Number of rows of exchange: (\d+)", text):
            count = int(found[1])
        elif text.startswith("Cell ("):
            if text != "Cell (Angstrom):":
                raise line.wrong("expected a cell in angstrom")
            cell = np.array([lines.next("the cell").numbers(3, what="a vector of the cell") for _ in range(3)])
        elif text == "Atoms:":
            atoms = _atoms(lines)
        elif text.startswith("Single Ion Anisotropy"):
            anisotropy = _anisotropies(lines, line, atoms)
        elif text.startswith("Orbitals used"):
            notes.append("contributions of orbitals are not read: J is their sum")
        elif text == "Exchange:":
            if cell is None or not atoms:
                raise line.wrong("expected the cell and the atoms before the exchange")
            entries = _exchange(lines, cell, atoms, notes)
    if not entries:
        raise ValueError(f"{path}: no section of exchange with a pair in it; is this an exchange.out of TB2J, or cut?")
    if count is not None and count != len(entries):
        raise ValueError(f"{path}: {count} rows of exchange are announced, and {len(entries)} are there; is it cut?")
    names = list(atoms)
    used = sorted({e.i for e in entries} | {a.atom for a in anisotropy})
    number = {i: k for k, i in enumerate(used)}
    entries = [e._replace(i=number[e.i], j=number.get(e.j, -1)) for e in entries]
    pairs = from_both_ends(entries, 2.0, DIGITS["A" if any(e.A is not None for e in entries) else "J"])
    if len(used) < len(names):
        notes.append(
            f"atoms without couplings left out: {', '.join(n for i, n in enumerate(names) if i not in number)}"
        )
    if any(atoms[names[i]][1] < 0 for i in used):
        notes.append("signs of moments are those of the state that was computed, and are left out")
    notes.insert(
        0, "TB2J lists every pair from both ends with the full value: J here = 2 J there; nothing divided by S^2"
    )
    return built(
        path,
        cell,
        [atoms[names[i]][0] for i in used],
        [abs(atoms[names[i]][1]) for i in used],
        "meV",
        pairs,
        [a._replace(atom=number[a.atom]) for a in anisotropy],
        names=[names[i] for i in used],
        notes=notes,
    )


def _atoms(lines: Lines) -> dict[str, tuple[list[float], float]]:
    """Positions and moments by name; the moment of three components is a length."""
    atoms: dict[str, tuple[list[float], float]] = {}
    while True:
        line = lines.next("an atom, or the line 'Total'")
        words = line.words
        if words[0] == "Total":
            return atoms
        if words[0].startswith(("(Note", "Atom", "Symbol")):
            continue
        if len(words) not in (6, 8) or words[0] in atoms:
            raise line.wrong("expected an atom: its name, position, charge and moment")
        x = line.numbers(len(words) - 1, 1, what="an atom: its name, position, charge and moment")
        atoms[words[0]] = (x[:3], float(np.linalg.norm(x[4:])) if len(x) > 5 else x[4])


def _anisotropies(lines: Lines, head: Line, atoms: dict) -> list[Anisotropy]:
    """Either constants and directions, or a tensor of each atom, whose eigenvectors are axes."""
    number, found = {name: i for i, name in enumerate(atoms)}, []
    uniaxial = "(meV)" in head.text
    while lines:
        line = lines.next("an anisotropy")
        words = re.sub(r"[(),]", " ", line.text).split()
        if line.text.lstrip()[0] in "=-" and not re.match(rf"\s*{NUMBER}", line.text):
            if line.text.lstrip().startswith("="):
                lines.at -= 1
                return found
            continue
        if words[0] in ("k1", "Atom", "Atom_number", "A_yx", "A_zx"):
            continue
        if words[0] not in number:
            raise line.wrong("expected an anisotropy of one of the atoms")
        line = line._replace(text=" ".join(words))
        if uniaxial:
            K, *axis = line.numbers(4, 1, what="a constant and a direction")
            found += [Anisotropy(number[words[0]], K, tuple(axis))] * bool(K)
            if K and not any(axis):
                raise line.wrong("expected a direction that is not zero")
            continue
        rows = [line.numbers(3, 1, what="a row of the tensor")]
        rows += [lines.next("a row of the tensor").numbers(3, what="a row of the tensor") for _ in range(2)]
        A = np.array(rows)
        if np.max(np.abs(A - A.T)) > max(DIGITS["A"], 1e-9 * np.max(np.abs(A))):
            raise line.wrong("expected a symmetric tensor")
        K, axes = np.linalg.eigh((A + A.T) / 2)
        large = np.abs(K) > 1e-13 * np.max(np.abs(K))
        found += [
            Anisotropy(number[words[0]], float(k), tuple(a)) for k, a in zip(K[large], axes.T[large], strict=True)
        ]
    return found


def _exchange(lines: Lines, cell: np.ndarray, atoms: dict, notes: list[str]) -> list[Entry]:
    """All rows of the section, which is the last."""
    head = lines.next("the head of the exchange")
    if "J_iso(meV)" not in head.text:
        raise head.wrong("expected a head with J_iso(meV)")
    names, r, entries = {name: i for i, name in enumerate(atoms)}, [x for x, _ in atoms.values()], []
    beside = False  # among the numbers of orbitals
    while lines:
        line = lines.next("an exchange")
        text = re.sub(r"^\s*\[[A-Z][a-z]+!\]\s*", "", line.text).strip()
        if set(text) == {"-"}:
            beside = False
        elif row := ROW.fullmatch(line.text):
            if row[1] not in names or row[2] not in names:
                raise line.wrong("expected a pair of the atoms above")
            i, j = names[row[1]], names[row[2]]
            line = line._replace(text=" ".join(row.groups()))
            R = tuple(line.wholes(3, 2, what="cells"))
            J, *vector, _ = line.numbers(5, 5, what="J, a vector and a distance")
            if np.max(np.abs(np.array(r[j]) - r[i] + R @ cell - vector)) > 0.02:
                raise line.wrong("the vector does not lead from i to j over these cells")
            entries.append(Entry(line, i, j, R, J))
            beside = False
        elif not entries:
            raise line.wrong("expected a row of exchange")
        elif found := re.fullmatch(rf"J_iso:\s*({NUMBER})", text):
            J = line._replace(text=found[1]).numbers(1, what="J")[0]
            if abs(J - entries[-1].J) > 1e-3 + 1e-3 * abs(J):
                raise line.wrong(f"J_iso must be the J of line {entries[-1].line.number}")
            entries[-1] = entries[-1]._replace(J=J)
        elif (found := re.fullmatch(r"DMI:\s*\((.*)\)", text)) and not beside:
            D = line._replace(text=found[1].replace(",", " ")).numbers(3, what="a vector D")
            entries[-1] = entries[-1]._replace(D=np.array(D))
        elif re.fullmatch(r"J_ani:", text) and not beside:
            rows = [lines.next("a row of the tensor") for _ in range(3)]
            rows = [x._replace(text=re.sub(r"[\[\],]", " ", x.text)) for x in rows]
            A = np.array([x.numbers(3, what="a row of the tensor") for x in rows])
            if np.max(np.abs(A - A.T)) > max(DIGITS["A"], 1e-9 * np.max(np.abs(A))):
                raise line.wrong("expected a symmetric tensor J_ani")
            entries[-1] = entries[-1]._replace(A=(A + A.T) / 2)
        elif text.startswith((*BESIDE, ORBITALS)):
            beside |= text.startswith(ORBITALS)
            name = next(b for b in (*BESIDE, ORBITALS) if text.startswith(b))
            if (note := f"not part of the energy here: {name}") not in notes:
                notes.append(note)
        elif not (beside and re.fullmatch(rf"[A-Za-z ]+:|[\[\]\s]*({NUMBER}[\[\]\s]*)+", text)):
            raise line.wrong("expected a row of exchange, J_iso, DMI or J_ani")
    return entries


def write_tb2j(magnet: Magnet, path: str | Path) -> None:
    """Write a magnet as an ``exchange.out`` that :func:`read_tb2j` reads, with all digits; its field is not part of it.

    Raises:
        ValueError: for a magnet without moments, or without couplings.
    """
    check_magnet(magnet)
    if magnet.moments is None or not magnet.couplings:
        raise ValueError("TB2J has a moment for every atom and one coupling or more")
    magnet, double, single = magnet.in_unit("meV"), "=" * 90, "-" * 88
    rows = to_both_ends(magnet)
    out = [double, "Information:", f"Number of rows of exchange: {len(rows)}", "", double, "Cell (Angstrom):"]
    out += [written(*v) for v in magnet.cell]
    out += ["", double, "Atoms:", "Atom_number x y z w_charge w_magmom"]
    out += [f"{magnet.names[i]} {written(*r, 0.0, magnet.moments[i])}" for i, r in enumerate(magnet.positions)]
    out += [f"Total {written(0.0, np.sum(magnet.moments))}", ""]
    if magnet.anisotropy:
        out += [double, "Single Ion Anisotropy:", "Atom_number A_xx A_xy A_xz", "A_yx A_yy A_yz", "A_zx A_zy A_zz"]
        for i, name in enumerate(magnet.names):
            own = [(a.K, np.array(a.axis) / np.linalg.norm(a.axis)) for a in magnet.anisotropy if a.atom == i]
            x, y, z = sum((K * np.outer(a, a) for K, a in own), np.zeros((3, 3)))
            out += [f"{name} {written(*x)}", written(*y), written(*z), single] if own else []
    out += [double, "Exchange:", "    i      j          R        J_iso(meV)          vector          distance(A)"]
    for c in rows:
        v = magnet.positions[c.j] + np.array(c.R) @ magnet.cell - magnet.positions[c.i]
        J, R = repr(c.J / 2), ", ".join(map(str, c.R))
        vector = ", ".join(f"{x:.6f}" for x in v)
        out += [single, f"{magnet.names[c.i]} {magnet.names[c.j]} ({R}) {J} ({vector}) {np.linalg.norm(v):.6f}"]
        out.append(f"J_iso: {J}")
        if c.D is not None:
            out.append(f"[Testing!] DMI: ({written(*(np.array(c.D) / 2))})")
        if c.A is not None:
            x, y, z = (written(*row) for row in np.array(c.A) / 2)
            out += ["[Testing!]J_ani:", f"[[{x}]", f" [{y}]", f" [{z}]]"]
    write(path, ("\n".join(out) + "\n").encode())
