"""UppASD: ``inpsd.dat`` and the files that it names."""

import re
from pathlib import Path

import numpy as np

from mepmeta._arguments import check_file
from mepmeta._files import is_folder, make_folder, write
from mepmeta.magnets.couplings import Anisotropy, Coupling
from mepmeta.magnets.files.finder import Finder
from mepmeta.magnets.files.pairs import built, check_magnet, from_both_ends, tensor, to_both_ends
from mepmeta.magnets.files.text import Line, Lines, lines_of, relative, written
from mepmeta.magnets.magnet import Magnet

__all__ = ["read_uppasd", "write_uppasd"]

#: What makes the magnet, and how many words follow.
MODEL = {
    "ncell": 3,
    "bc": 3,
    "cell": 9,
    "alat": 1,
    "sym": 1,
    "maptype": 1,
    "posfiletype": 1,
    "do_jtensor": 1,
    "hfield": 3,
}
FILES = ("posfile", "momfile", "exchange", "dm", "anisotropy")
#: What would change the energy, and the value with which it does not; others are refused.
NEUTRAL = {
    "do_ralloy": "0", "do_dip": "0", "exc_inter": "N", "mult_axis": "N", "do_lsf": "N", "ind_mom_flag": "N",
    "jij_scale": "1", "dm_scale": "1", "random_anisotropy": "F", "map_multiple": "F", "aunits": "N", "do_cluster": "N",
    "set_landeg": "0", "do_ewald": "N", "multiscale": "", "demag": "N", "calc_jtensor": "F", "do_anisotropy": "1",
}  # fmt: skip
REFUSED = ("sa", "pd", "chir", "fourx", "bq", "ring", "biqdm", "exchangedlm", "locfield", "siteatomfield", "positions",
           "moments", "lsffile", "qdip_files", "ea_model", "do_bpulse", "do_efield")  # fmt: skip
#: How a run goes, and what it prints.
RUN = re.compile(
    r"(ip|mc|mp|do|sc|avrg|tottraj|traj|cumu|skyno|qpoint|qfile|qm|stt|jvec|adibeta|prn|gpu|eta|spring|amp|min|mep|vpo|eig|"
    r"is|en|fixed|relaxed|sample|init|restart|momfile|ams|magdos|logsamp|plotenergy|print|pol|max|therm|beff|torques|"
    r"binteff|larm|mseed|tseed|theta|phi|mavg|rot|simid|mensemble|mode|temp|damping|nstep|timestep|relaxtime|sdealgh|"
    r"ipsdealgh|real|perp|compensate|llg|rngpol|ziggurat|para|use|gradient|heisout|evolveout|current|quantization|"
    r"spintemp|block|natoms|ntypes|scalefac|read_ovf|tcurie|qhb|metatype|metanumb|mompar|ntraj|anneal|set)(_\w*|\d*|\w*)"
)


def read_uppasd(path: str | Path) -> Magnet:
    r"""The magnet of an input ``inpsd.dat`` of UppASD :cite:p:`skubic2008`, energies in mRy.

    UppASD lists every pair from both ends with the full value: J here is 2 J there. Its :math:`K_1 < 0` is an easy
    axis. The rows of an atom are those of all atoms of its type, as UppASD takes them. Read are ``exchange`` (numbers,
    or tensors with ``do_jtensor 1``), ``dm``, ``anisotropy``, ``posfile`` and ``momfile``, ``maptype`` 1 and 2, with
    ``Sym`` 0 to 3, which spreads J and not D; lengths are in ``alat``, or angstrom where there is none.

    Args:
        path: of the file, or of its folder.

    Raises:
        ValueError: with file and line, for anything that is not understood or that this package has no term for.
    """
    path = check_file(path)
    path = path / "inpsd.dat" if is_folder(path) else path
    keys, run = _keywords(lines_of(path, None))
    notes = ["UppASD lists every pair from both ends with the full value: J here = 2 J there; nothing divided by S^2"]
    notes += [f"how it runs is not read: {', '.join(run)}"] * bool(run)

    for key in ("cell", "bc", "posfile", "momfile", "exchange"):
        if key not in keys:
            raise ValueError(f"{path}: the keyword {key} is missing; is it cut?")
    scale = 1.0
    if "alat" in keys:
        scale = 1e10 * keys["alat"].numbers(1, 1, what="a lattice constant, metre")[0]
    else:
        notes.append("no alat: lengths are taken as angstrom")
    cell = scale * np.array(keys["cell"].numbers(9, 1, what="three vectors")).reshape(3, 3)
    if not 0 < scale < 1e3 or abs(np.linalg.det(cell)) < 1e-9 * np.prod(np.linalg.norm(cell, axis=1)):
        raise keys["cell"].wrong("expected three vectors that are not in a plane, and a lattice constant in metre")
    one = {}
    for key, default, choices in (
        ("sym", "0", "0123"),
        ("maptype", "1", "12"),
        ("do_jtensor", "0", "01"),
        ("posfiletype", "C", "CD"),
    ):
        line = keys.get(key, Line(str(path), 0, f"{key} {default}"))
        value = line.words[1]
        if value.upper() not in [*choices]:
            raise line.wrong(f"expected {key} {' or '.join(choices)}: others are not read")
        one[key] = value.upper()
    to_cartesian = cell if one["posfiletype"] == "D" else scale * np.eye(3)
    positions, types = _positions(_open(keys["posfile"], path), to_cartesian)
    find = Finder(cell, positions, types, to_cartesian, int(one["maptype"]))
    tensors = one["do_jtensor"] == "1"
    if tensors and one["sym"] != "0":
        raise keys["sym"].wrong("expected Sym 0 with tensors")
    J = find.entries(_open(keys["exchange"], path), 9 if tensors else 1, one["sym"])
    pairs = from_both_ends(J, 2.0)
    if "dm" in keys:
        D = from_both_ends(find.entries(_open(keys["dm"], path), 3), 2.0)
        pairs = _joined(pairs, D)
    bc = keys["bc"].words[1:4]
    if not all(b.upper() in ("P", "0") for b in bc):
        raise keys["bc"].wrong("expected BC with three of P and 0")
    return built(
        path,
        cell,
        positions,
        _moments(_open(keys["momfile"], path), len(positions)),
        "mRy",
        pairs,
        _anisotropies(_open(keys["anisotropy"], path), len(positions)) if "anisotropy" in keys else (),
        field=keys["hfield"].numbers(3, 1, what="a field, tesla") if "hfield" in keys else (0.0, 0.0, 0.0),
        cells=keys["ncell"].wholes(3, 1, what="three numbers of cells") if "ncell" in keys else None,
        periodic=tuple(b.upper() == "P" for b in bc),
        notes=notes,
    )


def _keywords(lines: Lines) -> tuple[dict[str, Line], list[str]]:
    """The lines of what makes the magnet by keyword, and the keywords that only say how a run goes."""
    keys: dict[str, Line] = {}
    run: list[str] = []
    last = ""
    while lines:
        line = lines.next("a keyword")
        word = line.words[0].lower()
        if word[0] in "%#*=!":
            continue
        value = line.words[1] if len(line.words) > 1 else ""
        if re.match(r"[-+.\d]", word) and last in run:
            continue  # rows of numbers that belong to the keyword before
        last = word
        if word in MODEL or word in FILES:
            if word in keys:
                raise line.wrong(f"{word} stands in line {keys[word].number} already")
            count = MODEL.get(word, 1)
            while len(line.words) <= count and word == "cell":
                more = lines.next("a vector of the cell")
                line = line._replace(text=f"{line.text} {' '.join(more.words[:3])}")
            if word == "cell":
                line = line._replace(text=" ".join(line.words[:10]))
            if len(line.words) <= count:
                raise line.wrong(f"expected {count} values of {word}")
            keys[word] = line
        elif word in REFUSED or (word in NEUTRAL and value.upper() not in (NEUTRAL[word], NEUTRAL[word] + ".0")):
            raise line.wrong(f"this package has no such energy, or does not read it: {word} {value}")
        elif word in NEUTRAL or RUN.fullmatch(word):
            run.append(word)
        else:
            raise line.wrong("expected a keyword of UppASD")
    return keys, list(dict.fromkeys(run))


def _open(line: Line, beside: Path) -> Lines:
    lines = lines_of(relative(line.words[1], beside), named_in=line)
    if not lines:
        raise line.wrong("the file holds nothing")
    return lines


def _positions(lines: Lines, to_cartesian: np.ndarray) -> tuple[np.ndarray, list[int]]:
    rows: dict[int, tuple[int, list[float]]] = {}
    while lines:
        line = lines.next("an atom")
        site, kind = line.wholes(2, what="site, type, and a position")
        if site != len(rows) + 1:
            raise line.wrong(f"expected site {len(rows) + 1}")
        rows[site] = kind, line.numbers(3, 2, what="site, type, and a position")
    return np.array([r for _, r in rows.values()]) @ to_cartesian, [kind for kind, _ in rows.values()]


def _moments(lines: Lines, n: int) -> list[float]:
    moments: list[float] = []
    while lines:
        line = lines.next("a moment")
        site, kind = line.wholes(2, what="site, chemical type 1, moment, and a direction")
        mu, *direction = line.numbers(4, 2, what="site, chemical type 1, moment, and a direction")
        if site != len(moments) + 1 or site > n or kind != 1 or mu < 0 or not any(direction):
            raise line.wrong(f"expected site {len(moments) + 1} of {n}, chemical type 1, a moment and a direction")
        moments.append(mu)
    if len(moments) < n:
        raise ValueError(f"{lines.file}: {len(moments)} moments for {n} atoms; is it cut?")
    return moments


def _anisotropies(lines: Lines, n: int) -> list[Anisotropy]:
    found: list[Anisotropy] = []
    for site in range(1, n + 1):
        line = lines.next(f"the anisotropy of site {site} of {n}")
        what = f"site {site}, type 0 or 1, K1, K2 = 0, a direction and a ratio"
        number, kind = line.wholes(2, what=what)
        K, K2, *axis, _ = line.numbers(6, 2, what=what)
        if number != site or kind not in (0, 1) or K2 or (kind and K and not any(axis)):
            raise line.wrong(f"expected {what}; others are not read")
        found += [Anisotropy(site - 1, -K, tuple(axis))] * bool(kind and K)
    if lines:
        raise lines.next("").wrong(f"expected {n} rows, one for each site")
    return found


def _joined(J: list[Coupling], D: list[Coupling]) -> list[Coupling]:
    """Couplings of two files, which may list a pair from different ends."""
    all_of = {(c.i, c.j, c.R): c for c in J}
    for c in D:
        turned = (c.j, c.i, tuple(-r for r in c.R))
        if turned in all_of:
            c = c._replace(i=c.j, j=c.i, R=turned[2], D=-np.array(c.D))
        old = all_of.get((c.i, c.j, c.R), c._replace(D=None))
        all_of[c.i, c.j, c.R] = old._replace(D=c.D if old.D is None else np.array(c.D) + old.D)
    return list(all_of.values())


def write_uppasd(magnet: Magnet, folder: str | Path) -> None:
    """Write a magnet as ``inpsd.dat`` with its files into a folder, which is made; lengths in angstrom, ``maptype 2``.

    How it is run is left to be added. Symmetric tensors are written with ``do_jtensor 1``.

    Raises:
        ValueError: for a magnet without moments or couplings, or an atom with two axes of anisotropy.
    """
    check_magnet(magnet)
    if magnet.moments is None or not magnet.couplings:
        raise ValueError("UppASD has a moment for every atom and one coupling or more")
    n, magnet, folder = len(magnet.positions), magnet.in_unit("mRy"), check_file(folder)
    own = {a.atom: a for a in magnet.anisotropy}
    if len(own) < len(magnet.anisotropy):
        raise ValueError("UppASD has one axis of anisotropy for an atom")
    make_folder(folder)
    tensors = any(c.A is not None for c in magnet.couplings)
    rows = [(c, f"{c.i + 1} {c.j + 1} {' '.join(map(str, c.R))} ") for c in to_both_ends(magnet)]
    files = {
        "posfile": [f"{i + 1} {i + 1} {written(*r)}" for i, r in enumerate(magnet.positions)],
        "momfile": [f"{i + 1} 1 {written(mu, 0, 0, 1)}" for i, mu in enumerate(magnet.moments)],
        "jfile": [at + (written(*tensor(c).ravel() / 2) if tensors else written(c.J / 2)) for c, at in rows],
        "dmfile": [at + written(*(np.array(c.D) / 2)) for c, at in rows if c.D is not None and not tensors],
    }
    if own:
        none = Anisotropy(0, 0.0, (0.0, 0.0, 1.0))
        kinds = [(i in own, own.get(i, none)) for i in range(n)]
        files["kfile"] = [f"{i + 1} {k:d} {written(-a.K, 0, *a.axis, 0)}" for i, (k, a) in enumerate(kinds)]
    closed = magnet.periodic or (True, True, True)
    out = ["simid mepmeta", f"ncell {' '.join(map(str, (*(magnet.cells or ()), 1, 1, 1)[:3]))}"] if magnet.cells else []
    out += ["BC " + " ".join("P" if p else "0" for p in closed), "Sym 0", "maptype 2", "posfiletype C", "alat 1e-10"]
    out += [f"hfield {written(*magnet.field)}"] if any(magnet.field) else []
    out += ["do_jtensor 1"] * tensors + ["anisotropy ./kfile"] * bool(own) + ["dm ./dmfile"] * bool(files["dmfile"])
    out += ["cell " + "\n     ".join(written(*v) for v in magnet.cell), "posfile ./posfile", "momfile ./momfile"]
    for name, text in files.items():
        if text:
            write(folder / name, ("\n".join(text) + "\n").encode())
    write(folder / "inpsd.dat", ("\n".join([*out, "exchange ./jfile"]) + "\n").encode())
