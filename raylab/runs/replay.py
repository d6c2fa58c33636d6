"""Past picks, computed again from what is stored and compared with the ledger. Needs neither Ray nor torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylab.errors import StoreError
from raylab.files import Folder
from raylab.regions import Regions
from raylab.regions.table import regions_of
from raylab.runs.identity import ResolvedRun
from raylab.runs.rounds import RunStore
from raylab.selection.files import select_by_table
from raylab.selection.select import first_draw, interleave


@dataclass(frozen=True)
class Replay:
    """A past round beside its picks computed again.

    Attributes:
        round: t.
        ledger: (k,) int64 region ids as they were picked.
        now: (k,) int64 region ids computed again.
    """

    round: int
    ledger: NDArray[np.int64]
    now: NDArray[np.int64]

    @property
    def first_difference(self) -> int | None:
        """The first index in the order at which they differ, or None."""
        common = min(len(self.ledger), len(self.now))
        differ = np.flatnonzero(self.ledger[:common] != self.now[:common])
        if len(differ):
            return int(differ[0])
        return None if len(self.ledger) == len(self.now) else common

    def __str__(self) -> str:
        text = f"round {self.round:>2}  {len(self.ledger):>7,} picks  "
        if (index := self.first_difference) is None:
            return text + "the same"
        then, now = (str(ids[index]) if index < len(ids) else "none" for ids in (self.ledger, self.now))
        return text + f"DIFFERENT from pick {index + 1} on: region {then} in the ledger, {now} now"


def replay_runs(
    store: Folder,
    runs: Sequence[ResolvedRun],
    t: int | None,
    say: Callable[[str], object],
    open_regions: Callable[[ResolvedRun, Folder], Regions],
) -> bool:
    """Compute the picks of past rounds again and compare them with the ledger.

    Args:
        store: of the results.
        runs: whose rounds they are; what is not selected yet is passed over.
        t: the one round to compare; None is all.
        say: told one line a round.
        open_regions: the regions of a run's pool, where no region table carries them.

    Returns:
        Whether all of them are the same.

    Raises:
        StoreError: a file of a round or of one before it is missing, or no round has been selected.
        DataError: no region table carries the pool's regions, and the data set is not where the run had it.
    """
    replays = []
    for one in runs:
        run = RunStore(store, one)
        rounds = range(len(one.config.budget.rounds) + 1) if t is None else [t]
        if done := [index for index in rounds if run.round(index).record("select") is not None]:
            regions = regions_of_run(run, open_regions)
        for index in done:
            replays.append(replay_round(run, regions, index))
            say(f"{one.label}  {replays[-1]}")
    if not replays:
        raise StoreError(f"{store.uri}: no run has selected {'a round' if t is None else f'round {t}'} yet")
    different = sum(replay.first_difference is not None for replay in replays)
    say(f"{len(replays) - different} of {len(replays)} rounds are the same")
    return different == 0


def replay_round(run: RunStore, regions: Regions, t: int) -> Replay:
    """Compute the picks of one past round again.

    Args:
        run: whose round it is.
        regions: of its pool.
        t: the round; round 0 is the draw.

    Raises:
        StoreError: a file of the round or of one before it is missing.
    """
    config = run.config
    ledger = run.round(t).ledger()["region_id"].to_numpy()
    record = run.round(t).record("select") or {}
    asked, paid = int(record["asked"]), int(record["paid"])
    if t == 0:
        return Replay(t, ledger, first_draw(regions, min(asked, regions.n_regions), config.seed)[:paid])
    acquisition, labelled = run.run.acquisition, run.ledger(t)["region_id"].to_numpy()
    uri, table = "", None
    if acquisition.needs_uncertainty or acquisition.needs_features:
        uri, table = _table_uri(run, t - 1), run.scores(t - 1).regions()
    picks = select_by_table(regions, table, uri, labelled, acquisition, asked, [config.seed, t])
    if config.budget.unit != "regions":
        picks = interleave(picks, acquisition.random)
    return Replay(t, ledger, picks.region_id[:paid])


def regions_of_run(run: RunStore, open_regions: Callable[[ResolvedRun, Folder], Regions]) -> Regions:
    """The geometry of a run's pool, from a region table that carries it, else from the data set.

    Raises:
        DataError: it is in no table, and the data set is not where the run had it.
        StoreError: a table is damaged; or it is in none, and the pool's superpixels are not in the store.
    """
    for t in range(len(run.config.budget.rounds) + 1):
        scores = run.scores(t)
        if scores.record("score") is not None:
            return regions_of(scores.regions(), _table_uri(run, t))
    return open_regions(run.run, run.store)


def _table_uri(run: RunStore, t: int) -> str:
    """Of the region table of a round, for messages: a table that was computed again has another name."""
    scores = run.scores(t)
    return run.store.uri_of(scores.path(min(scores.manifest("score").files)))
