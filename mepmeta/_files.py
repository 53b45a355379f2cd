"""Files as they are read and written at the doors: errors of the system in words, and no file is ever half written."""

import io
import os
from pathlib import Path

import numpy as np

from mepmeta._arguments import check_file

__all__ = ["is_folder", "make_folder", "read", "read_arrays", "write"]


def read(path: str | Path) -> bytes:
    """The bytes of a file, or a ``ValueError`` that says why they cannot be had."""
    try:
        return check_file(path).read_bytes()
    except OSError as error:
        raise ValueError(f"the file {str(path)[:200]} cannot be read: {error.strerror}") from error


def read_arrays(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of an archive ``.npz``, their checksums looked at; a ``ValueError`` where it is none or damaged."""
    raw = read(path)
    try:
        stored = np.load(io.BytesIO(raw), allow_pickle=False)
        found = None if isinstance(stored, np.ndarray) else {name: stored[name] for name in stored.files}
    except Exception as error:  # damaged bytes raise whatever they happen to meet
        raise ValueError(f"{path} is not {what}, or it is damaged ({error})") from error
    if found is None:
        raise ValueError(f"{path} is not {what}: it holds one array")
    return found


def write(path: str | Path, content: bytes) -> None:
    """Write a file; an interruption meanwhile, of whatever kind, leaves the former one whole."""
    path = check_file(path).resolve()
    partial = path.parent / f"{path.name}.{os.getpid()}.partial"
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a folder refuses that, a device takes it
            return
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ValueError(f"the file {str(path)[:200]} cannot be written: {error.strerror}") from error


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that name."""
    try:
        return check_file(path).is_dir()
    except OSError:  # as of a name that is too long
        return False


def make_folder(path: str | Path) -> None:
    """Make a folder, if there is none, or a ``ValueError`` that says why it cannot be had."""
    try:
        check_file(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"the folder {str(path)[:200]} cannot be made: {error.strerror}") from error
