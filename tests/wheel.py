"""Build a wheel, install it where nothing else is, and run the first example of README.md there: ``tests/wheel.py``.

A clone holds more than a wheel does. Here the example sees the wheel and what it depends on, in the versions of
requirements.txt, in a temporary folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BARRIER = 1.00949  # as README.md has it


def example():
    """The first block of Python in README.md, with a last line that says where mepmeta was found."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    return code + "print(mm.__file__)\n"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def main(folder):
    # From a copy: setuptools builds next to its source.
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "_build", "build", "*.egg-info"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder / "source")
    shutil.rmtree(folder / "source")
    [wheel] = folder.glob("mepmeta-*.whl")

    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    (folder / "pins.txt").write_text("\n".join(pins))
    python = folder / "env" / "bin" / "python"
    run(sys.executable, "-m", "venv", folder / "env")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", folder / "pins.txt", wheel)

    (folder / "example.py").write_text(example())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = run(python, "example.py", cwd=folder, env=environment, stdout=subprocess.PIPE, text=True).stdout
    print(found, end="")
    printed, where = found.splitlines()
    barrier, _, converged = printed.split()[:3]
    assert Path(where).is_relative_to(folder / "env"), f"this is not the mepmeta of the wheel: {where}"
    assert converged == "True" and f"{float(barrier):.5f}" == str(BARRIER), f"wanted a barrier of {BARRIER}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary).resolve())
    print("The wheel works in an environment of its own.")
