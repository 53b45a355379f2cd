"""Magnets in files: one energy in every format, spirals and their handedness, films, and files that are wrong."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rounding import rounding
from scipy import constants

import mepmeta as mm
from mepmeta.magnets.examples import ANISOTROPY, DMI, EXCHANGE, FIELD, FILM_PUBLISHED

seeds = st.integers(0, 2**32 - 1)
#: Bohr magneton, meV/T, and the mRy, meV. The tables in eV have fewer digits.
MU_B = 1e3 * constants.physical_constants["Bohr magneton"][0] / constants.e
RYDBERG = constants.Rydberg * constants.h * constants.c / constants.e


def spins(rng, shape):
    S = rng.normal(size=(*shape, 3))
    return S / np.linalg.norm(S, axis=-1, keepdims=True)


def random_magnet(rng, n, tensors=False, pairs=5):
    """A crystal of low symmetry with so many atoms in a cell, and couplings over one cell or two."""
    cell = 3 * np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3))
    positions = (np.arange(n)[:, None] / n + rng.uniform(0.05, 0.2, (n, 3))) @ cell
    couplings, seen = [], set()
    while len(couplings) < pairs:
        i, j = (int(k) for k in rng.integers(0, n, 2))
        R = tuple(int(r) for r in rng.integers(-2, 3, 3))
        if (i == j and not any(R)) or {(i, j, R), (j, i, tuple(-r for r in R))} & seen:
            continue
        seen.add((i, j, R))
        A = rng.normal(size=(3, 3))
        D = rng.normal(size=3) if rng.random() < 0.8 else None
        couplings.append(mm.Coupling(i, j, R, rng.normal(), D, A + A.T if tensors else None))
    anisotropy = [mm.Anisotropy(i, rng.normal(), rng.normal(size=3)) for i in range(n) if rng.random() < 0.7]
    field = tuple(rng.normal(size=3))
    return mm.Magnet(cell, positions, rng.uniform(1, 3, n), "meV", couplings, anisotropy, field=field, cells=(3, 4, 5))


def by_hand(magnet, S, periodic=(True, True, True), field=None):
    """The energy in meV as the docstring defines it, one bond after another, of a state (*cells, n, 3)."""
    m = magnet.in_unit("meV")
    cells, E = S.shape[:3], 0.0
    for cell in np.ndindex(cells):
        for i, j, R, J, D, A in m.couplings:
            end = [c + r for c, r in zip(cell, R, strict=True)]
            if all(p or 0 <= e < n for p, e, n in zip(periodic, end, cells, strict=True)):
                s, t = S[cell][i], S[tuple(e % n for e, n in zip(end, cells, strict=True))][j]
                E -= J * s @ t
                E -= 0 if D is None else np.dot(D, np.cross(s, t))
                E -= 0 if A is None else s @ np.array(A) @ t
        for atom, K, axis in m.anisotropy:
            E -= K * (S[cell][atom] @ axis) ** 2 / np.dot(axis, axis)
        if field is not None:
            E -= MU_B * sum(mu * np.dot(field, s) for mu, s in zip(m.moments, S[cell], strict=True))
    return E


def through_tb2j(magnet, folder):
    mm.write_tb2j(magnet, folder / "exchange.out")
    return mm.read_tb2j(folder / "exchange.out")


def through_uppasd(magnet, folder):
    mm.write_uppasd(magnet, folder / "uppasd")
    return mm.read_uppasd(folder / "uppasd")


def through_spirit(magnet, folder):
    mm.write_spirit(magnet, folder / "spirit.cfg")
    return mm.read_spirit(folder / "spirit.cfg")


def through_vampire(magnet, folder):
    mm.write_vampire(magnet, folder / "vampire.ucf")
    return mm.read_vampire(folder / "vampire.ucf")


FORMATS = {"TB2J": through_tb2j, "UppASD": through_uppasd, "Spirit": through_spirit, "Vampire": through_vampire}
UNIT = {"TB2J": "meV", "UppASD": "mRy", "Spirit": "meV", "Vampire": "joule"}
fixture_ok = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
@fixture_ok
@given(seed=seeds, n=st.integers(1, 3))
def test_one_magnet_in_two_formats_has_one_energy(tmp_path, first, second, seed, n):
    rng = np.random.default_rng(seed)
    magnet, S = random_magnet(rng, n, tensors="Spirit" not in (first, second)), spins(rng, (3, 2, 2, n))
    once = FORMATS[first](magnet, tmp_path)
    twice = FORMATS[second](once, tmp_path)
    assert (once.unit, twice.unit) == (UNIT[first], UNIT[second])
    np.testing.assert_allclose(twice.moments, magnet.moments, rtol=rounding())
    np.testing.assert_allclose(twice.positions, magnet.positions, atol=rounding(10))
    np.testing.assert_allclose(twice.cell, magnet.cell, atol=rounding(10))
    B = rng.normal(size=3)
    E = by_hand(magnet, S, field=B)
    assert by_hand(twice, S, field=B) == pytest.approx(E, abs=rounding(10, 300))
    if {first, second} <= {"UppASD", "Spirit"}:  # they have the field and the cells, too
        assert twice.cells == magnet.cells and twice.periodic == (True,) * 3
        np.testing.assert_allclose(twice.field, magnet.field, rtol=rounding())


CELLS = {"bulk": (3, 4, 5), "short": (3, 3, 4), "film": (5, 4, 3)}
CLOSED = {"bulk": (True,) * 3, "short": (True, False, True), "film": (False, True, False)}


@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("n", [1, 2])
def test_energy_on_the_lattice_is_the_sum_over_pairs(case, n):
    """Also where bonds of one and two cells fall together round three."""
    rng = np.random.default_rng(n)
    magnet, S = random_magnet(rng, n, tensors=True, pairs=8), spins(rng, (*CELLS[case], n))
    H = magnet.energy(CELLS[case], CLOSED[case], field=(3.0, -1.0, 2.0))
    assert H.shape == CELLS[case] + (n,) * (n > 1)
    state = jnp.asarray(S if n > 1 else S[..., 0, :])
    expected = by_hand(magnet, S, CLOSED[case], (3.0, -1.0, 2.0))
    assert float(jax.jit(H)(state)) == pytest.approx(expected, abs=rounding(10, 1000))
    flat = np.asarray(state).reshape(-1, 3)
    pairs = sum(float(np.einsum("na,nab,nb->", flat[i], blocks, flat[j])) for i, j, blocks in H.pairs())
    assert pairs - np.sum(np.asarray(H.field) * state) == pytest.approx(expected, abs=rounding(10, 1000))


def chain(*couplings, **more):
    return mm.Magnet(2.5 * np.eye(3), [[0, 0, 0]], [2.0], "meV", couplings, **more)


def test_bonds_that_fall_together_round_a_short_axis_add_up():
    rng = np.random.default_rng(0)
    D = rng.normal(size=(3, 3))
    magnet = chain(*(mm.Coupling(0, 0, (o, 0, 0), 1.0 * o, d) for o, d in zip((1, 2, 4), D, strict=True)))
    for cells in (2, 3, 5, 6, 7):
        if 2 % cells and 4 % cells:
            S = spins(rng, (cells, 1, 1, 1))
            H = magnet.energy((cells,))
            assert float(H(jnp.asarray(S[:, 0, 0, 0]))) == pytest.approx(by_hand(magnet, S), abs=rounding(10, 50))
    open_chain = magnet.energy((3,), periodic=False)  # where a bond of four cells has no other end
    S = spins(rng, (3, 1, 1, 1))
    expected = by_hand(magnet, S, (False, True, True))
    assert float(open_chain(jnp.asarray(S[:, 0, 0, 0]))) == pytest.approx(expected, abs=rounding(10, 50))
    with pytest.raises(ValueError, match=r"itself on \(2,\) cells: it needs 3 along axis 0"):
        magnet.energy((2,))
    with pytest.raises(ValueError, match="leads along axis 1"):
        chain(mm.Coupling(0, 0, (0, 1, 0), 1.0)).energy((4,))
    with pytest.raises(ValueError, match="how many cells"):
        magnet.energy()


@fixture_ok
@given(seed=seeds)
def test_a_supercell_is_the_same_magnet(seed):
    rng = np.random.default_rng(seed)
    magnet, S = random_magnet(rng, 2), spins(rng, (4, 3, 2, 2))
    large = magnet.supercell((2, 3, 1))
    ordered = S.reshape(2, 2, 1, 3, 2, 1, 2, 3).transpose(0, 2, 4, 1, 3, 5, 6, 7).reshape(2, 1, 2, 12, 3)
    assert by_hand(large, ordered) == pytest.approx(by_hand(magnet, S), abs=rounding(10, 300))
    lengths = sorted(magnet.distance(c) for c in magnet.couplings)
    assert sorted(map(large.distance, large.couplings))[:: len(large.couplings) // 5] == pytest.approx(lengths)
    alone = magnet.supercell((4, 3, 2), periodic=False)
    assert by_hand(alone, S.reshape(1, 1, 1, 48, 3)) == pytest.approx(
        by_hand(magnet, S, (False,) * 3), abs=rounding(10, 300)
    )


def test_sites_are_where_the_spins_are_and_a_radius_cuts_off():
    magnet = random_magnet(np.random.default_rng(3), 2)
    r = np.asarray(magnet.sites((3, 4, 2)))
    assert r.shape == (3, 4, 2, 2, 3)
    np.testing.assert_allclose(r[2, 1, 1, 1], magnet.positions[1] + [2, 1, 1] @ magnet.cell, atol=rounding(10))
    distances = sorted(map(magnet.distance, magnet.couplings))
    near = magnet.within(distances[1])
    assert sorted(map(near.distance, near.couplings)) == distances[:2] and "3 of 5 pairs left out" in str(near)
    assert [shell.distance for shell in magnet.shells()] == pytest.approx(distances)
    assert sum(shell.number for shell in magnet.shells()) == 5


# Files as their codes have them, of one chain along z: J = 7, D = (0, 0, 3) from a spin to the next, in meV here.
J, D = 7.0, 3.0
TB2J = f"""
==========================================================================================
Information: 
Executed:  
wann2J.py --elements Fe
==========================================================================================
Cell (Angstrom):
2.50000000  0.00000000  0.00000000
0.00000000  2.50000000  0.00000000
0.00000000  0.00000000  2.50000000

==========================================================================================
Atoms:  
(Note: charge and magmoms only count the wannier functions.)
Atom_number       x             y             z        w_charge    M(x)      M(y)      M(z)   
O1             1.00000000    1.00000000    1.00000000    6.0000    0.0000    0.0000    0.1000
Fe1            0.00000000    0.00000000    0.00000000    8.0000    0.0000   -1.2000    1.6000
Total                                                   14.0000    0.0000   -1.2000    1.7000

==========================================================================================
Exchange: 
    i      j          R        J_iso(meV)          vector          distance(A) 
----------------------------------------------------------------------------------------
   Fe1   Fe1   (  0,   0,   1)  {J / 2:.4f}   ( 0.000,  0.000,  2.500)  2.500 
J_iso:  {J / 2:.4f} 
[Testing!] Jprime: 4.055,  B: -1.904
[Testing!] DMI: ( 0.0000  0.0000  {D / 2:.4f})
[Testing!]J_ani:
[[ 0.1  0.2 -0. ]
 [ 0.2 -0.1  0. ]
 [-0.   0.   0. ]]
Orbital contributions:
 isotropic J:
 [[ 1.  0.5]
 [ 1.  1. ]]
----------------------------------------------------------------------------------------
   Fe1   Fe1   (  0,   0,  -1)  {J / 2:.4f}   ( 0.000,  0.000, -2.500)  2.500 
J_iso:  {J / 2:.4f} 
[Testing!] DMI: ( 0.0000 -0.0000 {-D / 2:.4f})
[Testing!]J_ani:
[[ 0.1  0.2 -0. ]
 [ 0.2 -0.1  0. ]
 [-0.   0.   0. ]]
"""
UPPASD = {
    "inpsd.dat": """simid     HeisWire
ncell     1  1  12            System size
BC        0  0  P             Boundary conditions (0=vacuum,P=periodic)
cell      1.00000   0.00000   0.00000
          0.00000   1.00000   0.00000
          0.00000   0.00000   1.00000
Sym       1                   Symmetry of lattice
alat      2.5d-10
posfile   ./posfile
exchange  ./jfile
momfile   ./momfile
anisotropy ./kfile
dm        ./dmfile
#dm       ./another
ip_nphase 1
20000 1.0e-3 1e-15 0.5
mode      S                   S=SD, M=MC
hfield    0 0 -3.0
""",
    "posfile": "1   1   0.0 0.0 0.0\n",
    "momfile": "1 1 2.0 0.0 0.0 1.0\n",
    "kfile": "1 1 -0.04 0.0 0.0 0.0 1.0 0.0\n",
    "jfile": f"1 1 0.0 0.0 1.0 {J / RYDBERG / 2!r} 1.000\n",
    "dmfile": f"1 1 0.0 0.0  1.0  0.0 0.0  {D / RYDBERG / 2!r}\n1 1 0.0 0.0 -1.0  0.0 0.0 -{D / RYDBERG / 2!r}\n",
}
SPIRIT = f"""### Spirit
bravais_lattice sc
lattice_constant 2.5
mu_s 2.0
n_basis_cells 1 1 12
hamiltonian heisenberg_pairs
boundary_conditions 0 0 1
external_field_magnitude 3.0
external_field_normal 0.0 0.0 -2.0
anisotropy_magnitude 0.5
llg_dt 1e-3
n_interaction_pairs 1
i j   da db dc   Dijx Dijy Dijz   Jij  Dij
0 0   0  0  1    0.0  0.0  9.0    {J}  {D}
"""
mJ = 1e-3 * constants.e
VAMPIRE = f"""# Unit cell size:
2.5 2.5 2.5
# Unit cell vectors:
1 0 0
0 1 0
0 0 1
# Atoms num, id cx cy cz mat lc hc
1
0 0 0 0 0 0 0
# Interactions
2 tensorial
0 0 0 0 0 1 {J * mJ} {D * mJ} 0 {-D * mJ} {J * mJ} 0 0 0 {J * mJ}
1 0 0 0 0 -1 {J * mJ} {-D * mJ} 0 {D * mJ} {J * mJ} 0 0 0 {J * mJ}
"""


def written_by_its_code(name, folder):
    if name == "UppASD":
        for file, text in UPPASD.items():
            (folder / file).write_text(text)
        return mm.read_uppasd(folder / "inpsd.dat")
    text = {"TB2J": TB2J, "Spirit": SPIRIT, "Vampire": VAMPIRE}[name]
    (folder / name).write_text(text)
    (folder / "one.mat").write_text("material:num-materials=1\nmaterial[1]:atomic-spin-moment=2.0 !muB # iron\n")
    return {"TB2J": mm.read_tb2j, "Spirit": mm.read_spirit, "Vampire": mm.read_vampire}[name](folder / name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_spiral_has_its_energy_and_its_handedness(name, turn, tmp_path):
    """Of a pair J cos q + D sin q, and mu B, K for spins along z."""
    magnet = written_by_its_code(name, tmp_path)
    along = magnet.energy((1, 1, 12), (False, False, True), field=(0, 0, 0))
    q = turn * 2 * np.pi / 12
    S = mm.spiral((1, 1, 12), "cubic", (0, 0, q), (0, 0, 1))
    E = float(along(S)) * {"meV": 1, "mRy": RYDBERG, "joule": 1 / mJ}[magnet.unit] / 12
    assert E == pytest.approx(-J * np.cos(q) - D * np.sin(q), abs=rounding(20, 12))
    assert magnet.moments == pytest.approx([2.0]) and np.linalg.norm(magnet.cell[2]) == pytest.approx(2.5)
    up = mm.ferromagnet((1, 1, 12))
    K = {"UppASD": 0.04, "Spirit": 0.5}.get(name, 0.0)
    field = {"UppASD": -3.0, "Spirit": -3.0}.get(name, 0.0)
    b = 2 * MU_B / {"mRy": RYDBERG, "meV": 1, "joule": 1 / mJ}[magnet.unit]
    E = float(magnet.energy((1, 1, 12), (False, False, True))(up)) / 12
    E += {"mRy": J / RYDBERG, "meV": J, "joule": J * mJ}[magnet.unit]
    assert E == pytest.approx(-K - b * field, abs=rounding(20 * mJ if magnet.unit == "joule" else 20, 12))
    if name in ("UppASD", "Spirit"):
        H = magnet.energy()
        assert H.shape == (1, 1, 12) and H.periodic == (False, False, True)


def test_what_a_file_has_beside_the_energy_is_named(tmp_path):
    said = {name: str(written_by_its_code(name, tmp_path)) for name in FORMATS}
    assert "Jprime" in said["TB2J"] and "Orbital contributions" in said["TB2J"] and "left out: O1" in said["TB2J"]
    assert "J here = 2 J there" in said["TB2J"] and "J here = 2 J there" in said["UppASD"]
    assert "J here = J there" in said["Spirit"] and "1/2" in said["Vampire"]
    assert "simid, ip_nphase, mode" in said["UppASD"] and "llg_dt" in said["Spirit"]
    assert re.search(r"2\.5000 +1 +7; 3\n", said["Spirit"]) and "1 pairs have a symmetric tensor" in said["TB2J"]
    assert "along (0, 0, 1), easy axis" in said["UppASD"]


def test_a_tensor_of_tb2j_is_the_sum_of_both_ends(tmp_path):
    (pair,) = written_by_its_code("TB2J", tmp_path).couplings
    np.testing.assert_allclose(pair.A, [[0.2, 0.4, 0], [0.4, -0.2, 0], [0, 0, 0]], atol=rounding())


def honeycomb():
    """Two atoms of unequal moments, antiparallel neighbours, easy axes of their own."""
    a = 3.2
    cell = [[a, 0, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, 15.0]]
    near = [mm.Coupling(0, 1, R, -4.0) for R in ((0, 0, 0), (-1, 0, 0), (0, -1, 0))]
    far = [mm.Coupling(0, 0, R, 0.5, (0, 0, 0.7)) for R in ((1, 0, 0), (-1, 1, 0), (0, -1, 0))]
    other = [mm.Coupling(1, 1, R, 0.3, (0, 0, -0.7)) for R in ((1, 0, 0), (-1, 1, 0), (0, -1, 0))]
    easy = [mm.Anisotropy(0, 0.2, (0, 0, 1)), mm.Anisotropy(1, 0.6, (0, 0, 1))]
    return mm.Magnet(cell, [[0, 0, 0], [a / 2, a / (2 * 3**0.5), 0]], [3.0, 1.0], "meV", near + far + other, easy)


@pytest.mark.parametrize("name", FORMATS)
def test_honeycomb_of_unequal_moments(name, tmp_path):
    magnet = FORMATS[name](honeycomb(), tmp_path)
    assert [(s.number, pytest.approx(s.distance, abs=1e-6)) for s in magnet.shells()] == [
        (3, 3.2 / 3**0.5),
        (6, 3.2),
    ]
    scale = {"meV": 1, "mRy": RYDBERG, "joule": 1 / mJ}[magnet.unit]
    H = magnet.energy((6, 6), field=(0, 0, 5.0))
    assert H.shape == (6, 6, 2) and H.periodic == (True, True, False)
    up = np.zeros((6, 6, 2, 3))
    up[..., 0, 2], up[..., 1, 2] = 1, -1
    expected = 36 * (-3 * 4.0 - 3 * 0.8 - 0.8 - 5.0 * MU_B * (3 - 1))
    assert float(H(jnp.asarray(up))) * scale == pytest.approx(expected, abs=rounding(20, 1000))
    # A spiral of the antiparallel pairs about z: J cos and D sin of every bond, by the phase along it.
    q = 2 * np.pi * np.linalg.inv(magnet.cell)[:, 0] / 6
    phase = np.asarray(magnet.sites((6, 6))) @ q + np.array([0, np.pi])
    S = np.stack([np.cos(phase), np.sin(phase), 0 * phase], axis=-1)
    m, E = magnet.in_unit("meV"), 0.0
    for c in m.couplings:
        r = m.positions[c.j] + np.array(c.R) @ m.cell - m.positions[c.i]
        turn = r @ q + np.pi * (c.j - c.i)
        E -= 36 * (c.J * np.cos(turn) + (0 if c.D is None else c.D[2]) * np.sin(turn))
    flat = magnet.energy((6, 6))
    assert float(flat(jnp.asarray(S))) * scale == pytest.approx(E, abs=rounding(20, 1000))


def test_vampire_has_its_atoms_in_the_cell(tmp_path):
    magnet = honeycomb()
    magnet = mm.Magnet(magnet.cell, magnet.positions - [4, 1, 0], magnet.moments, "meV", magnet.couplings)
    read = through_vampire(magnet, tmp_path)
    inside = read.positions @ np.linalg.inv(read.cell)
    assert inside.min() > -1e-9 and inside.max() < 1
    assert sorted(map(read.distance, read.couplings)) == pytest.approx(sorted(map(magnet.distance, magnet.couplings)))


def film():
    """The film of the examples as a magnet: moments of 3 Bohr magnetons in the field that gives its energy."""
    H, *_ = mm.pd_fe_ir111()
    a = 2.7
    couplings = [mm.Coupling(0, 0, (*b.offset, 0), float(b.J), None if b.D is None else np.array(b.D)) for b in H.bonds]
    B = FIELD * RYDBERG / (3 * MU_B)
    cell = [[a, 0, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, 10.0]]
    easy = [mm.Anisotropy(0, ANISOTROPY, (0, 0, 1))]
    closed = (True, True, False)
    return mm.Magnet(cell, [[0, 0, 0]], [3.0], "mRy", couplings, easy, (0, 0, B), (40, 40, 1), closed)


@pytest.mark.parametrize("name", FORMATS)
def test_the_film_has_its_energies_from_every_format(name, tmp_path):
    H, skyrmion, up = mm.pd_fe_ir111()
    magnet = FORMATS[name](film(), tmp_path).in_unit("mRy")
    read = magnet.energy((40, 40), field=film().field)
    assert len(magnet.couplings) == 36 and len(magnet.shells()) == 9
    for S in (skyrmion, up, jnp.asarray(spins(np.random.default_rng(5), (40, 40)))):
        assert float(read(S)) == pytest.approx(float(H(S)), abs=rounding(10, 1600 * 40))


def test_the_film_as_uppasd_has_it(tmp_path):
    """Shells of a hexagon, field and spins turned over."""
    vectors = np.array([[1, 0], [0.5, 3**0.5 / 2]])
    H, skyrmion, up = mm.pd_fe_ir111()
    shells = {round(float(np.dot(o, o) + o[0] * o[1])): np.array(o) @ vectors for o, *_ in H.bonds}
    near = [(o, np.array(d)) for o, _, d, _ in H.bonds if d is not None]
    write = {
        "inpsd.dat": "ncell 40 40 1\nBC P P 0\ncell 1 0 0\n0.5 0.866025403784439 0\n0 0 1\nSym 3\nposfile ./posfile\n"
        f"exchange ./jfile\nanisotropy ./kfile\ndm ./dmfile\nmomfile ./momfile\nhfield 0 0 {-film().field[2]!r}\n",
        "posfile": "1 1 0 0 0\n",
        "momfile": "1 1 3.0 0 0 -1\n",
        "kfile": f"1 1 {-ANISOTROPY} 0 0 0 1 0\n",
        "jfile": "".join(f"1 1 {x} {y} 0 {EXCHANGE[r2] / 2!r}\n" for r2, (x, y) in shells.items()),
        "dmfile": "".join(
            f"1 1 {s * x} {s * y} 0 {' '.join(repr(float(k)) for k in -s * d / 2)}\n"
            for o, d in near
            for s in (1, -1)
            for x, y in [np.array(o) @ vectors]
        ),
    }
    for file, text in write.items():
        (tmp_path / file).write_text(text)
    magnet = mm.read_uppasd(tmp_path)
    assert len(magnet.couplings) == 36 and abs(DMI) == pytest.approx(magnet.shells()[0].D[1])
    read = magnet.energy((40, 40))
    for S in (skyrmion, up):
        assert float(read(S * jnp.array([1, 1, -1.0]))) == pytest.approx(float(H(S)), abs=rounding(10, 1600 * 40))


def test_the_film_from_a_file_has_the_published_barrier(tmp_path):
    """The slow one: from a Spirit file and states in a file to the barrier."""
    _, skyrmion, up = mm.pd_fe_ir111()
    mm.save(tmp_path / "ends.ovf", [skyrmion, up])
    start, end = mm.load(tmp_path / "ends.ovf")
    energy = FORMATS["Spirit"](film(), tmp_path).in_unit("mRy").energy((40, 40))
    r = mm.find_mep(energy, start, end, geometry=mm.Spheres())
    assert r.converged
    assert r.barrier == pytest.approx(FILM_PUBLISHED["barrier"], rel=1e-6)
    assert r.reverse_barrier == pytest.approx(FILM_PUBLISHED["reverse_barrier"], rel=1e-6)
    saddle = FILM_PUBLISHED["lowest eigenvalue of the saddle"]
    assert r.eigenvalues[0] == pytest.approx(saddle, abs=1e-4) == r.points[1].eigenvalues[0]
    assert r.points[2].eigenvalues[0] == pytest.approx(FILM_PUBLISHED["lowest eigenvalue of the ferromagnet"], abs=1e-6)
    r.save(tmp_path / "band.ovf")
    assert jnp.array_equal(mm.load(tmp_path / "band.ovf"), r.path)


# Types of UppASD: rows of an atom are those of all atoms of its type.
def uppasd(folder, sites, rows, **more):
    files = {
        "inpsd.dat": "BC P P P\ncell 1 0 0 0 1 0 0 0 1\n"
        + "".join(f"{key} {value}\n" for key, value in more.items())
        + "posfile p\nmomfile m\nexchange j\n",
        "p": "".join(f"{k} {kind} {r}\n" for k, (kind, r) in enumerate(sites, 1)),
        "m": "".join(f"{k + 1} 1 2.0 0 0 1\n" for k in range(len(sites))),
        "j": "".join(f"{row}\n" for row in rows),
    }
    for file, text in files.items():
        (folder / file).write_text(text)
    return mm.read_uppasd(folder)


def test_a_cube_of_uppasd_has_its_eight_neighbours(tmp_path):
    sites = [(1, "0 0 0"), (1, "0.5 0.5 0.5")]
    magnet = uppasd(tmp_path, sites, ["1 1 0.5 0.5 0.5 1.5", "1 1 1 0 0 0.5"], Sym=1)
    assert [(s.number, s.J) for s in magnet.shells()] == [(8, (3.0, 3.0)), (6, (1.0, 1.0))]
    square = uppasd(tmp_path, sites[:1], ["1 1 1 0 0 0.5"], Sym=2)
    assert {c.R for c in square.couplings} <= {(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)}
    assert len(square.couplings) == 2
    with pytest.raises(ValueError, match="the other end of this one is missing"):
        uppasd(tmp_path, sites, ["1 1 0.5 0.5 0.5 1.5"])


def test_maps_of_uppasd_lead_to_the_same_atoms(tmp_path):
    sites = [(1, "0 0 0"), (2, "0.25 0.5 0.75")]
    cartesian = uppasd(tmp_path, sites, ["1 2 0.25 0.5 -0.25 1.0", "2 1 -0.25 -0.5 0.25 1.0"])
    cells = uppasd(tmp_path, sites, ["1 2 0 0 -1 1.0", "2 1 0 0 1 1.0"], maptype=2)
    direct = uppasd(tmp_path, sites, ["1 2 0.25 0.5 -0.25 1.0", "2 1 -0.25 -0.5 0.25 1.0"], posfiletype="D")
    assert cartesian.couplings == cells.couplings == direct.couplings == (mm.Coupling(0, 1, (0, 0, -1), 2.0),)


# What is wrong with a file is said with its name and line.
ROW = "   Fe1   Fe1   (  0,   0,   1)"
WRONG = {
    "TB2J": [
        (ROW, ROW.replace("1)", "x)"), r"TB2J, line 24: expected a row of exchange"),
        (f"{J / 2:.4f} \n[Testing!] DMI: ( 0.0000 -", "3.5030 \n[Testing!] DMI: ( 0.0000 -", "line 24: J and"),
        (f"{-D / 2:.4f})", f"{D / 2:.4f})", r"line 24: J and .* of line 37, its other end, and D"),
        (f"{-D / 2:.4f})", "nan)", r"line 39: expected a vector D"),
        ("J_iso(meV)", "J_iso(mRy)", r"line 22: expected a head with J_iso\(meV\)"),
        ("(Angstrom)", "(Bohr)", r"line 7: expected a cell in angstrom"),
        ("(  0,   0,  -1)", "(  0,   0,   1)", "line 37: the vector does not lead"),
        ("-1)  3.5000   ( 0.000,  0.000, -", " 1)  3.5000   ( 0.000,  0.000,  ", "line 37: the pair stands in line 24"),
        ("[[ 0.1  0.2 -0. ]\n", "[[ 0.1  0.5 -0. ]\n", "expected a symmetric tensor"),
        ("0.00000000  2.50000000  0.00000000", "0.00000000  0.00000000  0.00000000", "TB2J"),
        ("Exchange: ", "Exchanges: ", "no section of exchange"),
        ("[Testing!] Jprime", "[Testing!] Something", "line 26: expected a row of exchange"),
    ],
    "Spirit": [
        ("n_interaction_pairs 1", "n_interaction_pairs 2", "the file ends where row 3 of 3 of n_interaction_pairs"),
        ("n_interaction_pairs 1", "n_interaction_pairs 0", "line 14: .* is there a row too many"),
        ("llg_dt 1e-3", "llg_dt 1e-3\nkeyword 1", "line 12: expected a keyword of Spirit.*keyword 1"),
        ("llg_dt", "ddi_method fft\nllg_dt", "line 11: this package has no such energy"),
        ("mu_s 2.0", "", "the keyword mu_s is missing"),
        ("mu_s 2.0", "mu_s 2.0 1.0", "line 4: expected the moments of 1 atoms"),
        ("mu_s 2.0", "mu_s two", "line 4: expected moments"),
        ("heisenberg_pairs", "heisenberg_neighbours", "line 6: expected hamiltonian heisenberg_pairs"),
        (f"{J}  {D}", f"nan  {D}", "line 14: expected i j da"),
        ("0.0  0.0  9.0", "0.0  0.0  0.0", "line 14: expected a direction of D that is not zero"),
        ("0 0   0  0  1 ", "0 0   0  0  0 ", "line 14: expected two different sites"),
        ("0 0   0  0  1 ", "0 1   0  0  1 ", "line 14: expected two different sites of atoms 0 to 0"),
        ("0 0   0  0  1 ", "0 0   0  0  0.5 ", "line 14: expected whole numbers"),
        ("Dijx Dijy", "Dija Dijy", "columns dija are not read"),
        ("-2.0\n", "0.0\n", "expected a direction that is not zero"),
        ("lattice sc", "lattice hcp", "line 2: expected a lattice of sc"),
        ("n_basis_cells 1 1 12", "n_basis_cells 1 0 12", "positive integers"),
    ],
    "Vampire": [
        ("2 tensorial", "3 tensorial", "the file ends where interaction 3 of 3 should stand"),
        ("2 tensorial", "1 tensorial", "line 12: every pair is listed from both its ends"),
        ("2 tensorial", "2 normalised-isotropic", "line 11: .* others are not read"),
        ("1 0 0 0 0 -1", "1 0 0 0 0 -2", "line 12: every pair is listed from both its ends"),
        ("1 0 0 0 0 -1", "1 0 0 0 0 1", "line 13: the pair stands in line 12 already"),
        ("1 0 0 0 0 -1", "1 0 1 0 0 -1", "line 13: expected interaction 1"),
        ("1 0 0 0 0 -1", "1 0 0 0 0 0", "line 13: an atom is not coupled to itself"),
        (f"{-D * mJ} 0 {D * mJ}", f"{D * mJ} 0 {-D * mJ}", "line 12: J and the tensor must be those of line 13"),
        ("0 0 1\n", "0 0 0\n", "the vectors of the cell must not be zero"),
        ("2.5 2.5 2.5\n", "2.5 2.5\n", "line 2: expected three lengths"),
        ("0 0 0 0 0 0 0\n", "0 0 0 0 3 0 0\n", "an atom is of material 3"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name, old, new, message", [(name, *w) for name, all_of in WRONG.items() for w in all_of])
def test_what_is_wrong_is_said_with_its_place(name, old, new, message, tmp_path):
    written_by_its_code(name, tmp_path)
    file = tmp_path / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1) if name != "TB2J" or "-" in old else text.replace(old, new))
    read = {"TB2J": mm.read_tb2j, "Spirit": mm.read_spirit, "Vampire": mm.read_vampire}[name]
    with pytest.raises(ValueError, match=message) as error:
        read(file)
    assert str(file) in str(error.value) or "one.mat" in str(error.value)


WRONG_UPPASD = [
    ("inpsd.dat", "exchange  ./jfile", "", "the keyword exchange is missing"),
    ("inpsd.dat", "./jfile", "./nowhere", r"inpsd.dat, line 10: the file .*nowhere cannot be read"),
    ("inpsd.dat", "Sym       1", "Sym       4", "line 7: expected sym 0 or 1 or 2 or 3"),
    ("inpsd.dat", "mode ", "exchnage ", "line 17: expected a keyword of UppASD"),
    ("inpsd.dat", "mode ", "bq ", "line 17: this package has no such energy"),
    ("inpsd.dat", "BC        0  0  P", "BC        0  0  Q", "line 3: expected BC"),
    ("inpsd.dat", "#dm ", "dm ", "line 14: dm stands in line 13 already"),
    ("posfile", "0.0 0.0 0.0", "0.0 0.0", "posfile, line 1: expected site, type"),
    ("momfile", "2.0", "-2.0", "momfile, line 1: expected site 1 of 1"),
    ("momfile", "1.0", "0.0", "momfile, line 1"),
    ("momfile", "1 1 2.0 0.0 0.0 1.0\n", "\n", "holds nothing"),
    ("kfile", "1 1 -0.04", "1 2 -0.04", "kfile, line 1: .* others are not read"),
    ("kfile", "0.0 0.0 1.0 0.0", "0.0 0.0 0.0 0.0", "kfile, line 1"),
    ("jfile", "0.0 1.0", "0.0 0.9", "jfile, line 1: no atom of that type"),
    ("jfile", "1 1", "1 2", "jfile, line 1: expected sites 1 to 1"),
    ("dmfile", "-1.0", " 1.0", "dmfile, line 2: the pair stands in line 1 already"),
    ("dmfile", f"-{D / RYDBERG / 2!r}", f"{D / RYDBERG / 2!r}", "dmfile, line 1: .* D minus that one"),
    ("dmfile", "1.0  0.0", "1.0  inf", "dmfile, line 1: expected two sites, a vector, and a vector D"),
]


@pytest.mark.parametrize("file, old, new, message", WRONG_UPPASD)
def test_what_is_wrong_with_an_input_of_uppasd_is_said(file, old, new, message, tmp_path):
    written_by_its_code("UppASD", tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        mm.read_uppasd(tmp_path)


FILES = {
    "TB2J": ["exchange.out"],
    "UppASD": ["uppasd/inpsd.dat", "uppasd/posfile", "uppasd/momfile", "uppasd/jfile", "uppasd/dmfile", "uppasd/kfile"],
    "Spirit": ["spirit.cfg"],
    "Vampire": ["vampire.ucf", "vampire.mat"],
}
READ = {
    "TB2J": lambda folder: mm.read_tb2j(folder / "exchange.out"),
    "UppASD": lambda folder: mm.read_uppasd(folder / "uppasd"),
    "Spirit": lambda folder: mm.read_spirit(folder / "spirit.cfg"),
    "Vampire": lambda folder: mm.read_vampire(folder / "vampire.ucf"),
}


def same(a, b):
    """Whether two magnets are equal number by number."""
    parts = (a.cell, a.positions, a.moments, a.field), (b.cell, b.positions, b.moments, b.field)
    equal = all(np.array_equal(x, y) for x, y in zip(*parts, strict=True)) and a.unit == b.unit
    return equal and a.couplings == b.couplings and a.anisotropy == b.anisotropy and a.periodic == b.periodic


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One magnet in every format, as it reads back, and the bytes of every file."""
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(8)
    magnet = random_magnet(rng, 2, pairs=3)
    both = [mm.Anisotropy(0, 0.3, (0, 0, 1.0)), mm.Anisotropy(1, -0.2, (1.0, 1.0, 0))]
    magnet = mm.Magnet(
        magnet.cell,
        magnet.positions,
        magnet.moments,
        "meV",
        magnet.couplings,
        both,
        magnet.field,
        (4, 5, 6),
        (True,) * 3,
    )
    read = {name: through(magnet, folder) for name, through in FORMATS.items()}
    return folder, read, {file: (folder / file).read_bytes() for files in FILES.values() for file in files}


def good_or_refused(name, file, raw, written):
    folder, read, whole = written
    Path(folder / file).write_bytes(raw)
    try:
        magnet = READ[name](folder)
    except ValueError as error:
        assert str(folder) in str(error)
    else:
        assert same(magnet, read[name])
    finally:
        Path(folder / file).write_bytes(whole[file])


PLACES = [(name, file) for name, files in FILES.items() for file in files]


@pytest.mark.parametrize("name, file", PLACES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_is_refused_or_whole(written, name, file, data):
    raw = written[2][file]
    good_or_refused(name, file, raw[: data.draw(st.integers(0, len(raw) - 1))], written)


@pytest.mark.parametrize("name, file", PLACES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_in_place_of_a_number_is_refused(written, name, file, data):
    raw = written[2][file].decode()
    numbers = list(re.finditer(r"(?<![\w.])-?\d[\d.e-]*", raw))
    if name == "TB2J":  # what it says of its own writing is not read
        numbers = [n for n in numbers if n.start() > raw.index("Cell")]
    number = data.draw(st.sampled_from(numbers))
    word = data.draw(st.sampled_from(["x", "nan", "inf", "1.2.3", "--1", "1e999", "½", "1_0", "0x10", "\x00"]))
    text = raw[: number.start()] + word + raw[number.end() :]
    folder, read, whole = written
    # The charge of an atom, the total of all, and distances are not part of a magnet.
    good_or_refused(name, file, text.encode(), written)


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(max_size=200), name=st.sampled_from(sorted(FILES)), k=st.integers(0, 5))
def test_bytes_are_not_a_magnet(written, raw, name, k):
    good_or_refused(name, FILES[name][k % len(FILES[name])], raw, written)


def test_a_magnet_is_checked():
    cell = np.eye(3)
    for args, message in [
        ((cell * 0, [[0, 0, 0]], [1], "meV"), "in one plane"),
        ((cell, [], [], "meV"), "one atom or more"),
        ((cell, [[0, 0, 0], [0, 0, 1]], [1, 1], "meV"), "at one place"),
        ((cell, [[0, 0, 0]], [-1], "meV"), "not negative"),
        ((cell, [[0, 0, 0]], [np.nan], "meV"), "finite"),
        ((cell, [[0, 0, 0]], [1], "eV"), "must be one of 'meV', 'mRy', 'joule'"),
        ((cell, [[0, 0, 0]], [1], "meV", [(0, 1, (1, 0, 0))]), "joins atoms 0 to 0"),
        ((cell, [[0, 0, 0]], [1], "meV", [(0, 0, (0, 0, 0))]), "joins an atom to itself"),
        ((cell, [[0, 0, 0]], [1], "meV", [(0, 0, (1, 0, 0)), (0, 0, (-1, 0, 0))]), "from both its ends"),
        ((cell, [[0, 0, 0]], [1], "meV", [(0, 0, (1, 0, 0), 1, None, np.triu(np.ones((3, 3))))]), "symmetric"),
        ((cell, [[0, 0, 0]], [1], "meV", [(0, 0, (0.5, 0, 0))]), "whole cells"),
        ((cell, [[0, 0, 0]], [1], "meV", [], [(0, 1.0, (0, 0, 0))]), "must not be zero"),
        ((cell, [[0, 0, 0]], [1], "meV", [], [(2, 1.0, (0, 0, 1))]), "one of the atoms"),
    ]:
        with pytest.raises(ValueError, match=message):
            mm.Magnet(*args)
    bare = mm.Magnet(cell, [[0, 0, 0]], None, "meV", [(0, 0, (1, 0, 0), 1.0)])
    bare.energy((3, 3))
    with pytest.raises(ValueError, match="give its moments"):
        bare.energy((3, 3), field=(0, 0, 1.0))
    for write in (mm.write_tb2j, mm.write_uppasd, mm.write_spirit, mm.write_vampire):
        with pytest.raises(ValueError, match="moment"):
            write(bare, "never written")
