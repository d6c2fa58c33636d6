"""The look at a whole data set before a study begins; what was found of its files is kept under the storage root."""

from __future__ import annotations

import hashlib
from typing import Any

from raylab.config import DataConfig
from raylab.data import FileDataset, open_dataset
from raylab.data.packed import PackedFolder
from raylab.data.questions import Survey
from raylab.data.survey import FileFacts
from raylab.errors import DataError, StoreError
from raylab.files import Folder
from raylab.progress import Progress
from raylab.runs.inputs import kept_digests


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
    if not isinstance(dataset, FileDataset):
        return None
    packed = isinstance(dataset.source, PackedFolder)
    # The images and masks of a packed set have no times of their own; packed again, they are others.
    of = f"{dataset.source.uri} {dataset.source.manifest['fingerprint'] if packed else ''}"  # type: ignore[attr-defined]
    path = f"surveys/{hashlib.sha256(of.encode()).hexdigest()[:16]}.json"
    facts = FileFacts(_known(store, path, of), settled=packed)
    with kept_digests(dataset, store) as digests:
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
    except (StoreError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _is_fact(key: str, value: Any) -> bool:
    size, when, found = value
    numbers = [size, when, *found[:2]]
    if key.startswith("image "):
        numbers += found[2:]
    else:
        numbers += [number for pair in found[2] for number in pair]
    return all(type(number) is int and number >= 0 for number in numbers)
