"""The look at a whole data set before a study begins; what was found of its files is kept under the storage root."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from raylab.config import DataConfig
from raylab.data import FileDataset, open_dataset
from raylab.data.fingerprint import FileDigests
from raylab.data.packed import PackedFolder
from raylab.data.questions import Survey
from raylab.data.survey import FileFacts
from raylab.errors import DataError, StoreError
from raylab.files import Folder
from raylab.progress import Progress
from raylab.runs.inputs import KnownDigests, NotKnownError, kept_digests


class _KnownFacts(FileFacts):
    """Those of files that are known as they are now."""

    def find(self, look: Callable[[], Any]) -> Any:
        raise NotKnownError


def survey_of(data: DataConfig, store: Folder | None = None, progress: Progress | None = None) -> Survey | None:
    """Look at a data set as a whole: sizes of images and masks, pixels by class, what looks like a mistake.

    Args:
        data: name and root of the data set.
        store: of the results, which keeps what was found of each file; None keeps nothing.
        progress: told of every image, as stage `survey`.

    Returns:
        What was found; None of a data set that is not stored.

    Raises:
        DataError: it cannot be opened, or has problems, all of them.
    """
    dataset = open_dataset(data)
    return _survey(dataset, store, progress, FileFacts, FileDigests) if isinstance(dataset, FileDataset) else None


def known_survey(dataset: FileDataset, store: Folder) -> Survey | None:
    """`survey_of`, without reading a file of the data; raises the same.

    Args:
        dataset: to look at.
        store: of the results, which keeps what was found of each file.

    Returns:
        None where that is not kept of a file, or the file has changed since.
    """
    try:
        return _survey(dataset, store, None, _KnownFacts, KnownDigests)
    except NotKnownError:
        return None


def _survey(
    dataset: FileDataset,
    store: Folder | None,
    progress: Progress | None,
    facts_of: type[FileFacts],
    digests_of: type[FileDigests],
) -> Survey:
    packed = isinstance(dataset.source, PackedFolder)
    # The images and masks of a packed set have no times of their own; packed again, they are others.
    of = f"{dataset.source.uri} {dataset.source.manifest['fingerprint'] if packed else ''}"  # type: ignore[attr-defined]
    path = f"surveys/{hashlib.sha256(of.encode()).hexdigest()[:16]}.json"
    facts = facts_of(_known(store, path, of), settled=packed)
    with kept_digests(dataset, store, digests_of) as digests:
        survey = dataset.survey(facts, progress=progress, digests=digests)
    if store is not None and facts.looked_at:
        store.write_json(path, {"of": of, "files": facts.known})
    if survey.problems:
        raise DataError(survey.problems)
    return survey


def _known(store: Folder | None, path: str, of: str) -> dict[str, Any]:
    """What was kept; a file of another kind or half of one is worth nothing and is written anew."""
    if store is None or not store.exists(path):
        return {}
    try:
        kept: Any = store.read_json(path)
        whole = kept["of"] == of and all(_is_fact(key, value) for key, value in kept["files"].items())
        return dict(kept["files"]) if whole else {}
    except (StoreError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _is_fact(key: str, value: Any) -> bool:
    size, when, found = value
    numbers = [size, when, *found[:2]]
    if key.startswith("image "):
        numbers += found[2:]
    else:
        numbers += [found[3], *(number for pair in found[2] for number in pair)]
    return all(type(number) is int and number >= 0 for number in numbers)
