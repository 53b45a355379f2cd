r"""Learn the optimiser that finds minimum energy paths.

An *energy* is a callable ``x -> scalar``. A *path* is an array of images ``(P, *x.shape)`` with fixed ends. The
nudged elastic band is a differentiable map from path to path with *metaparameters*; its *loss* says how fast it
lowers the *barrier*, and *training* descends that loss through the band.

Calls are compiled once for each program that an energy is, and a plain function is read anew at every call. Numbers
that may vary without compiling again are given as ``jax.tree_util.Partial(function, number)``, or are those of an
energy such as ``single_spin(K1, K2)``.
"""

from mepmeta import methods, paths, tangents
from mepmeta.barrier import Maximum, barrier, highest_point, segment_maximum
from mepmeta.energies import Sum, single_spin
from mepmeta.geometry import Flat, Geometry, Spheres, angles_to_spin, spin_to_angles
from mepmeta.limit import rate_limit
from mepmeta.loss import convergence_rates, loss, loss_and_gradient, overestimate
from mepmeta.magnets.charge import topological_charge
from mepmeta.magnets.couplings import Anisotropy, Coupling
from mepmeta.magnets.dipolar import Dipolar
from mepmeta.magnets.examples import FILM_PUBLISHED, pd_fe_ir111
from mepmeta.magnets.files.ovf import load, save
from mepmeta.magnets.files.spirit import read_spirit, write_spirit
from mepmeta.magnets.files.tb2j import read_tb2j, write_tb2j
from mepmeta.magnets.files.uppasd import read_uppasd, write_uppasd
from mepmeta.magnets.files.vampire import read_vampire, write_vampire
from mepmeta.magnets.heisenberg import Bond, Heisenberg
from mepmeta.magnets.lattices import nearest_neighbours, positions
from mepmeta.magnets.magnet import Magnet
from mepmeta.magnets.sites import Pinned, pinned, vacancies
from mepmeta.magnets.textures import bimeron, domain_wall, ferromagnet, skyrmion, skyrmionium, spiral
from mepmeta.neb import NEB, Iteration, NEBParams, iterate, iterate_batch, neb_step
from mepmeta.paths import arc_length, bent_path, perturbed_path, straight_path
from mepmeta.rates.dynamics import Escapes, Trajectories, count_escapes, simulate
from mepmeta.rates.fokker_planck import relaxation_rates
from mepmeta.rates.transition import TransitionRate, time_unit, transition_rate
from mepmeta.search.many import find_meps
from mepmeta.search.mep import find_mep
from mepmeta.search.relaxation import Relaxed, relax
from mepmeta.search.result import MEP, StationaryPoint
from mepmeta.search.saddles import NearbySaddle, find_saddles
from mepmeta.search.several import find_paths
from mepmeta.spectra.eigenpairs import lowest_eigenpairs
from mepmeta.spectra.factors import LogDeterminant, log_determinant
from mepmeta.spectra.hessian import hessian
from mepmeta.spectra.modes import Modes, curvature_scale, lowest_modes
from mepmeta.training import History, train

__version__ = "0.1.0"
