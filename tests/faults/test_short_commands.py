"""Short commands end with the status of their answer, however busy the machine is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from raylab.files import Folder
from raylab.regions.grid import RegionGrid
from raylab.regions.table import region_table, with_regions

CALLS = 300
"""Before, about one call of 17 ended with 134 after a right answer."""


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.timeout(3600)
def test_every_one_of_many_calls_under_load_ends_well(tmp_path: Path, record_fault: Callable[..., None]) -> None:
    grid, rng = RegionGrid([(64, 96), (50, 70), (33, 64)], 16), np.random.default_rng(5)
    n = grid.n_regions
    maps = {"uncertainty": rng.random(n).astype(np.float32)}
    table = region_table(np.arange(n), maps, rng.normal(size=(n, 6)).astype(np.float32))
    Folder(str(tmp_path)).write_table("regions.parquet", with_regions(table, grid))
    command = [sys.executable, "-m", "raylab", "select", str(tmp_path / "regions.parquet"), "--count", "5"]

    def call(index: int) -> tuple[int, str, str]:
        done = subprocess.run([*command, "--strategy", "entropy+feature"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        with ThreadPoolExecutor(2 * len(busy)) as pool:
            seen = Counter(pool.map(call, range(CALLS)))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    ((status, _, problem),) = seen
    assert (status, problem) == (0, "")
    record_fault(
        "a machine busier than it has processors",
        "a right answer ends with 0",
        {"calls": CALLS},
        {"right": CALLS},
    )
