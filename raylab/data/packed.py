"""A packed data set: the files of a raw one, byte for byte, in Parquet shards that read well from anywhere.

raylab-pack.json     the manifest, written last: without it there is no packed set
index.parquet        a row an image or tile: its files' paths, its size, the shard, row group and row it lies in
shards/*.parquet     a row an image or tile: split, name, image_path, image, mask_path, mask (the files' bytes; of tiles
                     those of a PNG), height, width

A `PackedFolder` shows these as the folder they came from, so every data set opens, lists, decodes and digests them as
it does raw files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from raylab.data.node_cache import forget, kept
from raylab.errors import DamagedError, DataError, MissingError, StoreError, field_of, what_is_wrong
from raylab.files import Folder, first_line
from raylab.sealed import unsealed

PACK_MANIFEST = "raylab-pack.json"
INDEX = "index.parquet"
SHARDS = "shards"
VERSION = 2
"""2: heights and widths are those of upright images; the index holds the SHA-256 of every image and mask, the manifest
its own."""
FIRST_SHARD = f"{SHARDS}/train-00000.parquet"
_AGAIN = "restore it or pack again"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Entry(_Strict):
    path: str
    bytes: int
    sha256: str


class _Shard(_Entry):
    split: str
    rows: int


class _Manifest(_Strict):
    version: int
    name: str
    train_list: str
    images: dict[str, int]
    classes: dict[str, Any]
    masks: str
    fingerprint: str
    files: dict[str, dict[str, str]]
    tile: int | None = None
    index: _Entry
    shards: list[_Shard]


@dataclass(frozen=True)
class Cell:
    """An image or mask of a packed set; as a string it is its shard and its path in the raw set.

    Attributes:
        folder: the packed set.
        path: of the file in the raw set.
        row: of the index.
        column: of the shard, `image` or `mask`.
        shape: height and width.
    """

    folder: PackedFolder
    path: str
    row: int
    column: str
    shape: tuple[int, int] | None

    def __str__(self) -> str:
        return self.folder.uri_of(self.path)

    def state(self) -> None:
        """A cell has no time of its own."""

    def open(self, whole: bool = True) -> IO[bytes]:
        """The file's bytes; they are always read as a whole.

        Raises:
            FileNotFoundError: the set holds no such file.
            DataError: the shard is missing or damaged.
        """
        return io.BytesIO(self.folder.read_cell(self))


class PackedFolder:
    """The files of a packed set by the paths they had in the raw one. Pickles as its folder.

    Args:
        folder: that holds the manifest.

    Attributes:
        manifest: what `raylab pack` wrote: name, train_list, fingerprint, shards.
        local: the set's folder where it is on a disk, else None.

    Raises:
        DataError: manifest or index is missing, damaged or of another version.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.local: Path | None = folder.local
        self.manifest = _read_manifest(folder)
        try:
            self._side_files = {path: _unwrap(value) for path, value in self.manifest["files"].items()}
        except (KeyError, ValueError) as error:
            uri = folder.uri_of(PACK_MANIFEST)
            raise DataError(f"{uri}: no manifest of a packed set (files: {first_line(error)}); {_AGAIN}") from None
        self._read_index()
        self._footers: dict[int, pq.FileMetaData] = {}
        self._damage: dict[int, str] = {}
        self._last = threading.local()

    def __getstate__(self) -> Folder:
        return self.folder

    def __setstate__(self, folder: Folder) -> None:
        self.__init__(folder)  # type: ignore[misc]

    def _read_index(self) -> None:
        entry = self.manifest["index"]
        try:
            content = self.folder.read_bytes(INDEX)
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise StoreError("", "its bytes are not those that were packed")
            columns: dict[str, list[Any]] = pq.read_table(pa.BufferReader(content)).to_pydict()
        except (StoreError, pa.ArrowException) as error:
            raise DataError(f"{self.folder.uri_of(INDEX)}: cannot be read ({_why(error)}); {_AGAIN}") from None
        self._rows = list(zip(columns["shard"], columns["row_group"], columns["row"], strict=True))
        if max(columns["shard"], default=0) >= (shards := len(self.manifest["shards"])):
            uri = self.folder.uri_of(PACK_MANIFEST)
            raise DataError(f"{uri}: no manifest of a packed set (its index needs more than {shards} shards); {_AGAIN}")
        self._digests: dict[str, list[bytes]] = {column: columns[f"{column}_sha256"] for column in ("image", "mask")}
        self._shapes = list(zip(columns["height"], columns["width"], strict=True))
        self._cells: dict[str, tuple[int, str]] = {}
        self._wholes: dict[str, tuple[int, int]] = {}
        self._places: dict[str, list[tuple[int, str]]] = defaultdict(list)
        tops = columns.get("top", [None] * len(self._rows))
        for column in ("image", "mask"):
            for row, (path, top) in enumerate(zip(columns[f"{column}_path"], tops, strict=True)):
                self._places[path].append((row, column))
                if top is None:
                    self._cells[path] = row, column
                else:
                    self._cells[tile_path(path, top, columns["left"][row])] = row, column
                    self._wholes[path] = columns["whole_height"][row], columns["whole_width"][row]
        files = [path for path, (row, _) in self._cells.items() if tops[row] is None]
        self._paths = sorted([*files, *self._wholes, *self._side_files])
        self._folders = {""}
        for path in self._paths:
            while path := path.rpartition("/")[0]:
                self._folders.add(path)

    @property
    def uri(self) -> str:
        """Of the packed set."""
        return self.folder.uri

    @property
    def tile(self) -> int | None:
        """Pixels of a side of the tiles that larger images were cut into."""
        own: int | None = self.manifest.get("tile")
        return own

    def fingerprint(self, classes: tuple[str, ...], coding: bytes) -> str | None:
        """The fingerprint of the raw set, taken when it was packed.

        Args:
            classes: names of the training classes today.
            coding: of the masks today.

        Returns:
            None where classes or coding were others, so that the files must be read again.
        """
        then = self.manifest
        if tuple(then.get("classes", ())) != classes or then.get("masks") != coding.decode():
            return None
        own: str | None = then.get("fingerprint")
        return own

    def digest(self, path: str) -> bytes:
        """SHA-256 of an image or mask as the index has it; of one that lies there in tiles, over theirs in order."""
        found = [self._digests[column][row] for row, column in self._places[path]]
        return found[0] if len(found) == 1 else hashlib.sha256(b"".join(found)).digest()

    def uri_of(self, path: str) -> str:
        """What to tell a person: the shard that a path of the raw set lies in, and the path."""
        where = self._shard(self._cells[path][0])["path"] if path in self._cells else ""
        return f"{self.folder.uri_of(where)} ({path})"

    def is_folder(self, path: str = "") -> bool:
        """Whether the raw set has such a folder, with files in it."""
        return path in self._folders

    def is_file(self, path: str) -> bool:
        """Whether the raw set has such a file."""
        return path in self._cells or path in self._side_files or path in self._wholes

    def walk(self, path: str = "") -> tuple[list[str], list[str]]:
        """Files below a folder of the raw set, relative to it; there are no problems."""
        start = f"{path}/" if path else ""
        return [one.removeprefix(start) for one in self._paths if one.startswith(start)], []

    def file(self, path: str) -> Cell:
        """An image or mask, or a tile by its `tile_path`; of one that lies there in tiles only the shape is known."""
        row, column = self._cells.get(path, (-1, ""))
        return Cell(self, path, row, column, self._shapes[row] if column else self._wholes.get(path))

    def read_bytes(self, path: str) -> bytes:
        """A file of the raw set.

        Raises:
            MissingError: the set holds no such file.
            DataError: the shard is missing or damaged.
        """
        if path in self._side_files:
            return self._side_files[path]
        if path not in self._cells:
            raise MissingError(f"{self.folder.uri} ({path}) is missing; pack the data set again")
        return self.read_cell(self.file(path))

    def read_cell(self, cell: Cell) -> bytes:
        """The bytes of an image or mask; reads one column of one row group.

        Raises:
            FileNotFoundError: the set holds no such file.
            DataError: the shard is missing or damaged.
        """
        if not cell.column:
            raise FileNotFoundError(cell.path)
        shard = self._rows[cell.row][0]
        if shard in self._damage:
            raise DataError(self._damage[shard])
        entry = self.manifest["shards"][shard]
        try:
            place, path = kept(self.folder, entry["path"], entry["sha256"], entry["bytes"])
            try:
                return self._content(cell, place, path)
            except StoreError:
                if place is self.folder:
                    raise
                forget(entry["sha256"])  # what lies on this machine is only a copy
                self._footers.pop(shard, None)
                return self._content(cell, self.folder, entry["path"])
        except StoreError as error:
            raise DataError(self._damaged(shard, _why(error))) from None

    def _content(self, cell: Cell, place: Folder, path: str) -> bytes:
        """The bytes of an image or mask out of a shard or a copy of it, compared with their digest."""
        shard, group, row = self._rows[cell.row]
        # Neighbours are often asked for one after the other, as in evaluation.
        key, values = getattr(self._last, cell.column, (None, None))
        if key != (place.uri, shard, group):
            with place.parquet(path, metadata=self._footers.get(shard)) as parquet:
                self._footers[shard] = parquet.metadata
                values = parquet.read_row_group(group, columns=[cell.column], use_threads=False).column(0)
            setattr(self._last, cell.column, ((place.uri, shard, group), values))
        assert values is not None
        content: bytes = values[row].as_py()
        if hashlib.sha256(content).digest() != self._digests[cell.column][cell.row]:
            raise DamagedError("", f"the bytes of {cell.path} are not those that were packed")
        return content

    def find_damage(self) -> list[str]:
        """A line for each shard whose bytes are not those that were packed; reads all of them."""
        for number, entry in enumerate(self.manifest["shards"]):
            try:
                digest = self.folder.sha256(entry["path"])
            except StoreError as error:
                self._damage[number] = self._damaged(number, _why(error))
                continue
            if digest != entry["sha256"]:
                self._damage[number] = self._damaged(number, "its bytes are not those that were packed")
        return list(self._damage.values())

    def _damaged(self, shard: int, reason: str) -> str:
        uri = self.folder.uri_of(self.manifest["shards"][shard]["path"])
        return f"{uri}: the shard cannot be read ({reason}); {_AGAIN}"

    def _shard(self, row: int) -> dict[str, Any]:
        entry: dict[str, Any] = self.manifest["shards"][self._rows[row][0]]
        return entry


def tile_path(path: str, top: int, left: int) -> str:
    """What a tile of a file is called in a packed set."""
    return f"{path}@{top},{left}"


def open_packed(folder: Folder, name: str, train_list: str) -> PackedFolder | None:
    """A folder as a packed set, or None where it holds none.

    Args:
        folder: the root that the configuration names.
        name: of the data set that is expected.
        train_list: that is expected.

    Raises:
        DataError: it is of another data set or list, unfinished or damaged.
    """
    if not folder.is_file(PACK_MANIFEST):
        if folder.is_file(FIRST_SHARD):
            raise DataError(f"{folder.uri}: an unfinished pack (no {PACK_MANIFEST}); run raylab pack again")
        return None
    packed = PackedFolder(folder)
    for field, wanted in (("name", name), ("train_list", train_list)):
        if (found := packed.manifest[field]) != wanted:
            raise DataError(
                f"{folder.uri}: packed with data.{field} {found!r}, not {wanted!r}; set data.{field} to {found} or "
                "data.root to another folder"
            )
    return packed


def _read_manifest(folder: Folder) -> dict[str, Any]:
    uri = folder.uri_of(PACK_MANIFEST)
    try:
        value = folder.read_json(PACK_MANIFEST)
        version = value.get("version") if isinstance(value, dict) else None
        if isinstance(version, int) and version != VERSION:
            raise DataError(f"{uri}: version {version} of the packed format, {VERSION} is read here; pack again")
        manifest = _Manifest.model_validate(unsealed(value, uri)[0])
    except (StoreError, ValidationError) as error:
        raise DataError(f"{uri}: no manifest of a packed set ({_why(error)}); {_AGAIN}") from None
    return manifest.model_dump(exclude_unset=True)


def _why(error: Exception) -> str:
    """The cause of an error, for a message that names the file itself."""
    if isinstance(error, MissingError):
        return "it is missing"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{field_of(first['loc'])}: {what_is_wrong(first)}"
    return error.reason if isinstance(error, StoreError) else first_line(error)


def wrap(content: bytes) -> dict[str, str]:
    """A small file as JSON: as text where it is text."""
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _unwrap(value: dict[str, str]) -> bytes:
    return value["text"].encode("utf-8") if "text" in value else base64.b64decode(value["base64"])
