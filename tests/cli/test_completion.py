"""Completion in a real bash: commands, options, choices, files, and the studies that lie there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from raylab.cli import COMMANDS
from raylab.cli.completion import SHELLS, completion
from raylab.experiment import experiments

_ASK = """
source ./raylab.bash
COMP_WORDS=(raylab "$@")
COMP_CWORD=$#
$(complete -p raylab | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    root = tmp_path_factory.mktemp("completion")
    (root / "raylab.bash").write_text(completion("bash"))
    for study in ("raylab-results/studies/demo", "raylab-results/studies/camvid", "other/studies/mine"):
        (root / study).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["st"], {"study", "status", "strategies"}),
        (["help", ""], set(COMMANDS)),
        (["study", "--run.regions"], {"--run.regions.size", "--run.regions.shape", "--run.regions.compactness"}),
        (["run", "--seed", "1", "--stor"], {"--storage"}),
        (["study", "--run.data.name", "cam"], {"camvid"}),
        (["plan", "--preset", "idd"], {"idd_lite"}),
        (["status", ""], {"demo", "camvid"}),
        (["report", "c"], {"camvid"}),
        (["status", "--storage", "other", ""], {"mine"}),
        (["experiment", ""], set(experiments())),
        (["experiment", "ablation_tau", "--smo"], {"--smoke"}),
        (["study", "--config", "ray"], {"raylab.bash", "raylab-results"}),
    ],
)
def test_in_bash(folder: Path, words: list[str], found: set[str]) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK, "bash", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == found


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_that_knows_every_command(shell: str) -> None:
    text = completion(shell)
    assert all(name in text for name in COMMANDS)
    assert "run.training.momentum" in text
