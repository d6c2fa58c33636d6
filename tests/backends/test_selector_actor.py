"""The selector actor, and the shards of its pool: killed, they are rebuilt and it picks what it would have picked."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.util import placement_group, remove_placement_group

from raylab.backends.selector_actor import SelectorActor
from raylab.backends.shard_actors import RayShards
from raylab.config import ComputeConfig
from raylab.data import open_dataset
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.regions.table import ledger_table, region_table
from raylab.runs import RunStore
from raylab.runs.manifest import FileEntry
from raylab.runs.rounds import LEDGER
from raylab.scoring.parts import PartWriter
from raylab.selection import first_draw, select
from tests.configs import resolved, tiny_run

pytestmark = [pytest.mark.ray, pytest.mark.fault, pytest.mark.usefixtures("ray_session")]


class Selector(SelectorActor):
    """Tells its process, so that a test can kill it."""

    def process(self) -> int:
        return os.getpid()

    def kill_shard(self) -> None:
        """Only its process: Ray starts it again."""
        import ray

        if isinstance(self.selector.shards, RayShards):
            ray.kill(self.selector.shards.actors[-1], no_restart=False)


@pytest.mark.parametrize(
    ("strategy", "selectors"),
    [
        ("random", 1),
        ("entropy+spatial", 1),
        ("entropy+feature", 1),
        ("core-set", 3),
        ("entropy+spatial+feature", 3),
        ("entropy+spatial", 3),
    ],
)
def test_a_killed_selector_is_rebuilt_from_the_ledger(
    ray_session: Any, tmp_path: Path, strategy: str, selectors: int
) -> None:
    run = resolved(tiny_run(str(tmp_path), strategy=strategy, compute=ComputeConfig(selectors=selectors)))
    config = run.config
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    run_store = RunStore(Folder(str(tmp_path)), run)
    generator = np.random.default_rng(0)
    uncertainty = generator.random(regions.n_regions, np.float32)
    features = generator.random((regions.n_regions, 8), np.float32)
    table = region_table(np.arange(regions.n_regions), {"entropy": uncertainty}, features)
    labelled = first_draw(regions, 12, config.seed)

    def commit(t: int, ids: Any) -> None:
        run_store.round(t).commit("select", {}, {LEDGER: ledger_table(regions, dataset.image_names("train"), t, ids)})

    def score(t: int) -> None:
        scores = run_store.scores(t)
        write = PartWriter(scores.store, scores.prefix, regions)
        written = [write(part, None) for part in (table.slice(0, 72), table.slice(72))]
        files = {part.name: FileEntry(bytes=part.bytes, sha256=part.sha256) for part in written}
        scores.commit("score", {}, described=files)

    commit(0, labelled)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 3}
    room = placement_group([{"CPU": 1}] * selectors)
    actor = ray_session.remote(Selector).options(**options).remote(run, run_store.store, regions, False, room)
    for t in (1, 2):
        score(t - 1)
        ray_session.get(actor.kill_shard.remote())
        picks, cost = ray_session.get(actor.select.remote(t, 12))
        expected = select(
            regions,
            run.acquisition,
            12,
            labelled=labelled,
            uncertainty=uncertainty,
            features=features,
            seed=[config.seed, t],
        )
        assert picks.region_id.tolist() == expected.region_id.tolist()
        assert cost["peak_memory"] > 0
        commit(t, picks.region_id)
        labelled = np.concatenate([labelled, picks.region_id])
        os.kill(ray_session.get(actor.process.remote()), signal.SIGKILL)
    ray_session.kill(actor)
    remove_placement_group(room)
