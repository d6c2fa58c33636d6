"""SLIC superpixels of a whole pool, computed once and committed: label maps and geometry first, the manifest last.

Nothing counts before the manifest is there. A build that was stopped goes on with the files of label maps that it had
finished, unless another scikit-image made them. Imports scikit-image only when something is computed.
"""

from __future__ import annotations

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raylab.config import RunConfig
from raylab.data import open_dataset
from raylab.data.base import SegmentationDataset
from raylab.errors import BudgetError, ConfigError, StoreError
from raylab.lease import leased
from raylab.plugins import load
from raylab.progress import Progress
from raylab.regions import RegionGrid, Regions
from raylab.regions.base import checked_sizes
from raylab.regions.superpixels import (
    GEOMETRY,
    IMAGES_A_FILE,
    SUPERPIXELS_MANIFEST,
    Geometry,
    Superpixels,
    decode_labels,
    encode_labels,
    geometry_of,
    joined,
    open_superpixels,
    part_name,
    superpixels_folder,
)
from raylab.regions.table import with_regions
from raylab.runs import ResolvedRun
from raylab.sealed import write_sealed

if TYPE_CHECKING:
    from raylab.files import Folder

PART = 64
"""Images in one file of label maps: what is lost at most when a build is stopped."""
_PAPERS_SHARE = 0.08
"""Of the pool's regions that the paper labels in all, on both of its data sets about."""
_MOST = 1 << 16  # labels of a 16-bit PNG
_MADE = b"raylab.superpixels.made"


def segment(image: NDArray[np.uint8], size: int, compactness: float) -> NDArray[np.int32]:
    """SLIC superpixels of about size x size pixels each.

    How many there are follows the image: SLIC joins segments that are too small with a neighbour.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: N.
        compactness: of `skimage.segmentation.slic`.

    Returns:
        (H, W) int32 labels, every number of 0 .. n - 1 at least once.

    Raises:
        ConfigError: scikit-image is not installed, or there are more superpixels than a label map holds.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ConfigError(f"regions.shape: superpixels need scikit-image ({error}); pip install scikit-image") from None
    wanted = max(1, round(image.shape[0] * image.shape[1] / size**2))
    found = slic(
        image, n_segments=wanted, compactness=compactness, start_label=0, enforce_connectivity=True, channel_axis=-1
    )
    values, labels = np.unique(found, return_inverse=True)
    if len(values) > _MOST:
        raise ConfigError(f"regions.size: {size} gives {len(values)} superpixels an image, more than {_MOST}; raise it")
    return labels.reshape(image.shape[:2]).astype(np.int32)


def open_or_build(
    dataset: SegmentationDataset,
    fingerprint: str,
    store: Folder,
    size: int,
    compactness: float,
    progress: Progress | None,
) -> Superpixels:
    """The superpixels of a data set's pool, computed if they are not there yet.

    Args:
        dataset: whose `train` split is the pool.
        fingerprint: of the data set.
        store: of the results.
        size: N.
        compactness: of SLIC.
        progress: told of every image that is segmented.

    Raises:
        StoreError: a file of theirs is gone or not the one that was committed.
        ConfigError: N does not suit the images, or scikit-image is not installed.
    """
    folder = superpixels_folder(size, compactness, fingerprint)
    if not store.exists(f"{folder}/{SUPERPIXELS_MANIFEST}"):
        _build(dataset, store, folder, {"size": size, "compactness": compactness, "data": fingerprint}, progress)
    return open_superpixels(store, folder)


def _build(
    dataset: SegmentationDataset, store: Folder, folder: str, what: dict[str, Any], progress: Progress | None
) -> None:
    """Segment the pool and commit it."""
    sizes, names = checked_sizes(dataset.image_sizes("train"), what["size"]), dataset.image_names("train")
    made = {**what, "scikit_image": _version()}
    files: dict[str, dict[str, Any]] = {}
    parts = [Geometry(np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 4), np.int32), np.empty(0, np.int64))]

    def put(name: str, data: bytes) -> None:
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    for start in range(0, len(names), PART):
        path = f"{folder}/{part_name(start // PART)}"
        indices = range(start, min(start + PART, len(names)))
        table = _finished(store, path, made, [names[i] for i in indices])
        if table is None:
            _write(store, path, _segmented(dataset, indices, names, what, len(names), progress), made)
            table = store.read_table(path)
        parts += [geometry_of(decode_labels(data.as_py())) for data in table["labels"]]
        put(part_name(start // PART), store.read_bytes(path))
        if progress is not None:
            progress("regions", indices.stop, len(names))
    whole = joined(parts)
    pool = Superpixels(sizes, what["size"], whole)
    path = f"{folder}/{GEOMETRY}"
    table = pa.table({"region_id": np.arange(pool.n_regions)}).replace_schema_metadata({IMAGES_A_FILE: str(PART)})
    store.write_table(path, with_regions(table, pool))
    put(GEOMETRY, store.read_bytes(path))
    record = {**made, "images": len(names), "regions": pool.n_regions}
    write_sealed(store, f"{folder}/{SUPERPIXELS_MANIFEST}", {"record": record, "files": files})


def _segmented(
    dataset: SegmentationDataset,
    indices: range,
    names: list[str],
    what: dict[str, Any],
    total: int,
    progress: Progress | None,
) -> pa.Table:
    """One row an image: its name, size, number of regions and label map."""

    def one(index: int) -> dict[str, Any]:
        labels = segment(dataset.read_image("train", index), what["size"], what["compactness"])
        height, width = labels.shape
        regions = int(labels.max()) + 1
        return {
            "name": names[index],
            "height": height,
            "width": width,
            "regions": regions,
            "labels": encode_labels(labels),
        }

    rows = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # scikit-image lets go of the interpreter's lock
        for index, row in zip(indices, pool.map(one, indices), strict=True):
            rows.append(row)
            if progress is not None:
                progress("regions", index, total, "superpixels")
    return pa.Table.from_pylist(rows)


def _write(store: Folder, path: str, table: pa.Table, made: dict[str, Any]) -> None:
    """One row group an image, so that a single map can be read; the maps are compressed already."""
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({_MADE: repr(sorted(made.items()))})
    pq.write_table(table, sink, row_group_size=1, compression="none", use_dictionary=False, write_page_checksum=True)
    store.write_bytes(path, sink.getvalue().to_pybytes())


def _finished(store: Folder, path: str, made: dict[str, Any], names: list[str]) -> pa.Table | None:
    """The label maps that an earlier, stopped build finished, if they are what this one would compute."""
    if not store.exists(path):
        return None
    try:
        table = store.read_table(path)
    except StoreError:
        return None  # half a file, from a file system that does not move it into place whole
    same = (table.schema.metadata or {}).get(_MADE) == repr(sorted(made.items())).encode()
    return table if same and table["name"].to_pylist() == names else None


def _version() -> str:
    try:
        return version("scikit-image")
    except PackageNotFoundError:
        return "none"


def known_regions(run: ResolvedRun, store: Folder) -> Regions:
    """The regions of a run's pool as they were; superpixels are not computed, and need no data.

    Args:
        run: whose pool it is.
        store: of the results.

    Raises:
        DataError: the data set, whose sizes tell the tiles, is not where the run had it.
        StoreError: superpixels are damaged or missing.
    """
    shape = run.config.regions
    if shape.shape == "grid":
        load(run.config.plugins)
        return RegionGrid(open_dataset(run.config.data).image_sizes("train"), shape.size)
    folder = superpixels_folder(shape.size, shape.compactness, run.inputs.data)
    if not store.exists(f"{folder}/{SUPERPIXELS_MANIFEST}"):
        raise StoreError(f"{store.uri_of(folder)}: the superpixels of the pool are not there; run the study again")
    return open_superpixels(store, folder)


def pool_regions(
    run: ResolvedRun, dataset: SegmentationDataset, store: Folder, progress: Progress | None = None
) -> Regions:
    """The regions of a run's pool; superpixels are computed by the first run that asks, and opened after that.

    Args:
        run: whose pool it is.
        dataset: whose `train` split is the pool.
        store: of the results.
        progress: told of every image that is cut into superpixels, as stage `regions`.

    Raises:
        ConfigError: N gives more superpixels an image than can be told apart, or scikit-image is needed and missing.
        StoreError: stored superpixels are damaged.
        BudgetError: the pool holds less than the budget.
    """
    shape = run.config.regions
    regions: Regions
    if shape.shape == "grid":
        regions = RegionGrid(dataset.image_sizes("train"), shape.size)
    else:
        with leased(store, "regions", run.config.compute.takeover, progress):
            regions = open_or_build(dataset, run.inputs.data, store, shape.size, shape.compactness, progress)
    check_budget(run.config, regions)
    return regions


def check_budget(config: RunConfig, regions: Regions) -> None:
    """Whether a pool holds what a budget asks for.

    Raises:
        BudgetError: it does not.
    """
    budget = config.budget
    held = {"regions": regions.n_regions, "pixels": regions.n_pixels}.get(budget.unit, math.inf)
    if budget.total > held:
        sides = f" of {config.regions.size}x{config.regions.size} pixels" if budget.unit == "regions" else ""
        fits = budget.scaled(_PAPERS_SHARE * held / budget.total)
        raise BudgetError(
            f"budget: {budget.total:,} {budget.unit} are to be labelled in all, but the pool of {config.data.name} "
            f"holds {held:,}{sides}; lower budget.initial and budget.rounds, to {fits.initial} and "
            f"{' '.join(map(str, fits.rounds))} for {100 * _PAPERS_SHARE:g} % of it"
        )
