"""Run the executable pages of the book and store what they printed: ``python tests/reference.py book/theory.md ...``.

A reference is a notebook with the cells of its page and the outputs of one run, which ``make test`` compares a new run
with. It is written so that a second run of unchanged code writes the same bytes, and a diff shows changed numbers and
nothing else: no images (they are never compared), no execution times, cells numbered instead of randomly named.
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "tests" / "notebooks"


def executable_pages():
    """The pages that run: those of the book with a jupytext header, as a list of paths."""
    return sorted(p for p in (ROOT / "book").glob("*.md") if "\njupytext:\n" in p.read_text().partition("\n---\n")[0])


def store_reference(page):
    """Execute the page at path ``page`` and write its reference notebook; an error in a cell is raised."""
    notebook = jupytext.read(page)
    NOTEBOOKS.mkdir(exist_ok=True)
    resources = {"metadata": {"path": NOTEBOOKS}}  # the folder in which the comparison runs, too
    NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True, resources=resources).execute()
    notebook.metadata = {key: notebook.metadata[key] for key in ("jupytext", "kernelspec")}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for image in ("image/png", "image/jpeg"):
                data.pop(image, None)
            if "data:image/" in "".join(data.get("text/html", "")):  # pictures inside of a page
                del data["text/html"]
    nbformat.write(notebook, NOTEBOOKS / f"{page.stem}.ipynb")


if __name__ == "__main__":
    pages = [Path(argument).resolve() for argument in sys.argv[1:]]
    for count, page in enumerate(pages, start=1):
        print(f"[{count}/{len(pages)}] {page.name}", flush=True)
        store_reference(page)
