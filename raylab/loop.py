"""Algorithm 1: train on what is labelled, score the pool, select the next regions, have them labelled, repeat.

Every step is committed before the next begins and skipped when it is found committed, so a run goes on where it
stopped. How a step is computed (Ray Train, Ray Data, an actor) is the `Stages`' business.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.config import RunConfig
from raylab.data import open_dataset
from raylab.data.base import SegmentationDataset
from raylab.errors import BudgetError
from raylab.progress import Progress
from raylab.regions import RegionGrid
from raylab.regions.table import ledger_table, with_grid
from raylab.scoring.predict import ScoringJob, scoring_job
from raylab.selection import Selection, first_draw
from raylab.selection.tool import terms_of
from raylab.store import RoundStore, RunStore, Store
from raylab.store.rounds import LEDGER, MODEL, REGIONS
from raylab.training.job import TrainingJob, training_job
from raylab.training.metrics import iou_per_class, mean_iou


class Stages(Protocol):
    """How the three expensive steps are computed."""

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress) -> dict[str, Any]:
        """Train and evaluate; the weights are written to `MODEL` of the round. See `raylab.training.trainer.fit`."""
        ...

    def score(self, job: ScoringJob, round_store: RoundStore, progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
        """The region table of the pool under the round's model. See `raylab.scoring.pipeline.score`."""
        ...

    def select(
        self, grid: RegionGrid, round_index: int, table: pa.Table | None, k: int
    ) -> tuple[Selection, dict[str, Any]]:
        """The `k` regions that round `round_index` labels, given the region table of the round before."""
        ...


class Loop:
    """One run.

    Args:
        config: of the run.
        store: of the results.
        stages: how steps are computed.
        progress: told of every step.

    Raises:
        BudgetError: the pool holds fewer regions than the budget.
        MismatchError: the run that lies there is of other data.
    """

    def __init__(self, config: RunConfig, store: Store, stages: Stages, progress: Progress) -> None:
        self.config = config
        self.stages = stages
        self.progress = progress
        self.run_store = RunStore(store, config)
        self.dataset = open_dataset(config.data)
        self.grid = pool_grid(config, self.dataset)
        self.acquisition = config.strategy.acquisition()
        self.budgets = (config.budget.initial, *config.budget.rounds)
        self.run_store.open(self.dataset.fingerprint())

    def run(self) -> None:
        """All rounds (Algorithm 1)."""
        last = len(self.budgets) - 1
        for t in range(last + 1):
            self.progress.round_index = t
            self.select(t)
            self.train(t)
            if t < last:
                self.score(t, self.acquisition.needs_uncertainty, self.acquisition.needs_features)

    def select(self, t: int) -> None:
        """Choose batch B_t and write it to the ledger; the oracle reveals its masks from there."""
        round_store = self.run_store.round(t)
        if round_store.record("select") is not None:
            return
        self.progress("select", 0, self.budgets[t])
        terms: dict[str, NDArray[np.float64]] | None = None
        if t == 0:
            region_id = first_draw(self.grid, self.budgets[0], self.config.seed)
            cost: dict[str, Any] = {"seconds": 0.0, "peak_memory": 0}
        else:
            scored = self.acquisition.needs_uncertainty or self.acquisition.needs_features
            table = self.run_store.store.read_table(self.run_store.round(t - 1).path(REGIONS)) if scored else None
            selection, cost = self.stages.select(self.grid, t, table, self.budgets[t])
            region_id = selection.region_id
            terms = terms_of(selection)
        picks = ledger_table(self.grid, self.dataset.image_names("train"), t, region_id, terms)
        labelled = np.concatenate([self.labelled(t), region_id])
        record = {**labelled_share(self.grid, labelled), **cost}
        round_store.commit("select", record, {LEDGER: picks})
        self.progress("committed", 1, 1, f"{record['labelled_regions']:,} regions labelled")

    def train(self, t: int) -> None:
        """Train M_t on L_t from the pre-trained backbone, and evaluate it."""
        job = training_job(self.config, self.grid, len(self.dataset.classes), self.labelled(t + 1))
        commit_training(self.run_store.round(t), job, self.dataset, self.stages, self.progress)

    def score(self, t: int, uncertainty: bool, features: bool) -> None:
        """Score every region of the pool under M_t, where the strategy asks for it."""
        round_store = self.run_store.round(t)
        done = round_store.record("score")
        if not (uncertainty or features) or (done is not None and done["features"] >= features):
            return
        job = scoring_job(self.config, self.grid, len(self.dataset.classes), features)
        table, cost = self.stages.score(job, round_store, self.progress)
        round_store.commit("score", {"features": features, **cost}, {REGIONS: with_grid(table, self.grid)})
        self.progress("committed", 1, 1, "pool scored")

    def labelled(self, rounds: int) -> NDArray[np.int64]:
        """(n,) int64: the region ids that rounds 0 .. `rounds` - 1 labelled, in order."""
        if rounds == 0:
            return np.empty(0, np.int64)
        return self.run_store.ledger(rounds)["region_id"].to_numpy()


def commit_training(
    round_store: RoundStore,
    job: TrainingJob,
    dataset: SegmentationDataset,
    stages: Stages,
    progress: Progress,
    budget: dict[str, Any] | None = None,
) -> None:
    """Train, evaluate and commit, unless that is done.

    Args:
        round_store: where the model and the record go.
        job: what to train.
        dataset: names the classes.
        stages: how.
        progress: told of every step.
        budget: what to write down beside the results of a training that no selection precedes.
    """
    if round_store.record("train") is not None:
        return
    record = stages.train(job, round_store, progress)
    matrix = np.array(record["confusion"], np.int64)
    scores = [None if np.isnan(score) else float(score) for score in iou_per_class(matrix)]
    record |= {
        "miou": mean_iou(matrix),
        "iou": dict(zip(dataset.classes.names, scores, strict=True)),
        "iterations": job.iterations,
        **(budget or {}),
    }
    round_store.commit("train", record, adopt=(MODEL,))
    progress("committed", 1, 1, f"mIoU {100 * record['miou']:.2f} %")


def pool_grid(config: RunConfig, dataset: SegmentationDataset) -> RegionGrid:
    """The regions of a run's pool.

    Raises:
        ConfigError: N is larger than an image.
        BudgetError: the pool holds fewer regions than the budget.
    """
    grid = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    if config.budget.total > grid.n_regions:
        raise BudgetError(
            f"budget: {config.budget.total} regions are to be labelled in all, but the pool of {config.data.name} "
            f"holds {grid.n_regions} of {config.regions.size} pixels; lower budget.initial or budget.rounds"
        )
    return grid


def labelled_share(grid: RegionGrid, labelled: NDArray[np.int64]) -> dict[str, Any]:
    """How much of the pool a labelled set is: regions, percentage of its pixels, images with at least one region."""
    return {
        "labelled_regions": len(labelled),
        "labelled_pixels": 100 * int(grid.pixels(labelled).sum()) / grid.n_pixels,
        "annotated_images": len(np.unique(grid.image_of(labelled))),
    }
