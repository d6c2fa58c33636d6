"""The steps of a round without Ray: trained in this process, scored by a loop, selected by a call."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raylab.data import open_dataset
from raylab.files import Folder
from raylab.progress import Progress
from raylab.regions import Regions
from raylab.regions.table import columns_of
from raylab.runs import ResolvedRun, RoundStore, RunStore
from raylab.runs.rounds import model_name
from raylab.scoring.predict import Predictor, ScoringJob, load_model
from raylab.scoring.reduce import reduce_features
from raylab.selection import Selection, select
from raylab.selection.objective import selection_columns
from raylab.training.job import TrainingJob
from raylab.training.step import image_batches
from raylab.training.trainer import fit


class Silent:
    """A `Progress` that takes no note."""

    round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


class PlainBackend:
    """`raylab.loop.Backend` in this process."""

    def __init__(self, run: ResolvedRun) -> None:
        self.run = run
        self.config = config = run.config
        self.store = Folder(config.storage)
        self.trained: list[TrainingJob] = []

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress, member: int = 0) -> dict[str, Any]:
        job = dataclasses.replace(
            job, compute=job.compute.model_copy(update={"workers": 0}), seed=job.seed + 1000 * member
        )
        self.trained.append(job)
        return fit(job, self.store, "unused", round_store.path(model_name(member)), False, progress)

    def score(self, job: ScoringJob, round_store: RoundStore, progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
        device, dataset = torch.device("cpu"), open_dataset(job.data)
        files = round_store.models(self.config.training.ensemble)
        models = [load_model(job.model, job.n_classes, self.store.read_bytes(*file), device) for file in files]
        predict = Predictor(job, models, device)
        batches = image_batches(dataset, "train", np.arange(job.regions.n_images), job.batch_size)
        tables = [predict(batch, [dataset.read_image("train", i) for i in batch]) for batch in batches]
        table = pa.concat_tables(tables).combine_chunks()
        return reduce_features(table, job.regions.n_regions, job.pca), {"seconds": 0.0}

    def select(
        self, regions: Regions, round_index: int, table: pa.Table | None, k: int
    ) -> tuple[Selection, dict[str, Any]]:
        acquisition = self.run.acquisition
        columns: dict[str, Any] = {}
        if table is not None:
            columns = selection_columns(acquisition, *columns_of(table, regions.n_regions))
        labelled = RunStore(self.store, self.run).ledger(round_index)["region_id"].to_numpy()
        picks = select(regions, acquisition, k, labelled=labelled, seed=[self.config.seed, round_index], **columns)
        return picks, {"seconds": 0.0}
