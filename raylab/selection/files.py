"""The selector without a run: picks from a region table and a labelled list, and past picks computed again.

Needs neither Ray nor torch. Files are Parquet, local or at any URI that the store knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.acquisition import PREDICTED_CLASS, Acquisition
from raylab.errors import ConfigError, StoreError
from raylab.files import open_at
from raylab.regions import Regions
from raylab.regions.table import check_digest, columns_of, ledger_table, regions_of
from raylab.selection.arrays import array_namespace
from raylab.selection.objective import TERMS, Selection, selection_columns
from raylab.selection.select import Seed, select

_SHOWN = 10


def read_table(uri: str) -> pa.Table:
    """A Parquet file at a path or URI.

    Raises:
        StoreError: it is missing or damaged.
    """
    store, name = open_at(uri)
    return store.read_table(name)


def read_labelled(uri: str) -> NDArray[np.int64]:
    """The region ids of a labelled list: a Parquet file with a column region_id, or a text with one id a line.

    Raises:
        StoreError: it is missing, or has no such column or lines.
    """
    store, name = open_at(uri)
    if uri.endswith(".parquet"):
        table = store.read_table(name)
        _check_column(table, uri, "region_id", "a labelled list")
        return table["region_id"].to_numpy().astype(np.int64)
    ids = []
    for number, line in enumerate(store.read_bytes(name).decode(errors="replace").splitlines(), 1):
        try:
            ids += [np.int64(int(word)) for word in line.split()]
        except (ValueError, OverflowError):
            raise StoreError(
                f"{uri}: line {number} is no region id: {line[:40]!r}; give a text with one id a line, or a file "
                "that ends in .parquet"
            ) from None
    return np.array(ids, np.int64)


def select_to_file(
    uri: str, labelled: Sequence[str], acquisition: Acquisition, k: int, seed: int, output: str | None
) -> list[str]:
    """Select from a region table, and say for a person what was picked.

    Args:
        uri: path or URI of the region table.
        labelled: paths or URIs of labelled lists.
        acquisition: the strategy.
        k: regions to pick.
        seed: of regions drawn at random.
        output: where all picks go; None keeps none.

    Raises:
        StoreError: a file is missing or not what it should be.
        ConfigError: `k`, `seed` or a labelled id is out of range.
    """
    if output == uri:
        raise ConfigError(f"output: {output} is the region table itself; choose another file")
    table = read_table(uri)
    check_digest(table, uri)
    lists = [read_labelled(one) for one in labelled]
    picks = select_from_table(table, uri, np.concatenate([np.empty(0, np.int64), *lists]), acquisition, k, seed)
    if output is not None:
        store, name = open_at(output)
        store.write_table(name, picks)
    return list(pick_lines(picks, output))


def select_from_table(
    table: pa.Table, uri: str, labelled: NDArray[np.int64], acquisition: Acquisition, k: int, seed: int = 0
) -> pa.Table:
    """The next picks, as ledger rows; images are named by their index.

    Args:
        table: a region table that carries its regions (`raylab.regions.table.with_regions`), sorted by region_id.
        uri: of the table, for messages.
        labelled: (m,) int64 region ids.
        acquisition: the strategy.
        k: regions to pick.
        seed: of regions drawn at random.

    Raises:
        StoreError: the table carries no regions, or lacks rows or a column that the strategy needs.
        ConfigError: k is negative or more than is left, or a labelled id is no region of the pool.
    """
    regions = regions_of(table, uri)
    left = regions.n_regions - len(np.unique(labelled))
    if not 0 <= k <= left:
        raise ConfigError(
            f"count: {k} regions cannot be picked; {left} of the pool's {regions.n_regions} are unlabelled"
        )
    if seed < 0:
        raise ConfigError(f"seed: {seed} is less than 0")
    picks = select_by_table(regions, table, uri, labelled, acquisition, k, seed)
    return ledger_table(regions, [str(i) for i in range(regions.n_images)], 0, picks.region_id, picks.terms())


def pick_lines(picks: pa.Table, output: str | None) -> Iterator[str]:
    """The first picks for a person, and where the rest lies.

    Args:
        picks: ledger rows.
        output: the file that holds them all, if one does.
    """
    where = ("order", "region_id", "image_index", "top", "left", "height", "width")
    yield "  ".join([*(f"{name:>{max(6, len(name))}}" for name in where), *(f"{name:>11}" for name in TERMS)])
    for row in picks.slice(0, _SHOWN).to_pylist():
        cells = [f"{row[name]:>{max(6, len(name))}}" for name in where]
        yield "  ".join([*cells, *(f"{row[name]:11.6f}" for name in TERMS)])
    more = len(picks) - _SHOWN
    if output is not None:
        yield f"All {len(picks)} picks: {output}"
    elif more > 0:
        yield f"{more} more; --output FILE.parquet keeps them all"


def select_by_table(
    regions: Regions,
    table: pa.Table | None,
    uri: str,
    labelled: NDArray[np.int64],
    acquisition: Acquisition,
    k: int,
    seed: Seed,
) -> Selection:
    """The picks, given a region table with at least the columns that the strategy needs."""
    columns: dict[str, Any] = {}
    needs = [*acquisition.maps, *["feature"] * acquisition.needs_features]
    if needs and table is not None:
        for name in ("region_id", *needs):
            # A table of one map may call it so.
            instead = name == acquisition.map and name not in table.column_names and "uncertainty" in table.column_names
            _check_column(table, uri, "uncertainty" if instead else name, "this strategy")
        columns = selection_columns(acquisition, *columns_of(table, regions.n_regions))
    return select(
        regions,
        acquisition,
        k,
        labelled=labelled,
        **columns,
        seed=seed,
        xp=array_namespace(),
    )


def _check_column(table: pa.Table, uri: str, name: str, who: str) -> None:
    """Refuse a table without a column, or with one of another kind.

    Raises:
        StoreError: names the column and what is there.
    """
    if name not in table.column_names:
        raise StoreError(f"{uri} has no column {name}, which {who} needs; it has {', '.join(table.column_names)}")
    kind, nulls = table.schema.field(name).type, table[name].null_count
    if name == "feature":
        wanted = "lists of floats, all of one length"
        fits = pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
    elif name in ("region_id", PREDICTED_CLASS):
        wanted, fits = "integers", pa.types.is_integer(kind)
    else:
        wanted, fits = "floats", pa.types.is_floating(kind)
    if nulls or not fits:
        raise StoreError(f"{uri}: column {name} holds {kind}{' with nulls' if nulls else ''} instead of {wanted}")
