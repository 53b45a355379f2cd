"""The pages of the book and their reference notebooks belong together: same cells, every one executed without error."""

import re
from ast import literal_eval
from collections import Counter
from functools import cache

import jupytext
import nbformat
import pytest
from reference import NOTEBOOKS, ROOT, executable_pages

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


@cache
def numbers(page):
    """What a page hands to others, by name, as its reference has it."""
    reference = nbformat.read(NOTEBOOKS / f"{page}.ipynb", as_version=4)
    outputs = (output for cell in reference.cells for output in cell.get("outputs", []))
    glued = (output for output in outputs if "scrapbook" in output.get("metadata", {}))
    return {output.metadata.scrapbook.name: "".join(map(str, output.data.values())) for output in glued}


@pytest.mark.parametrize("page", sorted((ROOT / "book").glob("*.md")), ids=lambda page: page.stem)
def test_numbers_of_other_pages_exist(page):
    """Those that the text names, and those in tables that the page itself makes."""
    texts = [page.read_text(), *(numbers(page.stem).values() if page in executable_pages() else ())]
    for other, name in re.findall(r"`(\w+)\.md::([\w-]+)", "\n".join(texts)):
        assert name in numbers(other), f"{page.name} shows {name} of {other}.md"


def test_every_claim_has_one_verdict_and_its_place_in_the_tables():
    glued = numbers("claims")
    verdicts = [literal_eval(text) for name, text in glued.items() if name.startswith("verdict_")]
    kind = Counter(re.match("not reproduced|reproduced, read as|reproduced|misprint|implied", v)[0] for v in verdicts)
    counted = {"reproduced": "as_stated", "reproduced, read as": "in_a_reading", "not reproduced": "failed",
               "misprint": "misprints", "implied": "implied"}  # fmt: skip
    assert {name: int(literal_eval(glued[key])) for name, key in counted.items()} == kind
    tables = "".join(text for name, text in glued.items() if name.startswith("table_") and name != "table_left")
    assert len(re.findall(r"^\| \d+ \| \*\*", tables.replace("\\n", "\n"), re.M)) == len(verdicts)
    assert len(verdicts) == int(literal_eval(glued["claims"]))


def test_the_way_from_a_file_to_lifetimes_is_short():
    """Less than sixty lines that a reader has to type; cells that draw, check or glue stand folded."""
    page = jupytext.read(ROOT / "book" / "your-magnet.md")
    first = next(k for k, cell in enumerate(page.cells) if "## Two atoms" in cell.source)
    typed = [
        line
        for cell in page.cells[:first]
        if cell.cell_type == "code" and not {"hide-input", "remove-cell"} & set(cell.metadata.get("tags", ()))
        for line in cell.source.splitlines()
        if line.strip()
    ]
    assert len(typed) < 60, len(typed)
