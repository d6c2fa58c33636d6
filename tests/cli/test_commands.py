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
from raylab.acquisition import ALIASES, FIELDS, STRATEGIES
from raylab.cli import COMMANDS, main
from raylab.cli.about import without_secrets
from raylab.cli.studies import study_of
from raylab.config import StrategyConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.runs.studies import begin_study
from raylab.scoring.uncertainty import MAPS
from raylab.sealed import write_sealed
from tests.configs import resolved, resolved_runs, resolved_study, tiny_run

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
    assert text == help_of(capsys, "-h") == help_of(capsys, "help")
    for name, command in COMMANDS.items():
        assert f"  {name:<12}{command.summary}\n" in text
    assert set(COMMANDS) == {
        "demo", "run", "study", "plan", "experiment", "submit", "report", "status", "sync", "check", "pack", "datasets",
        "strategies", "select", "replay", "verify", "info",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.options is not None])
def test_help_of_a_command(name, capsys):
    text = help_of(capsys, name, "--help")
    assert text == help_of(capsys, "help", name)
    assert text.startswith(f"usage: raylab {name} [-h]")
    assert COMMANDS[name].summary in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_help_of_a_study_is_what_people_need_first_and_the_rest_on_request(capsys):
    text = help_of(capsys, "study", "--help")
    assert text.count("\n  --") <= 20
    for flag in (
        "--strategies",
        "--seeds",
        "--run.data.name",
        "--run.data.root",
        "--run.budget.rounds",
        "--preset",
        "--plugins",
    ):
        assert f"  {flag} " in text
    assert "--run.training.momentum" not in text
    section = help_of(capsys, "study", "--help", "training")
    assert section == help_of(capsys, "help", "study", "training") == help_of(capsys, "study", "--help", "run.training")
    assert "--run.training.momentum" in section
    assert "--strategies" not in section
    assert "--run.data.synthetic.seed" in help_of(capsys, "study", "--help", "data")
    every = help_of(capsys, "study", "--help-all")
    assert all(f"  {flag} " in every for flag in ("--run.training.momentum", "--run.compute.threads", "--paper"))
    assert "\nrun.training:\n" in every


def test_help_tells_which_defaults_are_those_of_generated_scenes(capsys):
    def default(text: str, flag: str) -> str:
        return text.partition(f"{flag} ")[2].partition("(")[2].partition(")")[0]

    text = " ".join(help_of(capsys, "study", "--help").split())
    assert default(text, "--run.budget.rounds") == "default: 1000 2000 4000 8000 16000; on generated scenes: 150 350"
    assert default(text, "--seeds") == "default: 0"
    every = " ".join(help_of(capsys, "study", "--help-all").split())
    assert default(every, "--run.data.synthetic.train-images") == "default: 64"
    of_preset = " ".join(help_of(capsys, "study", "--preset", "camvid", "--help").split())
    assert default(of_preset, "--run.budget.rounds") == "default: 400 800 1600"


def test_help_of_a_section_nobody_knows(fails):
    (line,) = fails("study", "--help", "trainning")
    assert line.startswith("--help: no section 'trainning' of raylab study; did you mean 'training'?; there are run, ")


def test_without_a_command_the_help_comes_with_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: raylab COMMAND" in capsys.readouterr().out


def as_a_program(*args: str, **options) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "raylab", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, **options)


def test_as_a_program():
    """From a shell: exit status and streams, and no traceback."""
    done = as_a_program("stdy")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown command 'stdy'; did you mean 'study'?; raylab --help lists them\n"


def test_a_reader_that_goes_away_meets_no_traceback():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    script = f"{shlex.quote(sys.executable)} -m raylab study --help-all | head -n 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.stderr) == ("usage: raylab study [-h] [OPTIONS]\n", "")


def test_an_interrupt_is_one_word(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("raylab.cli.studies.launch", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["plan"])
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_experiments_are_listed_by_their_table_or_figure_and_run_as_the_scripts_do(capsys):
    lines = out_of(capsys, "experiment").splitlines()
    assert "  ablation_tau          Fig. 5: how far the spatial term should reach." in lines
    plan = out_of(capsys, "experiment", "ablation-tau", "--plan", "--data", "voc2012", "--seeds", "4")
    script = Path(__file__).parents[2] / "experiments" / "ablation_tau.py"
    command = [sys.executable, script, "--plan", "--data", "voc2012", "--seeds", "4"]
    env = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=env)
    assert plan == done.stdout
    assert "study ablation-tau-voc2012: 4 runs on voc2012" in plan
    text = help_of(capsys, "experiment", "ablation_tau", "--help")
    assert text.startswith("usage: ablation_tau.py [-h] [OPTIONS]\n\nFig. 5: ")
    assert "  --taus " in text


def test_version(capsys):
    lines = out_of(capsys, "--version").splitlines()
    assert lines[0] == f"raylab {__version__}"
    assert [line.split()[0] for line in lines] == ["raylab", "python", "ray", "torch", "mlflow"]
    assert all(line.split()[1][0].isdigit() for line in lines)


def test_info_tells_the_machine_and_no_secret(capsys, monkeypatch, tmp_path):
    begin_study(Folder(str(tmp_path)), resolved_study(StudyConfig(name="mine")))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://someone:hunter2@mlflow.example/x?token=hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    text = out_of(capsys, "info", "--storage", str(tmp_path))
    for part in (
        f"raylab {__version__}\n",
        "CPUs: ",
        "memory: ",
        "GPUs: ",
        "selection: on ",
        "numpy ",
        "  mine: 0 of 3",
    ):
        assert part in text
    assert "MLFLOW_TRACKING_URI=https://...@mlflow.example/x?token=...\n" in text
    assert "AWS_SECRET_ACCESS_KEY is set\n" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://key:secret@bucket/x", "s3://...@bucket/x"),
        ("s3://b/x?endpoint_override=h:9&access_key=k", "s3://b/x?endpoint_override=...&access_key=..."),
        ("/data/a=b", "/data/a=b"),
    ],
)
def test_secrets_of_a_uri(text, told):
    assert without_secrets(text) == told


def test_strategies_prints_the_table(capsys):
    sections = [section.splitlines()[1:] for section in out_of(capsys, "strategies").split("\n\n")]
    words = [[tuple(line.split(maxsplit=1)) for line in lines] for lines in sections]
    rows, others, maps = words[0], words[1], words[3]
    assert [name for name, _ in rows] == list(STRATEGIES)
    assert [name for name, _ in others] == list(ALIASES)
    assert [line.split()[0] for line in sections[2] if line[2] != " "] == list(FIELDS)
    assert [name for name, _ in maps] == list(MAPS)
    assert ("entropy+spatial", "uncertainty=1, spatial=1") in rows
    assert ("entropy-balanced", "entropy,class_balanced=true") in others
    assert len({text for _, text in rows + others}) == len(STRATEGIES) + len(ALIASES), "two strategies print alike"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["strategies", "x"], "'x' is not expected here; raylab strategies --help lists the options"),
        (["report", "a", "b"], "'b' is not expected here"),
        (["status", "--storag", "x"], "unknown option --storag; did you mean '--storage'?"),
        (["plan", "--run.sed", "3"], "unknown option --run.sed; did you mean '--run.seed'?"),
        (["plan", "--seed", "3"], "unknown option --seed; did you mean '--seeds'?"),
        (["plan", "--data.root", "x"], "unknown option --data.root; did you mean '--run.data.root'?"),
        (["plan", "--run.seed", "abc"], "run.seed: must be a whole number"),
        (["plan", "--run.seed"], "--run.seed: expected one argument; raylab plan --help lists the options"),
        (["plan", "--run.data.name", "camvit"], "data.name: no data set 'camvit'; did you mean 'camvid'?"),
        (["plan", "--run.compute.device", "gpu"], "run.compute.device: must be 'auto', 'cpu' or 'cuda'"),
        (["plan", "--run.training.scale", "1"], "--run.training.scale: expected 2 arguments"),
        (["select", "table.parquet"], "--count is not given"),
        (["select", "--count", "3"], "REGIONS is not given"),
        (["replay"], "STUDY|RUN is not given"),
        (["experiment", "ablation-tua"], "no experiment 'ablation-tua'; did you mean 'ablation_tau'?"),
        (["--print-completion", "fish"], "--print-completion: name one shell of bash, zsh, tcsh"),
    ],
)
def test_what_cannot_be_read_is_one_line(fails, args, line):
    (found,) = fails(*args)
    assert found.startswith(line)


# plan, check, status


def test_plan_of_a_study(capsys):
    lines = dict(line.split(maxsplit=1) for line in out_of(capsys, "plan", *TINY, "--seeds", "0", "1").splitlines())
    assert lines["runs"] == "6"
    assert lines["trainings"] == "14 (4 saved by sharing); 14 remain"
    assert lines["pool"] == "8 images, 192 of 16x16 regions"
    assert lines["iterations"] == "at most 56 (224 crops)"


def test_plan_without_an_option_is_a_study_that_ends_in_minutes(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = out_of(capsys, "plan")
    assert text == out_of(capsys, "demo", "--plan").replace("study demo: ", "study study: ")
    assert "labelled by a run  600 regions\n" in text
    assert "iterations         at most 1,050 (8,400 crops)\n" in text
    main(["plan", "--run.data.synthetic.train-images", "32"])
    half, note = capsys.readouterr()
    assert "labelled by a run  300 regions\n" in half
    assert note.startswith("warning: budget: initial 50 and rounds 75 175, the preset's in proportion to")
    assert note.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_root_given_with_generated_scenes_is_refused(fails, folder):
    line = "data.root: synthetic is generated and lies nowhere; leave the root out"
    assert fails("plan", "--run.data.root", str(folder))[0].startswith(line)
    assert fails("check", "--root", str(folder))[0].startswith(line)


def test_plan_of_a_file_leaves_nothing_behind(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("seeds: [0, 1, 2]\n")
    assert "runs               9\n" in out_of(capsys, "plan", *TINY, "--config", "s.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_a_run_is_a_study_of_one():
    config = tiny_run().model_copy(update={"strategy": StrategyConfig(name="entropy+spatial", tau=48.5), "seed": 3})
    study = study_of(config)
    assert study.runs() == [config]
    assert study.name == ""  # that of the run, once data and weights are read
    assert resolved_study(study).name == resolved(config).label
    assert study_of(config.model_copy(update={"name": "mine"})).name == "mine"


def test_check_of_a_folder_without_a_fault(capsys, folder):
    text = out_of(capsys, "check", "--name", "folder", "--root", str(folder))
    assert text.endswith("\nfolder: 2 training and 1 validation images, no problems\n")
    assert [line.split()[0] for line in text.splitlines()[:4]] == ["pixels", "road", "car", "void"]


def test_check_takes_its_options_from_a_file_too(capsys, folder, tmp_path):
    (tmp_path / "data.yaml").write_text(f"name: folder\nroot: {folder}\n")
    assert "no problems" in out_of(capsys, "check", "--config", str(tmp_path / "data.yaml"))


def test_status_of_a_study_that_was_begun(capsys, tmp_path):
    store = Folder(str(tmp_path))
    study = StudyConfig(name="s", run=tiny_run(), strategies=("random", "entropy"))
    begin_study(store, resolved_study(study))
    random, entropy = resolved_runs(study)
    first, second = RunStore(store, random).round(0), RunStore(store, entropy).round(1)
    first.commit("select", {})
    first.commit("train", {"miou": 0.25, "iou": {"a": 0.25, "b": None}})
    RunStore(store, entropy).scores(0).commit("score", {})
    second.commit("select", {})
    second.commit("train", {"miou": 0.375, "iou": {"a": 0.25, "b": 0.5}})
    lines = out_of(capsys, "status", "s", "--storage", str(tmp_path)).splitlines()
    assert [line.split() for line in lines] == [
        [random.label, "1/3", "rounds", "mIoU", "25.00", *["%", "over", "1", "of", "2", "classes"]],
        [entropy.label, "2/3", "rounds", "mIoU", "37.50", *["%", "over", "2", "of", "2", "classes"]],
    ]
    store.write_json(
        "studies/s/driver.json",
        {
            "owner": {"host": "far", "process": 7},
            "began": 0,
            "at": 60,
            "ended": False,
            "summary": "1 of 5 trainings, 20 %",
            "now": [],
        },
    )
    assert out_of(capsys, "status", "s", "--storage", str(tmp_path)).startswith("dead: process 7 on far was last heard")
    (line,) = out_of(capsys, "status", "--storage", str(tmp_path)).splitlines()
    assert line.split()[:4] == ["s", "0/2", "runs", "dead:"]
    store.write_json("studies/r/study.json", {"not": "a study"})
    other, line = out_of(capsys, "status", "--storage", str(tmp_path)).splitlines()
    assert "study.json" in other
    assert line.split()[:2] == ["s", "0/2"]


# Bad input: data


def test_a_missing_folder(fails, tmp_path):
    root = str(tmp_path / "gone")
    line = f"{root}: no such folder; set data.root to where the data set 'folder' lies"
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


def test_a_budget_beyond_the_pool(fails, folder):
    (line,) = fails(*plan_of(folder), "--run.budget.initial", "21")
    assert line == (
        "budget: 25 regions are to be labelled in all, but the pool of folder holds 24 of 16x16 pixels; "
        "lower budget.initial and budget.rounds, to 2 and 1 for 8 % of it"
    )


# Bad input: configuration


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--strategies", "random", "entrpy"], "strategy: 'entrpy' is not known; did you mean 'entropy'"),
        (["--strategies", "entropy,taw=1"], "strategies: 'entropy,taw=1': taw: no such field; did you mean 'tau'?"),
        (["--strategies", "random", "random"], "strategies, seeds or region_sizes: the run random, N 16"),
        (["--seeds"], "strategies and seeds must each name at least one value"),
        (["--run.training.iterations", "-3"], "run.training.iterations: must be greater than 0 (got -3)"),
        (["--run.training.learning-rate", "inf"], "run.training.learning_rate: must be a finite number"),
        (["--run.training.scale", "2", "1"], "training.scale: (2.0, 1.0) is no range of positive factors"),
        (["--run.training.scale", "nan", "1"], "run.training.scale[0]: must be a finite number"),
        (["--run.training.batch-size", "1"], "training.batch_size: 1 crops cannot be shared"),
        (["--run.model.atrous-rates", "6", "0"], "run.model.atrous_rates[1]: must be greater than 0"),
        (["--run.model.backbone", "resnot18"], "model.backbone: 'resnot18' gives no features"),
        (["--run.model.weights", "/no/w.safetensors"], "model.weights: no file /no/w.safetensors"),
        (["--run.data.synthetic.height", "8"], "data.synthetic.height"),
        (["--run.seed", "3"], "run.seed: has no effect in a study, which takes it from seeds; set seeds"),
        (["--run.strategy.name", "random"], "run.strategy: has no effect in a study"),
        (["--run.name", "x"], "run.name: has no effect in a study"),
        (["--name", "a/b"], "name: 'a/b' cannot be a name: it holds '/'"),
        (["--name", ".."], "name: '..' cannot be a name: it begins with"),
        (["--config"], "--config: expected one argument"),
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
    assert line.startswith("budget: 1,036 regions are to be labelled")
    assert not (tmp_path / "r").exists()


def test_a_key_in_a_file_nobody_knows(fails, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("run: {training: {iteration: 3}}\nseed: 1\n")
    assert fails("study", "--config", str(path)) == [
        f"{path}: run.training.iteration: no such field; did you mean 'iterations'?",
        f"{path}: seed: no such field; did you mean 'seeds'?",
    ]


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_study_that_is_not_there(fails, command, tmp_path):
    root = tmp_path / "results"
    (line,) = fails(command, "nope", "--storage", str(root))
    assert line == f"{root}/studies/nope/study.json is missing; no study lies under this storage root"
    assert not root.exists()
    write_sealed(Folder(str(root)), "studies/camvid/study.json", {"config": StudyConfig().model_dump(mode="json")})
    (line,) = fails(command, "camvit", "--storage", str(root))
    assert line.endswith("is missing; studies there: camvid")
    write_sealed(Folder(str(root)), "studies/old/study.json", {"config": {"strategys": []}})
    (line,) = fails(command, "old", "--storage", str(root))
    assert "is no study of this version of raylab" in line
    (line,) = fails(command, "camvid", "--storage", "nosuch://x")
    assert line.startswith("storage: nosuch://x cannot be opened")
