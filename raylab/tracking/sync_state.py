"""What the storage root remembers of a study's MLflow runs, so that nothing is sent twice."""

from __future__ import annotations

from typing import Any

from raylab.files import Folder
from raylab.runs import RoundStore
from raylab.runs.studies import study_folder


class SyncState:
    """`studies/<name>/mlflow.json`: the MLflow runs of a study and what they were sent, by address and experiment.

    Attributes:
        state: of this address and experiment; changed in place, then `write`.
    """

    def __init__(self, store: Folder, study_name: str, uri: str, experiment: str) -> None:
        self.store = store
        self.path = f"{study_folder(study_name)}/mlflow.json"
        self.all: dict[str, Any] = store.read_json(self.path) if store.exists(self.path) else {}
        self.state: dict[str, Any] = self.all.setdefault(uri, {}).setdefault(experiment, {})

    def write(self) -> None:
        """Write it down whole."""
        self.store.write_json(self.path, self.all)

    def failures(self, now: dict[str, str] | None) -> dict[str, str]:
        """Why runs failed, by the name of the child, under the driver that had them last.

        Args:
            now: as the driver knows them, which is written down; None where another process asks.
        """
        then: dict[str, str] = self.all.get("failures", {})
        if now is None or now == then:
            return then
        self.all["failures"] = now
        self.write()
        return now


def committed_ms(round_store: RoundStore, step: str) -> int | None:
    """When a step was committed, in milliseconds since 1970; None where it was not."""
    modified = round_store.store.modified(f"{round_store.path(step)}.json")
    return None if modified is None else int(1000 * modified.timestamp())
