"""The selector and its peers, timed alike: CPU seconds, to be taken on one thread.

The naive algorithm, as the paper writes it, touches every region at every pick:

    gemv      float64 features, |x|^2 + |y|^2 - 2 x y by one matrix-vector product, running minimum, argmax
    gemv32    the same in float32: faster, and not exact
    direct    ((X - x)**2).sum(axis=1) in float32, as such code is mostly written
    formula   the distances of Eq. 6 of every region to the pick by NumPy arithmetic
    gather    the same from a table of distances by offset

Public packages, where they are installed, do Core-Set alone:

    scikit-activeml   skactiveml.pool.CoreSet; keeps the distances of every region at every pick, so that whole it
                      would need 8 n K bytes
    fpsample          fps_sampling, compiled; begins with one region, so labelled ones are met one by one
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.acquisition import strategy
from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector, Selection

Floats = Any


@dataclass(frozen=True)
class Cost:
    """What a peer takes, from a few timed picks.

    Attributes:
        name: of the peer.
        per_member: CPU seconds to meet a labelled region.
        per_pick: CPU seconds of a pick.
        fixed: CPU seconds whatever the numbers.
        picks: region ids of its first picks, where it was given the labelled set; else None.
    """

    name: str
    per_member: float
    per_pick: float
    fixed: float = 0.0
    picks: NDArray[np.int64] | None = None

    def seconds(self, labelled: int, k: int) -> float:
        """CPU seconds of `k` picks beside `labelled` regions, extrapolated."""
        return self.fixed + labelled * self.per_member + k * self.per_pick


def cpu_seconds(work: Callable[[], object], repeat: int = 1) -> float:
    """Median CPU seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def ours(
    name: str, regions: RegionGrid, u: Floats, features: Floats, labelled: NDArray[np.int64], k: int, repeat: int
) -> tuple[float, float, Selection]:
    """Median CPU seconds of whole selections, set-up included; the share of pairs evaluated; and the picks."""
    done: list[tuple[GreedySelector, Selection]] = []

    def run() -> None:
        selector = GreedySelector(regions, strategy(name))
        selector.label(labelled)
        done[:] = [(selector, selector.select(k, uncertainty=u, features=features))]

    seconds = cpu_seconds(run, repeat)
    selector, picks = done[0]
    return seconds, selector.evaluated / ((regions.n_regions - len(labelled)) * (len(labelled) + k)), picks


def _times(count: int, work: Callable[[], object]) -> None:
    for _ in range(count):
        work()


def feature_peers(u: Floats, features: Floats, picks: int) -> Iterator[Cost]:
    """The naive Entropy+Feature; Core-Set differs by one addition in place."""
    yield _gemv("gemv", np.float64, u, features, picks)
    yield _gemv("gemv32", np.float32, u, features, picks)
    least = np.full(len(features), 1e9, np.float32)

    def direct() -> None:
        best = int((u + np.sqrt(least)).argmax())
        np.minimum(least, ((features - features[best]) ** 2).sum(axis=1), out=least)

    seconds = cpu_seconds(direct, 3)
    yield Cost("direct", seconds, seconds)


def _gemv(name: str, kind: type, u: Floats, features: Floats, picks: int) -> Cost:
    x = features.astype(kind)
    norms: Floats = np.einsum("ij,ij->i", x, x)
    least: Floats = np.full(len(x), 1e9, kind)
    d2: Floats = np.empty(len(x), kind)
    phi: Floats = np.empty(len(x), kind)
    weight = u.astype(kind)

    def meet() -> None:
        y = x[:64]
        for a in range(0, len(x), 4096):
            block = x[a : a + 4096] @ y.T
            block *= -2
            block += norms[:64]
            np.minimum(least[a : a + 4096], block.min(axis=1) + norms[a : a + 4096], out=least[a : a + 4096])

    def pick() -> None:
        np.sqrt(np.maximum(least, 0, out=phi), out=phi)
        np.add(phi, weight, out=phi)
        best = int(phi.argmax())
        np.dot(x, x[best], out=d2)
        np.multiply(d2, -2, out=d2)
        np.add(d2, norms, out=d2)
        np.add(d2, norms[best], out=d2)
        np.minimum(least, d2, out=least)

    per_member = cpu_seconds(meet) / 64
    pick()
    return Cost(name, per_member, cpu_seconds(partial(_times, picks, pick)) / picks)


def spatial_peers(regions: RegionGrid, u: Floats, picks: int) -> Iterator[Cost]:
    """The naive Entropy+Spatial."""
    ids = np.arange(regions.n_regions)
    image = regions.image_of(ids)
    row, col = regions.row_col(ids)
    rows, cols = int(regions.rows.max()), int(regions.cols.max())
    reach = np.maximum(*np.abs(np.mgrid[1 - rows : rows, 1 - cols : cols]))
    table = np.where(reach == 0, 0.0, np.where(reach <= 1, 0.5, 1.0))
    for name in ("formula", "gather"):
        least = np.ones(len(ids))

        def pick(name: str = name, least: Floats = least) -> None:
            best = int((u + least).argmax())
            dr, dc = row - row[best], col - col[best]
            if name == "formula":
                centres = regions.region_size * np.maximum(np.abs(dr), np.abs(dc))
                d = np.where(image == image[best], np.where(centres <= regions.region_size, 0.5, 1.0), 1.0)
                d[best] = 0
            else:
                d = np.where(image == image[best], table[dr + rows - 1, dc + cols - 1], 1.0)
            np.minimum(least, d, out=least)

        pick()
        seconds = cpu_seconds(partial(_times, picks, pick)) / picks
        yield Cost(name, seconds, seconds)


def public_peers(
    features: Floats, labelled: NDArray[np.int64], picks: int, say: Callable[[str], object]
) -> Iterator[Cost]:
    """Core-Set by public packages; one that is not installed is skipped, and said."""
    for name, (module, measure) in _PUBLIC.items():
        try:
            package = importlib.import_module(module)
        except ImportError as error:
            say(f"{name} is skipped ({error}); python -m pip install {name}")
            continue
        yield measure(f"{name} {version(name)}", package, features, labelled, picks)


def _activeml(name: str, package: Any, features: Floats, labelled: NDArray[np.int64], picks: int) -> Cost:
    found: list[NDArray[np.int64]] = []

    def query(members: int, size: int) -> float:
        y = np.full(len(features), np.nan)
        y[labelled[:members]] = 0
        strategy = package.CoreSet(random_state=0)
        return cpu_seconds(lambda: found.append(strategy.query(features, y, batch_size=size)))

    few = len(labelled) // 8
    short, long = query(few, 1), query(len(labelled), 1)
    per_pick = (query(len(labelled), 1 + picks) - long) / picks
    per_member = (long - short) / (len(labelled) - few)
    return Cost(name, per_member, per_pick, short - few * per_member - per_pick, found[-1])


def _fpsample(name: str, package: Any, features: Floats, labelled: NDArray[np.int64], picks: int) -> Cost:
    def sample(size: int) -> float:
        return cpu_seconds(lambda: package.fps_sampling(features, size, start_idx=int(labelled[0])))

    sample(2)  # loads what it needs
    start, picks = sample(1), 10 * picks
    seconds = (sample(1 + picks) - start) / picks
    return Cost(name, seconds, seconds, start - seconds)


_PUBLIC: dict[str, tuple[str, Callable[..., Cost]]] = {
    "scikit-activeml": ("skactiveml.pool", _activeml),
    "fpsample": ("fpsample", _fpsample),
}
