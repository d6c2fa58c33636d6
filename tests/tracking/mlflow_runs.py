"""What the tests ask MLflow, and the study that they ask about."""

from __future__ import annotations

from typing import Any

from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.runs.studies import begin_study
from raylab.tracking.client import Client
from raylab.tracking.payload import code_tags
from raylab.tracking.sync import MlflowSync
from tests.configs import resolved_runs, resolved_study
from tests.report.study_on_disk import CONFIG

SMALL = CONFIG.model_copy(update={"strategies": ("random", "entropy"), "seeds": (0,)})
UNBOUNDED = SMALL.model_copy(update={"supervised": False})
EXPERIMENT = "tests"


def sender(uri: str) -> MlflowSync:
    return MlflowSync(Client(uri, EXPERIMENT))


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs_of(uri: str, experiment: str = EXPERIMENT) -> dict[str, Any]:
    client = client_of(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert len(runs) == len(found), "a run was made twice"
    return runs


def points(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client_of(uri).get_metric_history(run.info.run_id, metric)]


def files(uri: str, run: Any, folder: str | None = None) -> set[str]:
    return {file.path for file in client_of(uri).list_artifacts(run.info.run_id, folder)}


def everything(uri: str, experiment: str) -> dict[str, Any]:
    """What two addresses that were sent the same study have alike: every run with every value and file."""
    found = {}
    for name, run in runs_of(uri, experiment).items():
        histories = {metric: client_of(uri).get_metric_history(run.info.run_id, metric) for metric in run.data.metrics}
        values = {metric: [(m.step, m.timestamp, m.value) for m in all_of] for metric, all_of in histories.items()}
        tags = {tag: value for tag, value in run.data.tags.items() if tag.startswith("raylab.")}
        tags = {tag: value for tag, value in tags.items() if tag not in code_tags()}
        found[name] = run.info.status, run.data.params, tags, values, files(uri, run), files(uri, run, "report")
    return found


def begin(store: Folder, config: StudyConfig) -> None:
    begin_study(store, resolved_study(config))


def check_finished(uri: str, config: StudyConfig, experiment: str = EXPERIMENT) -> None:
    """A child a run under one parent, every point once."""
    runs = runs_of(uri, experiment)
    parent = runs[config.name]
    for run in resolved_runs(config):
        child = runs[run.label]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        assert [step for step, _ in points(uri, child, "miou")] == [20, 40, 80]
    assert parent.info.status == "FINISHED"
