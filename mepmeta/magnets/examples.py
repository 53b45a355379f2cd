"""Examples: the model of a film that has been measured and computed many times."""

import numpy as np
from jax import Array

from mepmeta.magnets.heisenberg import Bond, Heisenberg
from mepmeta.magnets.lattices import nearest_neighbours
from mepmeta.magnets.textures import ferromagnet, skyrmion

__all__ = ["FILM_PUBLISHED", "pd_fe_ir111"]

#: Exchange of the nine shells of the triangular lattice, mRy, by the squared length of the bond in lattice constants.
EXCHANGE = {
    1: 2.117437162430876,
    3: -0.364712036083196,
    4: -0.394698013254674,
    7: 0.076527524120582,
    9: 0.108420791128816,
    12: 0.04080865264209,
    13: 0.02364907100017,
    16: -0.084442593196508,
    19: -0.031259561691374,
}
#: Interaction of Dzyaloshinskii and Moriya, anisotropy, and moment times field, mRy.
DMI, ANISOTROPY, FIELD = -0.1469972899234, 0.05144905147319651, 0.1021051708841054

#: What the test of the code UppASD expects for this film, mRy.
FILM_PUBLISHED = {
    "barrier": 5.32124714,
    "reverse_barrier": 14.0865553,
    "lowest eigenvalue of the saddle": -2.45602107,
    "lowest eigenvalue of the ferromagnet": 0.205003275,
}


def pd_fe_ir111() -> tuple[Heisenberg, Array, Array]:
    r"""The iron layer of fcc-Pd/Fe/Ir(111): 40x40 cells of a periodic triangular lattice, energies in mRy.

    Exchange with nine shells of neighbours, of both signs; Néel interaction with the first, anisotropy and field along
    z. The energy is that of :class:`~mepmeta.magnets.heisenberg.Heisenberg`, every pair counted once.

    Returns:
        The energy; a skyrmion next to its minimum, to be relaxed; the ferromagnet, the state of lowest energy. Both
        states have the shape ``(40, 40, 3)``.

    Source: constants of :cite:t:`malottki2017` as the code UppASD :cite:p:`skubic2008` uses them in its test of the
    band method, which also gives the barriers ``FILM_PUBLISHED``. There the field points along -z; here field and
    spins are turned over, which changes no energy.
    """
    near = {bond.offset: bond.D for bond in nearest_neighbours("triangular", J=1.0, D=DMI)}
    reach = range(-5, 6)
    half = [(i, j) for i in reach for j in reach if (j, i) > (0, 0)]
    bonds = [Bond(o, EXCHANGE[r2], near.get(o)) for o in half if (r2 := np.dot(o, o) + o[0] * o[1]) in EXCHANGE]
    energy = Heisenberg((40, 40), bonds, [(ANISOTROPY, (0, 0, 1))], (0, 0, FIELD))
    start = skyrmion((40, 40), "triangular", center=(20, 20), radius=3.0, width=2.0, helicity=np.pi)
    return energy, start, ferromagnet((40, 40))
