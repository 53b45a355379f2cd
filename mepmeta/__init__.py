from mepmeta import tangents, paths
from mepmeta.energies import *
from mepmeta.geometry import *
from mepmeta.paths import *
from mepmeta.neb import *
from mepmeta.barrier import *
