"""Commands that ask about what lies under a storage root."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from raylab.config import RunConfig, StudyConfig
from raylab.config.leaves import Positional
from raylab.config.names import Name
from raylab.config.sections import Frozen, NonNegative
from raylab.errors import StoreError, TrackingError

if TYPE_CHECKING:
    from raylab.files import Folder
    from raylab.runs import ResolvedRun


class StudyOptions(Frozen):
    """A study that was begun."""

    name: Annotated[Name, Positional("STUDY")] = StudyConfig().name
    """Name of the study; of a run of its own, the name it was given or its folder's."""
    storage: str = RunConfig().storage
    """Folder or URI under which its results lie (its `run.storage`)."""


class StatusOptions(Frozen):
    """A storage root, or a study that was begun there."""

    name: Annotated[Name | None, Positional("STUDY")] = None
    """Name of the study; when not given, all are listed."""
    storage: str = RunConfig().storage
    """Folder or URI under which results lie (`run.storage`)."""


class ReplayOptions(StudyOptions):
    """A study or run that was begun, and a round of it."""

    name: Annotated[Name, Positional("STUDY|RUN")]
    """Name of a study, or of one run as `raylab status` lists it."""
    round: NonNegative | None = None
    """The one round to compare; when not given, all."""


class SyncOptions(Frozen):
    """Studies that were begun, and where MLflow is."""

    names: Annotated[tuple[Name, ...], Positional("STUDY")] = ()
    """Names of studies; when not given, all under the storage root."""
    storage: str = RunConfig().storage
    """Folder or URI under which their results lie (their `run.storage`)."""
    tracking: str | None = None
    """MLflow tracking URI; when not given, each study's, else MLFLOW_TRACKING_URI, else an SQLite file under the
    storage root."""
    experiment: str | None = None
    """MLflow experiment; when not given, each study's, else MLFLOW_EXPERIMENT_NAME, else `raylab`."""


def report(options: StudyOptions) -> None:
    """Curves, tables and overlays of a study, as one HTML page."""
    from raylab.files import Folder
    from raylab.report import format_table, read_study, write_report
    from raylab.tracking import tracking_for, ui_command

    store = Folder(options.storage, create=False)
    found = read_study(store, options.name)
    hint = None
    with suppress(TrackingError):  # of a remote storage root whose server is not named here
        hint = ui_command(tracking_for(found.config.run.tracking, store))
    print(format_table(found))
    print("Report: ", write_report(store, options.name, hint))


def status(options: StatusOptions) -> None:
    """Which studies there are; of one: whether it runs, what it does now, and how far its runs are."""
    from raylab.data.classes import over_classes
    from raylab.errors import DamagedError
    from raylab.files import Folder
    from raylab.runs import RunStore, stored_study
    from raylab.runs.studies import studies_in
    from raylab.study.pace import lines_of_note

    store = Folder(options.storage, create=False)
    if options.name is None:
        for name in studies_in(store):
            try:
                runs = stored_study(store, name).runs
                finished = sum(RunStore(store, run).finished() for run in runs)
                first = next(iter(lines_of_note(store, name)), "")
            except DamagedError as error:
                print(f"{name:<40} {error}")
                continue
            print(f"{name:<40} {finished}/{len(runs)} runs  {first}".rstrip())
        return
    for line in lines_of_note(store, options.name):
        print(line)
    for run in stored_study(store, options.name).runs:
        run_store = RunStore(store, run)
        done, total = run_store.done_rounds(), len(run.config.budget.rounds) + 1
        last = run_store.round(done - 1).record("train") if done else None
        score = f"mIoU {100 * last['miou']:6.2f} % {over_classes(last['iou'])}" if last else ""
        print(f"{run.label:<60} {done}/{total} rounds  {score}".rstrip())


def sync(options: SyncOptions) -> None:
    """Send to MLflow what it does not have of studies; safe to repeat."""
    from raylab.files import Folder
    from raylab.runs import stored_study
    from raylab.runs.studies import studies_in
    from raylab.tracking import catch_up

    store = Folder(options.storage, create=False)
    found = options.names or studies_in(store)
    # With no study there, this one's error says what is.
    studies = [stored_study(store, name) for name in found or [StudyConfig().name]]
    catch_up(store, studies, options.tracking, options.experiment)


def replay(options: ReplayOptions) -> None:
    """The picks of past rounds, computed again from what is stored and compared with the ledger."""
    from raylab.files import Folder
    from raylab.pool import known_regions
    from raylab.runs.replay import replay_runs

    store = Folder(options.storage, create=False)
    if not replay_runs(store, _runs_named(store, options.name), options.round, print, known_regions):
        raise SystemExit(1)


def _runs_named(store: Folder, name: str) -> list[ResolvedRun]:
    """The runs of a study, or the one run of that name in any study.

    Raises:
        StoreError: there is neither.
    """
    from raylab.runs import stored_study
    from raylab.runs.studies import studies_in

    studies = studies_in(store)
    for other in studies if name not in studies else ():
        with suppress(StoreError):  # of a study that is not asked about
            if one := [run for run in stored_study(store, other).runs if run.label == name]:
                return one
    return list(stored_study(store, name).runs)
