"""The topological charge of a texture, from the solid angles of its triangles: a whole number on a closed lattice."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta._arguments import check_option, check_wraps, known
from mepmeta._checks import check_state
from mepmeta.geometry import Spheres
from mepmeta.magnets.lattices import VECTORS

__all__ = ["topological_charge"]

#: Triangles that fill the plane, counterclockwise: of each corner the cell, and the atom in it.
SQUARE = (((0, 0, 0), (1, 0, 0), (0, 1, 0)), ((1, 0, 0), (1, 1, 0), (0, 1, 0)))
#: A hexagon: three second atoms, and between two of them a first one.
HEXAGON = (0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0)
TRIANGLES = {
    "square": SQUARE,
    "triangular": SQUARE,
    "cubic": SQUARE,
    "honeycomb": tuple(
        tuple(HEXAGON[k % 6] for k in corners) for corners in ((0, 2, 4), (0, 1, 2), (2, 3, 4), (4, 5, 6))
    ),
}


def topological_charge(state: Array, lattice: str = "square", *, periodic: bool | Sequence[bool] = True) -> Array:
    r"""How often the spins of a film cover the sphere.

    .. math:: Q = \frac{1}{4\pi}\sum_{\text{triangles}}\Omega,\qquad
        \tan\frac\Omega2 = \frac{S_1\cdot(S_2\times S_3)}{1 + S_1\cdot S_2 + S_2\cdot S_3 + S_3\cdot S_1}

    On a periodic lattice it is a whole number but for rounding, whatever the state; on an open one it is where all
    spins at the edge are parallel. In the continuum it is
    :math:`\frac{1}{4\pi}\int S\cdot(\partial_x S\times\partial_y S)`. A skyrmion of vorticity m whose core is along
    :math:`-z` has :math:`Q = -m`. It jumps where the spins of a triangle lie on one great circle all around it.

    Args:
        state: unit vectors, shape ``(..., *shape, 3)``: a state, a path, or more of them.
        lattice: "square", "triangular", "honeycomb", or "cubic": every layer by itself.
        periodic: whether the lattice closes on itself, one answer or one for each of its two axes in the plane.

    Returns:
        Charge of every state, shape ``(...)``; on the cubic lattice of every layer, ``(..., layers)``.

    Raises:
        ValueError: for an unknown lattice, or a state of another shape.

    Source: :cite:t:`berg1981`.

    >>> import mepmeta as mm
    >>> S = mm.skyrmion((20, 20), center=(10, 10), radius=4.0)
    >>> round(float(mm.topological_charge(S)), 12)
    -1.0
    """
    check_option("lattice", lattice, tuple(TRIANGLES))
    check_state(state, "the state")
    axes = len(VECTORS[lattice])
    atoms = 2 if lattice == "honeycomb" else 1
    if state.ndim <= axes or state.shape[-1] != 3 or (atoms == 2 and state.shape[-2] != 2):
        expected = {"honeycomb": "(..., n, m, 2, 3)", "cubic": "(..., n, m, k, 3)"}.get(lattice, "(..., n, m, 3)")
        raise ValueError(f"a state of the {lattice} lattice has the shape {expected}, got {state.shape}")
    if known(state):
        Spheres().check(np.asarray(state), "the state")
    wrap, state = check_wraps(periodic, 2), jnp.asarray(state)
    # Cells, atoms and components come last; layers become separate films.
    films = jnp.moveaxis(state, -2, -4)[..., None, :] if lattice == "cubic" else state
    films = films if atoms == 2 or lattice == "cubic" else films[..., None, :]
    cells = films.shape[-4:-2]
    inside = [np.arange(n) < (n if w else n - 1) for n, w in zip(cells, wrap, strict=True)]
    total = jnp.zeros(films.shape[:-4], films.dtype)
    for triangle in TRIANGLES[lattice]:
        a, b, c = (jnp.roll(films[..., atom, :], (-i, -j), (-3, -2)) for i, j, atom in triangle)
        volume = jnp.sum(a * jnp.cross(b, c), axis=-1)
        sides = 1 + jnp.sum(a * b, axis=-1) + jnp.sum(b * c, axis=-1) + jnp.sum(c * a, axis=-1)
        angle = jnp.where(np.outer(*inside), 2 * jnp.arctan2(volume, sides), 0)
        total = total + jnp.sum(angle, axis=(-2, -1))
    return total / (4 * jnp.pi)
