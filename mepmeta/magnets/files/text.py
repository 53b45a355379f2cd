"""Lines of a text file that know where they stand, and numbers that are numbers: what all readers share."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mepmeta._files import read

__all__ = ["NUMBER", "Line", "Lines", "lines_of", "relative", "whole", "written"]

#: A number as Fortran and C write it.
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
#: No length in angstrom, energy or moment is larger.
LARGEST = 1e60


class Line(NamedTuple):
    """One line: the file, its number from 1, and its text without the comment."""

    file: str
    number: int
    text: str

    @property
    def words(self) -> list[str]:
        return self.text.split()

    def wrong(self, expected: str) -> ValueError:
        """The error that says where, what was expected and what came."""
        text = self.text.strip()
        return ValueError(f"{self.file}, line {self.number}: {expected}, got {text[:120]!r}")

    def numbers(self, count: int, first: int = 0, *, what: str) -> list[float]:
        """So many numbers, from the word ``first`` on."""
        words = self.words[first : first + count]
        values = [float(re.sub("[dD]", "e", w)) if re.fullmatch(NUMBER, w) else math.nan for w in words]
        if len(values) < count or not all(abs(v) < LARGEST for v in values):
            raise self.wrong(f"expected {what}")
        return values

    def wholes(self, count: int, first: int = 0, *, what: str) -> list[int]:
        """So many whole numbers, from the word ``first`` on."""
        words = self.words[first : first + count]
        if len(words) < count or not all(re.fullmatch(r"[+-]?\d{1,9}", w) for w in words):
            raise self.wrong(f"expected {what}")
        return [int(w) for w in words]


class Lines:
    """The lines of a file that say something, one after another."""

    def __init__(self, lines: Sequence[Line], file: str):
        self.lines, self.file, self.at = list(lines), file, 0

    def __bool__(self) -> bool:
        return self.at < len(self.lines)

    def next(self, what: str) -> Line:
        """The next line, which must be there."""
        if not self:
            raise ValueError(f"{self.file}: the file ends where {what} should stand; is it cut?")
        self.at += 1
        return self.lines[self.at - 1]


def lines_of(path: str | Path, comment: str | None = "#", *, named_in: Line | None = None) -> Lines:
    """The lines of a text file, without comments and empty ones.

    Args:
        path: of the file.
        comment: what starts a comment, None where the format has none.
        named_in: the line of another file that names this one.

    Raises:
        ValueError: for a file that is not text, or whose last line has no end: a number there may be cut. A file that
            another one names and that is not there.
    """
    try:
        raw = read(path)
    except ValueError as error:
        if named_in is None:
            raise
        raise named_in.wrong(str(error)) from error
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path} is not a text file")
    rows = text.replace("\r\n", "\n").split("\n")
    lines = [Line(str(path), k, row.split(comment)[0] if comment else row) for k, row in enumerate(rows, 1)]
    if lines[-1].text.strip():
        raise ValueError(
            f"{path}, line {len(rows)}: the last line has no end, so the file may be cut; if not, end the line"
        )
    return Lines([line for line in lines if line.text.strip()], str(path))


def relative(name: str, beside: str | Path) -> Path:
    """A file as another one names it: beside that one."""
    return Path(beside).parent / name.strip("\"'")


def whole(values: Sequence[float]) -> tuple[int, ...] | None:
    """Numbers that are whole, or None."""
    return tuple(round(v) for v in values) if all(abs(v - round(v)) < 1e-6 for v in values) else None


def written(*values: float) -> str:
    """Numbers with all their digits."""
    return " ".join(repr(float(v)) for v in values)
