"""Results as CSV: one row a measurement, with the machine, the versions and the date above the columns."""

import csv
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

__all__ = ["DATA", "provenance", "read", "write"]

DATA = Path(__file__).resolve().parents[2] / "book" / "_data" / "peers"
CODES = ("mepmeta", "spirit", "ase", "jax", "jaxlib", "numpy", "scipy")


def provenance() -> dict[str, str]:
    """What the numbers belong to: processor, cores, system, versions, date."""
    cpu = platform.processor() or "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = []
    for name in CODES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(versions),
        "commit": _commit(),
        "load": f"{os.getloadavg()[1]:.1f} processes wanted to run, on average over the last five minutes",
        "date": datetime.date.today().isoformat(),
    }


def _commit() -> str:
    """The commit of this checkout; with a plus when code was changed since."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "mepmeta", "benchmarks")
        return git("describe", "--always") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(file: Path, rows: list[dict], about: str) -> None:
    """Write rows of equal keys below a header of ``# key: value`` lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as stream:
        for key, value in {"what": about, **provenance()}.items():
            stream.write(f"# {key}: {value}\n")
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read(file: Path) -> tuple[dict[str, str], list[dict]]:
    """The header and the rows of a file that ``write`` wrote; numbers and truth values come back as such."""
    header, lines = {}, []
    for line in Path(file).read_text().splitlines():
        if line.startswith("# "):
            key, _, value = line[2:].partition(": ")
            header[key] = value
        else:
            lines.append(line)
    return header, [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def _value(text: str) -> object:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
