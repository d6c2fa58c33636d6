"""From configurations to reports: runs studies, writes their reports and says where everything lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from raylab.config import StudyConfig
from raylab.config.load import absolute_paths
from raylab.errors import ConfigError, RaylabError, StoreError
from raylab.tracking.address import tracking_uri


def launch(configs: Sequence[StudyConfig], plan: bool = False, resume: bool = False) -> None:
    """Run studies, write their reports and say where everything lies; or only say what they would cost.

    Args:
        configs: of the studies; what they have in common is computed once.
        plan: only print the plan.
        resume: refuse to begin a study.

    Raises:
        RaylabError: a mistake in the configuration, or runs that failed; the others are in the reports.
    """
    from raylab.files import Folder
    from raylab.study import RunFailedError, plan_studies, run_studies

    _refuse_relative(configs[0].run.storage)
    configs = [_absolute(config) for config in configs]
    if plan:
        print("\n".join(plan_studies(configs).lines()))
        return
    if resume:
        _refuse_new(Folder(configs[0].run.storage, create=False), configs)
    failure: RunFailedError | None = None
    try:
        uploader = run_studies(configs, say=lambda line: print(line, flush=True))
    except RunFailedError as error:
        failure, uploader = error, error.uploader
    try:
        _report(configs, uploader)
    except RaylabError as error:
        if failure is None:
            raise
        print("No report:", error)
    if failure:
        raise failure


def _report(configs: Sequence[StudyConfig], uploader: Any) -> None:
    from raylab.files import Folder
    from raylab.report import format_table, read_study, write_report
    from raylab.tracking import ui_command

    store = Folder(configs[0].run.storage)
    command = ui_command(uploader.uri)
    for config in configs:
        page = write_report(store, config.name, command, config.paper)
        uploader.log_report(store, config.name)
        print(f"\n{format_table(read_study(store, config.name))}\n")
        print("Report: ", page)
    print("Results:", store.uri)
    print("MLflow: ", command)


def _absolute(config: StudyConfig) -> StudyConfig:
    """The study with every local path made absolute, that of MLflow's database too."""
    config = absolute_paths(config)
    if config.run.tracking is None:
        return config
    run = config.run.model_copy(update={"tracking": tracking_uri(config.run.tracking)})
    return config.model_copy(update={"run": run})


def _refuse_relative(storage: str) -> None:
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not ("://" in storage or os.path.isabs(storage)):
        raise ConfigError(
            f"storage: {storage!r} is relative to the job's working directory, which Ray deletes; "
            "give an absolute folder or a URI"
        )


def _refuse_new(store: Any, configs: Sequence[StudyConfig]) -> None:
    from raylab.runs.studies import study_path

    for config in configs:
        if not store.exists(study_path(config.name)):
            raise StoreError(
                f"--resume: {store.uri_of(study_path(config.name))} is missing, so there is no study {config.name!r} "
                "to go on with; correct --storage, or leave --resume out to begin it"
            )
