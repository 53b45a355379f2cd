"""Figures: one function each, from plain results to a matplotlib ``Figure``. No physics is computed here."""

from mepmeta.figures.costs import *
from mepmeta.figures.flipbook import *
from mepmeta.figures.landscape import *
from mepmeta.figures.learning import *
from mepmeta.figures.mep import *
from mepmeta.figures.movement import *
from mepmeta.figures.paper import *
from mepmeta.figures.rates import *
from mepmeta.figures.style import *
