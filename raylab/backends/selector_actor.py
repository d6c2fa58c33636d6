"""The selector as a Ray actor: it holds the greedy state of one run, on a GPU where it has one.

Its labelled set always comes from the ledger, also after it died and was started again, so no call depends on
what an earlier process of it knew.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import pyarrow as pa
import ray

from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import peak_memory
from raylab.regions import Regions
from raylab.regions.table import columns_of
from raylab.runs import ResolvedRun, RunStore
from raylab.selection import GreedySelector, Selection, array_namespace
from raylab.selection.objective import selection_columns

logger = logging.getLogger(__name__)


class SelectorActor:
    """Greedy selection for one run.

    Args:
        run: that it selects for.
        store: of its ledger.
        regions: the pool's geometry.
    """

    def __init__(self, run: ResolvedRun, store: Folder, regions: Regions) -> None:
        load(run.config.plugins)
        if ray.get_runtime_context().was_current_actor_reconstructed:
            logger.warning("%s: the selector died and lost its state; it is rebuilt from the ledger", run.label)
        self.run_store = RunStore(store, run)
        self.seed = run.config.seed
        self.selector = GreedySelector(regions, run.acquisition, array_namespace())
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
