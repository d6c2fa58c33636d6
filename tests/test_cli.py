from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab import __version__
from raylab.acquisition import STRATEGIES
from raylab.cli import COMMANDS, _study_of, main
from raylab.config import StrategyConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from tests.configs import tiny_run

TINY = shlex.split(
    "--run.data.synthetic.train-images 8 --run.data.synthetic.val-images 3 --run.data.synthetic.height 64 "
    "--run.data.synthetic.width 96 --run.regions.size 16 --run.model.weights random --run.model.channels 16 "
    "--run.training.iterations 4 --run.training.batch-size 4 --run.training.crop 64 --run.scoring.pca 8 "
    "--run.budget.initial 12 --run.budget.rounds 12 24"
)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    """Run a command that must exit with 2; gives the lines of its errors, each checked to be a clear one."""

    def run(*args: str) -> list[str]:
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert all(line.startswith("error: ") for line in err.splitlines())
        assert "Traceback" not in err
        return [line.removeprefix("error: ") for line in err.splitlines()]

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder data set of two training and one validation image of 48x64, without a fault."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for split, names in (("train", "ab"), ("val", "c")):
        for part in ("images", "masks"):
            (root / part / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(root / f"images/{split}/{name}.png")
            Image.fromarray(rng.integers(0, 2, (48, 64), np.uint8)).save(root / f"masks/{split}/{name}.png")
    (root / "dataset.yaml").write_text("classes: [{name: road, id: 0}, {name: car, id: 1}]\n")
    return root


def out_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    main(args)
    out, err = capsys.readouterr()
    assert err == ""
    return out


def help_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0
    return capsys.readouterr().out


def plan_of(root: Path) -> list[str]:
    return ["plan", "--run.data.name", "folder", "--run.model.weights", "random", "--run.regions.size", "16",
            "--run.data.root", str(root), "--run.budget.initial", "4", "--run.budget.rounds", "4"]  # fmt: skip


# Help and what needs no study


def test_help_lists_every_command_with_its_first_line(capsys):
    text = help_of(capsys, "--help")
    assert text == help_of(capsys, "-h")
    for name, command in COMMANDS.items():
        assert f"  {name:<12}{command.__doc__.splitlines()[0]}\n" in text
    assert set(COMMANDS) == {
        "run", "study", "plan", "report", "status", "sync", "check", "pack", "datasets", "strategies",
        "select", "replay",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name, capsys):
    text = help_of(capsys, name, "--help")
    assert text.startswith(f"usage: raylab {name} [-h]")
    assert COMMANDS[name].__doc__.splitlines()[0][:60] in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "section" not in text  # help stands alone


def test_without_a_command_the_help_comes_with_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: raylab COMMAND" in capsys.readouterr().out


def test_as_a_program():
    """From a shell: exit status and streams, and no traceback."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "raylab.cli", "stdy"], capture_output=True, text=True, env=env, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown command 'stdy'; did you mean 'study'?; raylab --help lists them\n"


def test_version(capsys):
    assert out_of(capsys, "--version") == f"raylab {__version__}\n"


def test_strategies_prints_the_table(capsys):
    lines = out_of(capsys, "strategies").splitlines()
    assert [line.split()[0] for line in lines] == ["strategy", *STRATEGIES]
    assert lines[1 + list(STRATEGIES).index("entropy+spatial")].split()[1:] == [
        "1",
        "0",
        "1",
        "0",
        "piecewise",
        "max_min",
    ]


def test_commands_without_that_option_exit_with_2(capsys):
    for args in (["strategies", "x"], ["report", "a", "b"], ["status", "--storag", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 2
        assert "Unrecognized options" in capsys.readouterr().err


# plan, check, status


def test_plan_of_a_study(capsys):
    lines = dict(line.split(maxsplit=1) for line in out_of(capsys, "plan", *TINY, "--seeds", "0", "1").splitlines())
    assert lines["runs"] == "6"
    assert lines["trainings"] == "14 (4 saved by sharing); 14 remain"
    assert lines["pool"] == "8 images, 192 of 16x16 regions"
    assert lines["iterations"] == "at most 56 (224 crops)"


def test_plan_of_a_file_leaves_nothing_behind(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("seeds: [0, 1, 2]\n")
    assert "runs               9\n" in out_of(capsys, "plan", *TINY, "--config", "s.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_a_run_is_a_study_of_one():
    config = tiny_run().model_copy(update={"strategy": StrategyConfig(name="entropy+spatial", tau=48.5), "seed": 3})
    study = _study_of(config)
    assert study.runs() == [config]
    assert study.name == config.label
    assert _study_of(config.model_copy(update={"name": "mine"})).name == "mine"


def test_check_of_a_folder_without_a_fault(capsys, folder):
    text = out_of(capsys, "check", "--name", "folder", "--root", str(folder))
    assert text == "folder: 2 training and 1 validation images, no problems\n"


def test_check_takes_its_options_from_a_file_too(capsys, folder, tmp_path):
    (tmp_path / "data.yaml").write_text(f"name: folder\nroot: {folder}\n")
    assert "no problems" in out_of(capsys, "check", "--config", str(tmp_path / "data.yaml"))


def test_status_of_a_study_that_was_begun(capsys, tmp_path):
    store = Folder(str(tmp_path))
    study = StudyConfig(name="s", run=tiny_run(), strategies=("random", "entropy"))
    store.write_json("studies/s/study.json", {"config": study.model_dump(mode="json")})
    random, entropy = study.runs()
    RunStore(store, random).round(0).commit("train", {"miou": 0.25})
    RunStore(store, entropy).round(1).commit("train", {"miou": 0.375})
    lines = out_of(capsys, "status", "s", "--storage", str(tmp_path)).splitlines()
    assert [line.split() for line in lines] == [
        [random.label, "1/3", "rounds", "mIoU", "25.00", "%"],
        [entropy.label, "2/3", "rounds", "mIoU", "37.50", "%"],
    ]


# Bad input: data


def test_a_missing_folder(fails, tmp_path):
    root = str(tmp_path / "gone")
    line = f"{root}: no such folder; set data.root to the folder of the folder data set"
    assert fails("check", "--name", "folder", "--root", root) == [line]
    assert fails(*plan_of(Path(root))) == [line]
    assert fails("check", "--name", "camvid")[0].startswith("data.root: the data set 'camvid' lies in files")


def test_an_image_without_mask_and_the_reverse(fails, folder):
    (folder / "masks/train/a.png").unlink()
    (folder / "images/val/c.png").unlink()
    for args in (["check", "--name", "folder", "--root", str(folder)], plan_of(folder)):
        lines = fails(*args)
        assert f"{folder}/images/train/a.png: no mask; add {folder}/masks/train/a.png or remove the image" in lines
        assert f"{folder}/masks/val/c.png: no image; add {folder}/images/val/c.png or remove the mask" in lines


def test_every_fault_of_a_folder_at_once(fails, folder):
    """Sizes that differ, ids outside the class map, a file that does not decode."""
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(folder / "masks/train/a.png")
    Image.fromarray(np.full((48, 64), 9, np.uint8)).save(folder / "masks/train/b.png")
    (folder / "images/val/c.png").write_bytes(b"\x89PNG and no more")
    lines = fails("check", "--name", "folder", "--root", str(folder))
    assert len(lines) == 3
    assert lines[0].startswith(f"{folder}/masks/train/a.png: mask is 60x48, but its image")
    assert lines[1].startswith(f"{folder}/masks/train/b.png: mask ids without a class: 9")
    assert lines[2].startswith(f"{folder}/images/val/c.png: ")


def test_a_folder_of_which_an_image_header_does_not_decode_cannot_be_planned(fails, folder):
    (folder / "images/train/a.png").write_bytes(b"\x89PNG and no more")
    (line,) = fails(*plan_of(folder))
    assert line.startswith(f"{folder}/images/train/a.png: ")


def test_a_region_larger_than_the_image(fails, folder):
    (line,) = fails(*plan_of(folder), "--run.regions.size", "65")
    assert line == "regions.size: 65 is larger than image 0 (64x48); choose at most 64"
    (line,) = fails(*plan_of(folder), "--region-sizes", "16", "128")
    assert line.startswith("regions.size: 128 is larger than image 0")


def test_a_budget_beyond_the_pool(fails, folder):
    (line,) = fails(*plan_of(folder), "--run.budget.initial", "21")
    assert line == (
        "budget: 25 regions are to be labelled in all, but the pool of folder holds 24 of 16 pixels; "
        "lower budget.initial or budget.rounds"
    )


# Bad input: configuration


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--strategies", "random", "entrpy"], "strategy: 'entrpy' is not known; did you mean 'entropy'"),
        (["--strategies", "entropy,taw=1"], "strategies: 'entropy,taw=1': unknown parameter 'taw'"),
        (["--strategies", "random", "random"], "strategies, seeds or region_sizes: the run random-N16"),
        (["--seeds"], "strategies and seeds must each name at least one value"),
        (["--run.training.iterations", "-3"], "run.training.iterations: Input should be greater than 0 (got -3)"),
        (["--run.training.learning-rate", "inf"], "run.training.learning_rate: Input should be a finite number"),
        (["--run.training.scale", "2", "1"], "training.scale: (2.0, 1.0) is no range of positive factors"),
        (["--run.training.scale", "nan", "1"], "training.scale: (nan, 1.0) is no range of positive factors"),
        (["--run.training.batch-size", "1"], "training.batch_size: 1 crops cannot be shared"),
        (["--run.model.atrous-rates", "6", "0"], "run.model.atrous_rates.1: Input should be greater than 0"),
        (["--run.model.backbone", "resnot18"], "model.backbone: 'resnot18' gives no features"),
        (["--run.model.weights", "/no/w.safetensors"], "model.weights: no file /no/w.safetensors"),
        (["--run.data.synthetic.height", "8"], "data.synthetic.height"),
        (["--run.seed", "3"], "run.seed: has no effect in a study, which takes it from seeds; set seeds"),
        (["--run.strategy.name", "random"], "run.strategy: has no effect in a study"),
        (["--run.name", "x"], "run.name: has no effect in a study"),
        (["--name", "a/b"], "name: 'a/b' cannot be the name of a folder"),
        (["--name", ".."], "name: '..' cannot be the name of a folder"),
        (["--config"], "--config: give the path of a YAML file"),
        (["--config", "/no/such.yaml"], "/no/such.yaml: no such file"),
    ],
)
def test_a_bad_configuration(fails, args, line):
    (found,) = fails("plan", *TINY, *args)
    assert found.startswith(line)


def test_weights_that_are_no_weights(fails, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nothing of the kind")
    (line,) = fails("plan", *TINY, "--run.model.weights", str(tmp_path / "w.safetensors"))
    assert line.startswith(f"model.weights: {tmp_path}/w.safetensors is no readable safetensors file")


@pytest.mark.parametrize("command", ["run", "study"])
def test_a_mistake_is_found_before_ray_starts(fails, command, monkeypatch, tmp_path):
    monkeypatch.setattr("ray.init", lambda *args, **options: pytest.fail("Ray was started"))
    args = TINY if command == "study" else [arg.replace("--run.", "--") for arg in TINY]
    prefix = "--run." if command == "study" else "--"
    (line,) = fails(command, *args, f"{prefix}budget.initial", "1000", f"{prefix}storage", str(tmp_path / "r"))
    assert line.startswith("budget: 1036 regions are to be labelled")
    assert not (tmp_path / "r").exists()


def test_a_key_in_a_file_nobody_knows(fails, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("run: {training: {iteration: 3}}\nseed: 1\n")
    assert fails("study", "--config", str(path)) == [
        f"{path}: unknown key run.training.iteration; did you mean 'iterations'?",
        f"{path}: unknown key seed; did you mean 'seeds'?",
    ]


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_study_that_is_not_there(fails, command, tmp_path):
    root = tmp_path / "results"
    (line,) = fails(command, "nope", "--storage", str(root))
    assert line == f"{root}/studies/nope/study.json is missing; no study lies under this storage root"
    assert not root.exists()
    Folder(str(root)).write_json("studies/camvid/study.json", {"config": StudyConfig().model_dump(mode="json")})
    (line,) = fails(command, "camvit", "--storage", str(root))
    assert line.endswith("is missing; studies there: camvid")
    Folder(str(root)).write_json("studies/old/study.json", {"config": {"strategys": []}})
    (line,) = fails(command, "old", "--storage", str(root))
    assert "is no study of this version of raylab" in line
    (line,) = fails(command, "camvid", "--storage", "nosuch://x")
    assert line.startswith("storage: nosuch://x cannot be opened")
