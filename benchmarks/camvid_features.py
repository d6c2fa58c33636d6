"""How many pairs selection evaluates on real decoder features, and how long it takes beside the naive algorithm.

    python benchmarks/camvid_features.py --storage raylab-results --study camvid --table features.parquet

Scores a study's whole pool, in plain torch, with the model of round 0 that the study committed, reduces the features as
scoring does, and selects by Entropy+Feature and Core-Set for several sizes of the labelled set and the batch. With
--table the scored pool is kept, and read again the next time (about three images a second on one core).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers import feature_peers, ours
from raylab.config import DataConfig
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.data import open_dataset
from raylab.errors import exit_cleanly
from raylab.files import Folder, open_at
from raylab.regions import RegionGrid
from raylab.regions.table import columns_of, region_table, regions_of, with_regions
from raylab.runs import ResolvedRun, RunStore, stored_study
from raylab.runs.rounds import MODEL
from raylab.scoring.predict import Predictor, load_model, scoring_job
from raylab.scoring.reduce import principal_components
from raylab.training.step import image_batches, prepare_process


class Options(Frozen):
    """What to measure."""

    storage: str
    """Storage root of the study."""
    study: str = "camvid"
    table: str | None = None
    """Parquet file for the scored pool; read where it is there already."""
    root: str | None = None
    """Folder of the data set, if it is not where the study had it."""
    sizes: tuple[int, ...] = (400, 1600, 4000, 16000)
    """|L| and K, the one as large as the other."""
    picks: int = 20
    """Picks of the naive algorithm that are timed."""
    repeat: int = 3
    """Whole selections of ours that are timed."""


def scored_pool(run: ResolvedRun, data: DataConfig, store: Folder) -> pa.Table:
    """The region table of the pool under the model of round 0, with features."""
    prepare_process(1)
    config = run.config.model_copy(update={"data": data})
    dataset = open_dataset(data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    job = scoring_job(config, regions, len(dataset.classes), ("entropy",), features=True)
    weights = store.read_bytes(*RunStore(store, run).round(0).committed("train", MODEL))
    device = torch.device("cpu")
    predict = Predictor(job, [load_model(job.model, job.n_classes, weights, device)], device)
    tables = []
    for batch in image_batches(dataset, "train", np.arange(regions.n_images), job.batch_size):
        tables.append(predict(batch, [dataset.read_image("train", i) for i in batch]))
        print(f"\r{batch[-1] + 1}/{regions.n_images} images scored", end="", flush=True)
    print()
    maps, features = columns_of(pa.concat_tables(tables), regions.n_regions)
    assert features is not None
    return with_regions(
        region_table(np.arange(regions.n_regions), maps, principal_components(features, job.pca)), regions
    )


def table_of(options: Options) -> pa.Table:
    """The scored pool, from where it was kept or computed now."""
    kept = open_at(options.table) if options.table else None
    if kept and kept[0].exists(kept[1]):
        return kept[0].read_table(kept[1])
    store = Folder(options.storage, create=False)
    run = stored_study(store, options.study).runs[0]
    data = run.config.data.model_copy(update={"root": options.root or run.config.data.root})
    table = scored_pool(run, data, store)
    if kept:
        kept[0].write_table(kept[1], table)
    return table


def main(options: Options) -> None:
    """Print shares, seconds and ratios."""
    table = table_of(options)
    regions = regions_of(table, options.table or options.storage)
    maps, features = columns_of(table, regions.n_regions)
    assert features is not None
    assert isinstance(regions, RegionGrid)
    u = maps["entropy"]
    spectrum = np.sort(features.var(axis=0))[::-1]
    half = int((np.cumsum(spectrum) < 0.9 * spectrum.sum()).sum()) + 1
    print(f"n = {regions.n_regions:,}, d = {features.shape[1]}; {half} components hold 90 % of the variance")
    naive = {cost.name: cost for cost in feature_peers(u, features, options.picks)}
    order = np.random.default_rng(1).permutation(regions.n_regions)
    print(f"{'objective':16} {'|L| = K':>8} {'evaluated':>10} {'ours s':>8} {'gemv s':>8} {'ratio':>6} {'direct s':>9}")
    for name in ("entropy+feature", "core-set"):
        for k in (size for size in options.sizes if 2 * size <= regions.n_regions):
            seconds, share, _ = ours(name, regions, u, features, order[:k], k, options.repeat)
            gemv, direct = (naive[peer].seconds(k, k) for peer in ("gemv", "direct"))
            row = f"{name:16} {k:8,} {share:10.2%} {seconds:8.3f} {gemv:8.1f} {gemv / seconds:5.0f}x {direct:9.1f}"
            print(row, flush=True)


if __name__ == "__main__":
    with exit_cleanly():
        main(parse(Options, sys.argv[1:], "camvid_features.py", __doc__))
