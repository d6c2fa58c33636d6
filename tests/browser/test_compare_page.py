"""MLflow's own page that compares the runs of a study, served by a real MLflow server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from raylab.files import Folder
from raylab.tracking import catch_up
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG, write_study
from tests.tracking.mlflow_runs import EXPERIMENT, runs_of
from tests.tracking.server import MlflowServer

# MLflow's interface asks who is logged in; a server without accounts has no such page.
_WITHOUT_ACCOUNTS = "/ajax-api/2.0/mlflow/users/current"


@pytest.fixture
def server(browser: Any, tmp_path: Path) -> Iterator[MlflowServer]:
    """Of a database that holds a study, as raylab wrote it; after `browser`, so that a skip costs nothing."""
    store = Folder(str(tmp_path))
    catch_up(store, [resolved_study(write_study(store))], f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    server = MlflowServer(tmp_path, tmp_path / "mlflow.db")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def test_curves_over_the_labelled_regions(server: MlflowServer, visit: Any) -> None:
    found = runs_of(server.address)
    runs = [found[run.label] for run in resolved_runs(CONFIG)]
    query = {
        "runs": json.dumps([run.info.run_id for run in runs]),
        "experiments": json.dumps([runs[0].info.experiment_id]),
        "metric": '"miou"',
        "plot_metric_keys": '["miou"]',
        "x_axis": "step",
    }
    visit.page.goto(f"{server.address}/#/metric?{urlencode(query)}")
    visit.page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for(state="attached")

    traces = visit.page.evaluate("document.querySelector('.js-plotly-plot').data.map(t => [t.name, t.x, t.y, t.mode])")
    curves = {name: (x, y) for name, x, y, mode in traces if "lines" in mode}
    assert len(curves) == len(runs)
    for run in runs:
        (curve,) = (xy for name, xy in curves.items() if run.info.run_name in name)
        assert curve[0] == [20, 40, 80]
        assert curve[1][-1] == pytest.approx(run.data.metrics["miou"])
    for run in runs:
        assert visit.page.get_by_text(run.info.run_name).count() > 0

    assert visit.elsewhere == []
    refused = [address for address in visit.refused if not address.endswith(_WITHOUT_ACCOUNTS)]
    assert refused == []
    assert len(visit.errors) == len(visit.refused), visit.errors
