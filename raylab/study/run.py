"""Runs studies: what their runs share, then the runs; this process alone writes to MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raylab.config import StudyConfig
from raylab.errors import ConfigError
from raylab.files import Folder
from raylab.runs import ResolvedStudy, resolve_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import check_same_study, left_out
from raylab.runs.surveys import survey_of
from raylab.study.base import Watcher
from raylab.study.checks import check_study
from raylab.study.console import SlowReading
from raylab.tracking import MlflowUploader, experiment_for, tracking_for


def run_study(config: StudyConfig, say: Callable[[str], None] = print) -> MlflowUploader:
    """`run_studies` of one."""
    return run_studies([config], say)


def run_studies(configs: Sequence[StudyConfig], say: Callable[[str], None] = print) -> MlflowUploader:
    """Run every run of some studies that is not finished yet, and send them to MLflow; common work is done once.

    Args:
        configs: of the studies, local paths absolute, since workers run in other folders; one storage root, MLflow and
            backend for all.
        say: takes a line for the person who waits.

    Returns:
        The uploader, for the reports' pictures.

    Raises:
        RaylabError: a mistake found before anything was started (see `resolve_studies`), or `RunFailedError`, once all
            that could be done is done.
    """
    return run_resolved(resolve_studies(configs, say), say)


def resolve_studies(configs: Sequence[StudyConfig], say: Callable[[str], None] = print) -> list[ResolvedStudy]:
    """Find every mistake that can be found now, read what runs read, and say what the studies' runs are.

    Args:
        configs: of the studies, as `run_studies` takes them.
        say: takes a line for the person who waits.

    Raises:
        RaylabError: as `check_study`; or a `MismatchError` where another study lies under the name.
    """
    if len({config.run.compute.backend for config in configs}) > 1:
        raise ConfigError("compute.backend: studies that run together take the same; give ray or local to all of them")
    for line in dict.fromkeys(f"weights: {check_study(config)}" for config in configs):
        say(line)
    first = configs[0].run
    tracking_for(first.tracking, Folder(first.storage, create=False))  # which refuses some roots, before one is made
    store = Folder(first.storage)
    _look_at_data(configs, store, say)
    studies = [
        resolve_study(config, read_inputs(config.run, store, SlowReading(config.run.data.name, say)))
        for config in configs
    ]
    for study in studies:
        check_same_study(store, study)
        if gone := left_out(store, study):
            say(
                f"{study.name}: runs of {', '.join(gone)} are not among those that are asked for now; what they have "
                "committed stays, and is in the report again once they are named again"
            )
    return studies


def _look_at_data(configs: Sequence[StudyConfig], store: Folder, say: Callable[[str], None]) -> None:
    """Say what each data set holds, once.

    Raises:
        DataError: files that do not fit, or questions that its owner must answer.
    """
    used = [data for config in configs for data in config.run.datasets]
    for data in {(data.name, data.root, data.train_list): data for data in used}.values():
        if survey := survey_of(data, store, SlowReading(data.name, say)):
            for line in [*survey.lines(), *(f"note: {line}" for line in survey.warnings)]:
                say(line)


def run_resolved(studies: Sequence[ResolvedStudy], say: Callable[[str], None] = print) -> MlflowUploader:
    """`run_studies` of what `resolve_studies` gave."""
    first = studies[0].config.run
    store = Folder(first.storage)
    uploader = MlflowUploader(tracking_for(first.tracking, store), experiment_for(first.experiment), say)
    store.claim()
    watcher = Watcher(studies, store, uploader, say)
    if first.compute.backend == "local":
        from raylab.study.local import run_tasks
    else:
        from raylab.study.driver import run_tasks
    run_tasks(watcher)
    return uploader
