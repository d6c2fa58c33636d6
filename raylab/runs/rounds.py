"""The steps of a run's rounds, each committed whole: its files first, its manifest last.

A step is done when its manifest is there and every file it names has the size it names. Nothing else tells
progress, so a run killed anywhere is found as it was after its last whole step. The manifests are also the run's
journal: results, seconds and peak memory stand in them, and MLflow is a mirror of them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from raylab.errors import MismatchError, StoreError
from raylab.files import Folder
from raylab.runs.identity import ResolvedRun, default_facts, facts_of, round0_facts

LEDGER, MODEL, REGIONS = "ledger.parquet", "model.safetensors", "regions.parquet"
IDENTITY = "identity.json"
"""Beside what several runs share: what it is made of."""
STEPS = ("select", "train", "score")


def model_name(member: int) -> str:
    """File of a member of the round's ensemble; the first is the model that is evaluated."""
    return MODEL if member == 0 else f"model-{member}.safetensors"


class RoundStore:
    """Files of one round below `prefix`."""

    def __init__(self, store: Folder, prefix: str) -> None:
        self.store = store
        self.prefix = prefix

    def path(self, name: str) -> str:
        """Path of a file of this round below the storage root."""
        return f"{self.prefix}/{name}"

    def record(self, step: str) -> dict[str, Any] | None:
        """What a step committed, or None where it is not done.

        Raises:
            StoreError: the step was committed, but a file of it is gone or has another size, or its manifest is no
                manifest.
        """
        path = self.path(f"{step}.json")
        if not self.store.exists(path):
            return None
        again = f"delete {self.store.uri_of(path)} to have the step done again"
        try:
            manifest = self.store.read_json(path)
            record: dict[str, Any] = manifest["record"]
            sizes = {name: file["bytes"] for name, file in manifest["files"].items()}
        except (StoreError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.store.uri_of(path)} is no manifest of a step ({error}); {again}") from None
        for name, size in sizes.items():
            if self.store.size(self.path(name)) != size:
                raise StoreError(f"{self.store.uri_of(self.path(name))} is not the file that was committed; {again}")
        return record

    def commit(
        self,
        step: str,
        record: dict[str, Any],
        tables: dict[str, pa.Table] | None = None,
        adopt: tuple[str, ...] = (),
    ) -> None:
        """Write a step's files, then its manifest.

        Args:
            step: one of `STEPS`, or the training of a further member of an ensemble.
            record: plain JSON values.
            tables: to be written as Parquet, by name.
            adopt: names of files of this round that workers have already written.
        """
        for name, table in (tables or {}).items():
            self.store.write_table(self.path(name), table)
        manifest = {"record": record, "files": {name: self._describe(name) for name in (*(tables or {}), *adopt)}}
        self.store.write_json(self.path(f"{step}.json"), manifest)

    def _describe(self, name: str) -> dict[str, Any]:
        data = self.store.read_bytes(self.path(name))
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def sha256(self, step: str, name: str) -> str:
        """Hexadecimal SHA-256 of a file that a step committed.

        Raises:
            StoreError: the step is not done, or its manifest names no such file.
        """
        path = self.path(f"{step}.json")
        try:
            digest: str = self.store.read_json(path)["files"][name]["sha256"]
        except (KeyError, TypeError):
            uri = self.store.uri_of(path)
            raise StoreError(f"{uri} names no file {name}; delete it to have it done again") from None
        return digest

    def ledger(self) -> pa.Table:
        """The picks this round labelled."""
        return self.store.read_table(self.path(LEDGER))


class RunStore:
    """Folders of one run: its own rounds, and round 0 that it shares with every strategy of its (data, N, seed)."""

    def __init__(self, store: Folder, run: ResolvedRun) -> None:
        self.store = store
        self.run = run
        self.config = run.config
        self.folder = f"runs/{run.label}"

    def round(self, index: int) -> RoundStore:
        """The files of round `index`."""
        if index == 0:
            return RoundStore(self.store, f"round0/{self.run.round0_identity}")
        return RoundStore(self.store, f"{self.folder}/round-{index:02d}")

    def scores(self, index: int) -> RoundStore:
        """Where the region table of round `index` lies; that of the shared round 0 is another for another PCA."""
        round_store = self.round(index)
        if index == 0 and self.config.pca != self.config.scoring.pca:
            return RoundStore(self.store, round_store.path(f"pca-{self.config.pca}"))
        return round_store

    def open(self) -> None:
        """Write down what the run is, or check that it is the one that lies there.

        Raises:
            MismatchError: names the field that differs.
        """
        facts, defaults = facts_of(self.run), default_facts(self.config)
        same_or_new(self.store, self.round(0).path(IDENTITY), round0_facts(facts), defaults)
        same_or_new(self.store, f"{self.folder}/run.json", facts, defaults)

    def start_sha256(self) -> str | None:
        """SHA-256 of the weights that every round starts from; None where nothing has told it yet.

        That of a file is known, that of the pre-trained model stands in its manifest, and weights that are asked for by
        name must be those of round 0.
        """
        if folder := self.run.pretrained_folder:
            return RoundStore(self.store, folder).sha256("train", MODEL)
        if self.run.inputs.weights is not None:
            return self.run.inputs.weights
        return (self.round(0).record("train") or {}).get("weights_sha256")

    def ledger(self, rounds: int) -> pa.Table:
        """The picks of rounds 0 .. rounds - 1, in order."""
        return pa.concat_tables(self.round(index).ledger() for index in range(rounds))

    def finished(self) -> bool:
        """Whether every round is done."""
        return self.done_rounds() == len(self.config.budget.rounds) + 1

    def done_rounds(self) -> int:
        """How many rounds have a trained and evaluated model."""
        total = len(self.config.budget.rounds) + 1
        return next((i for i in range(total) if self.round(i).record("train") is None), total)


def same_or_new(store: Folder, path: str, now: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Write down what something is made of, or check that it is what lies there.

    Args:
        store: of the results.
        path: of the file that says it.
        now: what it is made of, as plain JSON values.
        defaults: what a field means that the file does not name, because there was no such field.

    Raises:
        MismatchError: names the file, the field that differs, what it was and what it is.
    """
    if not store.exists(path):
        store.write_json(path, now)
    elif field := first_difference(_completed(store.read_json(path), now, defaults), now):
        raise MismatchError(
            f"{store.uri_of(path)}: {field[0]} was {field[1]!r} when this began and is {field[2]!r} now; "
            "restore it, or choose another storage root"
        )


def _completed(then: Any, now: dict[str, Any], defaults: dict[str, Any]) -> Any:
    """What lies there, with the defaults of the fields that have come since."""
    if not isinstance(then, dict):
        return then
    completed = dict(then)
    for key, value in now.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            completed[key] = _completed(then.get(key, {}), value, default)
        elif key in defaults:
            completed.setdefault(key, default)
    return completed


def first_difference(then: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first field in which two nested dictionaries differ: (dotted name, old, new), or None."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            if found := first_difference(then.get(key), now.get(key), f"{name}.{key}".lstrip(".")):
                return found
        return None
    return None if then == now else (name, then, now)
