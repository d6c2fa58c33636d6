"""A clock that jumps by years while a study runs, and files whose times lie in the future or long ago."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libfaketime
import pytest

from raylab.files import Folder
from raylab.runs.verify import verify_study
from raylab.settled import found_once
from tests.faults.conftest import UndisturbedStudy
from tests.faults.two_strategies import STEPS, begun, outcome, said, start, statuses

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800)]

YEARS = 10 * 365 * 86400


def jumping(file: Path) -> dict[str, str]:
    """An environment in which the clock of a process is ahead by what a file says; files keep the disk's times."""
    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    switches = ("FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT")
    return {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), **dict.fromkeys(switches, "1")}


def jump(file: Path, seconds: int) -> None:
    """Move the clock; whole or not at all, for processes read it at any moment."""
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}")
    new.replace(file)


@pytest.mark.slow
def test_the_clock_of_a_driver_jumps(
    tmp_path: Path, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    storage, clock = tmp_path / "root", tmp_path / "clock"
    jump(clock, -YEARS)
    show = [sys.executable, "-c", "import time; print(time.time())"]
    shown = subprocess.run(show, env=os.environ | jumping(clock), capture_output=True, text=True, check=True).stdout
    if float(shown) > time.time() - YEARS / 2:
        pytest.skip("libfaketime does not move the clock of this Python")

    jump(clock, 0)
    process = start(storage, backend="local", **jumping(clock))
    steps = jumps = 0
    while process.poll() is None:
        if (now := begun(storage)) > steps:
            steps, jumps = now, jumps + 1
            jump(clock, (-1) ** jumps * YEARS)
        time.sleep(0.02)
    assert process.returncode == 0, said(storage)
    assert jumps > 2
    assert begun(storage) == STEPS
    assert outcome(storage) == undisturbed_study(0)
    assert statuses(storage) == ["FINISHED"] * 3
    assert not verify_study(Folder(str(storage)), "two").damages
    fault = "the driver's clock jumps by ten years, forward and back"
    record_fault(fault, "nothing hangs on it", {"jumps": jumps, "studies": 1}, {"same end": 1})


@pytest.mark.parametrize("when", [-YEARS, YEARS])
def test_a_file_that_changes_is_read_again_whatever_its_times(
    when: int, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    folder, file = Folder(str(tmp_path)), tmp_path / "image.png"
    known: dict[str, tuple[int, int, bytes]] = {}

    def content(data: bytes, moment: float) -> bytes:
        file.write_bytes(data)
        os.utime(file, (moment, moment))
        return found_once(known, "image.png", lambda: folder.state("image.png"), file.read_bytes)

    now = time.time()
    assert content(b"1", now + when) == b"1"
    assert content(b"2", now + when + 1) == b"2"
    if when > 0:  # not known to be settled: a change within one tick of its clock is seen too
        assert content(b"3", now + when + 1) == b"3"
    record_fault("the times of files lie in the future or long ago", "a change is seen", {"files": 1}, {"seen": 1})
