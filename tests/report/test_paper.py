from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raylab.acquisition import strategy
from raylab.config import RegionConfig, RunConfig
from raylab.config.load import read_preset
from raylab.errors import ConfigError
from raylab.files import Folder
from raylab.report import paper_table
from raylab.report.paper import MEASURES, beside, citation
from raylab.report.study_data import RunResult, Study, read_study
from tests.report.study_on_disk import write_study


def test_the_papers_tables_are_whole() -> None:
    cells = {number: len(paper_table(number)) for number in ("I", "II", "III", "IV", "V")}
    assert cells == {"I": 5, "II": 20, "III": 20, "IV": 20, "V": 15}
    values = {(quote.strategy, quote.budget): quote for quote in paper_table("V")}
    assert values["entropy+feature", 32_000].value == 6350
    assert values["entropy+spatial", 32_000].std == 12
    # Section V-G's "20x faster" holds from 4k on; at 2k it is 12 times.
    ratios = [values["entropy+feature", n].value / values["entropy+spatial", n].value for n in (2000, 4000, 32_000)]
    assert [round(ratio) for ratio in ratios] == [12, 20, 20]
    assert "10.1109/TIP.2021.3120041" in citation()


@pytest.mark.parametrize("number", ["I", "II", "III", "IV", "V"])
def test_every_quote_says_where_it_stands_and_what_it_measures(number: str) -> None:
    for quote in paper_table(number):
        assert quote.table == f"Table {number}"
        assert quote.measure in MEASURES
        assert quote.row
        assert quote.column
        assert quote.strategy == "RAL" or strategy(quote.strategy)


def test_a_table_that_the_paper_lacks() -> None:
    with pytest.raises(ConfigError, match="choose Table I, Table II"):
        paper_table("VI")


def on(study: Study, preset: str, **changes: Any) -> Study:
    """A study as if its runs had had a preset's configuration, and the paper's budgets."""
    config = read_preset(RunConfig, preset).model_copy(update=changes)

    def moved(run: RunResult) -> RunResult:
        # 20, 40 and 80 regions are 8k, 16k and 32k.
        points = tuple(replace(point, labelled_regions=point.labelled_regions * 400) for point in run.points)
        label = run.run.label.replace("-N16-", f"-N{config.regions.size}-")
        return replace(run, run=replace(run.run, config=config, label=label), points=points)

    return replace(
        study,
        config=study.config.model_copy(update={"run": config}),
        runs=tuple(moved(run) for run in study.runs),
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Study:
    store = Folder(str(tmp_path_factory.mktemp("study")))
    write_study(store)
    return read_study(store, "small")


def test_nothing_of_another_data_set_stands_beside_the_paper(small: Study) -> None:
    seen = beside(small, "Table V")
    assert [cell.ours for cell in seen.cells] == [()] * 15
    assert seen.shares == ()
    assert beside(small, "Fig. 5").cells == ()


def test_a_cell_is_compared_where_all_is_the_papers(small: Study) -> None:
    found = beside(on(small, "cityscapes"), "Table V").cells
    cells = {(cell.quote.strategy, cell.quote.budget): cell for cell in found}
    cell = cells["entropy+spatial", 32_000]
    assert cell.mean == 2.5
    assert cell.std == 0
    assert cell.differs == ()
    assert cell.difference == 2.5 - 322
    assert cells["entropy+feature", 32_000].ours == ()
    assert cells["entropy+spatial", 2000].difference is None


def test_what_differs_is_named_and_nothing_is_compared(small: Study) -> None:
    paper = read_preset(RunConfig, "cityscapes")
    model = paper.model.model_copy(update={"backbone": "resnet50"})
    scoring = paper.scoring.model_copy(update={"batch_size": 1})
    other = on(small, "cityscapes", model=model, scoring=scoring, regions=RegionConfig(size=64))
    (cell,) = (c for c in beside(other, "Table II").cells if c.ours and c.quote.budget == 32_000)
    assert cell.differs == ("regions.size", "model.backbone")
    assert cell.mean is not None
    assert cell.difference is None


def test_the_shares_of_the_bound_are_those_of_the_data_set(small: Study) -> None:
    shares = {share.strategy: share for share in beside(on(small, "voc2012"), "Fig. 2").shares}
    share = shares["entropy+spatial"]
    assert (share.quoted, share.budget, share.percent) == ("95 %", 16_000, 5.88)
    assert share.ours is not None
    assert shares["entropy+spatial+feature"].ours is None
    assert {s.budget for s in beside(on(small, "cityscapes"), "Fig. 2").shares} == {32_000}
