"""The shards of a pool as Ray actors: each holds the features of its images, which no other process reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raylab.acquisition import Acquisition
from raylab.errors import carried, known_cause
from raylab.regions import Regions
from raylab.regions.parts import StoredFeatures
from raylab.selection.arrays import BeginAgainError, array_namespace
from raylab.selection.shard import Shard
from raylab.selection.shards import cut


class ShardActor(Shard):
    """A `Shard` in a process of its own, which reads its features from the store.

    Args:
        regions: of the whole pool.
        acquisition: the strategy.
        images: the first of them, and the one after the last.
        use_gpu: whether it was given a GPU.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition, images: tuple[int, int], use_gpu: bool) -> None:
        super().__init__(regions, acquisition, images, array_namespace(use_gpu))

    def answer(self, message: str, *arguments: Any) -> Any:
        """See `Shard.answer`."""
        with carried():
            return super().answer(message, *arguments)

    def load(self, features: StoredFeatures, members: NDArray[np.int64]) -> tuple[float, NDArray[np.float32]]:
        """See `Shard.load`; the features are those of the whole pool, unread."""
        return super().load(features[self.first : self.stop], members)


class RayShards:
    """`raylab.selection.shards.Shards` on Ray, all asked at once. They end with the process that made them.

    Args:
        regions: of the pool.
        acquisition: the strategy.
        count: of shards; fewer where there are fewer images.
        use_gpu: whether each gets a GPU, or a CPU.
        room: a placement group with a bundle for each.
    """

    def __init__(self, regions: Regions, acquisition: Acquisition, count: int, use_gpu: bool, room: Any) -> None:
        self.images = cut(regions, count)
        actor: Any = ray.remote(ShardActor).options(
            num_cpus=0 if use_gpu else 1,
            num_gpus=1 if use_gpu else 0,
            # A new process knows nothing and says so; the selection is begun again.
            max_restarts=-1,
            max_task_retries=3,
            scheduling_strategy=PlacementGroupSchedulingStrategy(room),
        )
        whole = ray.put(regions)
        self.actors: list[Any] = [actor.remote(whole, acquisition, images, use_gpu) for images in self.images]

    def load(
        self, features: StoredFeatures, members: list[NDArray[np.int64]]
    ) -> list[tuple[float, NDArray[np.float32]]]:
        """See `Shards`."""
        return self.ask("load", [(features, rows) for rows in members])

    def ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """See `Shards`.

        Raises:
            BeginAgainError: as `Shard.answer`.
            RaylabError: whatever else the shards raise.
        """
        asked = [
            None if given is None else actor.answer.remote(message, *given)
            for actor, given in zip(self.actors, arguments, strict=True)
        ]
        try:
            answers = iter(ray.get([one for one in asked if one is not None]))
        except RayTaskError as error:
            if isinstance(error, BeginAgainError):
                raise BeginAgainError(str(error.cause)) from None
            raise known_cause(error) or error from None
        return [None if one is None else next(answers) for one in asked]
