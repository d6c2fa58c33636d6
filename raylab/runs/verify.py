"""A study checked file by file, and its damaged runs taken back to their last good step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from raylab.errors import DamagedError, MissingError, StoreError
from raylab.files import Folder, wanted_name
from raylab.regions.parts import first_of
from raylab.regions.superpixels import SUPERPIXELS_MANIFEST, superpixels_folder
from raylab.runs.identity import ResolvedRun
from raylab.runs.rounds import IDENTITY, LEDGER, MODEL, RoundStore, RunStore
from raylab.runs.studies import ResolvedStudy, stored_study, study_path
from raylab.sealed import read_sealed, unseal_bytes

_FILES = {"select": LEDGER, "train": MODEL}
_STATE = "state.pt"
ASIDE = "set-aside"
"""Folder below the storage root that a repair moves files into."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what was written.

    Attributes:
        uri: of the file.
        reason: what is wrong with it.
    """

    uri: str
    reason: str


@dataclass
class Verification:
    """What was found of a study, and what a repair would do.

    Attributes:
        files: that were compared with their hashes.
        damages: in the order in which they were found.
        costs: a line for each run or training that has to go back.
        aside: paths that a repair moves aside.
    """

    files: int = 0
    damages: list[Damage] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """What to tell a person."""
        for damage in self.damages:
            yield f"{damage.uri}: {damage.reason}"
        yield from self.costs
        if not self.damages:
            yield f"{self.files} files are what was committed"


def verify_study(store: Folder, name: str) -> Verification:
    """Compare every file of a study with its hash.

    Args:
        store: of the results.
        name: of the study.

    Returns:
        What is damaged or missing, and what that costs.

    Raises:
        StoreError: there is no such study, or a file cannot be read for another reason than damage.
    """
    found = Verification()
    path = study_path(name)
    try:
        study = stored_study(store, name)
    except DamagedError as error:
        found.damages.append(Damage(store.uri_of(path), error.reason))
        found.costs.append("costs nothing once the same study command has written it again; then verify again")
        found.aside.append(path)
        return found
    _Checker(store, study, found).check()
    return found


def repair_study(store: Folder, found: Verification, say: Callable[[str], object]) -> None:
    """Move aside what was found damaged and what was made from it; the same study command goes on from there.

    Args:
        store: of the results.
        found: by `verify_study`.
        say: told one line a file.

    Raises:
        StoreError: a file cannot be moved.
    """
    folder = f"{ASIDE}/{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    for path in dict.fromkeys(found.aside):
        for one in [path] if store.is_file(path) else [f"{path}/{below}" for below in store.walk(path)[0]]:
            store.move(one, f"{folder}/{one}")
            say(f"moved {store.uri_of(one)} to {store.uri_of(f'{folder}/{one}')}")


class _Checker:
    def __init__(self, store: Folder, study: ResolvedStudy, found: Verification) -> None:
        self.store, self.study, self.found = store, study, found
        self.bad: dict[str, bool] = {}
        """Whether a manifest that was checked, or a file of it, is damaged, by its path."""

    def check(self) -> None:
        self.found.files += 1  # the study's own
        whole = self._shared(self.study.runs)
        for run in self._runs():
            self._run(run, whole.get(run.identity, ""))
        if self.study.config.supervised:
            folder = self.study.supervised_folder
            self._identity(f"{folder}/{IDENTITY}")
            alone = RoundStore(self.store, folder)
            if self._step(alone, "train"):
                self._aside(alone, "train")
                self.found.costs.append(f"costs {folder}: the training on all masks is done again")

    def _runs(self) -> list[ResolvedRun]:
        """The study's runs, and those of other studies that share a round 0 or a pre-training with them."""
        runs = {run.identity: run for run in self.study.runs}
        shared = {run.round0_identity for run in self.study.runs}
        for other in self.store.list("studies"):
            with suppress(StoreError):  # it is verified by its own name
                more = stored_study(self.store, other).runs
                runs |= {
                    run.identity: run for run in more if run.identity not in runs and run.round0_identity in shared
                }
        return list(runs.values())

    def _shared(self, runs: Sequence[ResolvedRun]) -> dict[str, str]:
        """Why runs have to begin anew, by their identity: pre-trained model and superpixels decide every step."""
        why: dict[str, str] = {}
        for run in runs:
            if (folder := run.pretrained_folder) is not None:
                self._identity(f"{folder}/{IDENTITY}")
                alone = RoundStore(self.store, folder)
                if self._step(alone, "train"):
                    self._aside(alone, "train")
                    why[run.identity] = "the pre-trained model that it starts from"
            if run.config.regions.shape == "superpixels" and self._superpixels(run):
                why[run.identity] = "the superpixels that its regions are"
        return why

    def _superpixels(self, run: ResolvedRun) -> bool:
        shape = run.config.regions
        folder = superpixels_folder(shape.size, shape.compactness, run.inputs.data)
        if folder not in self.bad:
            self.bad[folder] = False
            try:
                files = read_sealed(self.store, f"{folder}/{SUPERPIXELS_MANIFEST}")["files"]
            except MissingError:
                return False
            except DamagedError as error:
                self._damaged(f"{folder}/{SUPERPIXELS_MANIFEST}", error.reason, folder)
                files = {}
            for name, entry in files.items():
                self._compare(f"{folder}/{name}", entry["sha256"], folder)
            self.found.files += 1
            if self.bad[folder]:
                self.found.aside.append(folder)
        return self.bad[folder]

    def _run(self, run: ResolvedRun, why: str) -> None:
        """Check the steps of a run in their order; it goes back to before the first that is damaged."""
        run_store = RunStore(self.store, run)
        self._identity(f"{run_store.folder}/run.json")
        self._identity(run_store.round(0).path(IDENTITY))
        steps = run_store.steps()
        done = [self.store.is_file(round_store.manifest_path(step)) for round_store, step in steps]
        bad = [self._step(round_store, step) for round_store, step in steps]
        first = next((index for index, is_bad in enumerate(bad) if is_bad or why), None)
        if missing := run_store.first_missing():
            round_store, step = missing
            self._damaged(round_store.path(f"{step}.json"), "it is missing, and later steps follow it")
            at = next(index for index, one in enumerate(steps) if (one[0].prefix, one[1]) == (round_store.prefix, step))
            first = at if first is None else min(first, at)
        self._checkpoints([round_store for round_store, step in steps if step == "select"])
        if first is None or not any(done):
            return
        for round_store, step in steps[first:]:
            self._aside(round_store, step)
        round_store, step = steps[first]
        where = round_store.prefix.rpartition("/")[2] if round_store.prefix.startswith(run_store.folder) else "round-00"
        what = f"{why} is damaged" if why else f"the first is {step} of {where}"
        self.found.costs.append(
            f"costs {run.label}: {sum(done[first:])} of its {sum(done)} steps are done again; {what}"
        )

    def _step(self, round_store: RoundStore, step: str) -> bool:
        """Whether the manifest of a step, or a file of it, is damaged."""
        path = round_store.manifest_path(step)
        if path in self.bad:
            return self.bad[path]
        self.bad[path] = False
        try:
            manifest = round_store.manifest(step)
        except MissingError:
            return False
        except DamagedError as error:
            # Of a manifest that is whole but does not follow the one before it, the error names that one.
            self._damaged(path, error.reason if str(error).startswith(self.store.uri_of(path)) else str(error))
            return self.bad[path]
        self.found.files += 1
        for name, entry in manifest.files.items():
            self._compare(round_store.path(name), entry.sha256, path)
        return self.bad[path]

    def _compare(self, path: str, sha256: str, owner: str) -> None:
        self.found.files += 1
        try:
            self.store.check(path, sha256)
        except MissingError:
            self._damaged(path, "it is missing", owner)
        except DamagedError as error:
            self._damaged(path, error.reason, owner)

    def _identity(self, path: str) -> None:
        """What a run is made of: a damaged file of it is written anew by the next start."""
        if path in self.bad:
            return
        self.bad[path] = False
        try:
            read_sealed(self.store, path)
            self.found.files += 1
        except MissingError:
            pass
        except DamagedError as error:
            self._damaged(path, error.reason)
            self.found.aside.append(path)
            self.found.costs.append(f"costs nothing: {self.store.uri_of(path)} is written again when the study goes on")

    def _checkpoints(self, rounds: Sequence[RoundStore]) -> None:
        """States of trainings that are not finished."""
        for round_store in rounds:
            for folder in self.store.list(round_store.prefix):
                if not folder.startswith("training-"):
                    continue
                for below in self.store.walk(round_store.path(folder))[0]:
                    path = round_store.path(f"{folder}/{below}")
                    if not path.endswith(f"/{_STATE}") or path in self.bad:
                        continue
                    self.bad[path] = False
                    self.found.files += 1
                    try:
                        unseal_bytes(self.store.read_bytes(path), self.store.uri_of(path))
                    except DamagedError as error:
                        self._damaged(path, error.reason)
                        self.found.aside.append(round_store.path(folder))
                        self.found.costs.append(f"costs the training in {round_store.prefix}: it begins anew")

    def _damaged(self, path: str, reason: str, owner: str = "") -> None:
        self.bad[owner or path] = True
        self.found.damages.append(Damage(self.store.uri_of(path), reason))

    def _aside(self, round_store: RoundStore, step: str) -> None:
        """What a repair moves of a step: its manifest first, so that the step is undone whatever happens then."""
        file = _FILES.get(step, f"{step.replace('member', 'model')}.safetensors")
        there = [
            name
            for name in self.store.list(round_store.prefix)
            if wanted_name(name) in (f"{step}.json", file) or (step == "score" and first_of(name) is not None)
        ]
        self.found.aside += sorted(
            (round_store.path(name) for name in there), key=lambda path: not path.endswith(".json")
        )
        if step != "score":
            folders = [name for name in self.store.list(round_store.prefix) if name.startswith("training-")]
            self.found.aside += [round_store.path(name) for name in folders]
