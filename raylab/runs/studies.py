"""A study with its runs resolved, and where it lies below the storage root.

Its file keeps the configuration as it was given, what was read beside it and what each run was resolved to, so that
status, report, replay and sync find the runs without data, weights or the strategy table of that day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from raylab.acquisition import Acquisition
from raylab.config import RunConfig, StudyConfig
from raylab.config.names import check_name, is_name
from raylab.config.sections import AS_STORED
from raylab.errors import ConfigError, DamagedError, MismatchError, StoreError, field_of, what_is_wrong
from raylab.files import Folder
from raylab.runs.identity import ROWS, Inputs, ResolvedRun, facts_of, resolve, round0_facts, supervised_folder
from raylab.runs.rounds import change_of, first_difference
from raylab.sealed import read_sealed, write_sealed

_VARIES = ("regions", "budget", "strategy", "seed")
"""Fields in which the runs of a study may differ."""


@dataclass(frozen=True)
class ResolvedStudy:
    """A study and what its runs are.

    Attributes:
        config: of the study, named.
        shared: what all runs have in common, with the first seed: the bound and the pre-training start from it.
        runs: in the order of the grid.
    """

    config: StudyConfig
    shared: ResolvedRun
    runs: tuple[ResolvedRun, ...]

    @property
    def name(self) -> str:
        """Folder and MLflow parent run."""
        return self.config.name

    @property
    def supervised_folder(self) -> str:
        """Where the training on all masks lies that bounds the study's curves."""
        return supervised_folder(self.shared, self.config.supervised_iterations)


def resolve_study(config: StudyConfig, inputs: Inputs) -> ResolvedStudy:
    """Say what the runs of a study are; a study without a name gets that of its one run.

    Args:
        config: of the study.
        inputs: what its runs read.

    Raises:
        ConfigError: a strategy is unknown or named twice.
    """
    runs = tuple(resolve(run, inputs) for run in config.runs())
    shared = resolve(config.run.model_copy(update={"seed": config.seeds[0]}), inputs)
    return ResolvedStudy(config.model_copy(update={"name": config.name or runs[0].label}), shared, runs)


def study_folder(name: str) -> str:
    """Everything that belongs to a study as a whole; its runs lie beside it, shared with other studies.

    Raises:
        ConfigError: it can be no study's name, so that nothing outside is ever read or written.
    """
    try:
        return f"studies/{check_name(name)}"
    except ValueError as error:
        raise ConfigError(f"name: {error}") from None


def studies_in(store: Folder) -> list[str]:
    """The names of the studies that were begun under a storage root."""
    return [name for name in store.list("studies") if is_name(name) and store.exists(study_path(name))]


def study_path(name: str) -> str:
    """The study's configuration, what its runs were resolved to and the folders of its trainings on all masks."""
    return f"{study_folder(name)}/study.json"


def report_folder(name: str) -> str:
    """The study's report: the page, and its pictures and tables as files, none in a folder of its own."""
    return f"{study_folder(name)}/report"


def begin_study(store: Folder, study: ResolvedStudy) -> None:
    """Write a study down; it may have other runs than it had.

    Args:
        store: of the results.
        study: that begins or goes on.

    Raises:
        MismatchError: see `check_same_study`.
        StoreError: what lies there cannot be read.
    """
    store.claim()
    check_same_study(store, study)
    write_sealed(store, study_path(study.name), _to_json(study))


def check_same_study(store: Folder, study: ResolvedStudy) -> None:
    """Whether what lies under a study's name, if anything, is the same study; writes nothing.

    Args:
        store: of the results.
        study: that is to begin or go on.

    Raises:
        MismatchError: what its runs share, or the numbers of one of its strategies, was something else; it names the
            file, the field, what it was and what it is.
        StoreError: what lies there cannot be read.
    """
    path = study_path(study.name)
    if store.exists(path):
        then = stored_study(store, study.name)
        if found := next(_differences(then, study), None):
            raise MismatchError(
                f"{store.uri_of(path)}: {change_of(*found, f'the study {study.name!r}')}; "
                "restore it, or give the study another name"
            )


def left_out(store: Folder, study: ResolvedStudy) -> list[str]:
    """Strategies that a study had and has no more, in the order it had them: their runs stay, out of its report.

    Args:
        store: of the results.
        study: that is to go on; see `check_same_study`.
    """
    if not store.exists(study_path(study.name)):
        return []
    now = {run.identity for run in study.runs}
    then = stored_study(store, study.name).runs
    return list(dict.fromkeys(run.strategy for run in then if run.identity not in now))


def stored_study(store: Folder, name: str) -> ResolvedStudy:
    """A study that was begun, as it was resolved then.

    Args:
        store: of the results.
        name: of the study.

    Raises:
        StoreError: there is no such study, or its file is not readable by this raylab.
    """
    path = study_path(name)
    if not store.exists(path):
        there = studies_in(store)
        known = f"studies there: {', '.join(there)}" if there else "no study lies under this storage root"
        raise StoreError(f"{store.uri_of(path)} is missing; {known}")
    try:
        study = _from_json(read_sealed(store, path))
    except (ValidationError, ConfigError, KeyError, TypeError) as error:
        lines = [str(error)]
        if isinstance(error, ValidationError):
            lines = [f"{field_of(one['loc'])}: {what_is_wrong(one)}" for one in error.errors()]
        reason = " ".join("; ".join(lines).split())
        raise StoreError(
            f"{store.uri_of(path)} is no study of this version of raylab ({reason}); choose another name or "
            "storage root"
        ) from None
    if study.name != name:
        reason = f"it is that of the study {study.name!r}"
        raise DamagedError(f"{store.uri_of(path)} is another study's file ({reason}); restore it", reason)
    return study


def _differences(then: ResolvedStudy, now: ResolvedStudy) -> Iterator[tuple[str, Any, Any]]:
    """(Field, old, new) of what may not change, with the shared fields first."""
    varies = ("acquisition", "pca", "seed")
    old, new = ({k: v for k, v in facts_of(study.shared).items() if k not in varies} for study in (then, now))
    old[ROWS], new[ROWS] = (round0_facts(facts_of(study.shared))[ROWS] for study in (then, now))
    if found := first_difference(old, new):
        yield f"run.{found[0]}", *found[1:]
    rows = dict(_by_text(then))
    for (text, size), run in _by_text(now):
        if other := rows.get((text, size)):
            old, new = ({key: facts_of(one)[key] for key in ("acquisition", "pca", ROWS)} for one in (other, run))
            if found := first_difference(old, new):
                yield f"strategies.{text}.{found[0]}", *found[1:]


def _by_text(study: ResolvedStudy) -> Iterator[tuple[tuple[str, int], ResolvedRun]]:
    """Runs by the text of their strategy and N. A label would not do: it is the shortest text of the numbers."""
    each = len(study.runs) // len(study.config.strategies)
    for index, run in enumerate(study.runs):
        yield (study.config.strategies[index // each], run.config.regions.size), run


def _to_json(study: ResolvedStudy) -> dict[str, Any]:
    return {
        "config": study.config.model_dump(mode="json"),
        "inputs": asdict(study.shared.inputs),
        "shared": _run_to_json(study.shared),
        "runs": [_run_to_json(run) for run in study.runs],
        "supervised": [study.supervised_folder] if study.config.supervised else [],
    }


def _run_to_json(run: ResolvedRun) -> dict[str, Any]:
    return {
        "label": run.label,
        "round0_identity": run.round0_identity,
        "pretrained_folder": run.pretrained_folder,
        "acquisition": facts_of(run)["acquisition"],
        ROWS: dict(run.plugin_rows),
        "config": run.config.model_dump(mode="json", include=set(_VARIES)),
    }


def _from_json(value: dict[str, Any]) -> ResolvedStudy:
    # Without the modules of its plugins, which may be gone and need not run for a look at what is stored.
    config = StudyConfig.model_validate(value["config"], context=AS_STORED)
    inputs = TypeAdapter(Inputs).validate_python(value["inputs"])
    shared, *runs = (_run_from_json(one, config.run, inputs) for one in (value["shared"], *value["runs"]))
    return ResolvedStudy(config, shared, tuple(runs))


class _StoredRun(BaseModel):
    """What `_run_to_json` writes; names become paths."""

    model_config = ConfigDict(strict=True)

    label: Annotated[str, Field(pattern=r"^[^/\x00]+$")]
    round0_identity: Annotated[str, Field(pattern=r"^[^/\x00]+$")]
    pretrained_folder: Annotated[str, Field(pattern=r"^[^\x00]+$")] | None
    acquisition: dict[str, Any]
    plugin_rows: dict[str, str] = {}
    config: dict[str, Any]


def _run_from_json(value: Any, shared: RunConfig, inputs: Inputs) -> ResolvedRun:
    run = _StoredRun.model_validate(value)
    return ResolvedRun(
        config=RunConfig.model_validate({**shared.model_dump(), **run.config}, context=AS_STORED),
        acquisition=Acquisition(**run.acquisition),
        inputs=inputs,
        label=run.label,
        round0_identity=run.round0_identity,
        pretrained_folder=run.pretrained_folder,
        plugin_rows=run.plugin_rows,
    )
