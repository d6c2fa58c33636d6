"""One rule for the names of studies and runs, in every command and in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raylab
from raylab.cli import main
from raylab.config import StudyConfig
from raylab.config.names import LONGEST, check_name, is_name
from raylab.errors import ConfigError
from raylab.files import Folder
from raylab.runs.studies import studies_in

BAD = (
    "..", ".", ".hidden", "../outside", "a/b", "/etc", "a\\b", "two\nlines", "bell\a", "zero\0", "a\u2028b",
    "turned\u202e", "half\ud800", "-x", "~", " around ", "dot.", " ", "CON", "nul.txt", "x" * 300, "\u00e4" * 101,
)  # fmt: skip


@pytest.mark.parametrize("name", ["study", "camvid, 3 seeds", "random-N32-seed0-1f", "\u00dcbung", "v1.2"])
def test_names_that_people_give(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_every_command_refuses_a_bad_name_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what a bad name leads to in its place, so that following it would succeed in being read."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "study.json").write_text("{}")
    storage = str(tmp_path / "root")
    commands = [
        *([command, name, "--storage", storage] for command in ("status", "report", "replay", "sync")),
        *([command, f"--name={name}", "--run.storage", storage] for command in ("study", "plan")),
        ["run", f"--name={name}", "--storage", storage],
    ]
    for command in commands:
        if name.startswith("-") and command[1] == name:
            continue  # an option, and refused as one
        with pytest.raises(SystemExit) as stop:
            main(command)
        (line,) = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2, command
        assert line.startswith(("error: name: ", "error: names[0]: ")), line
        assert " cannot be a name: " in line
    with pytest.raises(ConfigError, match="cannot be a name"):
        raylab.load_study(storage, name)
    assert not (tmp_path / "root").exists()


def test_a_folder_that_is_no_study_is_none_of_the_studies(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    for name in ("good", ".writing-1", "bad "):
        store.write_json(f"studies/{name}/study.json", {})
    assert studies_in(store) == ["good"]


@given(st.text())
def test_a_good_name_is_one_line_and_one_folder(name: str) -> None:
    if is_name(name):
        assert name.splitlines() == [name]
        assert Path("root", name).parent == Path("root")
        assert len(name.encode()) <= LONGEST
        assert StudyConfig(name=name).name == name
