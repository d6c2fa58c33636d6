"""The selector as a Ray actor: it selects for one run, on a GPU where it was given one."""

from __future__ import annotations

import logging
from typing import Any

import ray

from raylab.backends.selector import RunSelector
from raylab.backends.shard_actors import RayShards
from raylab.files import Folder
from raylab.plugins import load
from raylab.regions import Regions
from raylab.runs import ResolvedRun
from raylab.selection import LocalShards, array_namespace

_log = logging.getLogger(__name__)


class SelectorActor(RunSelector):
    """A `RunSelector` that says when it died and was started again: the ledger gives it what an earlier process knew.

    Args:
        run: that it selects for.
        store: of its ledger.
        regions: the pool's geometry.
        use_gpu: whether it was given a GPU; where there are several shards, whether each is.
        room: a placement group with a bundle for each shard, where there are several.
    """

    def __init__(self, run: ResolvedRun, store: Folder, regions: Regions, use_gpu: bool, room: Any = None) -> None:
        load(run.config.plugins)
        if ray.get_runtime_context().was_current_actor_reconstructed:
            _log.warning("%s: the selector died and lost its state; it is rebuilt from the ledger", run.label)
        count = run.config.compute.selectors
        shards = (
            RayShards(regions, run.acquisition, count, use_gpu, room)
            if count > 1
            else LocalShards(regions, run.acquisition, 1, array_namespace(use_gpu))
        )
        super().__init__(run, store, regions, shards)
