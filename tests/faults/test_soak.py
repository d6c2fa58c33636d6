"""Some minutes of `tests.faults.soak`; an hour of it is a command of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest

from tests.faults.soak import Soak

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]
SECONDS = 180


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_studies_disturbed_at_random_for_some_minutes(backend: str, record_fault: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory(prefix="s") as folder:  # pytest's own are too long for Ray's sockets
        soak = Soak(Path(folder), backend, seed=0)
        soak.run(SECONDS)
    assert not soak.wrong
    assert soak.done
    record_fault(*astuple(soak.row(SECONDS)))
