"""Packing: the files of a data set into Parquet shards (`raylab.data.packed` says what lies where)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from raylab.data import decode
from raylab.data.base import Split
from raylab.data.files import FileDataset
from raylab.data.fingerprint import Fingerprint
from raylab.data.image_file import read_size
from raylab.data.layout import SPLITS, Entry
from raylab.data.packed import INDEX, PACK_MANIFEST, SHARDS, VERSION, wrap
from raylab.data.png_bands import encode_png
from raylab.data.registry import open_dataset
from raylab.data.shards import BYTES, ShardWriter
from raylab.data.source import Source, open_folder
from raylab.errors import DataError, StoreError
from raylab.files import Folder, absolute
from raylab.sealed import write_sealed

if TYPE_CHECKING:
    from raylab.config import DataConfig

SHARD_BYTES = 128 * 2**20
"""A shard is closed before it grows beyond this."""
GROUP_BYTES = 2**18
"""A row group is closed once it holds this much: reading one image reads one column of one group."""
_READ_TOGETHER = 16


def pack_config(config: DataConfig, output: str, tell: Callable[[str], None]) -> str:
    """Pack the data set that a configuration names.

    Args:
        config: name, root and the list that is the pool.
        output: folder or URI.
        tell: takes a line after each shard.

    Returns:
        A sentence that says what lies where.

    Raises:
        DataError: as `pack_dataset` and `raylab.data.open_dataset`, or the data set is generated, not stored.
    """
    dataset = open_dataset(config)
    if not isinstance(dataset, FileDataset):
        raise DataError(f"data.name: {config.name} is generated, there are no files to pack; choose a stored data set")
    manifest = pack_dataset(dataset, output, config.train_list, tell)
    images, mebibytes = manifest["images"], sum(one["bytes"] for one in manifest["shards"]) / 2**20
    return (
        f"{config.name}: {images['train']} training and {images['val']} validation images, {mebibytes:.1f} MiB, lie in "
        f"{absolute(output)}; use it as data.root"
    )


def pack_dataset(
    dataset: FileDataset,
    output: str,
    train_list: str = "train",
    tell: Callable[[str], None] = print,
    shard_bytes: int = SHARD_BYTES,
    group_bytes: int = GROUP_BYTES,
) -> dict[str, Any]:
    """Write a data set's files, byte for byte, as Parquet shards; the manifest comes last. Tiles become PNG files.

    Args:
        dataset: opened without problems.
        output: folder or URI; what an unfinished pack left there is replaced.
        train_list: that the pool was opened with.
        tell: takes a line after each shard.
        shard_bytes: that no shard holds more of, unless a single image does.
        group_bytes: of images and masks after which a row group is closed.

    Returns:
        The manifest.

    Raises:
        DataError: a file cannot be read, an image and its mask differ in size, `output` holds something else or cannot
            be written.
    """
    target = open_folder(output, "output")
    try:
        _check_output(target)
        _check_names(dataset)
        dataset.check_sizes()
        images = {split: len(dataset.image_names(split)) for split in SPLITS}
        for path in target.walk(SHARDS)[0]:
            target.delete(f"{SHARDS}/{path}")
        writer = ShardWriter(target, tell, shard_bytes, group_bytes, sum(images.values()))
        manifest = _write(dataset, images, writer)
        manifest |= {"name": dataset.name, "train_list": train_list}
        if any(entry.window for split in SPLITS for entry in dataset.entries(split)):
            manifest |= {"tile": dataset.reading.tile, "fingerprint": dataset.fingerprint()}
        write_sealed(target, PACK_MANIFEST, manifest)
    except StoreError as error:
        raise DataError(f"output: {error}") from None
    return manifest


def _write(dataset: FileDataset, images: Mapping[Split, int], writer: ShardWriter) -> dict[str, Any]:
    """Write shards and index, and give the manifest of them."""
    fingerprint = _write_rows(dataset, images, writer)
    return {
        "version": VERSION,
        "images": dict(images),
        "classes": dict(zip(dataset.classes.names, dataset.classes.colours, strict=True)),
        "masks": dataset.coding_key().decode(),
        "fingerprint": fingerprint,
        "files": {path: wrap(_read(dataset.source, path)) for path in dataset.side_files},
        "index": writer.write_index(),
        "shards": writer.shards,
    }


def _write_rows(dataset: FileDataset, images: Mapping[Split, int], writer: ShardWriter) -> str:
    """Write all images and masks; returns the fingerprint of what was written."""
    fingerprint = Fingerprint(dataset.name, dataset.classes.names, dataset.coding_key())
    for split in SPLITS:
        fingerprint.begin(split, 2 * images[split])
        for row in _rows(dataset, split):
            for kind in BYTES:
                content = row[kind]
                fingerprint.add(row[f"{kind}_path"], len(content), hashlib.sha256(content).digest())
            writer.add(row)
        writer.close_shard()
    return fingerprint.hexdigest()


def _check_output(target: Folder) -> None:
    """Refuse a folder where a finished pack or something else lies."""
    names = target.list()
    if PACK_MANIFEST in names:
        raise DataError(f"{target.uri}: a packed set lies there already; use it as data.root, or choose another output")
    if other := [name for name in names if name not in (INDEX, SHARDS)]:
        raise DataError(f"{target.uri}: holds other files ({other[0]} the first); choose an empty folder as output")


def _check_names(dataset: FileDataset) -> None:
    """Refuse files whose names a pack cannot hold."""
    paths = [path for split in SPLITS for pair in dataset.paths(split) for path in pair]
    if problems := [f"{dataset.source.uri_of(path)!a}: the file's name is no UTF-8; rename it"
                    for path in paths if _is_no_utf8(path)]:  # fmt: skip
        raise DataError(problems)


def _is_no_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _rows(dataset: FileDataset, split: Split) -> Iterator[dict[str, Any]]:
    """The rows of a split, in the order of its names; files are read ahead in threads, tiles one by one."""
    entries = dataset.entries(split)
    with ThreadPoolExecutor(_READ_TOGETHER) as pool:
        for start in range(0, len(entries), _READ_TOGETHER):
            part = entries[start : start + _READ_TOGETHER]
            read = map if any(entry.window for entry in part) else pool.map
            yield from read(lambda entry: _row(dataset, split, entry), part)


def _row(dataset: FileDataset, split: Split, entry: Entry) -> dict[str, Any]:
    image, mask, window = dataset.image_file(entry), dataset.mask_file(entry), entry.window
    height, width = read_size(image, dataset.reading)
    row: dict[str, Any] = {
        "split": split,
        "name": entry.name,
        "image_path": entry.image,
        "mask_path": entry.mask,
        "height": height,
        "width": width,
    }
    if window is None:
        return row | {kind: _read(dataset.source, row[f"{kind}_path"]) for kind in BYTES}
    assert dataset.coding is not None
    ids = decode.mask_values(mask, dataset.coding, dataset.reading)
    if ids.dtype == np.uint32:
        ids = np.stack([ids >> 16, ids >> 8, ids], axis=-1).astype(np.uint8)
    values, largest = decode.image_values(image, dataset.reading)
    if largest and dataset.reading.high is None:  # a PNG has 16 bits, by all of which its values are scaled
        more = 16 - largest.bit_length()
        values = values << more | values >> 16 - 2 * more
    whole = {"top": window.top, "left": window.left, "whole_height": window.whole[0], "whole_width": window.whole[1]}
    return row | whole | {"image": encode_png(values), "mask": encode_png(ids)}


def _read(source: Source, path: str) -> bytes:
    try:
        return source.read_bytes(path)
    except StoreError as error:
        raise DataError(str(error)) from None
