from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from raylab.acquisition import STRATEGIES
from raylab.config import RunConfig
from raylab.errors import ConfigError
from raylab.files import Folder
from raylab.report import paper_table
from raylab.report.paper import MEASURES, beside, citation
from raylab.report.study_data import read_study
from tests.report.study_on_disk import write_study


def test_table_v_is_quoted_with_its_place() -> None:
    values = {(quote.strategy, quote.budget): quote for quote in paper_table("V")}
    assert values["entropy+feature", 32_000].value == 6350
    assert values["entropy+spatial", 32_000].value == 322
    assert values["entropy+spatial", 32_000].row == "32k"
    assert "10.1109/TIP.2021.3120041" in citation()


@pytest.mark.parametrize("number", ["I", "II", "III", "IV", "V"])
def test_every_quote_says_where_it_stands_and_what_it_measures(number: str) -> None:
    for quote in paper_table(number):
        assert quote.table == f"Table {number}"
        assert quote.measure in MEASURES
        assert quote.row
        assert quote.column
        assert quote.strategy in STRATEGIES or quote.strategy.isupper()


def test_a_table_that_the_paper_lacks() -> None:
    with pytest.raises(ConfigError, match="choose Table I, Table II"):
        paper_table("VI")


def test_ours_stands_beside_a_quote_only_where_it_is_the_same(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    write_study(store)
    study = read_study(store, "small")
    assert [ours for _, ours in beside(study, "Table V").rows] == [None, None]
    assert beside(study, "Fig. 5").rows == ()

    def on_cityscapes(config: RunConfig) -> RunConfig:
        return config.model_copy(update={"data": config.data.model_copy(update={"name": "cityscapes"})})

    runs = tuple(
        replace(run, points=tuple(replace(p, labelled_regions=p.labelled_regions * 400) for p in run.points))
        for run in study.runs
    )
    same = replace(study, config=study.config.model_copy(update={"run": on_cityscapes(study.config.run)}), runs=runs)
    ours = {quote.strategy: value for quote, value in beside(same, "Table V").rows}
    # 80 * 400 regions are the paper's 32k; the study has no entropy+feature.
    assert ours == {"entropy+feature": None, "entropy+spatial": 2.5}
