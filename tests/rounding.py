"""How far apart two ways to compute one number may come out."""

import numpy as np


def rounding(scale=1.0, operations=1, dtype=float):
    """The tolerance of a test that compares to rounding: 100 eps times a scale and the root of a number of operations.

    ``scale`` is the size of the largest number on the way and not of what is left of it, times what amplifies it on,
    such as the inverse of a small denominator. ``operations`` is how many roundings of that size add up, of either
    sign: the terms of a sum, the steps of an iteration. The hundred is for what a processor decides: the order of a
    sum, products fused with it, the functions of its library. Any other tolerance has a reason where it stands.
    """
    return 100 * np.finfo(dtype).eps * scale * np.sqrt(operations)
