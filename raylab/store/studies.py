"""Where a study lies below the storage root."""

from __future__ import annotations


def study_folder(name: str) -> str:
    """Everything that belongs to a study as a whole; its runs lie beside it, shared with other studies."""
    return f"studies/{name}"


def study_path(name: str) -> str:
    """The study's configuration and the folders of its trainings on all masks."""
    return f"{study_folder(name)}/study.json"


def report_folder(name: str) -> str:
    """The study's report: the page, and its pictures and tables as files, none in a folder of its own."""
    return f"{study_folder(name)}/report"
