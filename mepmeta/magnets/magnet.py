"""A magnet as it stands in a file: atoms in a cell, their moments, couplings and anisotropies, in named units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_numbers, check_option, rows_of, shown
from mepmeta._checks import check_positive
from mepmeta.magnets.couplings import (
    MU_B,
    UNITS,
    Anisotropy,
    Coupling,
    Shell,
    Vector,
    checked_anisotropy,
    checked_coupling,
)
from mepmeta.magnets.heisenberg import Bond, Heisenberg
from mepmeta.magnets.supercell import cells_of, closed, folded, repeated

__all__ = ["Magnet"]

#: Distances closer than this are one shell, angstrom.
SHELL = 1e-3


@dataclass(frozen=True, eq=False)
class Magnet:
    r"""Atoms in a cell that repeats, and what acts between their moments; spins are unit vectors.

    .. math:: E = -\sum_{\text{pairs}} \big[J\,S\cdot S' + \mathbf D\cdot(S\times S') + S\cdot\mathbf A\,S'\big]
        - \sum K\,(\hat a\cdot S)^2 - \sum \mu\,\mathbf B\cdot S

    Args:
        cell: the three vectors of the cell, rows, angstrom, shape ``(3, 3)``.
        positions: of the atoms in it, angstrom, shape ``(n, 3)``.
        moments: :math:`\mu` of the atoms, Bohr magnetons, shape ``(n,)``; None where the file has none.
        unit: of all energies, "meV", "mRy" or "joule".
        couplings: :class:`~mepmeta.magnets.couplings.Coupling` s, every pair once.
        anisotropy: :class:`~mepmeta.magnets.couplings.Anisotropy` s, any number for an atom.
        field: the field :math:`\mathbf B` that the file asks for, tesla.
        cells, periodic: how many cells along each vector, and whether they close, where the file says so; else None.
        names: of the atoms; by default their numbers, from 1.
        notes: what a reader has to say of the file.

    Raises:
        ValueError: for a flat cell, two atoms at one place, an atom that is not there, a pair that is listed twice or
            from both ends or joins an atom to itself, a zero axis, numbers that are not finite, an unknown unit.

    >>> import mepmeta as mm
    >>> bond = mm.Coupling(0, 0, (1, 0, 0), J=5.0, D=(0, 0, 1.0))
    >>> chain = mm.Magnet(3.0 * np.eye(3), [[0, 0, 0]], [2.0], "meV", [bond])
    >>> float(chain.energy((10,))(mm.ferromagnet((10,))))
    -50.0
    """

    cell: np.ndarray
    positions: np.ndarray
    moments: np.ndarray | None
    unit: str
    couplings: tuple[Coupling, ...] = ()
    anisotropy: tuple[Anisotropy, ...] = ()
    field: Vector = (0.0, 0.0, 0.0)
    cells: tuple[int, int, int] | None = None
    periodic: tuple[bool, bool, bool] | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("cell", check_numbers("the cell", self.cell, (3, 3)))
        if abs(np.linalg.det(self.cell)) <= 1e-9 * np.prod(np.linalg.norm(self.cell, axis=1)):
            raise ValueError("the vectors of the cell must not be zero or in one plane")
        places = check_numbers("the positions", self.positions)
        n = len(places) if places.ndim == 2 else 0
        if n == 0:
            raise ValueError("a magnet has one atom or more")
        put("positions", check_numbers("the positions", self.positions, (n, 3)))
        apart = (self.positions[:, None] - self.positions) @ np.linalg.inv(self.cell)
        close = np.linalg.norm((apart - np.round(apart)) @ self.cell, axis=-1) < SHELL
        if np.any(np.triu(close, 1)):
            i, j = np.argwhere(np.triu(close, 1))[0]
            raise ValueError(f"the atoms {i} and {j} are at one place")
        if self.moments is not None:
            put("moments", check_numbers("the moments", self.moments, (n,)))
            if np.any(self.moments < 0):
                raise ValueError(f"moments are lengths, not negative, got {self.moments}")
        check_option("the unit of energy", self.unit, tuple(UNITS))
        rows = rows_of("couplings", self.couplings, "Coupling(i, j, R, J, D, A)", range(3, 7))
        put("couplings", tuple(checked_coupling(Coupling(*c), n) for c in rows))
        seen = set()
        for c in self.couplings:
            if (c.i, c.j, c.R) in seen or (c.j, c.i, tuple(-r for r in c.R)) in seen:
                raise ValueError(f"the pair {c.i} {c.j} {c.R} is listed twice, or from both its ends: list it once")
            seen.add((c.i, c.j, c.R))
        rows = rows_of("anisotropy", self.anisotropy, "Anisotropy(atom, K, axis)", (3,))
        put("anisotropy", tuple(checked_anisotropy(Anisotropy(*a), n) for a in rows))
        put("field", tuple(float(b) for b in check_numbers("the field", self.field, (3,))))
        names = self.names if isinstance(self.names, (tuple, list)) else (None,)
        put("names", tuple(names) or tuple(str(i + 1) for i in range(n)))
        if not len(self.names) == len(set(map(str, self.names))) == n or not all(
            isinstance(s, str) for s in self.names
        ):
            raise ValueError(f"{n} atoms have {n} names, no two the same, got {shown(names)}")
        if self.cells is not None:
            put("cells", cells_of(self.cells))
        if self.periodic is not None:
            put("periodic", closed(self.periodic, 3))

    def energy(
        self,
        cells: int | Sequence[int] | None = None,
        periodic: bool | Sequence[bool] | None = None,
        field: Sequence[float] | Array | None = None,
    ) -> Heisenberg:
        """The energy of so many cells, in the unit of the magnet.

        Its states have the shape ``(*cells, n, 3)``, or ``(*cells, 3)`` for one atom in the cell.

        Args:
            cells: along the vectors of the cell, one to three numbers; by default those of the file.
            periodic: whether they close, one answer or one for each axis; by default what the file says, or True.
            field: tesla, shape ``(3,)``; by default that of the file.

        Raises:
            ValueError: where a coupling leads along an axis that has no number, or joins a spin to itself round a
                short periodic axis; a field where there are no moments.
        """
        shape = cells_of(self.cells if cells is None else cells)
        wrap = closed(self.periodic if periodic is None else periodic, len(shape))
        atoms = len(self.positions)
        everywhere = atoms == 1
        bonds: dict[tuple, dict] = {}
        for (i, j, R), terms in folded(self.couplings, shape, wrap).items():
            bonds.setdefault(R if everywhere else (*R, j - i), {})[i] = terms
        full = shape if everywhere else (*shape, atoms)

        def spread(values: dict[int, float | np.ndarray | None], tail: tuple[int, ...]) -> np.ndarray | None:
            """A constant of each atom over the lattice; of one atom the constant itself."""
            values = {i: value for i, value in values.items() if value is not None}
            if not values or everywhere:
                return values.get(0)
            out = np.zeros(full + tail)
            for i, value in values.items():
                out[(..., i) + (slice(None),) * len(tail)] = value
            return out

        rows = []
        for offset, by_atom in bonds.items():
            J, D, A = ({i: terms[k] for i, terms in by_atom.items()} for k in range(3))
            rows.append(Bond(offset, spread(J, ()), spread(D, (3,)), spread(A, (3, 3))))
        own = [[a for a in self.anisotropy if a.atom == i] for i in range(atoms)]
        anisotropy = []
        for m in range(max(map(len, own))):
            some = {i: own[i][m] if m < len(own[i]) else Anisotropy(i, 0.0, (0.0, 0.0, 1.0)) for i in range(atoms)}
            K, axis = {i: a.K for i, a in some.items()}, {i: np.array(a.axis) for i, a in some.items()}
            anisotropy.append((spread(K, ()), spread(axis, (3,))))
        B = check_numbers("the field", self.field if field is None else field, (3,))
        if np.any(B) and self.moments is None:
            raise ValueError("a field acts on moments, and this magnet has none: give its moments")
        torque = {i: MU_B / UNITS[self.unit] * mu * B for i, mu in enumerate(self.moments)} if np.any(B) else {}
        b = spread(torque, (3,))
        return Heisenberg(full, rows, anisotropy, np.zeros(3) if b is None else b, (*wrap, False)[: len(full)])

    def sites(self, cells: int | Sequence[int]) -> Array:
        """Where the spins of a state are, angstrom, of the shape of the state."""
        shape = cells_of(cells)
        origins = np.moveaxis(np.indices(shape), 0, -1) @ self.cell[: len(shape)]
        r = origins[..., None, :] + self.positions
        return jnp.asarray(r[..., 0, :] if len(self.positions) == 1 else r, float)

    def supercell(self, cells: int | Sequence[int], periodic: bool | Sequence[bool] = True) -> "Magnet":
        """The same magnet with a cell of ``cells`` of its cells; where ``periodic`` is False no coupling leaves it.

        Its atoms stand in the order of a state ``(*cells, n, 3)``.
        """
        shape = (*cells_of(cells), 1, 1)[:3]
        wrap = (*closed(periodic, len(cells_of(cells))), True, True)[:3]
        n = len(self.positions)
        couplings = [Coupling(*c) for c in repeated(self.couplings, n, shape, wrap)]
        count = int(np.prod(shape))
        return replace(
            self,
            cell=self.cell * np.array(shape)[:, None],
            positions=np.asarray(self.sites(shape)).reshape(-1, 3),
            moments=None if self.moments is None else np.tile(self.moments, count),
            couplings=couplings,
            anisotropy=[a._replace(atom=a.atom + k * n) for k in range(count) for a in self.anisotropy],
            cells=None,
            periodic=wrap,
            names=[f"{name}.{k + 1}" for k in range(count) for name in self.names],
        )

    def within(self, radius: float) -> "Magnet":
        """The magnet without the couplings of atoms farther apart than ``radius``, angstrom."""
        check_positive(radius=radius)
        near = [c for c in self.couplings if self.distance(c) <= radius + SHELL]
        note = (
            f"cut off at {radius:g} angstrom: {len(self.couplings) - len(near)} of {len(self.couplings)} pairs left out"
        )
        return replace(self, couplings=near, notes=(*self.notes, note))

    def in_unit(self, unit: str) -> "Magnet":
        """The same magnet with its energies in another unit: "meV", "mRy" or "joule"."""
        check_option("the unit of energy", unit, tuple(UNITS))
        c = UNITS[self.unit] / UNITS[unit]

        def times(value):
            return None if value is None else c * np.array(value)

        couplings = [k._replace(J=c * k.J, D=times(k.D), A=times(k.A)) for k in self.couplings]
        return replace(
            self, unit=unit, couplings=couplings, anisotropy=[a._replace(K=c * a.K) for a in self.anisotropy]
        )

    def distance(self, c: Coupling) -> float:
        """How far apart the atoms of a coupling are, angstrom."""
        return float(np.linalg.norm(self.positions[c.j] + np.array(c.R) @ self.cell - self.positions[c.i]))

    def shells(self) -> list[Shell]:
        """The couplings by the distance of their atoms, see :class:`~mepmeta.magnets.couplings.Shell`."""
        shells: list[list] = []
        for d, c in sorted(((self.distance(c), c) for c in self.couplings), key=lambda pair: pair[0]):
            if not shells or d > shells[-1][0] + SHELL:
                shells.append([d, []])
            shells[-1][1].append((c.J, 0.0 if c.D is None else float(np.linalg.norm(c.D))))
        return [Shell(d, len(v), *((min(x), max(x)) for x in zip(*v, strict=True))) for d, v in shells]

    def summary(self) -> str:
        """What was understood, in words: atoms, shells, anisotropies, field, and the notes of the reader."""
        return str(self)

    def __str__(self) -> str:
        def between(low_high):
            low, high = (f"{x:.6g}" for x in low_high)
            return low if low == high else f"{low} to {high}"

        n = len(self.positions)
        lines = [f"Magnet of {n} atom{'s' * (n > 1)} in a cell, energies in {self.unit}, spins of length one"]
        lines += [
            f"  cell {'abc'[k]}  " + " ".join(f"{x:11.6f}" for x in v) + "  angstrom" for k, v in enumerate(self.cell)
        ]
        for i, r in enumerate(self.positions):
            mu = "no moment given" if self.moments is None else f"{self.moments[i]:.6g} mu_B"
            lines.append(f"  atom {self.names[i]:<5} " + " ".join(f"{x:11.6f}" for x in r) + f"  {mu}")
        lines.append(f"  {len(self.couplings)} pairs in a cell, every pair once; J > 0 is ferromagnetic, -D.(S x S')")
        lines.append("    distance   pairs   J; |D|")
        for shell in self.shells():
            lines.append(f"    {shell.distance:8.4f}  {shell.number:6d}   {between(shell.J)}; {between(shell.D)}")
        tensors = sum(c.A is not None for c in self.couplings)
        lines += [f"  {tensors} pairs have a symmetric tensor A, -S.A S'"] * bool(tensors)
        for a in self.anisotropy:
            axis = ", ".join(f"{x:g}" for x in a.axis)
            lines.append(
                f"  atom {self.names[a.atom]}: K = {a.K:.6g} along ({axis}), {'easy' if a.K > 0 else 'hard'} axis"
            )
        if any(self.field):
            lines.append(f"  field {self.field} T")
        if self.cells is not None:
            lines.append(f"  cells {self.cells}, periodic {'not given' if self.periodic is None else self.periodic}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])
