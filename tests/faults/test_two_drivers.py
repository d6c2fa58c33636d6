"""Two drivers of one study, started at once on one storage root: one does a step, the other finds it done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import UndisturbedStudy
from tests.faults.two_strategies import STEPS, begun, outcome, said, start, statuses

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_two_drivers_at_once(
    backend: str, tmp_path: Path, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    storage = tmp_path / "root"
    drivers = [start(storage, backend=backend) for _ in range(2)]
    assert [driver.wait() for driver in drivers] == [0, 0], said(storage)
    assert outcome(storage) == undisturbed_study(0)
    assert begun(storage) == STEPS, "a step was done twice"
    assert statuses(storage) == ["FINISHED"] * 3, "missing or double in MLflow"
    done = {f"studies on {backend}": 1}
    promise = "each step is done once; both end with 0"
    record_fault("two drivers at once on one storage root", promise, done, {"equal": 1})
