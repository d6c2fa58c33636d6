"""Commands about data sets, strategies and single selections: no training, no Ray."""

from __future__ import annotations

from typing import Annotated

from raylab.config import DataConfig, RunConfig, StrategyConfig, parse_strategy
from raylab.config.leaves import Positional, Repeated
from raylab.config.load import absolute_paths
from raylab.config.sections import Extensible
from raylab.errors import DataError


class CheckOptions(DataConfig, Extensible):
    """A data set."""


class PackOptions(DataConfig, Extensible):
    """A data set, and where it goes."""

    output: str
    """Folder or URI (s3://, gs://) that the packed set is written to."""


class SelectOptions(Extensible):
    """A region table, what is labelled of it, and how to select."""

    regions: Annotated[str, Positional("REGIONS")]
    """Region table: a Parquet file's path or URI."""
    count: int
    """Regions to select."""
    labelled: Annotated[tuple[str, ...], Repeated()] = ()
    """Regions labelled so far: Parquet with a column region_id, such as a ledger, or a text with one id a line. May be
    given several times."""
    strategy: str = StrategyConfig().name
    """A strategy's name, with changes if wanted: `entropy+spatial,tau=64`."""
    seed: int = RunConfig().seed
    """Of regions drawn at random."""
    output: str | None = None
    """Parquet file that all picks are written to (path or URI), as rows of a ledger."""


def check(options: CheckOptions) -> None:
    """Every problem of a data set's files, all at once."""
    from raylab.data import open_dataset, survey_dataset

    config = absolute_paths(options)
    survey = survey_dataset(config, decode_images=True)
    if survey is not None:
        if survey.problems:
            raise DataError(survey.problems)
        print("\n".join(survey.lines()))
        for line in survey.warnings:
            print(f"note: {line}")
    dataset = open_dataset(config)
    sizes = {split: len(dataset.image_names(split)) for split in ("train", "val")}  # type: ignore[arg-type]
    print(f"{config.name}: {sizes['train']} training and {sizes['val']} validation images, no problems")


def pack(options: PackOptions) -> None:
    """A data set as Parquet shards in a folder or at a URI, which every command takes as the data set's root."""
    from raylab.data.pack import pack_config

    options = absolute_paths(options)
    print(pack_config(options, options.output, tell=print))


def datasets(options: Extensible) -> None:
    """The data sets: their images, sizes and classes, and where their files lie below the root."""
    from raylab.data import DATASETS

    print(f"{'data set':<12} {'train':>6} {'val':>6} {'size':>10} {'classes':>7}  what and where")
    for name, row in DATASETS.items():
        train = val = size = ""
        if row.nominal is not None:
            train, val = str(row.nominal.train_images["train"]), str(row.nominal.val_images)
            size = f"{row.nominal.width}x{row.nominal.height}"
        classes = "" if row.classes is None else str(len(row.classes))
        print(f"{name:<12} {train:>6} {val:>6} {size:>10} {classes:>7}  {row.about}")


def strategies(options: Extensible) -> None:
    """The acquisition strategies, what decides each, their other names, and the per-pixel maps."""
    from raylab.acquisition import describe
    from raylab.scoring.uncertainty import MAPS

    print("\n".join(describe()))
    print("\nmaps:")
    for name, row in MAPS.items():
        print(f"  {name:<32} of {'a committee of models' if row.committee else 'one posterior'}")


def select(options: SelectOptions) -> None:
    """The next regions by a region table and a labelled list, with every term: no training, no Ray."""
    from raylab.selection.files import select_to_file

    acquisition = parse_strategy(options.strategy).without_pca()
    lines = select_to_file(options.regions, options.labelled, acquisition, options.count, options.seed, options.output)
    print("\n".join(lines))
