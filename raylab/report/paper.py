"""The paper's own figures, quoted, to stand beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

import yaml

from raylab.errors import ConfigError
from raylab.report.study_data import Point, Study

MEASURES = {
    "miou_percent": "mIoU %",
    "annotated_images": "annotated images",
    "selection_seconds": "seconds of the selection",
}


@dataclass(frozen=True)
class Quote:
    """One value that the paper prints.

    Attributes:
        table: "Table I" ... "Table V".
        row: as printed.
        column: as printed.
        strategy: raylab's label, or the paper's name of a method that raylab does not have.
        data: name of the data set, as in `DataConfig`.
        budget: labelled regions; None where the paper names none.
        measure: a key of `MEASURES`.
        value: in the unit that the measure names.
    """

    table: str
    row: str
    column: str
    strategy: str
    data: str
    budget: int | None
    measure: str
    value: float


@dataclass(frozen=True)
class Beside:
    """What the page shows for one table or figure of the paper.

    Attributes:
        name: "Table II", "Fig. 5".
        about: its subject; empty where it is not known here.
        rows: quoted values, each with ours where strategy, data, budget and measure are the same, else None.
    """

    name: str
    about: str
    rows: tuple[tuple[Quote, float | None], ...]


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(files("raylab.report").joinpath("paper.yaml").read_text("utf-8"))
    return content


def citation() -> str:
    """The paper, as one line."""
    source = _content()["source"]
    return f"{source['citation']}; doi {source['doi']}, arXiv {source['arxiv']}"


def claim() -> str:
    """What the paper's abstract says of the budget it takes to reach 95 %, quoted."""
    return str(_content()["claim"]["text"])


def paper_table(number: str) -> list[Quote]:
    """The values that the paper prints in one of its tables, as far as they are known here.

    Args:
        number: "I" ... "V".

    Returns:
        Empty where no value of the table is known.

    Raises:
        ConfigError: the paper has no such table.
    """
    tables, name = _content()["tables"], f"Table {number}"
    if name not in tables:
        raise ConfigError(f"paper: it has no {name!r}; choose {', '.join(tables)}")
    return [Quote(table=name, **{"budget": None, **row}) for row in tables[name]["rows"]]


def beside(study: Study, name: str) -> Beside:
    """A table or figure of the paper beside a study.

    Args:
        study: as read.
        name: "Table II", "Fig. 5"; a figure has no printed values.

    Raises:
        ConfigError: the paper has no such table.
    """
    if not name.startswith("Table "):
        return Beside(name, "", ())
    quotes = paper_table(name.removeprefix("Table "))
    return Beside(name, _content()["tables"][name]["about"], tuple((quote, _ours(study, quote)) for quote in quotes))


def _ours(study: Study, quote: Quote) -> float | None:
    if study.config.run.data.name != quote.data:
        return None
    points = [
        point
        for run in study.runs
        if run.strategy == quote.strategy
        for point in run.points
        if point.labelled_regions == quote.budget
    ]
    return fmean(_measured(point, quote.measure) for point in points) if points else None


def _measured(point: Point, measure: str) -> float:
    if measure == "annotated_images":
        return point.annotated_images
    return point.seconds["select"] if measure == "selection_seconds" else 100 * point.miou
