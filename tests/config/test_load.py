from __future__ import annotations

from pathlib import Path

import pytest

from raylab.config import DataConfig, ModelConfig, RunConfig, StudyConfig
from raylab.config.load import absolute_paths, parse, read_yaml
from raylab.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def save(text: str, name: str = "study.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return save


def problems(path: str, model=StudyConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_yaml(model, path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_a_file_sets_what_it_names_and_leaves_the_rest(write):
    path = write("strategies: [random]\nrun:\n  training: {learning_rate: 1.0e-3, scale: [1, 2]}\n  seed: 0\n")
    config = read_yaml(StudyConfig, path)
    assert config.strategies == ("random",)
    assert config.run.training.learning_rate == 0.001
    assert config.run.training.scale == (1.0, 2.0)
    assert config.run.training.model_copy(update={"learning_rate": 0.01, "scale": (0.5, 2.0)}) == RunConfig().training
    assert read_yaml(StudyConfig, write("")) == StudyConfig()


def test_a_file_leaves_a_default_where_it_says_nothing(write):
    default = RunConfig(seed=5, model=ModelConfig(channels=16, weights="random"))
    config = read_yaml(RunConfig, write("model: {channels: 8}"), default)
    assert (config.seed, config.model.channels, config.model.weights) == (5, 8, "random")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("strategys: [random]", "unknown key strategys; did you mean 'strategies'?"),
        ("run: {regions: {sise: 3}}", "unknown key run.regions.sise; did you mean 'size'?"),
        ("run: {data: {synthetic: {widht: 3}}}", "unknown key run.data.synthetic.widht; did you mean 'width'?"),
        ("run: {regions: {zzz: 3}}", "unknown key run.regions.zzz; known are size"),
        ("1: 2", "unknown key 1; known are name, run, strategies"),
    ],
)  # fmt: skip
def test_unknown_keys_name_the_nearest_known_one(write, text, line):
    assert problems(write(text))[0].startswith(line)


def test_all_unknown_keys_at_once(write):
    text = "nam: x\nrun: {seeds: 1, training: {epoch: 3}}\n"
    assert [line.split(";")[0] for line in problems(write(text))] == [
        "unknown key nam",
        "unknown key run.seeds",
        "unknown key run.training.epoch",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run: {regions: {size: big}}", "run.regions.size: Input should be a valid integer"),
        ("run: {regions: {size: 0}}", "run.regions.size: Input should be greater than 0 (got 0)"),
        ("run: {budget: {rounds: [1, -1]}}", "run.budget.rounds.1: Input should be greater than 0 (got -1)"),
        ("run: {budget: {rounds: 3}}", "run.budget.rounds: Input should be a valid tuple (got 3)"),
        ("run: {regions: 3}", "run.regions: Input should be a valid dictionary"),
        ("run:", "run: Input should be a valid dictionary"),
        ("run: {data: {name: 3}}", "run.data.name: Input should be a valid string (got 3)"),
        ("run: {compute: {device: tpu}}", "run.compute.device: Input should be 'auto', 'cpu' or 'cuda' (got 'tpu')"),
        ("seeds: []", "strategies and seeds must each name at least one value"),
        ("[1, 2]", "expected keys and values, found list"),
        ("a: [1", "not readable as YAML ("),
        ("a: *b", "not readable as YAML ("),
    ],
)
def test_values_that_do_not_fit_name_file_and_field(write, text, line):
    (found,) = problems(write(text))
    assert found.startswith(line)


def test_a_file_that_is_missing_or_no_text(write, tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        read_yaml(StudyConfig, str(tmp_path / "gone.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert problems(str(tmp_path / "binary.yaml"))[0].startswith("not readable as YAML")
    assert problems(str(tmp_path))[0].startswith("not readable as YAML")


def test_a_long_value_is_shortened(write):
    (line,) = problems(write(f"run: {{regions: {{size: {list(range(500))}}}}}"))
    assert len(line) < 160


def test_options_without_a_file():
    config = parse(StudyConfig, ["--seeds", "1", "2", "--run.training.scale", "1", "1.5"], "x")
    assert config == StudyConfig(seeds=(1, 2), run=config.run)
    assert config.run.training.scale == (1.0, 1.5)
    assert parse(StudyConfig, [], "x") == StudyConfig()
    flags = parse(StudyConfig, ["--supervised", "--run.training.no-channels-last"], "x")
    assert (flags.supervised, flags.run.training.channels_last) == (True, False)


def test_every_value_of_a_default_survives_the_command_line():
    default = RunConfig(name="n", tracking="http://x", model=ModelConfig(atrous_rates=(1, 2)))
    assert parse(RunConfig, [], "x", default=default) == default
    assert parse(RunConfig, ["--seed", "3"], "x", default=default) == default.model_copy(update={"seed": 3})


@pytest.mark.parametrize("form", ["apart", "joined"])
def test_the_command_line_wins_over_the_file(write, form):
    path = write("name: filed\nseeds: [7]\nrun: {regions: {size: 8}, model: {channels: 8}}")
    option = ["--config", path] if form == "apart" else [f"--config={path}"]
    for args in ([*option, "--run.regions.size", "16"], ["--run.regions.size", "16", *option]):
        config = parse(StudyConfig, args, "x")
        assert (config.name, config.seeds, config.run.regions.size, config.run.model.channels) == ("filed", (7,), 16, 8)


def test_a_later_file_wins_over_an_earlier_one(write, monkeypatch, tmp_path):
    write("name: one\nrun: {regions: {size: 8}, model: {channels: 8}}", "one.yaml")
    write("run: {regions: {size: 24}}", "two.yaml")
    monkeypatch.chdir(tmp_path)
    config = parse(StudyConfig, ["--config", "one.yaml", "--config=two.yaml"], "x")
    assert (config.name, config.run.regions.size, config.run.model.channels) == ("one", 24, 8)


@pytest.mark.parametrize("args", [["--config"], ["--config="], ["--config", "--name", "x"]])
def test_config_without_a_file(args):
    with pytest.raises(ConfigError, match=r"--config: give the path of a YAML file"):
        parse(StudyConfig, args, "x")


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["--run.training.iterations", "-3"], ["run.training.iterations: Input should be greater than 0 (got -3)"]),
        (["--run.budget.rounds", "5", "0"], ["run.budget.rounds.1: Input should be greater than 0 (got 0)"]),
        (["--seeds"], ["strategies and seeds must each name at least one value"]),
        (
            ["--run.seed", "-1", "--run.training.momentum", "2"],
            ["run.training.momentum: Input should be less than 1 (got 2.0)",
             "run.seed: Input should be greater than or equal to 0 (got -1)"],
        ),
    ],
)  # fmt: skip
def test_options_out_of_range_are_one_line_each(args, lines, capsys):
    with pytest.raises(ConfigError) as caught:
        parse(StudyConfig, args, "x")
    assert str(caught.value).splitlines() == lines
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--run.training.iteration", "3"], "--run.training.iterations"),
        (["--run.seed", "abc"], "--run.seed"),
        (["--run.compute.device", "gpu"], "cuda"),
    ],
)
def test_options_that_cannot_be_read_are_told_by_name(args, text, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(StudyConfig, args, "x")
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_help_names_every_option_with_its_text_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(StudyConfig, ["--help"], "raylab study", "A grid of runs.")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "usage: raylab study",
        "A grid of runs.",
        "--config FILE.yaml reads any of these options from a file.",
        "--run.training.iterations {None}|INT Optimiser steps a round",
        "--run.budget.rounds [INT [INT ...]]",
        "(default: 1000 2000 4000 8000 16000)",
        "Street scenes drawn by a seeded generator.",
    ):
        assert part in text


def test_local_paths_become_absolute_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    run = RunConfig(
        data=DataConfig(name="folder", root="data"), model=ModelConfig(weights="~/w.safetensors"), storage="out"
    )
    there = absolute_paths(StudyConfig(run=run)).run
    assert there.data.root == f"{tmp_path}/data"
    assert there.model.weights == "/home/someone/w.safetensors"
    assert there.storage == f"{tmp_path}/out"
    uri = absolute_paths(RunConfig(storage="s3://bucket/x"))
    assert (uri.storage, uri.model.weights, uri.data.root) == ("s3://bucket/x", "imagenet", None)
    assert absolute_paths(DataConfig(name="folder", root="d")).root == f"{tmp_path}/d"
