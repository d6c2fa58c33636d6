from __future__ import annotations

import subprocess
import sys

import pytest

from raylab.errors import nearest


def test_the_nearest_name_is_told_as_it_is_spelt() -> None:
    assert nearest("entrpy", ["random", "entropy"]) == "; did you mean 'entropy'?"
    assert nearest("CityScape", iter(["Cityscapes", "camvid"])) == "; did you mean 'Cityscapes'?"


def test_nothing_near_gives_no_hint() -> None:
    assert nearest("qqq", ["random", "entropy"]) == ""
    assert nearest("", []) == ""


LAST = """
import os, sys, threading
from raylab.errors import without_teardown

class Late:
    def __del__(self, abort=os.abort):  # while Python is taken down, as a thread of Arrow's that lets go of a buffer
        abort()

def end():
    with without_teardown():
        import atexit
        atexit.register(print, "exit functions run")
        sys.late = Late()
        print("the answer")
        ENDING

end()
"""


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(2)", 2),
        ("raise SystemExit('a reason')", 1),
        ("raise ValueError('a bug')", 1),
        ("sys.stdout.close()", 1),
    ],
)
def test_nothing_that_happens_after_the_end_changes_the_status(ending: str, status: int) -> None:
    code = LAST.replace("ENDING", ending)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    if "close" not in ending:
        assert done.stdout.splitlines() == ["the answer", "exit functions run"]
    assert ("Traceback" in done.stderr) == ("ValueError" in ending)
