"""What the strategies had labelled, class by class, beside what the pool holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from raylab.files import Folder
from raylab.pool import known_regions
from raylab.report.ledgers import of_image, open_data, run_ledger
from raylab.report.study_data import Study

MOST_IMAGES = 500
"""Masks that are read at most: of a larger pool, this many images spread evenly over it stand for all."""

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""
Inside = Callable[[int, int, Box], NDArray[np.bool_] | None]
"""(image_index, region_id, box) -> which pixels of a region's box are the region's; None for all of them."""


def whole_box(image_index: int, region_id: int, box: Box) -> None:
    """A rectangular region is its box."""


def region_shape(store: Folder, study: Study) -> Inside:
    """How the regions of a study's first region size fill their boxes.

    Raises:
        StoreError: the superpixels of the study are not in the store.
    """
    run = next(run.run for run in study.runs if run.config.regions.size == study.region_sizes[0])
    if run.config.regions.shape == "grid":
        return whole_box
    regions = known_regions(run, store)

    def inside(image_index: int, region_id: int, box: Box) -> NDArray[np.bool_]:
        top, left, height, width = box
        labels = regions.label_map(image_index)[top : top + height, left : left + width]
        return np.asarray(labels == region_id - regions.offset[image_index])

    return inside


@dataclass(frozen=True)
class RunLabels:
    """One run's labels.

    Attributes:
        strategy: label.
        seed: of the run.
        budgets: labelled regions after each round.
        pixels: (rounds, classes) int64, cumulative.
    """

    strategy: str
    seed: int
    budgets: tuple[int, ...]
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class LabelHistogram:
    """Pixels by class of what was selected, and of the pool.

    Attributes:
        classes: names.
        runs: those of one region size, with a committed round.
        pool: (classes,) int64.
        images: how many images were counted.
        pool_images: how many the pool has; more than `images` where a sample stands for it.
    """

    classes: tuple[str, ...]
    runs: tuple[RunLabels, ...]
    pool: NDArray[np.int64]
    images: int
    pool_images: int

    @property
    def strategies(self) -> list[str]:
        """Labels in the order of the grid."""
        return list(dict.fromkeys(run.strategy for run in self.runs))

    def pool_shares(self) -> dict[str, float]:
        """Percent of the pool's pixels by class."""
        return self._shares(self.pool)

    def last_shares(self, strategy: str) -> dict[str, float]:
        """Percent of the labelled pixels by class at the last budget, mean over seeds."""
        rows = [self._shares(run.pixels[-1]) for run in self.runs if run.strategy == strategy]
        return {name: fmean(row[name] for row in rows) for name in self.classes}

    def _shares(self, pixels: NDArray[np.int64]) -> dict[str, float]:
        total = max(1, int(pixels.sum()))
        return {name: 100 * int(count) / total for name, count in zip(self.classes, pixels, strict=True)}


def labelled_pixels(mask: NDArray[np.uint8], picks: pa.Table, inside: Inside = whole_box) -> NDArray[np.uint8]:
    """The pixels of a mask that picks reveal.

    Args:
        mask: (H, W) uint8 training ids.
        picks: ledger rows of this image; no region twice.
        inside: the shape of a region within its box.

    Returns:
        (n,) uint8 training ids, `IGNORE` among them, in no order.
    """
    seen = [np.empty(0, np.uint8)]
    names = ("image_index", "region_id", "top", "left", "height", "width")
    for image, region, top, left, height, width in zip(*(picks[n].to_pylist() for n in names), strict=True):
        box = mask[top : top + height, left : left + width]
        shape = inside(image, region, (top, left, height, width))
        seen.append(box.reshape(-1) if shape is None else box[shape])
    return np.concatenate(seen)


def class_counts(ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(classes,) int64 pixels of each class; ignored pixels count nowhere."""
    return np.bincount(ids.reshape(-1), minlength=256)[:classes].astype(np.int64)


def label_histogram(store: Folder, study: Study, most_images: int = MOST_IMAGES) -> LabelHistogram | None:
    """Count the labels of the first region size's runs; every mask is read once.

    Args:
        store: of the results.
        study: as read.
        most_images: of a larger pool, this many images are counted.

    Returns:
        None where nothing is selected yet.

    Raises:
        DataError: the data set is not there, or is another one than the study ran on.
    """
    chosen_runs = [run.run for run in study.runs if run.points and run.config.regions.size == study.region_sizes[0]]
    ledgers = [ledger for run in chosen_runs if (ledger := run_ledger(store, run)) is not None]
    if not ledgers:
        return None
    dataset = open_data(study)
    inside = region_shape(store, study)
    names = dataset.image_names("train")
    chosen = np.unique(np.linspace(0, len(names) - 1, min(most_images, len(names))).round().astype(int))
    counts = [np.zeros((1 + max(ledger["round"].to_pylist()), len(dataset.classes)), np.int64) for ledger in ledgers]
    pool = np.zeros(len(dataset.classes), np.int64)
    for index in map(int, chosen):
        mask = dataset.read_mask("train", index)
        pool += class_counts(mask, len(pool))
        for ledger, table in zip(ledgers, counts, strict=True):
            _count(table, mask, of_image(ledger, index, names[index]), inside)
    runs = tuple(
        RunLabels(run.strategy, run.config.seed, _budgets(ledger), table.cumsum(axis=0))
        for run, ledger, table in zip(chosen_runs, ledgers, counts, strict=True)
    )
    return LabelHistogram(dataset.classes.names, runs, pool, len(chosen), len(names))


def _count(table: NDArray[np.int64], mask: NDArray[np.uint8], picks: pa.Table, inside: Inside) -> None:
    rounds = picks["round"].to_numpy()
    for t in np.unique(rounds):
        table[t] += class_counts(labelled_pixels(mask, picks.filter(pa.array(rounds == t)), inside), table.shape[1])


def _budgets(ledger: pa.Table) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(ledger["round"].to_numpy()).cumsum())


def labels_frame(histogram: LabelHistogram) -> pd.DataFrame:
    """Pixels and shares by strategy, seed, budget and class, and those of the pool."""
    counted = [
        ((run.strategy, run.seed, budget), pixels)
        for run in histogram.runs
        for budget, pixels in zip(run.budgets, run.pixels, strict=True)
    ]
    rows = [
        (*key, name, int(n), 100 * int(n) / max(1, int(pixels.sum())))
        for key, pixels in [*counted, (("pool", None, None), histogram.pool)]
        for name, n in zip(histogram.classes, pixels, strict=True)
    ]
    columns = ["strategy", "seed", "labelled_regions", "class", "pixels", "share_percent"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64", "labelled_regions": "Int64"})
