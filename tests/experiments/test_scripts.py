"""Every script of the paper: its grid by --plan, and --smoke through Ray to the report, common runs computed once."""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import reproduce_paper
from reproduce_paper import PARTS, ReproducePaper, paper_studies

from raylab.config.options import parse
from raylab.errors import ConfigError, StoreError
from raylab.experiment import Experiment, studies
from raylab.launch import launch
from raylab.report import paper_table
from raylab.study import plan_studies
from tests.experiments.conftest import FOLDER

RUNS = {
    "budget-curves": 2 * 8 * 3,
    "annotated-images": 4 * 3,
    "selected-regions": 6,
    "fixed-budget": 4 * 5,
    "ablation-distance": 2 * 2 * 3,
    "ablation-tau": 2 * 4 * 3,
    "ablation-abc": 2 * 8 * 3,
    "ablation-region-size": 2 * 2 * 3 * 3,
    "ablation-set-function": 2 * 2 * 3,
    "ablation-feature-dim": 2 * 4 * 3,
}
TABLES = {"I": "fixed-budget", "II": "ablation-distance", "III": "ablation-set-function", "IV": "annotated-images"}
"""Of the paper, and the script of each; Table V's figures need no training."""


def studies_of(part: type[Experiment], *args: str) -> Any:
    return studies(part, args, "script", None)


def test_every_script_is_a_part_of_the_paper() -> None:
    scripts = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py")}
    assert scripts == {*PARTS, "reproduce-paper", "selection-runtime"}
    assert set(PARTS) == set(RUNS)
    for name, part in PARTS.items():
        module = importlib.import_module(name.replace("-", "_"))
        assert module.__doc__ is not None
        assert module.__doc__.startswith((part.paper, "Figs.")), name
        assert f"python experiments/{module.__name__}.py" in module.__doc__
        assert "@" not in module.__doc__


def hours_said(part: type[Experiment]) -> float:
    """GPU hours on a script's page."""
    found = re.search(r"Time: .*?about ([\d,]+) GPU hours", sys.modules[part.__module__].__doc__ or "")
    assert found
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize("name", PARTS)
def test_the_plan_is_the_papers_own_grid(name: str) -> None:
    configs = studies_of(PARTS[name])
    plan = plan_studies(configs)
    assert plan.runs == RUNS[name]
    assert plan.nominal
    assert 380_800 in plan.pool_regions.values()
    assert hours_said(PARTS[name]) == pytest.approx(plan.gpu_hours, abs=1)
    text = "\n".join(plan.lines())
    assert all(f"study {config.name}: " in text for config in configs)


@pytest.mark.parametrize("number", TABLES)
def test_every_printed_cell_has_the_run_that_fills_it_and_there_is_no_other(number: str) -> None:
    """As many runs as the cell says, of its strategy, on its data, to its budget; nothing else is in the grid."""
    quotes = [quote for quote in paper_table(number) if quote.strategy != "RAL"]
    cells = {(quote.data, quote.strategy, quote.budget): quote.runs for quote in quotes}
    seen: Counter[tuple[str, str, int]] = Counter()
    for config in studies_of(PARTS[TABLES[number]]):
        assert not config.supervised
        for run in config.runs():
            budgets = tuple(accumulate((run.budget.initial, *run.budget.rounds)))
            # Round 0 is one for all strategies, and in no table.
            asked = [n for n in budgets[1:] if (run.data.name, run.strategy.label, n) in cells]
            assert asked
            assert budgets[-1] == asked[-1], "the last round is in the table"
            seen.update((run.data.name, run.strategy.label, n) for n in asked)
    assert dict(seen) == cells


def test_the_whole_paper_shares_what_its_parts_have_in_common() -> None:
    whole = plan_studies(paper_studies([], parse(ReproducePaper, [], "reproduce_paper.py")))
    parts = [plan_studies(studies_of(part)) for part in PARTS.values()]
    assert hours_said(ReproducePaper) == pytest.approx(whole.gpu_hours, abs=1)
    assert whole.runs < sum(part.runs for part in parts)
    assert whole.trainings < 0.75 * sum(part.trainings for part in parts)
    shown = "\n".join(whole.lines())
    assert "voc2012" in shown


def test_a_data_set_that_is_named_is_not_lost() -> None:
    args = ["--data", "cityscapes", "voc2012"]
    named = paper_studies(args, parse(ReproducePaper, args, "reproduce_paper.py"))
    assert named == paper_studies([], parse(ReproducePaper, [], "reproduce_paper.py"))
    args = ["--data", "voc2012", "camvid", "--root", "/v", "/c"]
    found = paper_studies(args, parse(ReproducePaper, args, "reproduce_paper.py"))
    # Tables I and IV are of Cityscapes alone; a data set that the paper does not have is for every other part.
    assert {config.run.data.name for config in found if config.name.startswith("annotated-images")} == {"camvid"}
    assert not any(config.name.startswith("fixed-budget") for config in found)
    assert {(c.run.data.name, c.run.data.root) for c in found} == {("voc2012", "/v"), ("camvid", "/c")}


def test_options_reach_every_part() -> None:
    args = ["--storage", "s3://b/r", "--seeds", "4", "--root", "/c", "/v", "--gta5", "/g", "--rounds", "2"]
    found = paper_studies(args, parse(ReproducePaper, args, "reproduce_paper.py"))
    assert {config.run.storage for config in found} == {"s3://b/r"}
    assert {config.seeds for config in found} == {(4,)}
    assert {len(config.run.budget.rounds) for config in found} == {2}
    assert {(c.run.data.name, c.run.data.root) for c in found} == {("cityscapes", "/c"), ("voc2012", "/v")}
    (first,) = (config for config in found if config.name.startswith("fixed-budget"))
    assert first.run.pretraining.data.root == "/g"
    on_camvid = studies_of(PARTS["ablation-tau"], "--data", "camvid", "--run.training.iterations", "7")
    assert on_camvid[0].name == "ablation-tau-camvid"
    assert "entropy+spatial,tau=80" in on_camvid[0].strategies
    assert on_camvid[0].run.training.iterations == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "camvit"], "--data: no data set 'camvit'; did you mean 'camvid'"),
        (["--root", "/a"], "--root: 1 folders for the data sets cityscapes, voc2012"),
        (["--seeds", "-1"], "seeds"),
        (["--run.storage", "/a"], "run.storage: has no effect in a study, which takes it from --storage"),
        (["--data"], "--data: name at least one of camvid"),
    ],
)
def test_mistakes_are_named(args: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        studies_of(PARTS["ablation-tau"], *args)


def test_a_part_that_nobody_knows() -> None:
    args = ["--parts", "budget-curve"]
    with pytest.raises(ConfigError, match="did you mean 'budget-curves'"):
        paper_studies(args, parse(ReproducePaper, args, "reproduce_paper.py"))


def test_resume_refuses_to_begin(tmp_path: Path) -> None:
    configs = studies_of(PARTS["ablation-tau"], "--smoke", "--storage", str(tmp_path))
    with pytest.raises(StoreError, match="there is no study 'ablation-tau-smoke' to go on with"):
        launch(configs, resume=True)


def smoke(name: str, storage: Path, *args: str) -> str:
    """Run a script's --smoke to its report; gives what was printed."""
    out = io.StringIO()
    (config,) = studies_of(PARTS[name], "--smoke", "--storage", str(storage), *args)
    with redirect_stdout(out):
        launch([config])
    page = storage / "studies" / config.name / "report" / "index.html"
    assert f"Report:  {page}" in out.getvalue()
    text = page.read_text()
    assert "are not finished" not in text
    assert PARTS[name].paper in text
    return out.getvalue()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_smoke_goes_through_ray_to_the_report(tmp_path: Path) -> None:
    smoke("fixed-budget", tmp_path)


@pytest.mark.slow
def test_after_the_smokes_of_all_parts_nothing_of_the_whole_remains(tmp_path: Path) -> None:
    for name in PARTS:
        smoke(name, tmp_path, "--run.compute.backend", "local")
    args = ["--smoke", "--storage", str(tmp_path)]
    plan = plan_studies(reproduce_paper.paper_studies(args, parse(ReproducePaper, args, "reproduce_paper.py")))
    assert plan.trainings_done == plan.trainings > 30
    assert plan.measured_hours == 0


def test_table_v_needs_no_ray(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "selection_runtime.py", "--smoke", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "entropy+spatial" in done.stdout
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".json", ".png"]
