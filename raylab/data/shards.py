"""The shards of a packed set as they are written: rows gathered into row groups, row groups into files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylab.data.packed import INDEX, SHARDS
from raylab.files import Folder

SHARD_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("name", pa.string()),
        ("image_path", pa.string()),
        ("image", pa.binary()),
        ("mask_path", pa.string()),
        ("mask", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)
BYTES = ("image", "mask")
POSITION = ("shard", "row_group", "row")
TILE = ("top", "left", "whole_height", "whole_width")
"""Of the index: where a tile begins, and the size of the image that it is a tile of; null of other images."""


@dataclass
class ShardWriter:
    """Writes images as rows of shards, and remembers where each lies.

    Args:
        target: the packed set's folder.
        tell: takes a line after each shard.
        shard_bytes: that no shard holds more of, unless a single image does.
        group_bytes: of images and masks after which a row group is closed.
        total: images there will be.

    Attributes:
        shards: the manifest's entries of those that are finished.
        index: rows of the index.
    """

    target: Folder
    tell: Callable[[str], None]
    shard_bytes: int
    group_bytes: int
    total: int
    shards: list[dict[str, Any]] = field(default_factory=list)
    index: list[dict[str, Any]] = field(default_factory=list)
    _group: list[dict[str, Any]] = field(default_factory=list)
    _group_bytes: int = 0
    _shard_bytes: int = 0
    _groups: int = 0
    _rows: int = 0
    _sink: Any = None
    _writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        """Add an image, in a new shard if this one would grow too large.

        Args:
            row: a value for every column of `SHARD_SCHEMA`.

        Raises:
            StoreError: a shard that this completes cannot be written.
        """
        size = len(row["image"]) + len(row["mask"])
        if self._shard_bytes and self._shard_bytes + size > self.shard_bytes:
            self.close_shard()
        position = {"shard": len(self.shards), "row_group": self._groups, "row": len(self._group)}
        digests = {f"{kind}_sha256": hashlib.sha256(row[kind]).digest() for kind in BYTES}
        self.index.append({key: value for key, value in row.items() if key not in BYTES} | position | digests)
        self._group.append(row)
        self._shard_bytes += size
        self._group_bytes += size
        if self._group_bytes >= self.group_bytes:
            self._close_group()

    def _close_group(self) -> None:
        if self._writer is None:
            self._sink = pa.BufferOutputStream()
            # The bytes are compressed already; statistics of them would be kept in the footer.
            self._writer = pq.ParquetWriter(
                self._sink, SHARD_SCHEMA, compression="none", use_dictionary=False, write_statistics=False,
                write_page_checksum=True,
            )  # fmt: skip
        self._writer.write_table(pa.Table.from_pylist(self._group, SHARD_SCHEMA), row_group_size=len(self._group))
        self._groups += 1
        self._rows += len(self._group)
        self._group, self._group_bytes = [], 0

    def close_shard(self) -> None:
        """Write the shard, if it holds anything.

        Raises:
            StoreError: it cannot be written.
        """
        if self._group:
            self._close_group()
        if self._writer is None:
            return
        self._writer.close()
        split = self.index[-1]["split"]
        number = sum(one["split"] == split for one in self.shards)
        entry = _write(self.target, f"{SHARDS}/{split}-{number:05d}.parquet", self._sink.getvalue())
        self.shards.append({"split": split, "rows": self._rows} | entry)
        self.tell(f"{len(self.index)} of {self.total} images, {entry['path']}: {entry['bytes'] / 2**20:.1f} MiB")
        self._writer = self._sink = None
        self._shard_bytes = self._groups = self._rows = 0

    def write_index(self) -> dict[str, Any]:
        """Write the index.

        Returns:
            Its entry of the manifest.

        Raises:
            StoreError: it cannot be written.
        """
        fields = [one for one in SHARD_SCHEMA if one.name not in BYTES] + [
            pa.field(name, pa.int32()) for name in (*TILE, *POSITION)
        ]
        fields += [pa.field(f"{kind}_sha256", pa.binary(32)) for kind in BYTES]
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.Table.from_pylist(self.index, pa.schema(fields)), sink, compression="zstd", write_page_checksum=True
        )
        return _write(self.target, INDEX, sink.getvalue())


def _write(target: Folder, path: str, content: pa.Buffer) -> dict[str, Any]:
    target.write_bytes(path, content)
    return {"path": path, "bytes": content.size, "sha256": hashlib.sha256(content).hexdigest()}
