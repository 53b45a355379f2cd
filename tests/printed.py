"""How printed outputs are compared: numbers that were rounded to be printed may be off by one in their last digit."""

import re
from decimal import Decimal


class Printed(str):
    """What a page printed. Its rounded numbers may be off by one in their last digit, all else is the same.

    A number near the middle between two roundings goes to the one or to the other, as the processor rounds.
    """

    ROUNDED = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+e[+-]?\d+")
    __hash__ = str.__hash__

    def __eq__(self, other):
        if self.ROUNDED.sub("#", self) != self.ROUNDED.sub("#", other):
            return False
        pairs = zip(self.ROUNDED.findall(self), self.ROUNDED.findall(other), strict=True)
        return all(abs(Decimal(a) - Decimal(b)) <= max(unit(a), unit(b)) for a, b in pairs)

    def __ne__(self, other):
        return not self == other


def unit(number):
    """One in the last digit of a printed number."""
    return Decimal(1).scaleb(Decimal(number).as_tuple().exponent)
