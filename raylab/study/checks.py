"""Whether studies can start at all: every mistake that can be found before the first training."""

from __future__ import annotations

from collections.abc import Sequence

from raylab.acquisition import PREDICTED_CLASS
from raylab.config import RunConfig, StudyConfig
from raylab.data import FileDataset, SegmentationDataset, dataset_row, open_dataset
from raylab.errors import ConfigError, DataError
from raylab.models import build_model, model_builder
from raylab.pool import check_budget
from raylab.regions import RegionGrid
from raylab.scoring.uncertainty import MAPS


def check_study(config: StudyConfig) -> str:
    """Find every mistake that can be found before the first training.

    Args:
        config: of the study.

    Returns:
        Where the weights come from that every round starts from, and their SHA-256.

    Raises:
        DataError: the data set's folder is not as it must be.
        ConfigError: a data set, strategy, architecture, N or backbone that cannot work.
        WeightsError: no pre-trained weights.
        BudgetError: the pool is smaller than the budget.
    """
    check_grid(config)
    runs = config.runs()
    dataset = open_dataset(config.run.data)
    for run in {run.regions.size: run for run in [*runs, *[config.run] * config.supervised]}.values():
        _check_tile(dataset, run)
        # Of superpixels, which are not computed for a check, there are about as many as tiles.
        check_budget(run, RegionGrid(dataset.image_sizes("train"), run.regions.size))
    if config.run.pretraining.iterations:
        try:
            open_dataset(config.run.pretraining.data)
        except DataError as error:
            raise DataError([_of_pretraining(line) for line in error.problems]) from None
        except ConfigError as error:
            raise ConfigError(_of_pretraining(str(error))) from None
    model = build_model(config.run.model, len(dataset.classes), seed=0)
    return f"{model.weights_source}, sha256 {model.weights_sha256}" if model.weights_sha256 else model.weights_source


def _check_tile(dataset: SegmentationDataset, run: RunConfig) -> None:
    """Whether the regions of tiles are those of the whole images.

    Raises:
        ConfigError: N does not divide the tile.
    """
    tile, size = dataset.reading.tile if isinstance(dataset, FileDataset) else None, run.regions.size
    if tile and run.regions.shape == "grid" and tile % size:
        near = f"{max(1, tile // size) * size} or {(tile // size + 1) * size}"
        raise ConfigError(
            f"data.tile: {tile} is no multiple of regions.size ({size}), so that every tile's last regions would be "
            f"clipped; set it to {near}"
        )


def _of_pretraining(message: str) -> str:
    return message.replace("data.root", "pretraining.data.root").replace("data.name", "pretraining.data.name")


def check_grid(config: StudyConfig) -> None:
    """Find the mistakes that need no data.

    Args:
        config: of the study.

    Raises:
        ConfigError: the name, a strategy or a number cannot work.
    """
    runs = config.runs()
    if not config.name and len(runs) > 1:
        raise ConfigError("name: is empty, which only a study of one run may be; give one")
    dataset_row(config.run.data)
    model_builder(config.run.model)
    _check_maps(config.run, runs)
    compute, training = config.run.compute, config.run.training
    if training.batch_size < max(2, compute.workers):
        raise ConfigError(
            f"training.batch_size: {training.batch_size} crops cannot be shared by {compute.workers} workers, and "
            "batch norm needs two; raise it or lower compute.workers"
        )
    low, high = training.scale
    if not 0 < low <= high:
        raise ConfigError(f"training.scale: ({low}, {high}) is no range of positive factors")


def _check_maps(run: RunConfig, runs: Sequence[RunConfig]) -> None:
    """Whether the maps that strategies ask are known, and there is a committee where one of them asks it.

    Raises:
        ConfigError: names the strategy and the fields.
    """
    members = run.training.ensemble * run.passes
    for other in runs:
        try:
            rows = [MAPS.find(name) for name in other.strategy.acquisition().maps if name != PREDICTED_CLASS]
        except ConfigError as error:
            raise ConfigError(f"strategies: {other.strategy.label}: {error}") from None
        if members < 2 and any(row.committee for row in rows):
            raise ConfigError(
                f"strategies: {other.strategy.label} asks a committee, and there is one model without dropout; set "
                "scoring.dropout above 0 (MC dropout, scoring.passes at least 2) or training.ensemble above 1"
            )
