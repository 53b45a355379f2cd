"""Results of a map in a file, appended one by one: an interruption of any kind loses what is under way only."""

import io
import os
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mepmeta._arguments import check_file
from mepmeta.search.result import MEP

try:
    import fcntl
except ImportError:  # on Windows: there two runs on one file are not kept apart
    fcntl = None

__all__ = ["Kept"]

#: What the file begins with; then the 32 bytes that tell its run from others.
MAGIC = b"mepmeta map 1\n"
#: Before every record: number of the problem, length, checksum of the record, and the checksum of these three.
HEAD = struct.Struct("<QQII")


class Kept:
    """The file of one run, open for nobody else; ``found`` are the results that it held, by number of the problem.

    Args:
        file: that is made where there is none.
        run: 32 bytes that tell this run from others.

    Raises:
        ValueError: for a file that is something else, damaged, of another run, or that another process writes to.
    """

    def __init__(self, file: str | Path, run: bytes):
        self.file = check_file(file)
        try:
            self.stream = open(self.file, "a+b")  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise ValueError(f"the file {str(file)[:200]} cannot be written: {error.strerror}") from error
        try:
            self.found = self._read(run)
        except BaseException:
            self.stream.close()
            raise

    def _read(self, run: bytes) -> dict[int, MEP]:
        try:
            if fcntl is not None:
                fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{self.file} is being written by another run") from error
        self.stream.seek(0)
        begin, found = self.stream.read(len(MAGIC) + len(run)), {}
        if begin != MAGIC + run:
            if not (MAGIC + run).startswith(begin):
                other = begin.startswith(MAGIC)
                what = "the checkpoint of another map: energies, states or options differ" if other else "none of a map"
                raise ValueError(f"{self.file} is {what}")
            self.stream.truncate(0)  # new, or interrupted at once
            self.add_bytes(MAGIC + run)
            return found
        while True:
            at = self.stream.tell()
            head = self.stream.read(HEAD.size)
            if len(head) < HEAD.size:
                break
            number, length, sound, heads = HEAD.unpack(head)
            if zlib.crc32(head[:-4]) != heads:
                raise ValueError(f"{self.file} is damaged, {at} bytes from its start")
            record = self.stream.read(length)
            if len(record) < length:
                break
            if zlib.crc32(record) != sound:
                raise ValueError(f"{self.file} is damaged, {at} bytes from its start")
            with np.load(io.BytesIO(record), allow_pickle=False) as columns:
                found[number] = MEP.of_columns(dict(columns), self.file)
        self.stream.truncate(at)  # an interruption left a part of a record
        return found

    def add_bytes(self, content: bytes) -> None:
        """Append, and wait until it is on the disk."""
        try:
            self.stream.write(content)
            self.stream.flush()
            os.fsync(self.stream.fileno())
        except OSError as error:
            raise ValueError(f"the file {str(self.file)[:200]} cannot be written: {error.strerror}") from error

    def add(self, number: int, r: MEP) -> None:
        """Append a result."""
        stream = io.BytesIO()
        np.savez(stream, **r.columns())
        record = stream.getvalue()
        head = struct.pack("<QQI", number, len(record), zlib.crc32(record))
        self.add_bytes(head + struct.pack("<I", zlib.crc32(head)) + record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stream.close()
