"""A small finished study, written with the stores that the loop writes with."""

from __future__ import annotations

import numpy as np

from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.data import open_dataset
from raylab.data.classes import CITYSCAPES
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.regions.table import ledger_table
from raylab.runs import ResolvedRun, RoundStore, RunStore, resolve_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import begin_study
from tests.configs import resolved_study

CONFIG = StudyConfig(
    name="small",
    run=RunConfig.model_validate(
        {
            "data": {"synthetic": {"train_images": 8, "val_images": 2, "height": 96, "width": 144}},
            "regions": {"size": 16},
            "budget": {"initial": 20, "rounds": [20, 40]},
        }
    ),
    seeds=(0, 1),
    supervised=True,
)
GAIN = {"random": 0.05, "entropy": 0.06, "entropy+spatial": 0.08}


def write_study(store: Folder, config: StudyConfig = CONFIG, dataset: DataConfig | None = None) -> StudyConfig:
    """Write every round of every run, as if it were of `dataset` where that is given."""
    read = config.run if dataset is None else config.run.model_copy(update={"data": dataset})
    study = resolve_study(config, read_inputs(read))
    begin_study(store, study)
    for run in study.runs:
        write_rounds(store, run, dataset=dataset)
    if config.supervised:
        RoundStore(store, study.supervised_folder).commit("train", {**train_record(0.6), "labelled_regions": 432})
    return config


def set_bound(store: Folder, miou: float) -> None:
    """Have the training on all masks reach another mIoU."""
    bound = RoundStore(store, resolved_study(CONFIG).supervised_folder)
    store.delete(bound.path("train.json"))
    bound.commit("train", train_record(miou))


def write_rounds(store: Folder, run: ResolvedRun, stop: int | None = None, dataset: DataConfig | None = None) -> None:
    """Write the first `stop` rounds of a run, those that are there left alone."""
    config, acquisition = run.config, run.acquisition
    scenes = open_dataset(dataset or config.data)
    regions = RegionGrid(scenes.image_sizes("train"), config.regions.size)
    run_store = RunStore(store, run)
    run_store.open()
    budgets = (config.budget.initial, *config.budget.rounds)
    # Entropy clumps: it takes regions in their order; the others are spread.
    order = np.random.default_rng(config.seed).permutation(regions.n_regions)
    clump = np.r_[order[: budgets[0]], np.setdiff1d(np.arange(regions.n_regions), order[: budgets[0]])]
    order = clump if config.strategy.name == "entropy" else order
    ends = np.cumsum(budgets)
    for t in range(len(budgets) if stop is None else stop):
        folder = run_store.round(t)
        if folder.record("train") is None:
            picks = order[ends[t] - budgets[t] : ends[t]]
            ledger = ledger_table(regions, scenes.image_names("train"), t, picks)
            cost = {"seconds": 0.5 + t, "peak_memory": 100_000_000}
            folder.commit("select", {**share(regions, order[: ends[t]]), **cost}, {"ledger.parquet": ledger})
            miou = 0.3 + t * GAIN.get(config.strategy.name, 0.07) + 0.01 * config.seed
            folder.commit("train", train_record(miou))
        if t < len(budgets) - 1 and acquisition.needs_uncertainty:
            record = {"seconds": 3.0, "peak_memory": 200_000_000, "features": False}
            run_store.scores(t).commit("score", record)


def share(regions: RegionGrid, labelled: np.ndarray) -> dict:
    """As `raylab.loop.labelled_share`, without the import of Ray."""
    return {
        "labelled_regions": len(labelled),
        "labelled_percent": 100 * int(regions.pixels(labelled).sum()) / regions.n_pixels,
        "annotated_images": len(np.unique(regions.image_of(labelled))),
    }


def train_record(miou: float) -> dict:
    """What a training commits, with IoUs that fall along the classes."""
    names = CITYSCAPES.names
    iou = {name: min(1.0, miou * (1.5 - i / (len(names) - 1))) for i, name in enumerate(names)}
    costs = {"seconds_train": 20.0, "seconds_evaluate": 4.0, "peak_memory": 900_000_000, "peak_gpu_memory": 0}
    confusion = [[0] * len(names)] * len(names)
    return {
        "miou": miou,
        "iou": {**iou, names[-1]: None},
        "confusion": confusion,
        "losses": [2.0],
        "iterations": 1,
        **costs,
    }
