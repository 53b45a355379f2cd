r"""Learn the optimiser that finds minimum energy paths.

An *energy* is a callable ``x -> scalar``. A *path* is an array of images ``(P, *x.shape)`` with fixed ends. The
nudged elastic band is a differentiable map from path to path with *metaparameters*; its *loss* says how fast it
lowers the *barrier*, and *training* descends that loss through the band.

Calls are compiled once for each energy function. Numbers that a plain function closes over are frozen then; to vary
them, pass ``jax.tree_util.Partial(function, number)`` or an energy such as ``single_spin(K1, K2)``.
"""

from mepmeta import methods, tangents
from mepmeta.barrier import *
from mepmeta.dynamics import *
from mepmeta.energies import *
from mepmeta.examples import *
from mepmeta.fokker_planck import *
from mepmeta.geometry import *
from mepmeta.hessian import *
from mepmeta.lattices import *
from mepmeta.loss import *
from mepmeta.mep import *
from mepmeta.mode_following import *
from mepmeta.modes import *
from mepmeta.neb import *
from mepmeta.paths import *
from mepmeta.rates import *
from mepmeta.relaxation import *
from mepmeta.result import *
from mepmeta.training import *

__version__ = "0.1.0"
