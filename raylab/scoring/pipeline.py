"""Scoring a pool with Ray Data: read -> predict in an actor pool -> region table, in the order of region_id."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from raylab.data import open_dataset
from raylab.data.reader import PoolReader
from raylab.errors import carried, known_cause
from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import Progress, peak_memory
from raylab.scoring.predict import ScoringJob, StoredModel, load_predictor, pool_batches
from raylab.scoring.reduce import reduce_features
from raylab.training.step import device_given, prepare_process


class _Scorer:
    """The actor that holds the model, from its first batch on: an error of its constructor would arrive as text."""

    def __init__(self, job: ScoringJob, store: Folder, models: Sequence[StoredModel], use_gpu: bool) -> None:
        self.job, self.store, self.models, self.use_gpu = job, store, models, use_gpu
        self.predict: Any = None

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        start = time.perf_counter()
        with carried():
            if self.predict is None:
                load(self.job.plugins)
                prepare_process(self.job.compute.threads)
                self.predict = load_predictor(self.job, self.store, self.models, device_given(self.use_gpu))
            tables = [
                self.predict(indices.tolist(), list(images))
                for indices, images in zip(batch["indices"], batch["images"], strict=True)
            ]
        table = pa.concat_tables(tables)
        seconds = np.zeros(len(table))
        seconds[0] = time.perf_counter() - start
        table = table.append_column("seconds", pa.array(seconds))
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
        The region table sorted by region_id, features reduced by PCA; `seconds` that the scorers worked, divided by
        their number; and `peak_memory` in bytes (the largest actor's).

    Raises:
        StoreError: a model is not the one that was committed, or the rows are not exactly the pool's regions.
        RaylabError: whatever else reading and predicting raise.
        RayError: a process that scores ended more than `compute.max_failures` times, as for want of memory.
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
    cost = {
        "seconds": float(rows["seconds"].to_numpy().sum()) / job.compute.scorers,
        "peak_memory": int(rows["peak_memory"].to_numpy().max()),
    }
    rows = rows.drop_columns(list(cost)).sort_by("region_id").combine_chunks()
    return reduce_features(rows, job.regions.n_regions, job.pca), cost


def scored_blocks(job: ScoringJob, store: Folder, models: Sequence[StoredModel], use_gpu: bool) -> Any:
    """Iterate over the pool's scored blocks as they arrive, in no promised order; Ray never cuts a batch."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else its class is lost on the way
    batches = list(pool_batches(job, open_dataset(job.data)))
    rows = ray.data.from_items([{"indices": batch} for batch in batches], override_num_blocks=len(batches))
    # Readers that asked for a CPU would wait for one that scorers hold, who wait for what they read.
    readers = ray.data.TaskPoolStrategy(size=job.compute.readers)
    read = rows.map(PoolReader(job.data, job.plugins), num_cpus=0, compute=readers)
    scored = read.map_batches(
        _Scorer,
        fn_constructor_args=(job, store, models, use_gpu),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=job.compute.scorers),
        num_cpus=job.compute.cpus_per_scorer,
        num_gpus=1 if use_gpu else 0,
        batch_format="numpy",
        # Ray 2.60 calls unnamed options deprecated, and has none by name that bounds how often an actor is restarted.
        max_restarts=job.compute.max_failures,
        max_task_retries=job.compute.max_failures,
    )
    return scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
