"""The selection of a run's rounds, one after another, with the greedy state kept between them."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

from raylab.files import Folder
from raylab.progress import peak_memory
from raylab.regions import Regions
from raylab.regions.table import columns_of
from raylab.runs import ResolvedRun, RunStore
from raylab.selection import GreedySelector, LocalShards, Selection, array_namespace
from raylab.selection.objective import selection_columns


class RunSelector:
    """Greedy selection for one run; its labelled set always comes from the ledger.

    Args:
        run: that it selects for.
        store: of its ledger.
        regions: the pool's geometry.
        use_gpu: whether it may use a GPU, where CuPy can.
    """

    def __init__(self, run: ResolvedRun, store: Folder, regions: Regions, use_gpu: bool) -> None:
        self.run_store = RunStore(store, run)
        self.seed = run.config.seed
        shards = LocalShards(regions, run.acquisition, 1, array_namespace(use_gpu))
        self.selector = GreedySelector(regions, run.acquisition, shards)
        self.rounds = 0

    def select(self, round_index: int, table: pa.Table | None, k: int) -> tuple[Selection, dict[str, Any]]:
        """The next regions, in order.

        Args:
            round_index: t; the rounds before it are in the ledger.
            table: the region table under the model of round t - 1; None where the strategy needs no scores.
            k: regions to select.

        Returns:
            The picks with their terms; and `seconds` and `peak_memory` in bytes.

        Raises:
            StoreError: the table is not that of the pool, or a round's ledger is missing.
        """
        start = time.perf_counter()
        while self.rounds < round_index:
            self.selector.label(self.run_store.round(self.rounds).ledger()["region_id"].to_numpy())
            self.rounds += 1
        columns: dict[str, Any] = {}
        if table is not None:
            columns = selection_columns(self.selector.acquisition, *columns_of(table, self.selector.regions.n_regions))
        selection = self.selector.select(k, **columns, seed=[self.seed, round_index])
        return selection, {"seconds": time.perf_counter() - start, "peak_memory": peak_memory()}
