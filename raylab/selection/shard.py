"""A part of a pool: whole images, with all that a selection has to know of their regions.

A shard answers messages (`Shard.answer`), in which regions have their ids in the pool and arrays are NumPy's. It
imports no Ray: in one process it is an object, on a cluster an actor holds it.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import Acquisition
from raylab.errors import ConfigError
from raylab.files import first_line
from raylab.regions.base import Regions
from raylab.selection.arrays import (
    HOST_BLOCK,
    Array,
    BeginAgainError,
    Blocks,
    default_block_bytes,
    either,
    is_out_of_memory,
    release,
    to_host,
)
from raylab.selection.by_image import Picks, SpatialState, lock_step
from raylab.selection.distance import SpatialDistance
from raylab.selection.epochs import Highest, Limit, Settled, Survivors
from raylab.selection.features import Centres, Features, largest_magnitude
from raylab.selection.image_blocks import ImageDistances
from raylab.selection.max_min import Candidates, MaxMinShard, Problem
from raylab.selection.max_sum import MaxSumShard, SumSteps
from raylab.selection.non_metric import greedy_sum
from raylab.selection.prefix_bounds import prefix_bounds
from raylab.selection.same_image import LocalTerm

_log = logging.getLogger(__name__)

_REPLACED = "a process that held a part of the pool was replaced"


@dataclass
class _Round:
    """What a shard knows in one selection; its regions, members of the set among them, are named by their row."""

    features: Features
    centres: Centres
    potential: Array
    members: NDArray[np.int64]
    candidates: Candidates
    half: MaxMinShard | MaxSumShard | None = None


class Shard:
    """Some images of a pool.

    Between rounds it keeps the spatial distances to the labelled set. On a device that runs out of memory it goes on
    with smaller blocks, then on NumPy: slower, and with the same picks.

    Args:
        regions: of the whole pool.
        acquisition: the strategy.
        images: the first of them, and the one after the last.
        xp: array namespace, NumPy or CuPy.
        block_bytes: bound on the temporary arrays of one step; None chooses it by the namespace.

    Attributes:
        first: its first region_id in the pool.
        stop: the one after its last.
        xp: array namespace in use.
    """

    def __init__(
        self,
        regions: Regions,
        acquisition: Acquisition,
        images: tuple[int, int],
        xp: ModuleType = np,
        block_bytes: int | None = None,
    ) -> None:
        if block_bytes is not None and block_bytes < 1:
            raise ConfigError(f"block_bytes: {block_bytes} is not a positive number of bytes")
        whole = images == (0, regions.n_images)
        self.regions, self.acquisition, self.xp = regions if whole else regions.part(*images), acquisition, xp
        self.first, self.stop = (int(regions.offset[image]) for image in images)
        self._distance = SpatialDistance(regions, acquisition) if acquisition.needs_spatial else None
        self._blocks = Blocks(block_bytes or default_block_bytes(xp))
        self._state: SpatialState | None = None
        self._in_state = np.zeros(0, np.int64)
        self._given: Array = None
        self._now: _Round | None = None

    @property
    def _round(self) -> _Round:
        if self._now is None:
            raise BeginAgainError(_REPLACED)
        return self._now

    def _forget(self) -> None:
        """Give up what is of one selection."""
        self._given = self._now = None

    def answer(self, message: str, *arguments: Any) -> Any:
        """Answers a message: the name of one of the methods below, and its arguments.

        Raises:
            BeginAgainError: it cannot go on, but from the beginning: the device had too little memory and it will
                take less, or it is in a new process.
        """
        try:
            return getattr(self, message)(*arguments)
        except Exception as error:  # CuPy has errors of its own
            if self.xp is np or not is_out_of_memory(error):
                raise
            reason = first_line(error)
        # Not in the block above: the error holds the frames, and they hold the arrays, until it is over.
        self._take_less(reason)
        raise BeginAgainError(reason)

    def _take_less(self, reason: str) -> None:
        """Give up the device's arrays, and choose smaller blocks or, when they are small already, NumPy."""
        self._state = None
        self._forget()
        release(self.xp)
        if (smaller := self._blocks.block_bytes // 8) >= HOST_BLOCK:
            self._blocks = Blocks(smaller)
            _log.warning("out of memory on the GPU (%s); selection goes on with blocks of %d bytes", reason, smaller)
            return
        self.xp, self._blocks = np, Blocks(HOST_BLOCK)
        warnings.warn(f"out of memory on the GPU ({reason}); the selection goes on on NumPy, picks equal", stacklevel=2)

    def _follow(self, labelled: NDArray[np.int64]) -> SpatialState | None:
        """A copy of the spatial distances to the labelled regions of these images, as rows."""
        if self._distance is None:
            return None
        if self._state is None or len(np.setdiff1d(self._in_state, labelled, assume_unique=True)):
            self._state = SpatialState(self.xp, self.regions, self._distance, self.acquisition.is_sum)
            self._in_state = np.zeros(0, np.int64)
        self._state.add(np.setdiff1d(labelled, self._in_state, assume_unique=True))
        self._in_state = labelled
        return self._state.copy()

    def _own(self, region: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of those regions that are of these images, in their order."""
        return region[(region >= self.first) & (region < self.stop)] - self.first

    def _image(self, region: NDArray[np.int64]) -> Array:
        """(m,) index of the image of each region, -1 in another shard."""
        mine = (region >= self.first) & (region < self.stop)
        image = self.regions.image_of(np.where(mine, region - self.first, 0))
        return self.xp.asarray(np.where(mine, image, -1))

    def _region(self, rows: Array) -> Array:
        return rows + self.first

    def by_images(
        self,
        potential: NDArray[np.float64],
        labelled: NDArray[np.int64],
        picked: NDArray[np.int64],
        weight: float,
        k: int,
    ) -> Picks:
        """The k best picks of these images without features; a set that lies in one image lies in two (`first_image`).

        Args:
            potential: (n,) float64, the modular part of phi; -inf where a region cannot be picked.
            labelled: (m,) int64 region ids in these images.
            picked: (p,) int64, those of the round that are picked already.
            weight: lambda_s; under Max-Sum over what the sum is divided by.
            k: number of picks.
        """
        xp, state = self.xp, self._follow(labelled - self.first)
        assert state is not None
        modular = xp.asarray(potential).copy()
        if state.distance.bounded_by_cross:
            region, phi, term = lock_step(xp, modular, state, weight, k, self._blocks)
        elif state.is_sum:
            region, phi, term = greedy_sum(xp, self.regions, modular, state, weight, k)
        else:
            state.add(self._own(picked))
            state.term = xp.minimum(state.term, state.distance.cross)
            region, phi, term = lock_step(xp, modular, state, weight, k, self._blocks)
        return region + self.first, phi, term

    def load(self, features: Any, members: NDArray[np.int64]) -> tuple[float, NDArray[np.float32]]:
        """Takes the features of its regions.

        Args:
            features: (n, d), NumPy or of the namespace.
            members: (m,) int64 ids of the regions that the set begins with, of those in these images.

        Returns:
            The largest magnitude of a feature, and (m, d) float32 the members' features.

        Raises:
            ConfigError: a feature is not finite.
        """
        self._forget()
        xp = self.xp
        self._given = xp.asarray(to_host(features) if xp is np else features, xp.float32)
        return largest_magnitude(self._given), to_host(self._given[xp.asarray(members - self.first)])

    def meet(
        self,
        largest: float,
        region: NDArray[np.int64],
        features: NDArray[np.float32],
        potential: NDArray[np.float64],
        k: int,
    ) -> tuple[float, float]:
        """Brings what is known of its regions up to the set that the round begins with.

        Args:
            largest: of the features of all shards.
            region: (m,) int64 the members of the set, rising, of all shards.
            features: (m, d) float32, theirs.
            potential: (n,) float64 of these regions, the modular part of phi; -inf where one cannot be picked.
            k: number of picks to come.

        Returns:
            Squared, on the features' grid: the largest distance of a region that can be picked to the nearest member,
            and the largest length.
        """
        xp = self.xp
        if self._given is None:
            raise BeginAgainError(_REPLACED)
        modular = xp.asarray(potential).copy()
        own = Features(xp, self._given, self._blocks, largest)
        centres = Centres(own, len(region) + k)
        centres.append(xp.asarray(features), self._image(region))
        free = either(xp, modular > -xp.inf, 0.0, -xp.inf)
        prefix = prefix_bounds(own, centres)
        candidates = Candidates.whole(Problem(own, self._region, centres, free, prefix))
        self._now = _Round(own, centres, modular, self._own(region), candidates)
        return candidates.farthest(), float(own.norms.max())

    def start_max_min(self, scale: float) -> Highest:
        """Takes up Max-Min; `scale` is lambda_f / s, s in steps of the grid."""
        xp, now, local, image = self.xp, self._round, None, None
        if self._distance is not None:
            distances = ImageDistances(xp, self.regions, self._distance, False)
            local = LocalTerm(now.features, distances, self.acquisition.spatial, self.regions)
            local.add_all(now.members, scale)
            if local.apart:
                image = xp.asarray(np.repeat(np.arange(self.regions.n_images), np.diff(self.regions.offset)))
        candidates, prefix = now.candidates, now.candidates.problem.prefix
        problem = Problem(now.features, self._region, now.centres, now.potential, prefix, local, scale, image)
        if image is not None:
            candidates = Candidates.whole(problem)  # what was met so far includes members of the same image
        else:
            candidates.rebound(problem)
        now.half = MaxMinShard(candidates)
        return now.half.highest()

    def start_max_sum(self, steps: SumSteps, labelled: NDArray[np.int64]) -> Highest:
        """Takes up Max-Sum.

        Args:
            steps: of the pool.
            labelled: (m,) int64 region ids in these images; the other members are picks.
        """
        now, state = self._round, self._follow(labelled - self.first)
        if state is not None:
            state.add(np.setdiff1d(now.members, labelled - self.first, assume_unique=True))
        now.half = MaxSumShard(now.features, self._region, now.centres, now.potential, steps, state)
        return now.half.highest()

    def survivors(self, limit: Limit) -> Survivors:
        """The regions that come before a limit once they are up to date."""
        return self._half().survivors(limit)

    def settle(self, settled: Settled) -> Highest:
        """Takes in how an epoch ended; the highest bounds of the next."""
        half = self._half()
        half.settle(settled, self.xp.asarray(self._own(settled.region)), self._image(settled.region))
        return half.highest()

    def _half(self) -> MaxMinShard | MaxSumShard:
        half = self._round.half
        assert half is not None
        return half

    def end(self) -> int:
        """Gives up what is of this selection; the number of feature distances that were computed."""
        evaluated = self._round.features.evaluated
        self._forget()
        release(self.xp)
        return evaluated
