"""The pages of the book and their reference notebooks belong together: same cells, every one executed without error."""

import re
from ast import literal_eval
from collections import Counter
from functools import cache
from pathlib import Path
from string import Formatter

import jupytext
import nbformat
import pytest
import yaml
from printed import Printed
from reference import NOTEBOOKS, ROOT, executable_pages

import mepmeta

HOW = "run: make reference"
#: Widest line of code on a page.
COLUMNS = 84


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


@pytest.mark.parametrize("page", executable_pages(), ids=lambda page: page.stem)
def test_code_is_narrow_enough_to_be_shown_whole(page):
    """A cell shows this many columns at a desk; what is longer is cut off."""
    parts = jupytext.read(page).cells
    code = [cell.source for cell in parts if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in parts if cell.cell_type == "markdown")
    code += re.findall(r"^```(?:python|sh|text)\n(.*?)^```", text, re.M | re.S)  # what is shown and not run
    assert [line for source in code for line in source.splitlines() if len(line) > COLUMNS] == []


def test_every_reference_is_cited_and_every_citation_is_a_reference():
    known = re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(), re.M)
    texts = [path.read_text() for path in [*ROOT.glob("book/*.md"), *ROOT.glob("mepmeta/**/*.py")]]
    cited = re.findall(r"(?:\{cite:\w\}|:cite:\w:)`([^`]+)`", "\n".join(texts))
    assert {key.strip() for keys in cited for key in keys.split(",")} == set(known)
    assert len(known) == len(set(known))


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


def test_every_claim_is_said_in_full():
    words = yaml.safe_load((ROOT / "book/_data/claims.yml").read_text())
    needed = {"section", "quote", "place", "number", "test", "page"}
    for key, row in words["claims"].items():
        assert needed <= row.keys() <= needed | {"kind", "reading", "readings", "varies"}, key
        assert row["section"] in words["sections"] and (ROOT / "book" / f"{row['page']}.md").exists(), key
        assert row.get("kind", "implied") in ("misprint", "implied"), key
        assert len({"kind", "reading", "readings"} & row.keys()) < 2, key
        assert not set("|\n") & set("".join(str(row[name]) for name in needed)), f"{key}: no place in a table"


@pytest.fixture
def judge():
    """The part of the page that joins words and numbers, with two rows of its own."""
    page = jupytext.read(ROOT / "book" / "claims.md")
    names = {"re": re, "yaml": yaml, "Path": Path, "Formatter": Formatter, "mm": mepmeta}
    exec(next(cell.source for cell in page.cells if "def claim(" in cell.source), names)
    names["words"]["claims"] = {
        "one": {"number": "{x:.1f}, {y[a]:below 1e-8}, {rates.low} %"},
        "several": {"number": "{x:.1f}", "readings": {"a": "the first", "b": "the second"}},
        "counts": {"number": "{x:.1f}", "readings": "with {fits} images"},
    }
    return names


def test_words_and_numbers_of_a_claim_make_its_row(judge):
    judge["claim"]("one", True, x=1.23, y={"a": 1e-12})
    judge["claim"]("several", {"a": False, "b": True}, x=2.0)
    judge["claim"]("counts", {8: True, 11: True, 14: False}, x=3.0)
    assert judge["numbers"]["one"] == "1.2, below 1e-08, {glue:text}`rates.md::low:s` %"
    read = "reproduced, read as "
    assert [*judge["verdicts"].values()] == ["reproduced", f"{read}the second", f"{read}with 8, 11 images"]
    judge["claim"]("several", {"a": False, "b": False}, x=2.0)
    judge["claim"]("counts", {8: True, 11: True}, x=3.0)
    assert [*judge["verdicts"].values()][1:] == ["not reproduced", "reproduced"]


@pytest.mark.parametrize(
    "key, holds, values",
    [
        ("one", True, {"x": 1.0}),  # a number is missing
        ("one", True, {"x": 1.0, "y": {"a": 1.0}, "z": 1.0}),  # or left over
        ("one", True, {"x": 1.0, "y": {"a": 1.0, "b": 1.0}}),
        ("one", {"a": True}, {"x": 1.0, "y": {"a": 1.0}}),  # readings without words
        ("several", True, {"x": 1.0}),  # words without readings
        ("several", {"a": True, "c": False}, {"x": 1.0}),
    ],
)
def test_a_claim_whose_words_and_numbers_do_not_match_is_refused(judge, key, holds, values):
    with pytest.raises(ValueError, match=key if isinstance(holds, dict) or key == "several" else "names"):
        judge["claim"](key, holds, **values)


@pytest.mark.parametrize(
    "ours, theirs, same",
    [
        ("rate -0.83 (0.2)", "rate -0.84 (0.2)", True),  # either side of -0.835
        ("rate -0.83 (0.2)", "rate -0.85 (0.2)", False),
        ("9.99", "10.0", True),
        ("1.05e-06", "1.04e-06", True),
        ("1e-06", "3e-06", False),
        ("12 paths of 13", "12 paths of 14", False),
        ("reproduced: 1.0", "not reproduced: 1.0", False),
        ("0.5", "-0.5", False),
        ("0.00", "-0.00", True),
        ("0.5 0.5", "0.5", False),
    ],
)
def test_printed_numbers_may_be_off_by_one_in_their_last_digit(ours, theirs, same):
    assert (Printed(ours) == theirs) is same
    assert (Printed(theirs) != ours) is not same


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
