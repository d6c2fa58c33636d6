"""A pool whose features no one process holds: peak memory of the coordinator, and what it exchanges with its shards.

    python benchmarks/shards.py --images 29750 --picks 4000 --shards 4    n = 3,808,000, a minute or two, 2 GB of disk

Every shard is a process, with its features in a file that it maps into memory. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pools import CLASSES, DIMENSIONS, REGION, entropies
from raylab.acquisition import Acquisition, strategy
from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector, Selection
from raylab.selection.shard import Shard
from raylab.selection.shards import cut

MIB = 2**20


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_features(path: Path, seed: int, images: int, regions: int) -> None:
    """A shard's features, drawn image by image into a file, as `benchmarks.pools.pool` draws them."""
    rng = np.random.default_rng([7, seed])
    spectrum = (np.arange(1, DIMENSIONS + 1) ** -0.8).astype(np.float32)
    centres = np.random.default_rng(7).standard_normal((CLASSES, DIMENSIONS), np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(images * regions, DIMENSIONS))
    for image in out.reshape(images, regions, DIMENSIONS):
        drawn = centres[rng.integers(0, CLASSES, regions)] + 0.5 * rng.standard_normal(DIMENSIONS, np.float32)
        image[:] = (drawn + 0.7 * rng.standard_normal(image.shape, np.float32)) * spectrum
    out.flush()


def serve(
    pipe: Connection, regions: RegionGrid, q: Acquisition, images: tuple[int, int], path: Path, seed: int
) -> None:
    """One shard: draws its features, and answers until it is told to stop."""
    shard, count = Shard(regions, q, images), images[1] - images[0]
    write_features(path, seed, count, (shard.stop - shard.first) // count)
    pipe.send(None)
    while (asked := pipe.recv()) is not None:
        message, arguments = asked
        if message == "load":
            file, members = arguments
            arguments = (np.load(file, mmap_mode="r"), members)
        pipe.send(shard.answer(message, *arguments))
    pipe.send(peak_mib())


class ProcessShards:
    """`raylab.selection.shards.Shards` in processes of their own, all asked at once.

    Attributes:
        messages: to shards, all told.
        received: bytes of their answers.
        largest: bytes of the largest one.
    """

    def __init__(self, regions: RegionGrid, q: Acquisition, images: list[tuple[int, int]], folder: Path) -> None:
        self.images, self.pipes = images, list[Connection]()
        self.messages = self.received = self.largest = 0
        context = multiprocessing.get_context("spawn")
        for i, part in enumerate(images):
            mine, theirs = context.Pipe()
            path = folder / f"{i}.npy"
            context.Process(target=serve, args=(theirs, regions, q, part, path, i), daemon=True).start()
            self.pipes.append(mine)
        for pipe in self.pipes:
            pipe.recv()

    def load(self, features: Any, members: list[NDArray[np.int64]]) -> list[Any]:
        """See `Shards`; `features` is the folder of the shards' files."""
        return self.ask("load", [(features / f"{i}.npy", part) for i, part in enumerate(members)])

    def ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """See `Shards`."""
        for pipe, given in zip(self.pipes, arguments, strict=True):
            if given is not None:
                self.messages += 1
                pipe.send((message, given))
        return [
            None if given is None else self._answer(pipe) for pipe, given in zip(self.pipes, arguments, strict=True)
        ]

    def _answer(self, pipe: Connection) -> Any:
        data = pipe.recv_bytes()
        self.received += len(data)
        self.largest = max(self.largest, len(data))
        return pickle.loads(data)

    def stop(self) -> list[float]:
        """Ends the shards; the peak memory of each in MiB."""
        for pipe in self.pipes:
            pipe.send(None)
        return [pipe.recv() for pipe in self.pipes]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2975)
    parser.add_argument("--picks", type=int, default=4000)
    parser.add_argument("--labelled", type=int, default=1000)
    parser.add_argument("--shards", type=int, nargs="*", default=[4])
    parser.add_argument("--strategies", nargs="*", default=["entropy+feature", "entropy+spatial+feature"])
    args = parser.parse_args()
    regions = RegionGrid(np.tile([[1024, 2048]], (args.images, 1)), REGION)
    n = regions.n_regions
    rows, cols = int(regions.rows[0]), int(regions.cols[0])
    u = np.concatenate(
        [entropies(np.random.default_rng(i), 1, rows, cols).astype(np.float32).reshape(-1) for i in range(args.images)]
    )
    labelled = np.random.default_rng(1).permutation(n)[: args.labelled]
    size = n * DIMENSIONS * 4 / MIB
    print(f"n = {n:,}, d = {DIMENSIONS} ({size:,.0f} MiB), |L| = {args.labelled:,}, K = {args.picks:,}")
    print(f"the coordinator begins with {peak_mib():.0f} MiB", flush=True)
    for name in args.strategies:
        for count in args.shards:
            with tempfile.TemporaryDirectory(dir=".") as folder:
                q = strategy(name)
                files = Path(folder).resolve()
                shards = ProcessShards(regions, q, cut(regions, count), files)
                selector = GreedySelector(regions, q, shards)
                selector.label(labelled)
                start = time.perf_counter()
                picks: Selection = selector.select(args.picks, uncertainty=u, features=files)
                seconds, peaks = time.perf_counter() - start, shards.stop()
            print(
                f"{name}, P = {len(shards.images)}: {len(picks):,} picks in {seconds:.1f} s, {selector.epochs} epochs, "
                f"{selector.exchanges} exchanges, {shards.messages} messages, {shards.received / MIB:.1f} MiB back, "
                f"the largest {shards.largest / MIB:.2f}; coordinator's peak {peak_mib():,.0f} MiB, a shard's "
                f"{max(peaks):,.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
