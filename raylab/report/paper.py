"""The paper's own figures, quoted, to stand beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean, stdev
from typing import Any

import yaml

from raylab.config import RunConfig
from raylab.config.load import read_preset
from raylab.errors import ConfigError
from raylab.report.study_data import Point, Study

MEASURES = {
    "miou_percent": "mIoU %",
    "annotated_images": "annotated images",
    "selection_seconds": "seconds of the selection",
}
_PROTOCOL = ("regions", "model", "training", "scoring")
"""Sections of a run's configuration whose every field has to be the paper's."""

_FREE = ("scoring.batch_size", "training.checkpoint_every", "training.channels_last")
"""Fields of them that change nothing beyond rounding."""


@dataclass(frozen=True)
class Quote:
    """One value that the paper prints.

    Attributes:
        table: "Table I" ... "Table V".
        row: as printed.
        column: as printed.
        strategy: raylab's label, or the paper's name of a method that raylab does not have.
        data: name of the data set, as in `DataConfig`.
        budget: labelled regions.
        measure: a key of `MEASURES`.
        value: in the unit that the measure names: the mean over `runs`.
        std: the standard deviation over them, in the same unit.
        runs: how many.
        percent: the budget in percent of the pixels, where the table prints it.
    """

    table: str
    row: str
    column: str
    strategy: str
    data: str
    budget: int
    measure: str
    value: float
    std: float
    runs: int
    percent: float | None = None

    @property
    def preset(self) -> str:
        """The preset with the paper's settings of the experiment."""
        return "cityscapes-fpn" if self.table == "Table I" else self.data


@dataclass(frozen=True)
class Cell:
    """A value that the paper prints, and ours.

    Attributes:
        quote: the paper's.
        ours: one value a seed of the same data set, strategy and budget, in the same unit; empty where there is none.
        differs: what is not the paper's in the runs that ours come from: fields of their configuration.
    """

    quote: Quote
    ours: tuple[float, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean of ours."""
        return fmean(self.ours) if self.ours else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation of ours; None with fewer than two seeds."""
        return stdev(self.ours) if len(self.ours) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, where the two can be compared."""
        return self.mean - self.quote.value if self.mean is not None and not self.differs else None


@dataclass(frozen=True)
class Share:
    """What part of the fully supervised mIoU the paper reaches, and ours.

    Attributes:
        quoted: as the paper says it: "95 %".
        strategy: that reaches it.
        budget: labelled regions.
        percent: of the pixels.
        where: the paper says so.
        ours: percent of the study's own bound at the same budget; None where it has none.
    """

    quoted: str
    strategy: str
    budget: int
    percent: float
    where: str
    ours: float | None


@dataclass(frozen=True)
class Beside:
    """What the page shows for one table or figure of the paper.

    Attributes:
        name: "Table II", "Fig. 5".
        about: its subject; empty where it is not known here.
        cells: quoted values with ours; a figure has none.
        shares: of the fully supervised mIoU, on the study's data set.
    """

    name: str
    about: str
    cells: tuple[Cell, ...]
    shares: tuple[Share, ...]


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
    """The values that the paper prints in one of its tables.

    Args:
        number: "I" ... "V".

    Raises:
        ConfigError: the paper has no such table.

    Example:
        >>> [cell.value for cell in paper_table("I") if cell.strategy == "entropy+spatial"]
        [64.28]
    """
    tables, name = _content()["tables"], f"Table {number}"
    if name not in tables:
        raise ConfigError(f"paper: it has no {name!r}; choose {', '.join(tables)}")
    return [Quote(table=name, **row) for row in tables[name]["rows"]]


def beside(study: Study, name: str) -> Beside:
    """A table or figure of the paper beside a study.

    Args:
        study: as read.
        name: "Table II", "Fig. 5"; a figure has no printed values.

    Raises:
        ConfigError: the paper has no such table.
    """
    shares = tuple(_shares(study))
    if not name.startswith("Table "):
        return Beside(name, "", (), shares)
    quotes = paper_table(name.removeprefix("Table "))
    return Beside(name, _content()["tables"][name]["about"], tuple(_cell(study, quote) for quote in quotes), shares)


def _shares(study: Study) -> Iterator[Share]:
    for row in _content()["shares"]:
        if row["data"] == study.config.run.data.name:
            found = _at(study, row["strategy"], row["budget"])
            ours = 100 * fmean(p.miou for _, p in found) / study.bound if found and study.bound else None
            yield Share(row["share"], row["strategy"], row["budget"], row["percent"], row["where"], ours)


def _cell(study: Study, quote: Quote) -> Cell:
    if study.config.run.data.name != quote.data:
        return Cell(quote)
    found = _at(study, quote.strategy, quote.budget)
    protocol = read_preset(RunConfig, quote.preset)
    differs = dict.fromkeys(name for config, _ in found for name in _differing(config, protocol))
    return Cell(quote, tuple(_measured(point, quote.measure) for _, point in found), tuple(differs))


def _at(study: Study, strategy: str, budget: int) -> list[tuple[RunConfig, Point]]:
    return [
        (run.config, point)
        for run in study.runs
        if run.strategy == strategy
        for point in run.points
        if point.labelled_regions == budget
    ]


def _differing(run: RunConfig, protocol: RunConfig) -> Iterator[str]:
    if run.pretraining.iterations != protocol.pretraining.iterations:
        yield "pretraining"
    rounds = protocol.budget.rounds[: len(run.budget.rounds)]
    if run.budget != protocol.budget.model_copy(update={"rounds": rounds}):
        yield "budget"
    for section in _PROTOCOL:
        ours, papers = (getattr(one, section).model_dump() for one in (run, protocol))
        names = (f"{section}.{field}" for field in ours if ours[field] != papers[field])
        yield from (name for name in names if name not in _FREE)


def _measured(point: Point, measure: str) -> float:
    if measure == "annotated_images":
        return point.annotated_images
    return point.seconds["select"] if measure == "selection_seconds" else 100 * point.miou
