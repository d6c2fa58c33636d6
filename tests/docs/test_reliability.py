"""The page on reliability shows the table of what the fault tests left."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.table import PAGE, ROWS, Row, table, with_table

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_rows_of_tests_that_passed() -> None:
    rows = json.loads(ROWS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, rows) == page
    assert not [name for name, found in rows.items() for row in found if not row["holds"]]
    assert not [name for name in rows if not (ROOT / name.partition("::")[0]).exists()]


def test_rows_of_one_fault_are_one_line() -> None:
    one = {"fault": "a bit flips", "promise": "told", "done": {"flips": 900}, "again": None}
    rows = {
        "b.py::y": [one | {"seen": {"told": 100}}, one | {"fault": "a disk is full", "again": 1}],
        "b.py::x": [one | {"seen": {"told": 1000, "silent": 0}}],
        "a.py::z": [one | {"fault": "a kill", "holds": False}],
    }
    lines = table(rows).splitlines()[2:]
    assert lines == [
        "| a kill | told | 900 flips | **broken** |  | `a.py` |",
        "| a bit flips | told | 1,800 flips | 1,100 told, 0 silent |  | `b.py` |",
        "| a disk is full | told | 900 flips |  | 1 | `b.py` |",
    ]
    assert Row("a", "b").holds
