"""The selector without a run: picks from a region table and a labelled list, and past picks computed again.

Needs neither Ray nor torch. Files are Parquet, local or at any URI that the store knows.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.errors import StoreError
from raylab.regions import RegionGrid
from raylab.regions.table import columns_of, grid_of, ledger_table
from raylab.selection.arrays import array_namespace
from raylab.selection.greedy import select
from raylab.selection.objective import Acquisition, Selection
from raylab.store import RunStore, Store
from raylab.store.rounds import REGIONS

TERMS = ("phi", "uncertainty", "feature", "spatial")


def read_table(place: str) -> pa.Table:
    """A Parquet file at a path or URI.

    Raises:
        StoreError: it is missing or damaged.
    """
    folder, _, name = place.rpartition("/")
    return Store(folder or ("/" if place.startswith("/") else ".")).read_table(name)


def read_labelled(place: str) -> NDArray[np.int64]:
    """The region ids of a labelled list: a Parquet file with a column region_id, or one id a line.

    Raises:
        StoreError: it is missing, or has no such column or lines.
    """
    if PurePosixPath(place).suffix == ".parquet":
        table = read_table(place)
        if "region_id" not in table.column_names:
            raise StoreError(f"{place} has no column region_id, only {', '.join(table.column_names)}")
        return table["region_id"].to_numpy()
    folder, _, name = place.rpartition("/")
    words = Store(folder or ".").read_bytes(name).decode(errors="replace").split()
    try:
        return np.array([int(word) for word in words], np.int64)
    except ValueError as error:
        raise StoreError(f"{place} is no list of region ids, one a line ({error})") from None


def select_from_table(
    table: pa.Table, place: str, labelled: NDArray[np.int64], acquisition: Acquisition, k: int, seed: int
) -> pa.Table:
    """The next picks, as ledger rows.

    Args:
        table: a region table that carries its grid (`raylab.regions.table.with_grid`), sorted by region_id.
        place: of the table, for messages.
        labelled: (m,) int64 region ids.
        acquisition: the strategy.
        k: regions to pick.
        seed: of regions drawn at random.

    Raises:
        StoreError: the table carries no grid or lacks rows.
        ConfigError: it lacks a column that the strategy needs.
    """
    grid = grid_of(table, place)
    uncertainty, features = columns_of(table, grid.n_regions)
    picks = select(
        grid,
        acquisition,
        k,
        labelled=labelled,
        uncertainty=uncertainty,
        features=features,
        seed=seed,
        xp=array_namespace(),
    )
    names = [str(i) for i in range(grid.n_images)]
    return ledger_table(grid, names, 0, picks.region_id, terms_of(picks))


def terms_of(picks: Selection) -> dict[str, NDArray[np.float64]]:
    """phi and each term of the picks, by the ledger's names."""
    return {name: getattr(picks, name) for name in TERMS}


def replay_round(run: RunStore, grid: RegionGrid, t: int) -> dict[str, Any]:
    """Compute the picks of a past round again and compare them with the ledger.

    Args:
        run: whose round it is.
        grid: of its pool.
        t: 1 or later; round 0 is a draw.

    Returns:
        `picks`, their number; `same`, whether regions and order are those of the ledger; and `first_difference`,
        the first place in the order at which they differ, or None.

    Raises:
        StoreError: a file of the round or of one before it is missing.
    """
    config, acquisition = run.config, run.config.strategy.acquisition()
    uncertainty = features = None
    if acquisition.needs_uncertainty or acquisition.needs_features:
        uncertainty, features = columns_of(run.store.read_table(run.round(t - 1).path(REGIONS)), grid.n_regions)
    ledger = run.round(t).ledger()["region_id"].to_numpy()
    picks = select(
        grid,
        acquisition,
        len(ledger),
        labelled=run.ledger(t)["region_id"].to_numpy(),
        uncertainty=uncertainty,
        features=features,
        seed=[config.seed, t],
        xp=array_namespace(),
    ).region_id
    differ = np.flatnonzero(picks != ledger) if len(picks) == len(ledger) else np.array([0])
    return {
        "picks": len(ledger),
        "same": not len(differ),
        "first_difference": int(differ[0]) if len(differ) else None,
    }
