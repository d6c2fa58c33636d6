"""The steps of a run's rounds, each committed whole: its files first, its manifest last.

A step is done when its manifest is there (`raylab.runs.manifest`) and every file it names has the size it names; who
reads one of them compares its hash. Nothing else tells progress, so a run killed anywhere is found as it was after its
last whole step. The manifests are also the run's journal: results, seconds and peak memory stand in them, and MLflow
is a mirror of them.

No file of a step is ever replaced. Of several processes that do the same step the first to write its manifest wins,
and the others take what it committed for theirs: manifests are put where there is none, other files under free names.
Only the scores of a shared round 0 are done again, for the maps of further strategies; the last of their manifests
(score.json, score.2.json, ...) counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from raylab.errors import DamagedError, ExistsError, MismatchError, MissingError, StoreError
from raylab.files import Folder, numbered, parquet_bytes, wanted_name
from raylab.regions.parts import StoredTable
from raylab.runs.identity import ROWS, ResolvedRun, default_facts, facts_of, round0_facts
from raylab.runs.manifest import FileEntry, Manifest, Previous, create_manifest, previous_of, read_manifest
from raylab.sealed import read_sealed, write_sealed

T = TypeVar("T")
LEDGER, MODEL = "ledger.parquet", "model.safetensors"
IDENTITY = "identity.json"
"""Beside what several runs share: what it is made of."""
STEPS = ("select", "train", "score")
REPAIR = "restore it, or let raylab verify STUDY --repair take its runs back to the step before"


class Committed(NamedTuple):
    """A file that a step committed.

    Attributes:
        path: below the storage root.
        sha256: that its bytes must have.
    """

    path: str
    sha256: str


def model_name(member: int) -> str:
    """File of a member of the round's ensemble; the first is the model that is evaluated."""
    return MODEL if member == 0 else f"model-{member}.safetensors"


def checkpoints_name(member: int) -> str:
    """Folder of what its training resumes from, until that is committed."""
    return f"training-{member}"


def step_of_model(member: int) -> str:
    """The step that commits it."""
    return "train" if member == 0 else f"member-{member}"


class RoundStore:
    """Files of one round below `prefix`.

    Args:
        store: of the results.
        prefix: folder of the round.
        before: paths of the manifests that its first step may follow, the latest first.
    """

    def __init__(self, store: Folder, prefix: str, before: Sequence[str] = ()) -> None:
        self.store = store
        self.prefix = prefix
        self.before = (*before, self.path(IDENTITY))

    def path(self, name: str) -> str:
        """Path of a file of this round below the storage root."""
        return f"{self.prefix}/{name}"

    def manifest_path(self, step: str, again: bool = False) -> str:
        """Path of a step's manifest, of the last one where it was done again; need not be there.

        Args:
            step: one of `STEPS`, or the training of a further member of an ensemble.
            again: give the one after it, where the step may be done again.
        """
        number = 1
        if step == "score":
            while self.store.is_file(self.path(numbered("score.json", number))):
                number += 1
            number -= number > 1 and not again
        return self.path(numbered(f"{step}.json", number))

    def manifest(self, step: str) -> Manifest:
        """The manifest of a step.

        Raises:
            MissingError: the step is not done.
            DamagedError: it is not the one that was committed, or follows another one.
        """
        try:
            return read_manifest(self.store, self.manifest_path(step))
        except DamagedError as error:
            raise _with_way_out(error) from None

    def record(self, step: str) -> dict[str, Any] | None:
        """What a step committed, or None where it is not done.

        Raises:
            DamagedError: the step was committed, but its manifest is not the one that was, or a file of it is gone or
                has another size.
        """
        try:
            manifest = self.manifest(step)
        except MissingError:
            self.store.check_root()
            return None
        for name, entry in manifest.files.items():
            if (size := self.store.size(self.path(name))) != entry.bytes:
                reason = "it is missing" if size is None else f"it has {size} bytes, {entry.bytes} were committed"
                uri = self.store.uri_of(self.path(name))
                raise DamagedError(f"{uri} is damaged ({reason}); {REPAIR}", reason)
        return manifest.record

    def commit(
        self,
        step: str,
        record: dict[str, Any],
        tables: dict[str, pa.Table] | None = None,
        adopt: tuple[str, ...] = (),
        described: Mapping[str, FileEntry] | None = None,
        path: str | None = None,
    ) -> dict[str, Any]:
        """Write a step's files, then its manifest, unless another process has done so by now.

        Args:
            step: one of `STEPS`, or the training of a further member of an ensemble.
            record: plain JSON values.
            tables: to be written as Parquet, by name.
            adopt: names of files of this round that workers have already written.
            described: files that others have written and looked at, by name.
            path: of the manifest, where the step is done again: the one after that which it began with.

        Returns:
            The record that is committed: this one, or that of the process that was first.

        Raises:
            LeaseLostError: another process has taken over what this one does.
            StoreError: a file cannot be written or is missing, or a number of the record is not finite.
        """
        path = path or self.manifest_path(step, again=True)
        before = self.store.list(self.prefix)
        written = [
            self.store.add(self.path(name), parquet_bytes(table)).removeprefix(f"{self.prefix}/")
            for name, table in (tables or {}).items()
        ]
        names = (*written, *adopt, *(described or {}))
        superfluous = set(names)
        try:
            files = {name: (described or {}).get(name) or self._describe(name) for name in names}
            self.store.check_fence()
            create_manifest(self.store, Manifest(path=path, record=record, files=files, previous=self._previous(step)))
            # Of the step before it was done again, and of those who were killed or will find themselves too late.
            wanted = {wanted_name(name) for name in names}
            superfluous |= {name for name in before if wanted_name(name) in wanted}
        except (ExistsError, MissingError):  # the first may have removed what this one wrote
            if not self.store.is_file(path):
                raise
        committed = read_manifest(self.store, path)
        for name in superfluous - committed.files.keys():
            self.store.delete(self.path(name))
        return committed.record

    def _describe(self, name: str) -> FileEntry:
        path = self.path(name)
        if (size := self.store.size(path)) is None:
            raise MissingError(f"{self.store.uri_of(path)} is missing; restore it, or correct the path")
        return FileEntry(bytes=size, sha256=self.store.sha256(path))

    def _previous(self, step: str) -> Previous | None:
        """The manifest that a step follows: of its round, else of the round before, else what the run is made of."""
        earlier = {"train": ["select"], "score": ["train"]}.get(step, ["select"] if step != "select" else [])
        paths = [*(self.path(f"{name}.json") for name in earlier), *self.before]
        found = next((path for path in paths if self.store.is_file(path)), None)
        return None if found is None else previous_of(self.store, found)

    def committed(self, step: str, name: str) -> Committed:
        """A file that a step committed, for whoever reads it.

        Raises:
            StoreError: the step is not done, is damaged, or its manifest names no such file.
        """
        files = self.manifest(step).files
        found = next((one for one in files if wanted_name(one) == name), None)
        if found is None:
            uri = self.store.uri_of(self.manifest_path(step))
            raise StoreError(f"{uri} names no file {name}; {REPAIR}")
        return Committed(self.path(found), files[found].sha256)

    def models(self, members: int) -> list[Committed]:
        """The models of the round's ensemble; raises as `committed`."""
        return [self.committed(step_of_model(member), model_name(member)) for member in range(members)]

    def read_table(self, step: str, name: str) -> pa.Table:
        """A table that a step committed.

        Raises:
            StoreError: as `committed`, or the table is missing or not the one that was committed.
        """
        try:
            return self.store.read_table(*self.committed(step, name))
        except DamagedError as error:
            raise _with_way_out(error) from None

    def is_scored(self, maps: Iterable[str], features: bool) -> bool:
        """Whether the pool is scored for all that is asked; raises as `record`."""
        if not (maps := set(maps)) and not features:
            return True
        done = self.record("score")
        return done is not None and maps <= set(done["maps"]) and done["features"] >= features

    def ledger(self) -> pa.Table:
        """The picks this round labelled; raises as `read_table`."""
        return self.read_table("select", LEDGER)

    def with_regions(self, n_regions: int, read: Callable[[StoredTable], T]) -> T:
        """What is read of the region table under this round's model.

        Args:
            n_regions: of the pool.
            read: is called again where the table was done again while it was read.

        Raises:
            StoreError: as `committed`, or a part is missing or not the one that was committed.
        """
        stored = self._region_table(n_regions)
        try:
            try:
                return read(stored)
            except MissingError:
                if (now := self._region_table(n_regions)) == stored:
                    raise
                return read(now)
        except DamagedError as error:
            raise _with_way_out(error) from None

    def _region_table(self, n_regions: int) -> StoredTable:
        files = self.manifest("score").files
        return StoredTable.of(self.store, {self.path(name): entry.sha256 for name, entry in files.items()}, n_regions)

    def regions(self) -> pa.Table:
        """The region table under this round's model; raises as `with_regions`."""
        return self.with_regions(0, StoredTable.table)


def _with_way_out(error: DamagedError) -> DamagedError:
    return DamagedError(f"{str(error).rpartition('; ')[0]}; {REPAIR}", error.reason)


class RunStore:
    """Folders of one run: its own rounds, and round 0 that it shares with every strategy of its (data, N, seed)."""

    def __init__(self, store: Folder, run: ResolvedRun) -> None:
        self.store = store
        self.run = run
        self.config = run.config
        self.folder = _run_folder(store, run)

    def round(self, index: int) -> RoundStore:
        """The files of round `index`."""
        if index == 0:
            return RoundStore(self.store, f"round0/{self.run.round0_identity}")
        last = self.round(index - 1)
        # The scores of the shared round 0 may be replaced by those that another strategy needs too.
        steps = ("train",) if index == 1 else ("score", "train")
        return RoundStore(
            self.store, f"{self.folder}/round-{index:02d}", tuple(last.path(f"{step}.json") for step in steps)
        )

    def scores(self, index: int) -> RoundStore:
        """Where the region table of round `index` lies; the shared round 0 has several."""
        round_store = self.round(index)
        if index == 0:
            return RoundStore(self.store, round_store.path(self.run.scores_name), (round_store.path("train.json"),))
        return round_store

    def open(self) -> None:
        """Write down what the run is, or check that it is the one that lies there.

        Raises:
            MismatchError: names the field that differs.
            DamagedError: a committed step is damaged, or missing though later ones follow it.
        """
        facts, defaults = facts_of(self.run), default_facts(self.config)
        same_or_new(self.store, self.round(0).path(IDENTITY), round0_facts(facts), defaults)
        same_or_new(self.store, f"{self.folder}/run.json", facts, defaults)
        for round_store, step in self.steps():
            # A process that was killed as it committed may have left a second name of the manifest.
            self.store.sweep(round_store.prefix)
            if self._is_settled(round_store, step):
                round_store.record(step)
        self.check_order()

    def steps(self) -> list[tuple[RoundStore, str]]:
        """Every step of the run in its order, done or not, with the round that it belongs to."""
        training = [*(step_of_model(member) for member in range(1, self.config.training.ensemble)), "train"]
        needs_scores = bool(self.run.acquisition.maps) or self.run.acquisition.needs_features
        found = []
        for t in range(rounds := len(self.config.budget.rounds) + 1):
            found += [(self.round(t), step) for step in ("select", *training)]
            if needs_scores and t < rounds - 1:
                found.append((self.scores(t), "score"))
        return found

    def first_missing(self) -> tuple[RoundStore, str] | None:
        """The first step that is missing though later ones are done."""
        steps = [(round_store, step) for round_store, step in self.steps() if self._is_settled(round_store, step)]
        done = [self.store.is_file(round_store.path(f"{step}.json")) for round_store, step in steps]
        first = done.index(False) if False in done else len(done)
        return steps[first] if any(done[first:]) else None

    def _is_settled(self, round_store: RoundStore, step: str) -> bool:
        """Whether a step stays once it is done: other strategies may be scoring the shared round 0 anew just now."""
        return step != "score" or round_store.prefix.startswith(self.folder)

    def check_order(self) -> None:
        """Whether every step is there that later ones follow.

        Raises:
            DamagedError: names the file that is missing.
        """
        missing = self.first_missing()
        # It may have been committed, and the next one too, while they were looked for.
        if missing and not self.store.is_file(path := missing[0].path(f"{missing[1]}.json")):
            uri = self.store.uri_of(path)
            reason = "it is missing, and later steps follow it"
            raise DamagedError(f"{uri} is damaged ({reason}); {REPAIR}", reason)

    def start_sha256(self) -> str | None:
        """SHA-256 of the weights that every round starts from; None where nothing has told it yet.

        That of a file is known, that of the pre-trained model stands in its manifest, and weights that are asked for by
        name must be those of round 0.
        """
        if folder := self.run.pretrained_folder:
            model = RoundStore(self.store, folder).committed("train", MODEL)
            self.store.check(*model)
            return model.sha256
        if self.run.inputs.weights is not None:
            return self.run.inputs.weights
        return (self.round(0).record("train") or {}).get("weights_sha256")

    def ledger(self, rounds: int) -> pa.Table:
        """The picks of rounds 0 .. rounds - 1, in order; raises as `RoundStore.read_table`."""
        return pa.concat_tables(self.round(index).ledger() for index in range(rounds))

    def finished(self) -> bool:
        """Whether every round is done."""
        return self.done_rounds() == len(self.config.budget.rounds) + 1

    def done_rounds(self) -> int:
        """How many rounds have a trained and evaluated model; raises as `check_order` and `RoundStore.record`."""
        self.check_order()
        total = len(self.config.budget.rounds) + 1
        return next((i for i in range(total) if self.round(i).record("train") is None), total)


def _run_folder(store: Folder, run: ResolvedRun) -> str:
    """Where a run lies: by its identity, because a label changes with the table of strategies and with the writing."""
    if store.is_file(f"runs/{run.label}/run.json"):
        return f"runs/{run.label}"
    found = (name for name in store.list("runs") if name.rpartition("-")[2] == run.identity)
    return f"runs/{next(found, run.label)}"


def same_or_new(store: Folder, path: str, now: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Write down what something is made of, or check that it is what lies there.

    Args:
        store: of the results.
        path: of the file that says it.
        now: what it is made of, as plain JSON values.
        defaults: what a field means that the file does not name, because there was no such field.

    Raises:
        MismatchError: names the file, the field that differs, what it was and what it is.
        DamagedError: what lies there is not what was written.
    """
    with suppress(ExistsError):
        if not store.exists(path):
            write_sealed(store, path, now, create=True)
            return
    if field := first_difference(_completed(read_sealed(store, path), now, defaults), now):
        raise MismatchError(
            f"{store.uri_of(path)}: {change_of(*field, 'this')}; restore it, or choose another storage root"
        )


def change_of(field: str, then: Any, now: Any, begun: str) -> str:
    """A field that differs, as a sentence.

    Example:
        >>> change_of("run.seed", 0, 1, "this")
        'run.seed was 0 when this began and is 1 now'
        >>> change_of("run.plugin_rows.map risk", "0a1b", "2c3d", "this")
        'map risk: its code changed since this began'
    """
    _, of_plugin, row = field.partition(f"{ROWS}.")
    if of_plugin:
        return f"{row}: its code changed since {begun} began"
    return f"{field} was {then!r} when {begun} began and is {now!r} now"


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
