"""What the scripts in experiments/ share: `--plan`, `--smoke`, and running a study to its report."""

from __future__ import annotations

import os

from raylab.config import (
    BudgetConfig,
    DataConfig,
    ModelConfig,
    RegionConfig,
    RunConfig,
    ScoringConfig,
    StudyConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.errors import ConfigError
from raylab.settings import absolute_paths


def launch(config: StudyConfig, plan: bool = False) -> None:
    """Run a study, write its report and say where everything lies; or only say what it would cost.

    Args:
        config: of the study.
        plan: only print the plan.

    Raises:
        RaylabError: a mistake in the configuration, or a run that failed.
    """
    from raylab.report import format_table, read_study, write_report
    from raylab.store import Store
    from raylab.study import plan_study, run_study
    from raylab.tracking import default_tracking, ui_command

    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not _is_absolute(config.run.storage):
        raise ConfigError(
            f"storage: {config.run.storage!r} is relative to the job's working directory, which Ray deletes; "
            "give an absolute folder or a URI"
        )
    config = absolute_paths(config)
    if plan:
        print("\n".join(plan_study(config).lines()))
        return
    mirror = run_study(config, say=lambda line: print(line, flush=True))
    store = Store(config.run.storage)
    command = ui_command(config.run.tracking or default_tracking(store))
    page = write_report(store, config.name, command)
    mirror.log_report(store, config.name)
    print(f"\n{format_table(read_study(store, config.name))}\n")
    print("Results:", store.uri)
    print("Report: ", page)
    print("MLflow: ", command)


def smoke(run: RunConfig) -> RunConfig:
    """The smallest run that goes through every stage: generated scenes, seconds a round, no meaning in its numbers."""
    return RunConfig(
        data=DataConfig(synthetic=SyntheticConfig(train_images=8, val_images=4, height=64, width=96)),
        regions=RegionConfig(size=16),
        model=ModelConfig(backbone="tf_efficientnet_lite0", weights="random", channels=16),
        training=TrainingConfig(iterations=4, batch_size=4, crop=64, crop_tries=5),
        scoring=ScoringConfig(batch_size=4, pca=8),
        budget=BudgetConfig(initial=16, rounds=(16,)),
        compute=run.compute,
        storage=run.storage,
        tracking=run.tracking,
        experiment=run.experiment,
    )


def _is_absolute(storage: str) -> bool:
    return "://" in storage or os.path.isabs(storage)
