"""The selection of a run's rounds, one after another, with the greedy state kept between them."""

from __future__ import annotations

import time
from typing import Any

from raylab.files import Folder
from raylab.progress import peak_memory
from raylab.regions import Regions
from raylab.regions.parts import StoredTable
from raylab.runs import ResolvedRun, RunStore
from raylab.selection import GreedySelector, Selection
from raylab.selection.objective import selection_columns
from raylab.selection.shards import Shards


class RunSelector:
    """Greedy selection for one run; its labelled set always comes from the ledger.

    Args:
        run: that it selects for.
        store: of its ledger.
        regions: the pool's geometry.
        shards: of the pool.
    """

    def __init__(self, run: ResolvedRun, store: Folder, regions: Regions, shards: Shards) -> None:
        self.run_store = RunStore(store, run)
        self.seed = run.config.seed
        self.selector = GreedySelector(regions, run.acquisition, shards)
        self.rounds = 0

    def select(self, round_index: int, k: int) -> tuple[Selection, dict[str, Any]]:
        """The next regions, in order.

        Args:
            round_index: t; the rounds before it are in the ledger.
            k: regions to select.

        Returns:
            The picks with their terms; and `seconds` and `peak_memory` in bytes.

        Raises:
            StoreError: the region table under the model of round t - 1 is missing, damaged or not that of the pool, or
                a round's ledger is.
        """
        start = time.perf_counter()
        while self.rounds < round_index:
            self.selector.label(self.run_store.round(self.rounds).ledger()["region_id"].to_numpy())
            self.rounds += 1
        seed = [self.seed, round_index]
        acquisition = self.selector.acquisition

        def select_by(stored: StoredTable) -> Selection:
            features = stored.features() if acquisition.needs_features else None
            return self.selector.select(k, **selection_columns(acquisition, stored.columns(), features), seed=seed)

        if acquisition.maps or acquisition.needs_features:
            selection = self.run_store.scores(round_index - 1).with_regions(self.selector.regions.n_regions, select_by)
        else:
            selection = self.selector.select(k, seed=seed)
        return selection, {"seconds": time.perf_counter() - start, "peak_memory": peak_memory()}
