"""Superpixels as regions: label maps that were computed once, and the geometry counted from them.

The maps come from SLIC (`raylab.pool`) and lie under the storage root; whoever opens them later gets the same
region ids, whatever scikit-image does by then. Plain NumPy; imports neither torch, Ray nor MLflow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from raylab.errors import DamagedError, MissingError, StoreError
from raylab.files import Folder, first_line
from raylab.regions.base import Regions, checked_sizes, read_sizes_text
from raylab.sealed import read_sealed

SUPERPIXELS_MANIFEST = "superpixels.json"
"""What the superpixels of a pool are and the files they lie in; written last."""
GEOMETRY = "geometry.parquet"
"""The table of centroids, boxes and pixel counts, one row a region."""
SUPERPIXELS = b"raylab.superpixels"
"""Of a table's metadata: the images' sizes and N, where its columns describe superpixels."""
IMAGES_A_FILE = b"raylab.superpixels.images_a_file"
"""Of that table's metadata: how many images' label maps a file holds."""
_KEPT = 8  # decoded maps a process keeps: 64 MB of Cityscapes' size


BOX = ("top", "left", "height", "width")
GEOMETRY_COLUMNS = {
    "image_index": pa.int32(),
    "y": pa.float64(),
    "x": pa.float64(),
    **dict.fromkeys(BOX, pa.int32()),
    "pixels": pa.int64(),
}
"""Columns of a table that tell where a superpixel lies; where a tile lies follows from its id."""


class Geometry(NamedTuple):
    """What is counted of each region of some images, in the order of their ids.

    Attributes:
        counts: (images,) int64 number of regions.
        centres: (n, 2) float64 y and x of the centroids.
        boxes: (n, 4) int32 top, left, height, width.
        pixels: (n,) int64.
    """

    counts: NDArray[np.int64]
    centres: NDArray[np.float64]
    boxes: NDArray[np.int32]
    pixels: NDArray[np.int64]


def geometry_of(labels: NDArray[np.int32]) -> Geometry:
    """The geometry of one image's regions.

    Args:
        labels: (H, W) int32, every number of 0 .. n - 1 at least once. A centroid is the mean of the pixels' indices
            plus a half, so that a rectangle's is its centre, as a tile's is.
    """
    flat, n = labels.reshape(-1), int(labels.max()) + 1
    pixels = np.bincount(flat, minlength=n)
    centres, boxes = np.empty((n, 2)), np.empty((n, 4), np.int32)
    for axis, at in enumerate(np.indices(labels.shape, np.int32).reshape(2, -1)):
        # whole numbers below 2^53 up to the division, which alone is rounded: the same on every machine
        centres[:, axis] = (2 * np.bincount(flat, at, n) + pixels) / (2 * pixels)
        low, high = np.full(n, labels.size, np.int32), np.zeros(n, np.int32)
        np.minimum.at(low, flat, at)
        np.maximum.at(high, flat, at)
        boxes[:, axis], boxes[:, 2 + axis] = low, high - low + 1
    return Geometry(np.array([n], np.int64), centres, boxes, pixels.astype(np.int64))


def joined(parts: list[Geometry]) -> Geometry:
    """The geometry of several groups of images, one after another."""
    return Geometry(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Superpixels(Regions):
    """The superpixels of every image of a pool, numbered `offset[image] + label`.

    Pickles as the folder of its files where it has one, so that a worker reads the geometry again.

    Args:
        sizes: (images, 2) heights and widths in pixels.
        region_size: N; a superpixel has about N x N pixels.
        geometry: of all regions.
        maps: where the label maps lie; None where only the geometry is known.

    Raises:
        ConfigError: N is not positive.
    """

    def __init__(self, sizes: ArrayLike, region_size: int, geometry: Geometry, maps: LabelMaps | None = None) -> None:
        self.sizes, self.region_size = checked_sizes(sizes, region_size), int(region_size)
        self.geometry, self.maps = geometry, maps

    def __reduce__(self) -> tuple[object, ...]:
        if self.maps is not None:
            return open_superpixels, (self.maps.store, self.maps.folder)
        return Superpixels, (self.sizes, self.region_size, self.geometry)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """(images + 1,) int64: the first region_id of every image, and the number of regions at the end."""
        return np.concatenate([[0], np.cumsum(self.geometry.counts)]).astype(np.int64)

    def boxes(self, region_id: ArrayLike) -> NDArray[np.int32]:
        """Bounding boxes: (n, 4) int32 top, left, height, width of (n,) global ids."""
        return self.geometry.boxes[np.asarray(region_id, np.int64)]

    def pixels(self, region_id: ArrayLike) -> NDArray[np.int64]:
        """(n,) int64: number of pixels of every region."""
        return self.geometry.pixels[np.asarray(region_id, np.int64)]

    def centres(self, region_id: ArrayLike) -> NDArray[np.float64]:
        """(n, 2) float64: y and x of the centroids."""
        return self.geometry.centres[np.asarray(region_id, np.int64)]

    def label_map(self, image: int) -> NDArray[np.int32]:
        """(H, W) int32, read-only: the label of every pixel; the last few are kept.

        Raises:
            StoreError: only the geometry is known, or the stored map is missing or damaged.
        """
        if self.maps is None:
            raise StoreError("superpixels: only their geometry is known here; open them under the run's storage root")
        labels = self.maps.read(image)
        if labels.shape != tuple(self.sizes[image]) or labels.max(initial=0) >= self.geometry.counts[image]:
            raise self.maps.damaged(image, "it does not fit the geometry")
        return labels

    def part(self, first: int, stop: int) -> Superpixels:
        """The superpixels of images first .. stop - 1 alone, numbered from 0, without label maps."""
        rows, whole = slice(*self.offset[[first, stop]].tolist()), self.geometry
        geometry = Geometry(whole.counts[first:stop], whole.centres[rows], whole.boxes[rows], whole.pixels[rows])
        return Superpixels(self.sizes[first:stop], self.region_size, geometry)

    def covered(self, image: int, region_id: ArrayLike) -> NDArray[np.bool_]:
        """(H, W) bool: which pixels of an image lie in these regions.

        Raises:
            StoreError: as `label_map`.
        """
        chosen = np.zeros(int(self.geometry.counts[image]), bool)
        chosen[self.within(image, region_id)] = True
        return chosen[self.label_map(image)]


class LabelMaps:
    """The label maps of a pool in files of some images each, every map in a row group of its own as a 16-bit PNG.

    Args:
        store: of the results.
        folder: below its root.
        images: that a file holds.
        digests: SHA-256 of the files, by name.
    """

    def __init__(self, store: Folder, folder: str, images: int, digests: Mapping[str, str]) -> None:
        self.store, self.folder, self.images, self.digests = store, folder, images, digests
        self.read = lru_cache(_KEPT)(self._read)

    def path(self, image: int) -> str:
        """The file that holds an image's map."""
        return f"{self.folder}/{part_name(image // self.images)}"

    def damaged(self, image: int, why: str) -> StoreError:
        """The error of a map that does not do."""
        return StoreError(
            f"{self.store.uri_of(self.path(image))}: the label map of image {image} is damaged ({why}); restore the "
            "file, or delete its folder to have the superpixels computed again"
        )

    def _read(self, image: int) -> NDArray[np.int32]:
        try:
            self.store.check(self.path(image), self.digests.get(part_name(image // self.images), ""))
            # opened for each map: a handle would not survive the fork of a data loader's process
            with self.store.parquet(self.path(image)) as file:
                # one column needs one thread; pyarrow's, if they start just before the process ends, can abort it
                rows = file.read_row_group(image % self.images, ["labels"], use_threads=False)
            labels = decode_labels(rows["labels"][0].as_py())
        except MissingError:
            raise
        except (StoreError, OSError, ValueError, IndexError, TypeError) as error:
            why = error.reason if isinstance(error, StoreError) else first_line(error)
            raise self.damaged(image, why) from None
        labels.flags.writeable = False
        return labels


def superpixels_folder(size: int, compactness: float, fingerprint: str) -> str:
    """Where the superpixels of a data set lie below the storage root."""
    exactly = repr(float(compactness)).removesuffix(".0")
    return f"regions/superpixels-N{size}-c{exactly}-{fingerprint[:12]}"


def part_name(part: int) -> str:
    """Name of a file of label maps."""
    return f"maps-{part:05d}.parquet"


def encode_labels(labels: NDArray[np.int32]) -> bytes:
    """A label map as a 16-bit PNG: any program opens it, and it takes a hundredth of the raw numbers' room."""
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint16)).save(buffer, "png")
    return buffer.getvalue()


def decode_labels(data: bytes) -> NDArray[np.int32]:
    """The label map in a 16-bit PNG, (H, W) int32."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(np.int32)


def superpixels_of(table: pa.Table, sizes: list[list[int]], region_size: int, uri: str) -> Superpixels:
    """The superpixels that a table's columns describe, without label maps.

    Args:
        table: one row a region, with `GEOMETRY_COLUMNS`.
        sizes: of the pool's images.
        region_size: N.
        uri: of the table, for messages.

    Raises:
        StoreError: it lacks a column, or its rows are not the regions of the images in their order.
    """
    if missing := [name for name in GEOMETRY_COLUMNS if name not in table.column_names]:
        raise StoreError(f"{uri} lacks the column {missing[0]}, without which its superpixels lie nowhere")
    image, y, x, *box, pixels = (table[name].to_numpy() for name in GEOMETRY_COLUMNS)
    counts = np.bincount(image, minlength=len(sizes))
    if len(counts) != len(sizes) or np.any(np.diff(image) < 0) or not counts.all():
        raise StoreError(f"{uri}: its rows are not the regions of its {len(sizes)} images in their order")
    geometry = Geometry(counts.astype(np.int64), np.stack([y, x], axis=1), np.stack(box, axis=1), pixels)
    return Superpixels(sizes, region_size, geometry)


def read_digests(store: Folder, folder: str) -> dict[str, str]:
    """SHA-256 of the files of a pool's superpixels, by name, once each is there and as large as it was.

    Args:
        store: of the results.
        folder: below its root.

    Raises:
        DamagedError: the manifest is not what was written, or a file is gone or has another size.
        StoreError: the manifest is missing or cannot be read.
    """
    again = f"restore it, or delete {store.uri_of(folder)} and the runs made with it to begin anew"
    try:
        files = read_sealed(store, f"{folder}/{SUPERPIXELS_MANIFEST}")["files"]
    except DamagedError as error:
        raise DamagedError(
            f"{store.uri_of(folder)}/{SUPERPIXELS_MANIFEST} is no manifest of superpixels ({error.reason}); {again}",
            error.reason,
        ) from None
    for name, entry in files.items():
        if store.size(path := f"{folder}/{name}") != entry["bytes"]:
            raise DamagedError(f"{store.uri_of(path)} is not the file that was committed; {again}", "its size differs")
    return {name: entry["sha256"] for name, entry in files.items()}


def open_superpixels(store: Folder, folder: str) -> Superpixels:
    """The superpixels that lie in a folder: their geometry; label maps are read when they are asked for.

    Args:
        store: of the results.
        folder: below its root.

    Raises:
        StoreError: manifest or geometry are missing or damaged.
    """
    path, digests = f"{folder}/{GEOMETRY}", read_digests(store, folder)
    table = store.read_table(path, digests.get(GEOMETRY, ""))
    metadata = table.schema.metadata or {}
    text, images = metadata.get(SUPERPIXELS), metadata.get(IMAGES_A_FILE)
    if text is None or images is None:
        raise StoreError(f"{store.uri_of(path)} is not the geometry of stored superpixels")
    found = superpixels_of(table, *read_sizes_text(text, store.uri_of(path)), store.uri_of(path))
    found.maps = LabelMaps(store, folder, int(images), digests)
    return found
