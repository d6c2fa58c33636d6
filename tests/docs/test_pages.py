"""Files and functions that the pages name are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_layout import LAYERS

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "cluster/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PATH = re.compile(r"`((?:raylab|tests|docs|experiments|benchmarks|cluster)/[\w./-]*)`")


def defined(file: Path) -> set[str]:
    """Names that a module defines or brings, and those of its classes' methods as `Class.method`."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_are_there(page: Path) -> None:
    missing = [path for path in PATH.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert not missing


def test_the_way_of_a_round_names_what_is_there() -> None:
    lines = (ROOT / "docs/architecture.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if "| `" in line]
    assert len(rows) > 20
    for step, files, names in rows:
        there = set().union(*(defined(ROOT / path) for path in PATH.findall(files)))
        missing = set(re.findall(r"`([\w.]+)`", names)) - there
        assert not missing, f"{step.strip()}: {files.strip()} has no {', '.join(missing)}"


def test_contributing_gives_the_order_of_the_packages() -> None:
    (order,) = re.findall(r"^  (`errors`, .*?)\.\n", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", order)) == LAYERS


def test_every_example_is_shown() -> None:
    shown = re.findall(r'^--8<-- "(docs/examples/.*)"$', "".join(page.read_text() for page in PAGES), re.MULTILINE)
    assert sorted(shown) == sorted(f"docs/examples/{file.name}" for file in (ROOT / "docs/examples").glob("*.*"))
