r"""Methods: ways to move a band along its force, each an ``init``/``update`` pair.

Every method gets the same force on the inner images, the negative quasi-gradient

.. math:: F_n = -\partial E^\perp[S_n] + \mu\,e_n\,\hat\tau_n

divided by the largest curvature of the energy. It is a length, whatever the unit of energy, and a step of 1 is half
of what steepest descent takes before it turns unstable. The force has no potential: its Jacobian is not symmetric, and
no line search can ask whether a step was good.

A method is a pytree whose numbers are leaves, so it can be differentiated and trained.
``find_mep(method=...)`` takes any object with

* ``init(path) -> state``, for inner images of shape ``(N, *shape)``;
* ``update(force, state, path, geometry) -> (move, state)``, all at the inner images, which then go along ``move``, or
  along a shortened one where a particle would go farther than a fifth of a radian;
* ``spacing``, what keeps the images apart: "springs" as in the force above; "tangential", no springs but a move of
  every image along the path to where equal springs would balance; "redistribution", the same by interpolation.
"""

from mepmeta.methods.first_order import FIRE, Momentum, SteepestDescent, StringMethod, VelocityProjection
from mepmeta.methods.moves import limited
from mepmeta.methods.quasi_newton import LBFGS, ConjugateGradient

__all__ = [
    "FIRE",
    "LBFGS",
    "ConjugateGradient",
    "Momentum",
    "SteepestDescent",
    "StringMethod",
    "VelocityProjection",
]
