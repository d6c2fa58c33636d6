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


# Chosen by 41 typos and 37 strangers: these are the hard ones of both.
@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("city", ["camvid", "cityscapes", "voc2012"], "cityscapes"),
        ("rep", ["run", "report", "replay"], "report"),
        ("taw", ["tau", "a", "map"], "tau"),
        ("strategy", ["study", "strategies"], "strategies"),
        ("--seedd", ["--seeds", "--run.seed"], "--seeds"),
        ("gpu", ["auto", "cpu", "cuda"], None),
        ("--map", ["--help", "--config"], None),
        ("nope", ["info", "compute", "entropy"], None),
        ("delete", ["select", "study"], None),
        ("--gpus", ["--plugins", "--seeds"], None),
    ],
)
def test_a_hint_is_a_name_that_was_meant(word: str, known: list[str], hint: str | None) -> None:
    assert nearest(word, known) == (f"; did you mean {hint!r}?" if hint else "")


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
