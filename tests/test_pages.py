"""The pages of the book and their reference notebooks belong together: same cells, every one executed without error."""

import jupytext
import nbformat
import pytest
from reference import NOTEBOOKS, executable_pages

HOW = "run: make reference"


def cells(notebook):
    """Type and source of every cell, what a page and its reference have to share."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_notebook_has_a_page_and_every_page_a_notebook():
    pages = {page.stem for page in executable_pages()}
    assert pages, "the book has no executable page"
    assert {notebook.stem for notebook in NOTEBOOKS.glob("*.ipynb")} == pages, HOW


@pytest.mark.parametrize("page", executable_pages(), ids=lambda page: page.stem)
def test_reference_is_the_page_executed(page):
    reference = nbformat.read(NOTEBOOKS / f"{page.stem}.ipynb", as_version=4)
    assert cells(reference) == cells(jupytext.read(page)), f"{page.name} changed since its reference was made; {HOW}"
    for cell in reference.cells:
        if cell.cell_type == "code" and cell.source.strip():
            assert cell.execution_count is not None, f"never executed, {HOW}:\n{cell.source}"
            assert all(output.output_type != "error" for output in cell.outputs), f"ended in an error:\n{cell.source}"
