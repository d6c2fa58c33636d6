"""Scoring a pool with Ray Data: read -> predict in an actor pool -> the region table, written part by part."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raylab.data import open_dataset
from raylab.data.reader import PoolReader
from raylab.errors import carried, known_cause
from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import Progress, peak_memory
from raylab.regions.table import columns_of
from raylab.scoring.parts import PartWriter, Written, bounds, check_finite, in_parts, moments
from raylab.scoring.predict import ScoringJob, StoredModel, load_predictor, pool_batches
from raylab.scoring.reduce import Moments, Projection
from raylab.training.step import device_given, prepare_process

_COST = ("seconds", "peak_memory")
"""Columns of a block that say what it cost: seconds in its first row, bytes in all."""


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


class _Scored(NamedTuple):
    """What a part cost, and tells the projection."""

    seconds: float
    peak_memory: int
    moments: Moments | None


def _part_of(blocks: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(blocks).drop_columns(list(_COST)).combine_chunks()


@ray.remote
def _look_at(reduces: bool, folder: str, within: tuple[int, int], *blocks: pa.Table) -> _Scored:
    """The first look at a part, where its blocks are; its regions must be those within two bounds."""
    with carried():
        seconds, peak = (np.concatenate([block[name].to_numpy() for block in blocks]) for name in _COST)
        table = _part_of(blocks)
        columns_of(table, within[1], within[0])
        check_finite(table, folder)
        return _Scored(float(seconds.sum()), int(peak.max()), moments(table) if reduces else None)


@ray.remote
def _write(write: PartWriter, projection: Projection | None, *blocks: pa.Table) -> Written:
    with carried():
        return write(_part_of(blocks), projection)


def score(
    job: ScoringJob,
    store: Folder,
    models: Sequence[StoredModel],
    folder: str,
    use_gpu: bool,
    progress: Progress,
) -> tuple[list[Written], dict[str, Any]]:
    """Score every region of the pool. No process holds the table: parts of it are looked at, and written, by tasks.

    Args:
        job: what to compute.
        store: of the models, and of the region table.
        models: the weights of every member of the ensemble.
        folder: where the region table goes, features reduced by PCA.
        use_gpu: whether each actor gets a GPU.
        progress: told of every block that arrives.

    Returns:
        The parts of the region table; `seconds` that the scorers worked, divided by their number; and `peak_memory`
        in bytes (the largest actor's).

    Raises:
        StoreError: a model is not the one that was committed, or the rows are not exactly the pool's regions.
        TrainingError: a number is not finite.
        RaylabError: whatever else reading and predicting raise.
        RayError: a process that scores ended more than `compute.max_failures` times, as for want of memory.
    """
    batches = list(pool_batches(job, open_dataset(job.data)))
    parts = list(in_parts(batches, job.regions))
    try:
        # To the end: until then scorers hold what the tasks below wait for.
        blocks = iter(list(_blocks(job, scored_dataset(job, batches, store, models, use_gpu), progress)))
        of_parts = [list(itertools.islice(blocks, len(part))) for part in parts]
        # Outside the trial's placement group, which reserves nothing for them.
        anywhere = {"scheduling_strategy": PlacementGroupSchedulingStrategy(placement_group=None)}  # type: ignore[arg-type]
        looks = [
            _look_at.options(**anywhere).remote(job.reduces, folder, bounds(part, job.regions), *refs)
            for part, refs in zip(parts, of_parts, strict=True)
        ]
        scored: list[_Scored] = ray.get(looks)
        sums = [one.moments for one in scored if one.moments is not None]
        projection = Projection.of(sums, job.pca) if job.reduces else None
        write = PartWriter(store, folder, job.regions)
        writes = [_write.options(**anywhere).remote(write, projection, *refs) for refs in of_parts]
        written: list[Written] = ray.get(writes)
    except RayError as error:
        raise known_cause(error) or error from None
    cost = {
        "seconds": sum(one.seconds for one in scored) / job.compute.scorers,
        "peak_memory": max(one.peak_memory for one in scored),
    }
    return written, cost


def _blocks(job: ScoringJob, dataset: ray.data.Dataset, progress: Progress) -> Iterator[ray.ObjectRef]:
    """The batches' rows as they arrive, in the pool's order; they stay where they were computed."""
    done = 0
    for bundle in dataset.iter_internal_ref_bundles():
        for block in bundle.blocks:
            done += block.metadata.num_rows
            progress("score", done, job.regions.n_regions)
            yield block.ref


def scored_dataset(
    job: ScoringJob, batches: Sequence[list[int]], store: Folder, models: Sequence[StoredModel], use_gpu: bool
) -> ray.data.Dataset:
    """The pool's rows, a block a batch, in their order; Ray never cuts a batch."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.raise_original_map_exception = True  # else its class is lost on the way
    context.target_max_block_size = None  # else Ray cuts a batch of many regions, from 192 MiB of rows on
    rows = ray.data.from_items([{"indices": batch} for batch in batches], override_num_blocks=len(batches))
    # Readers that asked for a CPU would wait for one that scorers hold, who wait for what they read.
    readers = ray.data.TaskPoolStrategy(size=job.compute.readers)
    read = rows.map(PoolReader(job.data, job.plugins), num_cpus=0, compute=readers)
    return read.map_batches(
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
