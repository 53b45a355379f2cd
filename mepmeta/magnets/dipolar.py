"""The dipolar interaction of a lattice of spins, by fast Fourier transforms."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
import scipy as sp
from jax import Array, lax
from jax.tree_util import register_pytree_node_class

from mepmeta._arguments import check_numbers, check_option, check_wraps, constant
from mepmeta._checks import check_positive, check_shape
from mepmeta.magnets.ewald import dipole_sums
from mepmeta.magnets.lattices import VECTORS
from mepmeta.magnets.spins import SpinEnergy, by_gradient

__all__ = ["PREFACTOR", "Dipolar"]

_CONSTANTS = [sp.constants.value(name) for name in ("mag. constant", "Bohr magneton", "elementary charge")]
#: :math:`\mu_0\mu_B^2/4\pi` in meV Å³, 0.05368.
PREFACTOR = _CONSTANTS[0] * _CONSTANTS[1] ** 2 / (4 * np.pi) / _CONSTANTS[2] * 1e33
#: Where a symmetric tensor has its components among xx, xy, xz, yy, yz, zz.
PLACES = ((0, 1, 2), (1, 3, 4), (2, 4, 5))


def _field(lattice: tuple, constants: tuple, S: Array) -> Array:
    """The gradient of the energy: the tensors of all pairs times the other spin, as a convolution."""
    sizes, axes = lattice
    moments, (real, imaginary) = constants
    waves = jnp.fft.rfftn(S * moments, sizes, axes)
    kernel = real.astype(waves.dtype) if imaginary is None else lax.complex(real, imaginary)
    if real.ndim > 1 + len(axes):  # several atoms in a cell
        fields = [sum(jnp.sum(kernel[PLACES[i][j]] * waves[j][..., None, :], -1) for j in range(3)) for i in range(3)]
    else:
        fields = [sum(kernel[PLACES[i][j]] * waves[j] for j in range(3)) for i in range(3)]
    whole = jnp.fft.irfftn(jnp.stack(fields), sizes, axes)
    return lax.slice(whole, (0,) * S.ndim, S.shape) * moments


@by_gradient
def _of_waves(lattice: tuple, constants: tuple, S: Array) -> tuple[Array, Array]:
    """One convolution for energy and gradient, which has the kernel on one side only: it is symmetric."""
    field = _field(lattice, constants, S)
    return jnp.sum(S * field) / 2, field


@register_pytree_node_class
class Dipolar(SpinEnergy):
    r"""The dipolar interaction of all spins of a lattice, an energy to be added to a short-ranged one.

    .. math:: E[S] = \frac{\mu_0\mu_B^2}{4\pi}\sum_{i<j} m_i m_j\,
        \frac{S_i\cdot S_j - 3\,(S_i\cdot\hat r_{ij})(S_j\cdot\hat r_{ij})}{r_{ij}^3}

    On periodic axes a spin feels all images of all spins, its own too, in sums that are true to rounding
    (:func:`~mepmeta.magnets.ewald.dipole_sums`): of endless chains and films, and of endless crystals, for which the
    surface matters. The field of that is left out: a crystal periodic along three axes is that in a conductor
    ("tin foil"), or that of a needle along its magnetisation. The tensors are summed once, when the energy is made;
    a gradient of N spins takes :math:`N\ln N` operations.

    Args:
        shape: number of cells along each axis, 1 to 3 of them; where there is a ``basis``, then the number of atoms
            in a cell, an axis of the states of :class:`~mepmeta.magnets.heisenberg.Heisenberg`, too.
        vectors: primitive vectors, shape ``(d, 3)`` for d axes of cells, unit ``a``; or the name of a lattice
            of :func:`~mepmeta.magnets.lattices.positions`.
        moments: :math:`m`, Bohr magnetons, a scalar or an array of shape ``shape``. Zero is a site without a moment.
        a: lattice constant, ångström.
        periodic: whether the sample has periodic images, one answer or one for each axis of cells.
        basis: places of the atoms in a cell, shape ``(b, 3)``, unit ``a``; by default there is one atom.
        prefactor: :math:`\mu_0\mu_B^2/4\pi`, energy Å³; in meV by default. In units of J it is divided by J in meV.

    Call it with a state of unit vectors, shape ``(*shape, 3)``, to get the energy. It is a pytree whose leaves are
    the moments and the transformed tensors.

    Raises:
        ValueError: for a bad shape, vectors that do not span the lattice, two atoms in one place, moments or a state of
            another shape, numbers that are not finite.

    Source: the convolution, :cite:t:`mansuripur1988`.

    >>> import mepmeta as mm
    >>> film = mm.Dipolar((8, 8), "square", moments=2.0, a=3.0)  # an endless one
    >>> flat, upright = (float(film(mm.ferromagnet((8, 8), axis))) for axis in [(1, 0, 0), (0, 0, 1)])
    >>> round(flat / 64, 8), round(upright / 64, 8)  # meV a spin: it is easier to lie in the film
    (-0.01796068, 0.03592137)
    """

    def __init__(
        self,
        shape: Sequence[int],
        vectors: str | Sequence[Sequence[float]],
        moments: float | Array = 1.0,
        *,
        a: float = 1.0,
        periodic: bool | Sequence[bool] = True,
        basis: Sequence[Sequence[float]] | None = None,
        prefactor: float = PREFACTOR,
    ):
        self.shape = check_shape(shape)
        check_positive(a=a, prefactor=prefactor)
        if isinstance(vectors, str):
            check_option("vectors", vectors, tuple(VECTORS))
            vectors = VECTORS[vectors]
        cells = self.shape if basis is None else self.shape[:-1]
        d = len(cells)
        vectors = check_numbers("vectors", vectors)
        if vectors.shape != (d, 3) or not 1 <= d <= 3 or not np.linalg.matrix_rank(vectors) == d:
            raise ValueError(f"vectors must be {d} independent ones of three components, 1 to 3 of them, got {vectors}")
        atoms = np.zeros((1, 3)) if basis is None else check_numbers("basis", basis)
        if atoms.shape != ((1, 3) if basis is None else (self.shape[-1], 3)) or not np.all(np.isfinite(atoms)):
            raise ValueError(f"basis must be places of the {self.shape[-1]} atoms in a cell, (b, 3), got {basis}")
        self.periodic = wrap = check_wraps(periodic, d)
        self.moments = constant("moments", moments)
        if self.moments.shape not in ((), self.shape):
            raise ValueError(f"moments must be floats of shape () or {self.shape}, got shape {self.moments.shape}")
        sizes = [n if p else sp.fft.next_fast_len(2 * n - 1, real=True) for n, p in zip(cells, wrap, strict=True)]
        # The longest axis is the last one to be transformed, of which half is kept.
        order = sorted(range(d), key=lambda axis: sizes[axis])
        self._sizes, self._axes = tuple(sizes[axis] for axis in order), tuple(axis + 1 for axis in order)
        # In a unit of the lattice: powers of its lengths, which may be in metres, are numbers then.
        unit, m = np.abs(vectors).max(), np.abs(np.asarray(self.moments, float)).max()
        with np.errstate(all="ignore"):
            scale = prefactor / (a * unit) ** 3
            tensors = _tensors(cells, sizes, self.periodic, vectors / unit, atoms / unit) * scale
            if not (scale > 0 and np.isfinite(m**2 * scale) and np.all(np.isfinite(m**2 * tensors))):
                raise ValueError(f"two moments of {m:g} at a distance of {a * unit:g} have an energy that is no number")
        tensors = tensors[..., 0, 0] if basis is None else tensors
        waves = np.fft.rfftn(tensors, self._sizes, self._axes)
        # With one atom in a cell the tensors of r and -r are one: then their waves are real.
        self._kernel = jnp.asarray(waves.real), None if basis is None else jnp.asarray(waves.imag)

    def live(self) -> np.ndarray:
        """Sites with a moment, shape ``shape``."""
        return np.broadcast_to(np.asarray(self.moments) != 0, self.shape)

    def _stiffness(self) -> np.ndarray:
        """What every atom of a cell feels of parallel spins all around, without moments: shape ``(b or 1, 3, 3)``."""
        real = np.asarray(self._kernel[0], float)
        uniform = real[(slice(None), *(0,) * len(self._axes))].reshape(6, -1)
        atoms = self.shape[-1] if self._kernel[1] is not None else 1
        return np.moveaxis(uniform.reshape(6, atoms, -1).sum(axis=-1)[np.array(PLACES)], -1, 0)

    def rough_pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What it does to textures that are wide: an anisotropy of every spin, as pairs of itself with itself."""
        N, moments = int(np.prod(self.shape)), np.broadcast_to(np.asarray(self.moments, float), self.shape).ravel()
        stiffness = self._stiffness()
        blocks = np.broadcast_to(stiffness, (N // len(stiffness), *stiffness.shape)).reshape(N, 3, 3)
        yield np.arange(N), np.arange(N), blocks * moments[:, None, None] ** 2 / 2

    def shape_anisotropy(self) -> list[tuple[np.ndarray, np.ndarray]]:
        r"""The same as pairs of a constant :math:`K` and an axis, for :class:`~mepmeta.magnets.heisenberg.Heisenberg`.

        Of a sample with images everywhere it is exact where all spins are parallel. Of one thick layer it is the energy
        :math:`\mu_0M^2/2` of a plate magnetised across. One cell is enough to know it, in an energy of any shape::

            layer = mm.Dipolar((1, 1), "square", moments=2.0, a=3.0)
            film = mm.Heisenberg(shape, bonds, anisotropy=[(K, (0, 0, 1)), *layer.shape_anisotropy()])

        That holds where textures are wide against the thickness of the film, up to a magnetostatic charge of the
        texture itself and of edges, and where the sample is much wider than they are; it does not hold for small
        islands, whose own :class:`Dipolar` is the answer.
        """
        values, axes = np.linalg.eigh(self._stiffness())
        moments = np.asarray(self.moments, float)
        if len(values) == 1:
            return [(-value * moments**2 / 2, axis) for value, axis in zip(values[0], axes[0].T, strict=True)]
        every = np.broadcast_to(np.swapaxes(axes, 1, 2), (*self.shape, 3, 3))
        return [(-values[:, k] * np.broadcast_to(moments, self.shape) ** 2 / 2, every[..., k, :]) for k in range(3)]

    def _energy(self, constants: tuple, S: Array) -> Array:
        return _of_waves((self._sizes, self._axes), constants, S)

    def tree_flatten(self) -> tuple:
        structure = (self.shape, self.periodic, self._sizes, self._axes, self._axis_of_components)
        return (self.moments, self._kernel), structure

    @classmethod
    def tree_unflatten(cls, structure: tuple, constants: tuple) -> "Dipolar":
        new = object.__new__(cls)
        new.shape, new.periodic, new._sizes, new._axes, new._axis_of_components = structure
        new.moments, new._kernel = constants
        return new


def _tensors(
    cells: Sequence[int], sizes: Sequence[int], periodic: Sequence[bool], vectors: np.ndarray, atoms: np.ndarray
) -> np.ndarray:
    """The tensors of all distances on the grid of the transforms, shape ``(6, *sizes)``, and of all pairs of atoms."""
    # Distances in cells, in the order of the transforms: 0, 1, ..., -2, -1; far ones on open axes stay zero.
    steps = [(np.fft.fftfreq(m) * m).round().astype(int) for m in sizes]
    steps = [o[p | (abs(o) < n)] for o, p, n in zip(steps, periodic, cells, strict=True)]
    r = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1) @ vectors
    between = atoms[:, None] - atoms
    off = np.linalg.norm(between - np.round(between @ np.linalg.pinv(vectors)) @ vectors, axis=-1)
    if np.any(off + np.eye(len(atoms)) < 1e-6 * np.abs(vectors).max()):
        raise ValueError("two atoms of the basis are in one place")
    r = r[..., None, None, :] + between
    tensors = np.zeros((*sizes, len(atoms), len(atoms), 6))
    images = (np.array(cells)[:, None] * vectors)[np.array(periodic)]
    tensors[np.ix_(*steps)] = dipole_sums(r.reshape(-1, 3), images).reshape(*r.shape[:-1], 6)
    return np.moveaxis(tensors, -1, 0)
