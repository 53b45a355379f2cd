"""Spirit: a configuration file with its table of pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mepmeta._files import write
from mepmeta.magnets.couplings import Anisotropy, Coupling
from mepmeta.magnets.files.pairs import Entry, built, check_magnet
from mepmeta.magnets.files.text import Line, Lines, lines_of, relative, written
from mepmeta.magnets.magnet import Magnet

__all__ = ["read_spirit", "write_spirit"]

H = 3**0.5 / 2
#: Vectors of the lattices that have a name, in lattice constants.
LATTICES = {
    "sc": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "fcc": ((0.5, 0, 0.5), (0.5, 0.5, 0), (0, 0.5, 0.5)),
    "bcc": ((0.5, 0.5, -0.5), (-0.5, 0.5, -0.5), (0.5, -0.5, -0.5)),
    "hex2d": ((H, -0.5, 0), (H, 0.5, 0), (0, 0, 1)),
    "hex2d60": ((H, -0.5, 0), (H, 0.5, 0), (0, 0, 1)),
    "hex2d120": ((0.5, -H, 0), (0.5, H, 0), (0, 0, 1)),
}
#: What makes the magnet, and how many words follow; None for any number.
MODEL = {
    "bravais_lattice": 1, "bravais_vectors": 0, "bravais_matrix": 0, "lattice_constant": 1, "n_basis_cells": 3,
    "basis": 0, "mu_s": None, "hamiltonian": 1, "boundary_conditions": 3, "external_field_magnitude": 1,
    "external_field_normal": 3, "anisotropy_magnitude": 1, "anisotropy_normal": 3, "n_anisotropy": 1,
    "anisotropy_file": 1, "n_interaction_pairs": 1, "interaction_pairs_file": 1,
}  # fmt: skip
#: What would change the energy, and the value with which it does not; others are refused.
NEUTRAL = {
    "ddi_method": "none", "n_interaction_quadruplets": "0", "cubic_anisotropy_magnitude": "0", "n_defects": "0",
    "n_shells_exchange": "0", "n_shells_dmi": "0", "atom_types": "", "basis_file": "",
    "interaction_quadruplets_file": "", "defects_from_file": "", "n_pinned": "0", "pinned_from_file": "",
    "pinning_cell": "",
}  # fmt: skip
#: How a run goes, and what it prints.
RUN = ("llg_", "mc_", "gneb_", "mmf_", "ema_", "log_", "output_", "save_", "ddi_", "dd_", "dm_chirality", "bounds_")


def read_spirit(path: str | Path) -> Magnet:
    r"""The magnet of a configuration file of Spirit :cite:p:`muller2019`, energies in meV, field in tesla.

    Spirit lists every pair once, as here, and its D has the same sign. Read is ``hamiltonian heisenberg_pairs`` with
    its tables in the file itself or in files beside it.

    Args:
        path: of the file.

    Raises:
        ValueError: with file and line, for anything that is not understood or that this package has no term for.
    """
    notes = ["Spirit lists every pair once: J here = J there; D has the same sign; nothing divided by S^2"]
    keys, run = _keywords(_clean(lines_of(path)))
    notes += [f"how it runs is not read: {', '.join(run)}"] * bool(run)
    for key in ("hamiltonian", "mu_s"):
        if key not in keys:
            raise ValueError(f"{path}: the keyword {key} is missing; is it cut?")
    line = keys["hamiltonian"][0]
    if line.words[1].lower() != "heisenberg_pairs":
        raise line.wrong("expected hamiltonian heisenberg_pairs: only pairs are read")
    cell = _cell(keys)
    fractions = (
        [row.numbers(3, what="a position") for row in keys["basis"][1:]] if "basis" in keys else [[0.0, 0.0, 0.0]]
    )
    n = len(fractions)
    line = keys["mu_s"][0]
    count = len(line.words) - 1
    if count not in (1, n):
        raise line.wrong(f"expected the moments of {n} atoms")
    notes += [f"one moment is that of all {n} atoms"] * (count == 1 < n)
    mu = line.numbers(count, 1, what="moments") * (n if count == 1 else 1)
    cells = keys["n_basis_cells"][0].wholes(3, 1, what="three numbers of cells") if "n_basis_cells" in keys else None
    closed = (
        keys["boundary_conditions"][0].wholes(3, 1, what="three of 0 and 1")
        if "boundary_conditions" in keys
        else (0,) * 3
    )
    return built(
        path,
        cell,
        np.array(fractions) @ cell,
        mu,
        "meV",
        _pairs(_table(keys, path, "n_interaction_pairs", "interaction_pairs_file"), path, n),
        _anisotropies(keys, path, n),
        field=_vector(keys, "external_field_magnitude", "external_field_normal"),
        cells=cells,
        periodic=tuple(bool(p) for p in closed),
        notes=notes,
    )


def _clean(lines: Lines) -> Lines:
    """Spirit reads over the characters | and +."""
    return Lines([x._replace(text=x.text.replace("|", "").replace("+", "")) for x in lines.lines], lines.file)


def _keywords(lines: Lines) -> tuple[dict[str, list[Line]], list[str]]:
    """The lines of what makes the magnet, with their rows, by keyword; keywords that only say how a run goes."""
    keys: dict[str, list[Line]] = {}
    run: list[str] = []
    while lines:
        line = lines.next("a keyword")
        word = line.words[0].lower()
        value = " ".join(line.words[1:2])
        if word in MODEL:
            count = MODEL[word]
            if word in keys:
                raise line.wrong(f"{word} stands in line {keys[word][0].number} already")
            if count is not None and len(line.words) != count + 1:
                raise line.wrong(f"expected {count} values of {word}")
            keys[word], rows = [line], 0
            if word in ("bravais_vectors", "bravais_matrix"):
                rows = 3
            elif word == "basis":
                rows = lines.next("the number of atoms").wholes(1, what="the number of atoms")[0]
                if rows < 1:
                    raise line.wrong(f"expected one atom or more, got {rows}")
            elif word in ("n_anisotropy", "n_interaction_pairs"):
                rows = line.wholes(1, 1, what=f"the number {word}")[0] + 1
                if rows == 1:
                    # A table without rows may have its head.
                    rows = int(bool(lines) and lines.lines[lines.at].words[0].lower() == "i")
            keys[word] += [lines.next(f"row {k + 1} of {rows} of {word}") for k in range(rows)]
        elif word in NEUTRAL and value.lower() not in (NEUTRAL[word], NEUTRAL[word] + ".0"):
            raise line.wrong(f"this package has no such energy, or does not read it: {word} {value}")
        elif word in NEUTRAL or word.startswith(RUN):
            run.append(word)
        else:
            raise line.wrong("expected a keyword of Spirit; is there a row too many above it?")
    return keys, run


def _cell(keys: dict[str, list[Line]]) -> np.ndarray:
    kinds = [key for key in ("bravais_lattice", "bravais_vectors", "bravais_matrix") if key in keys]
    if len(kinds) > 1:
        raise keys[kinds[1]][0].wrong(f"expected one of {' and '.join(kinds)}")
    vectors = np.array(LATTICES["sc"], float)
    if kinds == ["bravais_lattice"]:
        line = keys["bravais_lattice"][0]
        if line.words[1].lower() not in LATTICES:
            raise line.wrong(f"expected a lattice of {', '.join(LATTICES)}")
        vectors = np.array(LATTICES[line.words[1].lower()], float)
    elif kinds:
        vectors = np.array([row.numbers(3, what="a vector of three numbers") for row in keys[kinds[0]][1:]])
        vectors = vectors if kinds == ["bravais_vectors"] else vectors.T
    constant = keys["lattice_constant"][0].numbers(1, 1, what="a length")[0] if "lattice_constant" in keys else 1.0
    return constant * vectors


def _vector(keys: dict[str, list[Line]], magnitude: str, normal: str) -> np.ndarray:
    """A length times a direction, z where none is given."""
    length = keys[magnitude][0].numbers(1, 1, what="a number")[0] if magnitude in keys else 0.0
    along = np.array(keys[normal][0].numbers(3, 1, what="a direction") if normal in keys else [0.0, 0.0, 1.0])
    if not np.any(along):
        raise keys[normal][0].wrong("expected a direction that is not zero")
    return length * along / np.linalg.norm(along)


def _table(keys: dict[str, list[Line]], path: str | Path, count: str, file: str) -> tuple[list[str], list[Line]]:
    """Names of the columns, and the rows, from the file itself or one beside it."""
    if count in keys:
        rows = keys[count][1:]
    elif file in keys:
        line = keys[file][0]
        rows = _clean(lines_of(relative(line.words[1], path), named_in=line)).lines
        if rows and rows[0].words[0].lower() == count:
            expected = rows[0].wholes(1, 1, what=f"the number {count}")[0]
            if len(rows) != expected + 2:
                raise rows[0].wrong(f"{max(len(rows) - 2, 0)} rows are there of {expected} announced")
            rows = rows[1:]
        if not rows:
            raise line.wrong("the file holds nothing")
    else:
        raise ValueError(f"{path}: neither {count} nor {file} is there; is it cut?")
    return [name.lower() for name in rows[0].words] if rows else [], rows[1:]


def _columns(head: list[str], rows: Sequence[Line], known: Sequence[str], file: str | Path) -> list[dict[str, float]]:
    if bad := [name for name in head if name not in known]:
        raise ValueError(f"{file}: columns {' '.join(bad)} are not read; expected some of {' '.join(known)}")
    if len(set(head)) < len(head):
        raise ValueError(f"{file}: a column is there twice in {' '.join(head)}")
    for row in rows:
        if len(row.words) != len(head):
            raise row.wrong(f"expected {len(head)} numbers: {' '.join(head)}")
    return [dict(zip(head, row.numbers(len(head), what=" ".join(head)), strict=True)) for row in rows]


def _pairs(table: tuple[list[str], list[Line]], path: str | Path, n: int) -> list[Coupling]:
    head, rows = table
    known = ("i", "j", "da", "db", "dc", "jij", "dij", "dijx", "dijy", "dijz")
    seen: dict[tuple, Entry] = {}
    for line, row in zip(rows, _columns(head, rows, known, path), strict=True):
        if any(name not in row for name in known[:5]):
            raise line.wrong(f"expected the columns {' '.join(known[:5])}")
        places = [head.index(name) for name in known[:5]]
        i, j, *R = (line.wholes(1, place, what="whole numbers of atoms and cells")[0] for place in places)
        back = (j, i, *(-r for r in R))
        if not (0 <= i < n and 0 <= j < n) or (i == j and not any(R)):
            raise line.wrong(f"expected two different sites of atoms 0 to {n - 1}")
        if old := seen.get((i, j, *R), seen.get(back)):
            raise line.wrong(f"the pair stands in line {old.line.number} already: Spirit would count it twice")
        D = np.array([row.get(name, 0.0) for name in known[-3:]])
        if "dij" in row:
            if row["dij"] and not np.any(D):
                raise line.wrong("expected a direction of D that is not zero")
            D = row["dij"] * D / (np.linalg.norm(D) or 1.0)
        seen[i, j, *R] = Entry(line, i, j, tuple(R), row.get("jij", 0.0), D)
    return [Coupling(*e[1:6]) for e in seen.values()]


def _anisotropies(keys: dict[str, list[Line]], path: str | Path, n: int) -> list[Anisotropy]:
    if "n_anisotropy" not in keys and "anisotropy_file" not in keys:
        v = _vector(keys, "anisotropy_magnitude", "anisotropy_normal")
        K = keys["anisotropy_magnitude"][0].numbers(1, 1, what="K")[0] if np.any(v) else 0.0
        return [Anisotropy(i, K, tuple(v / K)) for i in range(n) if K]
    head, rows = _table(keys, path, "n_anisotropy", "anisotropy_file")
    found = []
    for line, row in zip(rows, _columns(head, rows, ("i", "k", "kx", "ky", "kz"), path), strict=True):
        if any(name not in row for name in ("i", "kx", "ky", "kz")):
            raise line.wrong("expected the columns i K Kx Ky Kz")
        atom = line.wholes(1, head.index("i"), what="an atom")[0]
        axis = np.array([row["kx"], row["ky"], row["kz"]])
        if not 0 <= atom < n or not np.any(axis):
            raise line.wrong(f"expected an atom of 0 to {n - 1} and a direction that is not zero")
        found.append(Anisotropy(atom, row.get("k", float(np.linalg.norm(axis))), tuple(axis)))
    return [a for a in found if a.K]


def write_spirit(magnet: Magnet, path: str | Path) -> None:
    """Write a magnet as a configuration of Spirit with its tables in it; how it is run is left to be added.

    Raises:
        ValueError: for a magnet without moments, or with symmetric tensors, which Spirit has not.
    """
    check_magnet(magnet)
    if magnet.moments is None or any(c.A is not None for c in magnet.couplings):
        raise ValueError("Spirit has a moment for every atom, and no symmetric tensors of exchange")
    magnet = magnet.in_unit("meV")
    h = float(np.linalg.norm(magnet.field))
    out = ["bravais_vectors", *(written(*v) for v in magnet.cell), "basis", str(len(magnet.positions))]
    out += [written(*r) for r in magnet.positions @ np.linalg.inv(magnet.cell)]
    if magnet.cells is not None:
        out.append("n_basis_cells " + " ".join(map(str, (*magnet.cells, 1, 1, 1)[:3])))
    out += ["boundary_conditions " + " ".join(f"{p:d}" for p in magnet.periodic or (True, True, True))]
    out += [f"external_field_magnitude {h!r}", f"external_field_normal {written(*(magnet.field if h else (0, 0, 1)))}"]
    out += ["ddi_method none", f"n_anisotropy {len(magnet.anisotropy)}", "i K Kx Ky Kz"]
    out += [f"{a.atom} {written(a.K, *a.axis)}" for a in magnet.anisotropy]
    out += [f"mu_s {written(*magnet.moments)}", "hamiltonian heisenberg_pairs"]
    out += [f"n_interaction_pairs {len(magnet.couplings)}", "i j da db dc Jij Dijx Dijy Dijz"]
    for c in magnet.couplings:
        out.append(f"{c.i} {c.j} {' '.join(map(str, c.R))} {written(c.J, *(c.D or (0, 0, 0)))}")
    write(path, ("\n".join(out) + "\n").encode())
