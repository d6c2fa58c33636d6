"""From configurations to reports: runs studies, writes their reports and says where everything lies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raylab.config import StudyConfig
from raylab.config.load import absolute_paths
from raylab.errors import ConfigError, RaylabError, StoreError
from raylab.tracking.address import tracking_uri

if TYPE_CHECKING:
    from raylab.report.frames import StudyFrames

Say = Callable[[str], None]
"""Takes a line for the person who waits."""


def run_studies(*configs: StudyConfig, say: Say | None = None) -> list[StudyFrames]:
    """Run studies to their reports, and read what they found; what lies in the store already is not computed again.

    Args:
        *configs: of the studies; what they have in common is computed once.
        say: takes each line of what is going on, such as `print`; None is silent.

    Returns:
        The studies as tables, in the same order.

    Raises:
        RaylabError: a mistake in the configuration, found before anything is started, or runs that failed.

    Example:
        Random against Entropy+Spatial on generated scenes, three seeds, some minutes::

            import raylab

            run = raylab.read_preset(raylab.RunConfig, "synthetic")
            config = raylab.StudyConfig(name="mine", run=run, strategies=("random", "entropy+spatial"), seeds=(0, 1, 2))
            (study,) = raylab.run_studies(config, say=print)
            study.points.groupby(["strategy", "budget"])["miou"].agg(["mean", "std"])

        A mistake costs no time:

        >>> import raylab
        >>> raylab.run_studies(raylab.StudyConfig(strategies=("entrpy",)))
        Traceback (most recent call last):
        ...
        raylab.errors.ConfigError: strategy: 'entrpy' is not known; did you mean 'entropy'?
    """
    from raylab.report.frames import load_study

    names = launch(configs, say=say or (lambda line: None)) if configs else []
    return [load_study(config.run.storage, name) for config, name in zip(configs, names, strict=True)]


def say_aloud(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def launch(configs: Sequence[StudyConfig], plan: bool = False, resume: bool = False, say: Say = say_aloud) -> list[str]:
    """Run studies, write their reports and say where everything lies; or only say what they would cost.

    Args:
        configs: of the studies; what they have in common is computed once.
        plan: only print the plan.
        resume: refuse to begin a study.
        say: takes each line for the person who waits.

    Returns:
        The names of the studies, none where they were only planned.

    Raises:
        RaylabError: a mistake in the configuration, or runs that failed; the others are in the reports.
    """
    from raylab import study
    from raylab.files import Folder
    from raylab.study.run import resolve_studies, run_resolved

    _refuse_relative(configs[0].run.storage)
    configs = [_absolute(config) for config in configs]
    if plan:
        if sys.stderr.isatty():  # what takes long is seldom in the disk's cache
            print("looking at the data and the model ...", file=sys.stderr, flush=True)
        say("\n".join(study.plan_studies(configs).lines()))
        return []
    if resume:
        _refuse_new(Folder(configs[0].run.storage, create=False), configs)
    failure: study.RunFailedError | None = None
    with _cluster(configs, say):
        studies = resolve_studies(configs, say)
        try:
            uploader = run_resolved(studies, say)
        except study.RunFailedError as error:
            failure, uploader = error, error.uploader
    try:
        _report([one.config for one in studies], uploader, say)
    except RaylabError as error:
        if failure is None:
            raise
        say(f"No report: {error}")
    if failure:
        raise failure
    return [one.name for one in studies]


@contextmanager
def _cluster(configs: Sequence[StudyConfig], say: Say) -> Iterator[None]:
    """The Ray that RAY_ADDRESS names, for the length of a block, once its nodes were looked at.

    Raises:
        ClusterError: no Ray answers there, or some of its nodes cannot run the studies.
    """
    if configs[0].run.compute.backend == "local":
        yield
        return
    from raylab.study.ray_session import named_cluster, ray_session

    if not named_cluster():
        yield
        return
    from raylab.study.preflight import check_cluster

    with ray_session():
        check_cluster(configs, say)
        yield


def _report(configs: Sequence[StudyConfig], uploader: Any, say: Say) -> None:
    from raylab.files import Folder
    from raylab.report import format_table, read_study, write_report
    from raylab.tracking import ui_command

    store = Folder(configs[0].run.storage)
    command = ui_command(uploader.uri)
    for config in configs:
        page = write_report(store, config.name, command, config.paper)
        uploader.log_report(store, config.name)
        say(f"\n{format_table(read_study(store, config.name))}\n")
        say(f"Report:  {page}")
    say(f"Results: {store.uri}")
    say(f"MLflow:  {command}")


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
