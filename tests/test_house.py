"""The house: imports run one way, nothing private is taken from another file, energies are asked and not classified."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "mepmeta"
FILES = sorted(ROOT.rglob("*.py"))
#: Longest module; more only where most of it is the documentation of public calls.
LINES = 300
NAMES = [".".join(("mepmeta", *file.relative_to(ROOT).with_suffix("").parts)) for file in FILES]


@cache
def tree(file):
    return ast.parse(file.read_text())


def imported(file):
    """Modules of this package that a module imports, with the names it takes from each."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mepmeta":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner, None) if inner in NAMES else (node.module, alias.name)


def test_imports_run_one_way():
    arrows = {name: {to for to, _ in imported(file)} for name, file in zip(NAMES, FILES, strict=True)}
    assert sum(map(len, arrows.values())) > 50
    while arrows:
        free = [name for name, to in arrows.items() if not to & arrows.keys()]
        assert free, f"a circle among {sorted(arrows)}"
        for name in free:
            del arrows[name]


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_module_takes_nothing_private_and_is_short(file):
    private = [name for _, name in imported(file) if name and name.startswith("_") and not name.startswith("__")]
    assert not private
    code = len(file.read_text().splitlines())
    docs = sum(
        len(ast.get_docstring(node, clean=False).splitlines())
        for node in ast.walk(tree(file))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
    )
    assert code - docs <= 250 and code <= LINES + docs


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_energies_are_asked_and_not_classified(file):
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            assert "Heisenberg" not in ast.unparse(node.args[1])
