"""Selection beside its peers, measured in one run on one thread.

    python benchmarks/selection.py --size quick          n = 95,000    K = 4,000     about a minute
    python benchmarks/selection.py --size full           n = 380,800   K = 16,000    Cityscapes' geometry
    python benchmarks/selection.py --size full --labelled 16000        the 32k row of the paper's Table V
    python benchmarks/selection.py --size huge           n = 3,808,000 K = 16,000    ours alone

Set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1. Times are CPU seconds. Ours is the median of whole selections, set-up
included; a peer's is extrapolated from a few timed picks, plus the labelled set met in one matrix product, because
whole it would take from minutes to hours. What a peer computes is what the naive algorithm computes every pick:

    gemv      float64 features, |x|^2 + |y|^2 - 2 x y by one matrix-vector product, running minimum, argmax
    gemv32    the same in float32: faster, and not exact
    direct    ((X - x)**2).sum(axis=1) in float32, as such code is mostly written
    formula   the distances of Eq. 6 of every region to the pick by NumPy arithmetic
    gather    the same from a table of distances by offset
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector, strategy

SIZES = {"quick": (742, 4_000), "full": (2_975, 16_000), "huge": (29_750, 16_000)}
DIMENSIONS, REGION, CLASSES = 128, 128, 40
Floats = Any


def pool(images: int, decay: float = 0.8, seed: int = 0) -> tuple[RegionGrid, Floats, Floats]:
    """A pool of Cityscapes' geometry with structure.

    Entropies are correlated within an image (a smoothed field plus the image's level); features are a mixture of
    classes, images and noise over a spectrum that decays as PCA's does.

    Args:
        images: of 8 x 16 regions each.
        decay: component i has the standard deviation i^-decay; 0 is the hardest.
        seed: of all that is drawn.

    Returns:
        The grid, (n,) float64 entropies, (n, 128) float32 features.
    """
    rng = np.random.default_rng(seed)
    grid = RegionGrid(np.tile([[1024, 2048]], (images, 1)), REGION)
    rows, cols = int(grid.rows[0]), int(grid.cols[0])
    entropy = np.pad(rng.gamma(2, 0.15, (images, rows, cols)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    entropy = np.mean([entropy[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3)], axis=0)
    entropy += rng.gamma(2, 0.05, (images, 1, 1))
    spectrum = (np.arange(1, DIMENSIONS + 1) ** -decay).astype(np.float32)
    centres = rng.standard_normal((CLASSES, DIMENSIONS), np.float32)
    features = np.empty((images, rows * cols, DIMENSIONS), np.float32)
    for image in features:
        image[:] = centres[rng.integers(0, CLASSES, rows * cols)]
        image += 0.5 * rng.standard_normal(DIMENSIONS, np.float32)
        image += 0.7 * rng.standard_normal(image.shape, np.float32)
        image *= spectrum
    return grid, entropy.reshape(-1), features.reshape(-1, DIMENSIONS)


def cpu_seconds(work: Callable[[], object], repeat: int = 1) -> float:
    """Median CPU seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def feature_peers(u: Floats, features: Floats, labelled: int, k: int, picks: int) -> Iterator[tuple[str, float]]:
    """CPU seconds of the naive algorithm for `k` picks, by name; Core-Set's differ by one addition in place."""
    for name, kind in (("gemv", np.float64), ("gemv32", np.float32)):
        x = features.astype(kind)
        norms: Floats = np.einsum("ij,ij->i", x, x)  # type: ignore[arg-type]
        least = np.full(len(x), 1e9, kind)
        d2, phi = np.empty(len(x), kind), np.empty(len(x), kind)
        weight = u.astype(kind)

        def meet(start: int, x: Floats = x, norms: Floats = norms, least: Floats = least) -> None:
            y = x[start : start + 64]
            for a in range(0, len(x), 4096):
                block = x[a : a + 4096] @ y.T
                block *= -2
                block += norms[start : start + 64]
                np.minimum(least[a : a + 4096], block.min(axis=1) + norms[a : a + 4096], out=least[a : a + 4096])

        def pick(
            x: Floats = x, norms: Floats = norms, least: Floats = least, d2: Floats = d2, phi: Floats = phi,
            weight: Floats = weight,
        ) -> None:  # fmt: skip
            np.sqrt(np.maximum(least, 0, out=phi), out=phi)
            phi += weight
            best = int(phi.argmax())
            np.dot(x, x[best], out=d2)
            d2 *= -2
            d2 += norms
            d2 += norms[best]
            np.minimum(least, d2, out=least)

        first = cpu_seconds(lambda meet=meet: meet(0)) * labelled / 64  # type: ignore[misc]
        pick()
        yield name, first + k * cpu_seconds(lambda pick=pick: [pick() for _ in range(picks)]) / picks  # type: ignore[misc]
        del x, meet, pick

    least = np.full(len(features), 1e9, np.float32)

    def direct() -> None:
        best = int((u + np.sqrt(least)).argmax())
        np.minimum(least, ((features - features[best]) ** 2).sum(axis=1), out=least)

    yield "direct", (labelled + k) * cpu_seconds(direct, 3)


def spatial_peers(grid: RegionGrid, u: Floats, labelled: int, k: int, picks: int) -> Iterator[tuple[str, float]]:
    """CPU seconds of the naive algorithm for `labelled` + `k` members, by name."""
    ids = np.arange(grid.n_regions)
    image = grid.image_of(ids)
    row, col = grid.row_col(ids)
    offsets = np.maximum(*np.abs(np.mgrid[-15:16, -15:16]))
    table = np.where(offsets == 0, 0.0, np.where(offsets <= 1, 0.5, 1.0))
    for name in ("formula", "gather"):
        least = np.ones(len(ids))

        def pick(name: str = name, least: Floats = least) -> None:
            best = int((u + least).argmax())
            dr, dc = row - row[best], col - col[best]
            if name == "formula":
                centres = REGION * np.maximum(np.abs(dr), np.abs(dc))
                d = np.where(image == image[best], np.where(centres <= REGION, 0.5, 1.0), 1.0)
                d[best] = 0
            else:
                d = np.where(image == image[best], table[dr + 15, dc + 15], 1.0)
            np.minimum(least, d, out=least)

        pick()
        seconds = cpu_seconds(lambda pick=pick: [pick() for _ in range(picks)]) / picks  # type: ignore[misc]
        yield name, (labelled + k) * seconds


def ours(
    name: str, grid: RegionGrid, u: Floats, features: Floats, labelled: NDArray[np.int64], k: int, repeat: int
) -> float:
    """Median CPU seconds of `select`, the labelled set's share included; prints the share of evaluated pairs."""

    def run() -> GreedySelector:
        selector = GreedySelector(grid, strategy(name))
        selector.label(labelled)
        selector.select(k, uncertainty=u, features=features)
        return selector

    share = run().evaluated / ((grid.n_regions - len(labelled)) * (len(labelled) + k))
    seconds = cpu_seconds(run, repeat)
    print(f"{name:28s} ours {seconds:9.3f} s   evaluated pairs {share:6.2%}", flush=True)
    return seconds


def memory(name: str, grid: RegionGrid, u: Floats, features: Floats, labelled: NDArray[np.int64], k: int) -> None:
    """Prints the peak of what one selection allocates, beside what it is given."""
    given = u.nbytes + (features.nbytes if "spatial" not in name or "feature" in name else 0)
    tracemalloc.start()
    selector = GreedySelector(grid, strategy(name))
    selector.label(labelled)
    selector.select(k, uncertainty=u, features=features)
    peak = tracemalloc.get_traced_memory()[1] + given
    tracemalloc.stop()
    print(
        f"{name:28s} peak {peak / 2**20:7.0f} MiB with its input: {peak / features.nbytes:.2f} x the feature matrix, "
        f"{peak / grid.n_regions:.0f} bytes a region"
    )


def main() -> None:
    """Prints ours, the peers and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--labelled", type=int, default=1000, help="size of the labelled set")
    parser.add_argument("--picks", type=int, default=20, help="picks of a peer that are timed")
    parser.add_argument("--repeat", type=int, default=3, help="whole selections of ours that are timed")
    parser.add_argument("--strategies", nargs="*", default=["entropy+feature", "core-set", "entropy+spatial"])
    parser.add_argument("--decay", type=float, default=0.8, help="of the features' spectrum; 0 is flat")
    args = parser.parse_args()
    images, k = SIZES[args.size]
    grid, u, features = pool(images, args.decay)
    labelled = np.random.default_rng(1).permutation(grid.n_regions)[: args.labelled]
    print(f"n = {grid.n_regions:,}, d = {DIMENSIONS}, |L| = {args.labelled:,}, K = {k:,}, NumPy {np.__version__}")
    mine = {name: ours(name, grid, u, features, labelled, k, args.repeat) for name in args.strategies}
    for name in args.strategies:
        memory(name, grid, u, features, labelled, k)
    if args.size == "huge":
        return
    peers = {"feature": dict(feature_peers(u, features, args.labelled, k, args.picks))}
    peers["spatial"] = dict(spatial_peers(grid, u, args.labelled, k, args.picks))
    print(f"\n{'objective':28s} {'peer':8s} {'peer s':>10s} {'ours s':>10s} {'ratio':>8s}")
    for name, seconds in mine.items():
        kinds = ["spatial"] if name.startswith("entropy+spatial") and "feature" not in name else ["feature"]
        for peer, theirs in (item for kind in kinds for item in peers[kind].items()):
            print(f"{name:28s} {peer:8s} {theirs:10.1f} {seconds:10.3f} {theirs / seconds:7.0f}x")


if __name__ == "__main__":
    main()
