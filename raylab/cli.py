"""The command line: `raylab run | study | plan | report | status | check | strategies`.

Every option of a command can also come from a YAML file (`--config study.yaml`); options given on the command line win.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import tyro

from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.errors import DataError, RaylabError
from raylab.experiment import launch
from raylab.settings import absolute_paths, nearest, parse


def run(args: Sequence[str]) -> None:
    """One strategy and seed through all rounds."""
    config = parse(RunConfig, args, "raylab run", run.__doc__)
    launch(_study_of(config))


def study(args: Sequence[str]) -> None:
    """A grid of runs: strategies x region sizes x seeds, round 0 shared."""
    launch(parse(StudyConfig, args, "raylab study", study.__doc__))


def plan(args: Sequence[str]) -> None:
    """What a study will cost, before it starts: runs, trainings saved, images, regions, disk."""
    launch(parse(StudyConfig, args, "raylab plan", plan.__doc__), plan=True)


def report(args: Sequence[str]) -> None:
    """Curves, tables and overlays of a study, as one HTML page."""

    def read(
        name: Annotated[str, tyro.conf.Positional] = "study", /, storage: str = "raylab-results"
    ) -> tuple[str, str]:
        """Curves, tables and overlays of a study, as one HTML page.

        Args:
            name: of the study.
            storage: folder or URI that the study was given.
        """
        return name, storage

    from raylab.report import format_table, read_study, write_report
    from raylab.store import Store

    name, storage = tyro.cli(read, args=args, prog="raylab report")
    store = Store(storage)
    print(format_table(read_study(store, name)))
    print("Report: ", write_report(store, name))


def status(args: Sequence[str]) -> None:
    """How far the runs of a study are."""

    def read(
        name: Annotated[str, tyro.conf.Positional] = "study", /, storage: str = "raylab-results"
    ) -> tuple[str, str]:
        """How far the runs of a study are.

        Args:
            name: of the study.
            storage: folder or URI that the study was given.
        """
        return name, storage

    from raylab.report.aggregate import study_config
    from raylab.store import RunStore, Store

    name, storage = tyro.cli(read, args=args, prog="raylab status")
    store = Store(storage)
    for run_config in study_config(store, name).runs():
        run_store = RunStore(store, run_config)
        done, total = run_store.done_rounds(), len(run_config.budget.rounds) + 1
        last = run_store.round(done - 1).record("train") if done else None
        score = f"mIoU {100 * last['miou']:6.2f} %" if last else ""
        print(f"{run_config.label:<60} {done}/{total} rounds  {score}".rstrip())


def check(args: Sequence[str]) -> None:
    """Every problem of a data set's files, all at once."""
    from raylab.data import find_problems, open_dataset

    config = absolute_paths(parse(DataConfig, args, "raylab check", check.__doc__))
    if problems := find_problems(config):
        raise DataError(problems)
    dataset = open_dataset(config)
    sizes = {split: len(dataset.image_names(split)) for split in ("train", "val")}  # type: ignore[arg-type]
    print(f"{config.name}: {sizes['train']} training and {sizes['val']} validation images, no problems")


def strategies(args: Sequence[str]) -> None:
    """The acquisition strategies: their weights, distances and set functions."""
    from raylab.selection import STRATEGIES

    if args:
        raise SystemExit("usage: raylab strategies")
    print(f"{'strategy':<32} {'lambda_u':>8} {'lambda_f':>8} {'lambda_s':>8} {'random':>7}  distance   set function")
    for name, row in STRATEGIES.items():
        weights = f"{row.uncertainty:8g} {row.feature:8g} {row.spatial:8g} {row.random:7g}"
        print(f"{name:<32} {weights}  {row.distance:<10} {row.set_function}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    command.__name__: command for command in (run, study, plan, report, status, check, strategies)
}


def _study_of(config: RunConfig) -> StudyConfig:
    """A run as a study of one."""
    strategy = config.strategy
    values = ",".join([strategy.name, *(f"{k}={v!r}" for k, v in strategy.overrides().items())])
    return StudyConfig(name=config.name or config.label, run=config, strategies=(values,), seeds=(config.seed,))


@contextmanager
def exit_cleanly() -> Iterator[None]:
    """Turn a `RaylabError` into its message on the standard error and its exit status."""
    try:
        yield
    except RaylabError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with 2 after one clear message for every mistake of the user's."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print("usage: raylab COMMAND [OPTIONS]\n\ncommands:")
        for name, command in COMMANDS.items():
            print(f"  {name:<12}{(command.__doc__ or '').splitlines()[0]}")
        print("\nraylab COMMAND --help lists a command's options; --config FILE.yaml reads them from a file.")
        raise SystemExit(0 if args else 2)
    with exit_cleanly():
        if args[0] not in COMMANDS:
            raise RaylabError(f"unknown command {args[0]!r}{nearest(args[0], COMMANDS)}; raylab --help lists them")
        COMMANDS[args[0]](args[1:])


if __name__ == "__main__":
    main()
