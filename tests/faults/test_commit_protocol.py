"""SIGKILL between any two operations on files of a run, then the same again: what was never killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raylab.disk import PARTIAL
from tests.faults.short_run import STEPS, go_on, go_on_in_child, result

pytestmark = pytest.mark.fault


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_between_operations_on_files(
    undisturbed: list[Any], tmp_path: Path, kills: int, record_fault: Callable[..., None]
) -> None:
    rng, killed, roots, again = random.Random(kills), 0, 0, 0
    while killed < kills:
        roots += 1
        root, begun = tmp_path / f"root-{roots}", tmp_path / f"begun-{roots}"
        while killed < kills and (status := go_on_in_child(root, begun, rng.randint(1, 40), die)):
            assert status == -signal.SIGKILL
            killed += 1
        go_on(root, begun)
        assert result(root) == undisturbed
        assert not [path for path in root.rglob(f"{PARTIAL}*")]
        again += len(begun.read_text().splitlines()) - STEPS
    fault = "SIGKILL before a random operation on a file (open, rename, link, remove)"
    seen = {"studies equal": roots, "studies unequal": 0, "files half written left": 0}
    record_fault(fault, "whole steps; the same in the end", {"kills": killed, "studies": roots}, seen, again)
