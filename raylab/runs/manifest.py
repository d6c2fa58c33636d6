"""What a step committed: its record, its files with their hashes, and the manifest of the step before it.

Each manifest names itself, carries a digest of what it says (`raylab.sealed`) and the digest of the manifest before
it, so those of a run form a chain: select, train and score of a round, then select of the next. A manifest that was
edited, or that lies where another one belongs, does not fit into it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raylab.errors import DamagedError, MissingError, field_of, what_is_wrong
from raylab.files import Folder
from raylab.sealed import read_with_digest, write_sealed

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FileEntry(_Strict):
    """A file that a step committed.

    Attributes:
        bytes: its size.
        sha256: hexadecimal digest of its bytes.
    """

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Previous(_Strict):
    """The manifest before one, as it was when that was committed.

    Attributes:
        path: below the storage root.
        sha256: the digest that it carried.
    """

    path: str
    sha256: Sha256


class Manifest(_Strict):
    """What a step committed.

    Attributes:
        path: where the manifest belongs, below the storage root.
        record: plain JSON values.
        files: of the same folder, by name.
        previous: None where no step comes before.
    """

    path: str
    record: dict[str, Any]
    files: dict[str, FileEntry]
    previous: Previous | None


def read_manifest(store: Folder, path: str) -> Manifest:
    """A manifest, compared with its digest, its path and the manifest before it.

    Args:
        store: of the results.
        path: of the manifest.

    Raises:
        MissingError: it is not there.
        DamagedError: it is not the one that was committed there, or the one before it is not the one it followed.
        StoreError: it cannot be read.
    """
    uri = store.uri_of(path)
    value, _ = read_with_digest(store, path)
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{field_of(first['loc'])}: {what_is_wrong(first)}"
        raise DamagedError(f"{uri} is no manifest of a step ({reason}); restore it", reason) from None
    if manifest.path != path:
        reason = f"it belongs at {manifest.path}"
        raise DamagedError(f"{uri} is another step's manifest ({reason}); restore it", reason)
    before = manifest.previous
    if before is None:
        return manifest
    try:
        digest = read_with_digest(store, before.path)[1]
    except MissingError:
        reason = f"it is missing, and {uri} follows it"
        raise DamagedError(f"{store.uri_of(before.path)} is damaged ({reason}); restore it", reason) from None
    if digest != before.sha256:
        reason = "it is not the one that the next step followed"
        raise DamagedError(f"{store.uri_of(before.path)}: {reason}, {uri}; restore both", reason)
    return manifest


def create_manifest(store: Folder, manifest: Manifest) -> None:
    """Write a manifest where it belongs, if there is none.

    Raises:
        ExistsError: another process was first.
        StoreError: it cannot be written, or holds a number that is not finite.
    """
    write_sealed(store, manifest.path, manifest.model_dump(), create=True)


def previous_of(store: Folder, path: str) -> Previous:
    """A manifest, or another file with a digest, as the next one names it; raises as `read_sealed`."""
    return Previous(path=path, sha256=read_with_digest(store, path)[1])
