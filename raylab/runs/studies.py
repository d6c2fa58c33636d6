"""Where a study lies below the storage root."""

from __future__ import annotations

from pydantic import ValidationError

from raylab.config import StudyConfig
from raylab.errors import StoreError
from raylab.files import Folder


def study_folder(name: str) -> str:
    """Everything that belongs to a study as a whole; its runs lie beside it, shared with other studies."""
    return f"studies/{name}"


def study_path(name: str) -> str:
    """The study's configuration and the folders of its trainings on all masks."""
    return f"{study_folder(name)}/study.json"


def report_folder(name: str) -> str:
    """The study's report: the page, and its pictures and tables as files, none in a folder of its own."""
    return f"{study_folder(name)}/report"


def study_config(store: Folder, name: str) -> StudyConfig:
    """The configuration of a study that was begun.

    Args:
        store: of the results.
        name: of the study.

    Raises:
        StoreError: there is no such study, or its configuration is not readable by this raylab.
    """
    path = study_path(name)
    if not store.exists(path):
        there = [other for other in store.list("studies") if store.exists(study_path(other))]
        known = f"studies there: {', '.join(there)}" if there else "no study lies under this storage root"
        raise StoreError(f"{store.uri_of(path)} is missing; {known}")
    try:
        return StudyConfig(**store.read_json(path)["config"])
    except (ValidationError, KeyError, TypeError) as error:
        reason = str(error).replace("\n", " ")
        raise StoreError(
            f"{store.uri_of(path)} is no study of this version of raylab ({reason}); choose another name or "
            "storage root"
        ) from None
