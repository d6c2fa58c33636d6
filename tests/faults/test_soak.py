"""Some minutes of `tests.faults.soak`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.soak import PROGRAM, Soak

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(7200)]
MINUTES = float(os.environ.get("RAYLAB_SOAK", "3"))


def test_studies_killed_at_random_for_some_minutes(tmp_path: Path, record_fault: Callable[..., None]) -> None:
    soak = Soak(tmp_path, PROGRAM, seed=0)
    until = time.monotonic() + 60 * MINUTES
    while time.monotonic() < until:
        soak.study(until)
    assert soak.holds(), soak.line()
    assert soak.kills
    seen = {"unequal": soak.unequal, "processes left": soak.orphans, "files left": soak.partials + soak.grown}
    done = {"kills": soak.kills, "studies": soak.studies, "minutes": round(MINUTES)}
    record_fault("a soak: SIGKILL and SIGTERM at random times", "equal in the end, nothing left", done, seen)
