"""The pages held to their references: run here, or, with ``--built``, as the build of the book has run them.

Run here, what XLA compiles is kept, in one folder for each worker, since two processes may write one entry at once, and
for each set of instructions that ``make portable`` asks for.
"""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile
from printed import Printed

CACHE = Path(__file__).parents[2] / ".cache"
SET = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
WORKER = f"jax-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / (SET[1] if SET else "") / WORKER)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def pytest_addoption(parser):
    parser.addoption("--built", help="the cache of a build of the book: compare what it has run, run nothing")


def code(notebook):
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def sanitized(cell, text, plain=IPyNbCell.sanitize):
    text = plain(cell, text)
    return Printed(text) if isinstance(text, str) else text


IPyNbCell.sanitize = sanitized


class Built:
    """In place of a kernel: asked to run a cell, it answers with the outputs that the build stored."""

    def __init__(self, reference, folder):
        wanted = [cell.source for cell in code(reference)]
        ran = (code(notebook) for notebook in sorted(Path(folder).glob("executed/*/base.ipynb")))
        self.cells = next((iter(cells) for cells in ran if [cell.source for cell in cells] == wanted), None)
        assert self.cells, f"the build did not run {reference.stem} with the cells of its reference; run: make reference"

    def is_alive(self):
        return True

    def execute_cell_input(self, source, allow_stdin=None):
        # The kinds of output of a notebook are those of the messages that a kernel sends.
        cell = next(cell for cell in self.cells if cell.source == source)  # pytest may have left out some
        contents = [dict(output) for output in cell.outputs]
        self.messages = iter([*contents, {"output_type": "status", "execution_state": "idle"}])
        return "built"

    def await_reply(self, msg_id, timeout=None):
        pass

    def await_idle(self, msg_id, timeout=None):
        pass

    def get_message(self, stream, timeout=None):
        content = next(self.messages)
        return {"msg_type": content["output_type"], "content": content, "parent_header": {"msg_id": "built"}}

    def stop(self):
        pass


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collected = yield
    folder = parent.config.getoption("built")
    for notebook in collected if folder else ():
        if isinstance(notebook, IPyNbFile):
            notebook.setup = lambda notebook=notebook: setattr(notebook, "kernel", Built(notebook.path, folder))
    return collected
