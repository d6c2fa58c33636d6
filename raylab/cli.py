"""The command line: `raylab COMMAND`, for the functions of this module that `COMMANDS` lists.

Every option of a command can also come from a YAML file (`--config study.yaml`); options given on the command line win.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import tyro

from raylab import __version__
from raylab.config import DataConfig, RunConfig, StrategyConfig, StudyConfig, parse_strategy
from raylab.config.load import absolute_paths, parse, refuse_without_effect
from raylab.errors import ConfigError, DataError, RaylabError, StoreError, TrackingError, exit_cleanly, nearest
from raylab.launch import launch

if TYPE_CHECKING:
    from raylab.files import Folder


def run(args: Sequence[str]) -> None:
    """One strategy and seed through all rounds."""
    config = parse(RunConfig, args, "raylab run", _with_names(run))
    launch([_study_of(config)])


def study(args: Sequence[str]) -> None:
    """A grid of runs: strategies x region sizes x seeds, round 0 shared."""
    launch([_grid(args, study)])


def plan(args: Sequence[str]) -> None:
    """What a study will cost, before it starts: runs, trainings saved, images, regions, disk."""
    launch([_grid(args, plan)], plan=True)


def report(args: Sequence[str]) -> None:
    """Curves, tables and overlays of a study, as one HTML page."""
    from raylab.report import format_table, read_study, write_report
    from raylab.tracking import tracking_for, ui_command

    store, name = _begun_study(args, report)
    found = read_study(store, name)
    hint = None
    with suppress(TrackingError):  # of a remote storage root whose server is not named here
        hint = ui_command(tracking_for(found.config.run.tracking, store))
    print(format_table(found))
    print("Report: ", write_report(store, name, hint))


def status(args: Sequence[str]) -> None:
    """How far the runs of a study are: rounds done, and the mIoU of the last one."""
    from raylab.runs import RunStore
    from raylab.runs.studies import study_config

    store, name = _begun_study(args, status)
    for run_config in study_config(store, name).runs():
        run_store = RunStore(store, run_config)
        done, total = run_store.done_rounds(), len(run_config.budget.rounds) + 1
        last = run_store.round(done - 1).record("train") if done else None
        score = f"mIoU {100 * last['miou']:6.2f} %" if last else ""
        print(f"{run_config.label:<60} {done}/{total} rounds  {score}".rstrip())


def sync(args: Sequence[str]) -> None:
    """Send to MLflow what it does not have of studies; safe to repeat."""
    from raylab.files import Folder
    from raylab.runs.studies import study_config, study_path
    from raylab.tracking import catch_up

    def read(
        names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY ...]")] = (),
        /,
        storage: str = RunConfig().storage,
        tracking: str | None = None,
        experiment: str | None = None,
    ) -> None:
        """Read the options, and send.

        Args:
            names: Names of studies; when not given, all under the storage root.
            storage: Folder or URI under which their results lie (their `run.storage`).
            tracking: MLflow tracking URI; when not given, each study's, else MLFLOW_TRACKING_URI, else an SQLite file
                under the storage root.
            experiment: MLflow experiment; when not given, each study's.
        """
        store = Folder(storage, create=False)
        found = names or [name for name in store.list("studies") if store.exists(study_path(name))]
        # With no study there, this one's error says what is.
        configs = [study_config(store, name) for name in found or [StudyConfig().name]]
        catch_up(store, configs, tracking, experiment)

    tyro.cli(read, args=args, prog="raylab sync", description=sync.__doc__)


def check(args: Sequence[str]) -> None:
    """Every problem of a data set's files, all at once."""
    from raylab.data import find_problems, open_dataset

    config = absolute_paths(parse(DataConfig, args, "raylab check", _with_names(check)))
    if problems := find_problems(config):
        raise DataError(problems)
    dataset = open_dataset(config)
    sizes = {split: len(dataset.image_names(split)) for split in ("train", "val")}  # type: ignore[arg-type]
    print(f"{config.name}: {sizes['train']} training and {sizes['val']} validation images, no problems")


class PackConfig(DataConfig):
    """A data set, and where it goes."""

    output: str | None = None
    """Folder or URI (s3://, gs://) that the packed set is written to."""


def pack(args: Sequence[str]) -> None:
    """A data set as Parquet shards in a folder or at a URI, which every command takes as the data set's root."""
    from raylab.data.pack import pack_config

    config = parse(PackConfig, args, "raylab pack", _with_names(pack))
    if config.output is None:
        raise ConfigError("output: nothing says where the packed set goes; give --output FOLDER-OR-URI")
    print(pack_config(config, config.output, tell=print))


def datasets(args: Sequence[str]) -> None:
    """The data sets: their images, sizes and classes, and where their files lie below the root."""
    from raylab.data import DATASETS

    tyro.cli(lambda: None, args=args, prog="raylab datasets", description=datasets.__doc__)
    print(f"{'data set':<12} {'train':>6} {'val':>6} {'size':>10} {'classes':>7}  what and where")
    for name, row in DATASETS.items():
        train = val = size = ""
        if row.nominal is not None:
            train, val = str(row.nominal.train_images["train"]), str(row.nominal.val_images)
            size = f"{row.nominal.width}x{row.nominal.height}"
        classes = "" if row.classes is None else str(len(row.classes))
        print(f"{name:<12} {train:>6} {val:>6} {size:>10} {classes:>7}  {row.about}")


def strategies(args: Sequence[str]) -> None:
    """The acquisition strategies: their weights, distances and set functions."""
    from raylab.acquisition import STRATEGIES

    tyro.cli(lambda: None, args=args, prog="raylab strategies", description=strategies.__doc__)
    print(f"{'strategy':<32} {'lambda_u':>8} {'lambda_f':>8} {'lambda_s':>8} {'random':>7}  distance   set function")
    for name, row in STRATEGIES.items():
        weights = f"{row.uncertainty:8g} {row.feature:8g} {row.spatial:8g} {row.random:7g}"
        print(f"{name:<32} {weights}  {row.distance:<10} {row.set_function}")


def select(args: Sequence[str]) -> None:
    """The next regions by a region table and a labelled list, with every term: no training, no Ray."""
    from raylab.selection.files import select_to_file

    def read(
        regions: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REGIONS")],
        /,
        count: int,
        labelled: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
        strategy: str = StrategyConfig().name,
        seed: int = RunConfig().seed,
        output: str | None = None,
    ) -> list[str]:
        """Read the options, and select.

        Args:
            regions: Region table: a Parquet file's path or URI.
            count: Regions to select.
            labelled: Regions labelled so far: Parquet with a column region_id, such as a ledger, or a text with one
                id a line. May be given several times.
            strategy: A strategy's name, with changes if wanted: `entropy+spatial,tau=64`.
            seed: Of regions drawn at random.
            output: Parquet file that all picks are written to (path or URI), as rows of a ledger.
        """
        return select_to_file(regions, labelled, parse_strategy(strategy).acquisition(), count, seed, output)

    print("\n".join(tyro.cli(read, args=args, prog="raylab select", description=select.__doc__)))


def replay(args: Sequence[str]) -> None:
    """The picks of past rounds, computed again from what is stored and compared with the ledger."""
    from raylab.files import Folder
    from raylab.pool import known_regions
    from raylab.runs.replay import replay_runs

    def read(
        name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY|RUN")],
        /,
        storage: str = RunConfig().storage,
        round: int | None = None,
    ) -> bool:
        """Read the options, and compare.

        Args:
            name: Name of a study, or of one run as `raylab status` lists it.
            storage: Folder or URI under which its results lie (its `run.storage`).
            round: The one round to compare; when not given, all.
        """
        store = Folder(storage, create=False)
        return replay_runs(store, _runs_named(store, name), round, print, known_regions)

    if not tyro.cli(read, args=args, prog="raylab replay", description=replay.__doc__):
        raise SystemExit(1)


Command = Callable[[Sequence[str]], None]
COMMANDS: dict[str, Command] = {
    command.__name__: command
    for command in (run, study, plan, report, status, sync, check, pack, datasets, strategies, select, replay)
}


def _with_names(command: Command) -> str:
    """A command's description, with the data sets that there are."""
    from raylab.data import DATASETS

    return f"{command.__doc__}\n\nData sets, for data.name: {', '.join(DATASETS)}."


def _grid(args: Sequence[str], command: Command) -> StudyConfig:
    """The study that options describe.

    Raises:
        ConfigError: a field of `run` is set that each run of the grid gets from a list of the study's.
    """
    config = parse(StudyConfig, args, f"raylab {command.__name__}", _with_names(command))
    refuse_without_effect(config.run, {"strategy": "strategies", "seed": "seeds", "name": "name"})
    return config


def _begun_study(args: Sequence[str], command: Command) -> tuple[Folder, str]:
    """The storage root and the study that `report` and `status` are asked about."""
    from raylab.files import Folder

    def read(
        name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY]")] = StudyConfig().name,
        /,
        storage: str = RunConfig().storage,
    ) -> tuple[str, str]:
        """Read the options.

        Args:
            name: Name of the study; of a run of its own, the name it was given or its folder's.
            storage: Folder or URI under which its results lie (its `run.storage`).
        """
        return name, storage

    name, storage = tyro.cli(read, args=args, prog=f"raylab {command.__name__}", description=command.__doc__)
    return Folder(storage, create=False), name


def _runs_named(store: Folder, name: str) -> list[RunConfig]:
    """The runs of a study, or the one run of that name in any study.

    Raises:
        StoreError: there is neither.
    """
    from raylab.runs.studies import study_config

    studies = store.list("studies")
    for other in studies if name not in studies else ():
        with suppress(StoreError):  # of a study that is not asked about
            if one := [run for run in study_config(store, other).runs() if run.label == name]:
                return one
    return study_config(store, name).runs()


def _study_of(config: RunConfig) -> StudyConfig:
    """A run as a study of one."""
    strategy = config.strategy
    values = ",".join([strategy.name, *(f"{k}={v!r}" for k, v in strategy.overrides().items())])
    return StudyConfig(name=config.name or config.label, run=config, strategies=(values,), seeds=(config.seed,))


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with 2 after one clear message for every mistake of the user's."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print("usage: raylab COMMAND [OPTIONS]\n\ncommands:")
        for name, command in COMMANDS.items():
            print(f"  {name:<12}{(command.__doc__ or '').splitlines()[0]}")
        print("\nraylab COMMAND --help lists a command's options; --config FILE.yaml reads them from a file.")
        raise SystemExit(0 if args else 2)
    if args[0] == "--version":
        print("raylab", __version__)
        return
    with exit_cleanly():
        if args[0] not in COMMANDS:
            raise RaylabError(f"unknown command {args[0]!r}{nearest(args[0], COMMANDS)}; raylab --help lists them")
        COMMANDS[args[0]](args[1:])


if __name__ == "__main__":
    main()
