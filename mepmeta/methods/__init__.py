r"""Methods: ways to move a band along its force, each an ``init``/``update`` pair.

Every method gets the same parts of a band, :class:`~mepmeta.force.Parts`: the force across the path
:math:`F_n = -\partial E^\perp[S_n]`, the stretch :math:`e_n` of the springs, and the tangents; in units in which the
largest curvature of the energy is 1. A step of 1 is half of what steepest descent takes before it turns unstable.
Where the energy tells what is stiff, there is also the force with that damped. The force has no potential: its Jacobian
is not symmetric, and no line search can ask whether a step was good.

A method is a pytree whose numbers are leaves, so it can be differentiated and trained.
``find_mep(method=...)`` takes any object with

* ``init(path) -> memory``, for inner images of shape ``(N, *shape)``;
* ``update(parts, memory, path, geometry) -> (move, memory)``, all at the inner images, which then go along ``move``, or
  along a shortened one where a particle would go farther than a fifth of a radian;
* ``spacing``, what keeps the images apart: "springs" that are part of the move; "tangential", no springs but a move of
  every image along the path to where equal springs would balance; "redistribution", the same by interpolation after
  ``every`` iterations.

The step of the paper is one of them, :class:`~mepmeta.neb.NEB`.
"""

from mepmeta.methods.anderson import Anderson
from mepmeta.methods.first_order import FIRE, Momentum, SteepestDescent, StringMethod, VelocityProjection
from mepmeta.methods.gram import LBFGS, ConjugateGradient
from mepmeta.methods.learned import Learned
from mepmeta.methods.moves import limited

__all__ = [
    "FIRE",
    "LBFGS",
    "Anderson",
    "ConjugateGradient",
    "Learned",
    "Momentum",
    "SteepestDescent",
    "StringMethod",
    "VelocityProjection",
]
