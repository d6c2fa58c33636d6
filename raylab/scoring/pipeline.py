"""Scoring a pool with Ray Data: read -> predict in an actor pool -> region table, in the order of region_id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from ray.exceptions import RayError

from raylab.data import open_dataset
from raylab.data.reader import PoolReader
from raylab.errors import carried, known_cause
from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import Progress, peak_memory
from raylab.scoring.predict import ScoringJob, StoredModel, load_predictor, pool_batches
from raylab.scoring.reduce import reduce_features
from raylab.training.step import prepare_process

_RETRIES = 3
"""Times that a scorer whose process ended is started again; Ray Data would do so for ever."""


class _Scorer:
    """The actor that holds the model, from its first batch on: an error of its constructor would arrive as text."""

    def __init__(self, job: ScoringJob, store: Folder, models: Sequence[StoredModel], use_gpu: bool) -> None:
        self.job, self.store, self.models = job, store, models
        self.device = torch.device("cuda" if use_gpu else "cpu")
        self.predict: Any = None

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        with carried():
            if self.predict is None:
                load(self.job.plugins)
                prepare_process(self.job.compute.threads)
                self.predict = load_predictor(self.job, self.store, self.models, self.device)
            tables = [
                self.predict(indices.tolist(), list(images))
                for indices, images in zip(batch["indices"], batch["images"], strict=True)
            ]
        table = pa.concat_tables(tables)
        return table.append_column("peak_memory", pa.array(np.full(len(table), peak_memory())))


def score(
    job: ScoringJob, store: Folder, models: Sequence[StoredModel], use_gpu: bool, progress: Progress
) -> tuple[pa.Table, dict[str, Any]]:
    """Score every region of the pool.

    Args:
        job: what to compute.
        store: of the model.
        models: the weights of every member of the ensemble.
        use_gpu: whether each actor gets a GPU.
        progress: told of every block that arrives.

    Returns:
        The region table sorted by region_id, features reduced by PCA; and `peak_memory` in bytes (the largest
        actor's).

    Raises:
        StoreError: a model is not the one that was committed, or the rows are not exactly the pool's regions.
        RaylabError: whatever else reading and predicting raise.
        RayError: a process that scores ended `_RETRIES` + 1 times, as for want of memory.
    """
    tables = []
    done = 0
    try:
        for table in scored_blocks(job, store, models, use_gpu):
            tables.append(table)
            done += len(table)
            progress("score", done, job.regions.n_regions)
    except RayError as error:
        raise known_cause(error) or error from None
    rows = pa.concat_tables(tables)
    peak = int(rows["peak_memory"].to_numpy().max())
    rows = rows.drop_columns(["peak_memory"]).sort_by("region_id").combine_chunks()
    return reduce_features(rows, job.regions.n_regions, job.pca), {"peak_memory": peak}


def scored_blocks(job: ScoringJob, store: Folder, models: Sequence[StoredModel], use_gpu: bool) -> Any:
    """Iterate over the pool's scored blocks as they arrive, in no promised order; Ray never cuts a batch."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else its class is lost on the way
    batches = list(pool_batches(job, open_dataset(job.data)))
    rows = ray.data.from_items([{"indices": batch} for batch in batches], override_num_blocks=len(batches))
    read = rows.map(PoolReader(job.data, job.plugins), num_cpus=job.compute.cpus_for_reading)
    scored = read.map_batches(
        _Scorer,
        fn_constructor_args=(job, store, models, use_gpu),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=job.compute.scorers),
        num_cpus=job.compute.cpus_per_scorer,
        num_gpus=1 if use_gpu else 0,
        batch_format="numpy",
        # Ray 2.60 calls unnamed options deprecated, and has none by name that bounds how often an actor is restarted.
        max_restarts=_RETRIES,
        max_task_retries=_RETRIES,
    )
    return scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
