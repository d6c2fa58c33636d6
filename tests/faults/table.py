"""The table of docs/reliability.md, made by the tests themselves: a plugin of pytest that `make faults` loads.

A test says by the fixture `record_fault` what it did and saw. When pytest ends, the rows of the tests that ran take the
place of those they left last time in docs/reliability.json, and the table is written from all of them; a test that
failed is in it as broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROWS, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
PROPERTY = "fault"
_SECTION = re.compile(r"(?<=<!-- made by make faults -->\n).*(?=<!-- end of what make faults made -->)", re.DOTALL)
_HEAD = ("fault", "promise", "what was done", "what was seen", "steps done again", "test")


@dataclass(frozen=True)
class Row:
    """What a test did and saw; rows of one fault and promise are added up.

    Attributes:
        fault: what happens to the system.
        promise: what holds all the same.
        done: how often what was done.
        seen: how often what was seen.
        again: steps of a run that were computed although they had been begun before; None where that is no question.
        holds: whether the test passed.
    """

    fault: str
    promise: str
    done: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    again: int | None = None
    holds: bool = True


class Plugin:
    """Collects the rows of a session of pytest, and writes them at its end."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.rows: dict[str, list[dict[str, Any]]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        self.there = {item.nodeid for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            failed = Row(f"`{report.nodeid.rpartition('::')[2]}`", "see the test", holds=False)
            self.rows[report.nodeid] = [asdict(failed)]
        elif found := [value for name, value in report.user_properties if name == PROPERTY]:
            self.rows[report.nodeid] = [asdict(row) for row in found]  # type: ignore[call-overload]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        kept = read()
        modules = {name.partition("::")[0] for name in self.there}
        # Of a module that only some tests of were asked for, nobody has looked whether the others are still there.
        modules -= {Path(one.partition("::")[0]).as_posix() for one in session.config.args if "::" in one}
        kept = {
            name: rows for name, rows in kept.items() if name in self.there or name.partition("::")[0] not in modules
        }
        write(kept | self.rows)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Plugin(), "raylab fault table")


def read() -> dict[str, list[dict[str, Any]]]:
    """The rows that were left, by the test that left them."""
    return json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}


def write(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Put rows in the place of all that were left, and into the table."""
    rows = dict(sorted(rows.items()))
    ROWS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def with_table(page: str, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The page with the table of some rows, by the test that left them."""
    assert _SECTION.search(page), f"{PAGE} has no section for the table"
    return _SECTION.sub(lambda _: table(rows), page)


def table(rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The rows in Markdown, in the order of their tests; those of one fault and promise are one line."""
    merged: dict[tuple[str, str, str], Row] = {}
    for test in sorted(rows):
        for row in (Row(**values) for values in rows[test]):
            key = row.fault, row.promise, test.partition("::")[0]
            merged[key] = _added(merged[key], row) if key in merged else row
    lines = [f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
    for (fault, promise, module), row in merged.items():
        seen = _counted(row.seen) if row.holds else "**broken**"
        again = "" if row.again is None else f"{row.again:,}"
        lines.append(f"| {fault} | {promise} | {_counted(row.done)} | {seen} | {again} | `{module}` |")
    return "\n".join(lines) + "\n"


def _added(one: Row, other: Row) -> Row:
    def both(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {name: a.get(name, 0) + b.get(name, 0) for name in (*a, *(name for name in b if name not in a))}

    again = [row.again for row in (one, other) if row.again is not None]
    return Row(
        one.fault, one.promise, both(one.done, other.done), both(one.seen, other.seen),
        sum(again) if again else None, one.holds and other.holds,
    )  # fmt: skip


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
