"""The shards of a pool together: how it is cut, and who asks them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import Acquisition
from raylab.errors import ConfigError
from raylab.regions.base import Regions
from raylab.selection.shard import Shard


class Shards(Protocol):
    """The shards of a pool, wherever they are.

    Attributes:
        images: the first of each shard's images, and the one after its last.
    """

    images: list[tuple[int, int]]

    def load(self, features: Any, members: list[NDArray[np.int64]]) -> list[tuple[float, NDArray[np.float32]]]:
        """Has every shard take its share of the round's features, and answers `Shard.load`."""
        ...

    def ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """The answers of all shards, each with its own arguments; None for those that are not asked."""
        ...


def cut(regions: Regions, count: int) -> list[tuple[int, int]]:
    """Whole images in at most `count` parts of about as many regions: the first of each, and the one after its last."""
    wanted = regions.n_regions * np.arange(1, count) / count
    ends = np.unique([0, *np.searchsorted(regions.offset, wanted).tolist(), regions.n_images]).tolist()
    return list(pairwise(ends)) or [(0, 0)]


class LocalShards:
    """`Shards` in this process, asked one after another.

    Args:
        regions: of the pool.
        acquisition: the strategy.
        count: of shards; fewer where there are fewer images.
        xp: array namespace, NumPy or CuPy.
        block_bytes: bound on the temporary arrays of one step; None chooses it by the namespace.
    """

    def __init__(
        self,
        regions: Regions,
        acquisition: Acquisition,
        count: int = 1,
        xp: ModuleType = np,
        block_bytes: int | None = None,
    ) -> None:
        self.images = cut(regions, count)
        self.shards = [Shard(regions, acquisition, images, xp, block_bytes) for images in self.images]
        self._regions = regions

    def load(self, features: Any, members: list[NDArray[np.int64]]) -> list[tuple[float, NDArray[np.float32]]]:
        """See `Shards`.

        Raises:
            ConfigError: the features are not (n_regions, d).
        """
        shape = np.shape(features)
        if len(shape) != 2 or shape[0] != self._regions.n_regions or shape[1] < 1:
            raise ConfigError(f"features: shape {shape} does not match {self._regions.n_regions} regions")
        parts = [features[shard.first : shard.stop] for shard in self.shards]
        return self.ask("load", list(zip(parts, members, strict=True)))

    def ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """See `Shards`."""
        pairs = zip(self.shards, arguments, strict=True)
        return [None if given is None else shard.answer(message, *given) for shard, given in pairs]
