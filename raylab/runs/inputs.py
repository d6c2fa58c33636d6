"""What a run reads beside its configuration: its data and weights, read once and told by their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raylab.config import DataConfig, RunConfig
from raylab.data import FileDataset, open_dataset
from raylab.data.fingerprint import FileDigests
from raylab.data.image_file import ImageFile
from raylab.errors import MissingError, StoreError, WeightsError
from raylab.files import Folder, absolute, first_line, open_at
from raylab.progress import Progress
from raylab.runs.identity import Inputs


class NotKnownError(Exception):
    """A file would have to be read."""


class KnownDigests(FileDigests):
    """Those of files that are known as they are now."""

    def find(self, path: str, file: ImageFile) -> tuple[int, str]:
        """Give up."""
        raise NotKnownError


def read_inputs(config: RunConfig, store: Folder | None = None, progress: Progress | None = None) -> Inputs:
    """Read the data and the weights of a run, as far as they are not known as they are now.

    Args:
        config: of the run.
        store: of the results, which keeps the hashes of files; None keeps none.
        progress: told of the files read, as stage `fingerprint`.

    Raises:
        DataError: a data set cannot be opened or read.
        WeightsError: there is no such file of weights.
    """
    return _inputs(config, store, progress, FileDigests)


def known_inputs(config: RunConfig, store: Folder) -> Inputs | None:
    """`read_inputs`, without reading a file of the data; raises the same.

    Args:
        config: of the run.
        store: of the results, which keeps the hashes of files.

    Returns:
        None where the hash of a file is not kept, or the file has changed since.
    """
    try:
        return _inputs(config, store, None, KnownDigests)
    except NotKnownError:
        return None


def _inputs(config: RunConfig, store: Folder | None, progress: Progress | None, digests: type[FileDigests]) -> Inputs:
    other = config.pretraining
    return Inputs(
        data=_fingerprint(config.data, store, progress, digests),
        pretraining_data=_fingerprint(other.data, store, progress, digests) if other.iterations else None,
        weights=None if config.model.weights_by_name else weights_sha256(config.model.weights),
    )


def fingerprint_of(data: DataConfig, store: Folder | None = None, progress: Progress | None = None) -> str:
    """The fingerprint of a data set; of files that lie under the storage root with the hashes of an earlier call.

    Args:
        data: name and root of the data set, or the parameters of the generated one.
        store: of the results.
        progress: told of every file.

    Raises:
        DataError: the data set cannot be opened, or a file not be read.
    """
    return _fingerprint(data, store, progress, FileDigests)


def _fingerprint(data: DataConfig, store: Folder | None, progress: Progress | None, kind: type[FileDigests]) -> str:
    dataset = open_dataset(data)
    if not isinstance(dataset, FileDataset):
        return dataset.fingerprint()
    with kept_digests(dataset, store, kind, progress) as digests:
        return dataset.fingerprint(digests)


@contextmanager
def kept_digests(
    dataset: FileDataset, store: Folder | None, kind: type[FileDigests] = FileDigests, progress: Progress | None = None
) -> Iterator[FileDigests]:
    """The hashes of a data set's files that lie under the storage root; what the block adds is kept there.

    Args:
        dataset: whose files are hashed.
        store: of the results; None keeps none.
        kind: of what finds those that are not known.
        progress: told of every file, as stage `fingerprint`.
    """
    root = dataset.source.uri
    path = f"fingerprints/{hashlib.sha256(root.encode()).hexdigest()[:16]}.json"
    digests = kind(_known(store, path, root), progress)
    yield digests
    if store is not None and digests.read:
        store.write_json(path, {"root": root, "files": digests.known})


def _known(store: Folder | None, path: str, root: str) -> dict[str, tuple[int, int, str]]:
    """Hashes that were kept; a file of another kind or half of one is worth nothing and is written anew."""
    if store is None or not store.exists(path):
        return {}
    try:
        kept: Any = store.read_json(path)
        files = {name: (int(size), int(when), str(digest)) for name, (size, when, digest) in kept["files"].items()}
    except (StoreError, KeyError, TypeError, ValueError, AttributeError):
        return {}
    whole = all(len(digest) == 64 for _, _, digest in files.values())
    return files if whole and kept.get("root") == root else {}


def weights_sha256(weights: str) -> str:
    """SHA-256 of the bytes of a file of weights, read once a process as long as it does not change.

    Args:
        weights: path or URI.

    Raises:
        WeightsError: it is missing or cannot be read.
    """
    uri = absolute(weights)
    try:
        folder, name = open_at(uri)
        return folder.sha256_once(name)
    except (FileNotFoundError, MissingError):
        raise WeightsError(
            f"model.weights: no file {weights}; use 'imagenet', 'hub:NAME', 'random' or an existing .safetensors file"
        ) from None
    except (OSError, StoreError) as error:
        raise WeightsError(f"model.weights: {weights} cannot be read ({first_line(error)})") from None
