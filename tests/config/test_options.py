"""Options made from a configuration: read, refused in one line, explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylab.config import DataConfig, ModelConfig, RunConfig, StudyConfig
from raylab.config.leaves import options_of
from raylab.config.load import read_preset
from raylab.config.names import is_name
from raylab.config.options import parse
from raylab.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def save(text: str, name: str = "study.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return save


def test_options_without_a_file():
    config = parse(StudyConfig, ["--seeds", "1", "2", "--run.training.scale", "1", "1.5"], "x")
    assert config == StudyConfig(seeds=(1, 2), run=config.run)
    assert config.run.training.scale == (1.0, 1.5)
    assert parse(StudyConfig, [], "x").run == read_preset(RunConfig, "synthetic")
    # A field's own spelling will do.
    assert parse(StudyConfig, ["--run.training.batch_size=3"], "x").run.training.batch_size == 3
    flags = parse(StudyConfig, ["--supervised", "--run.training.no-channels-last"], "x")
    assert (flags.supervised, flags.run.training.channels_last) == (True, False)


def test_every_value_of_a_default_survives_the_command_line():
    default = RunConfig(
        name="n", tracking="http://x", data=DataConfig(name="camvid"), model=ModelConfig(atrous_rates=(1, 2))
    )
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
    with pytest.raises(ConfigError, match=r"--config: expected one argument"):
        parse(StudyConfig, args, "x")


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["--run.training.iterations", "-3"], ["run.training.iterations: must be greater than 0 (got -3)"]),
        (["--run.budget.rounds", "5", "0"], ["run.budget.rounds[1]: must be greater than 0 (got 0)"]),
        (["--seeds"], ["strategies and seeds must each name at least one value"]),
        (
            ["--run.seed", "-1", "--run.training.momentum", "2"],
            ["run.training.momentum: must be less than 1 (got 2.0)",
             "run.seed: must be greater than or equal to 0 (got -1)"],
        ),
    ],
)  # fmt: skip
def test_options_out_of_range_are_one_line_each(args, lines, capsys):
    with pytest.raises(ConfigError) as caught:
        parse(StudyConfig, args, "x")
    assert str(caught.value).splitlines() == lines
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--run.training.iteration", "3"], "unknown option --run.training.iteration; did you mean '--run.training.it"),
        (["--run.seed", "abc"], "run.seed: must be a whole number"),
        (["--run.compute.device", "gpu"], "run.compute.device: must be 'auto', 'cpu' or 'cuda' (got 'gpu')"),
        (["--run.model.output-stride", "12"], "run.model.output_stride: must be 8, 16 or 32 (got '12')"),
        (["--run.budget.initial", "None"], "run.budget.initial: must be a whole number"),
        (["stray"], "'stray' is not expected here"),
    ],
)
def test_options_that_cannot_be_read_are_told_in_one_line(args, line, capsys):
    with pytest.raises(ConfigError) as caught:
        parse(StudyConfig, args, "x")
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")


def test_words_become_what_the_field_says():
    args = [
        "--run.model.output-stride",
        "8",
        "--run.training.iterations",
        "None",
        "--run.name",
        "None",
        "--run.strategy.p",
        "inf",
    ]
    run = parse(StudyConfig, args, "x").run
    assert (run.model.output_stride, run.training.iterations) == (8, None)
    assert run.strategy.p == float("inf")


def test_help_names_every_option_with_its_text_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(StudyConfig, ["--help-all"], "raylab study", "A grid of runs.")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "usage: raylab study",
        "A grid of runs.",
        "--config FILE read any of these options from a YAML file",
        "--run.training.iterations INT Optimiser steps a round",
        "--run.training.channels-last, --run.training.no-channels-last (default: True)",
        "--run.budget.rounds [INT ...]",
        "(default: 1000 2000 4000 8000 16000; on generated scenes: 150 350)",
        "Street scenes drawn by a seeded generator.",
    ):
        assert part in text
    assert all(option.flag in text for option in options_of(StudyConfig))


@given(st.data())
def test_any_value_comes_back_from_its_words(data):
    """What a configuration holds, said as options, is read as the same configuration."""
    values = {
        "seed": data.draw(st.integers(0, 2**31)),
        "name": data.draw(st.none() | st.text("abc-_.", max_size=9).filter(is_name)),
        "training": {
            "learning_rate": data.draw(st.floats(1e-9, 1e9)),
            "epochs": data.draw(st.integers(1, 10**9)),
            "frozen_backbone": data.draw(st.booleans()),
            "scale": data.draw(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9))),
        },
        "model": {"output_stride": data.draw(st.sampled_from([8, 16, 32]))},
        "budget": {"initial": 1, "rounds": data.draw(st.lists(st.integers(1, 99)))},
        "data": {"name": "camvid"},
    }
    words = []
    for option in options_of(RunConfig):
        section, _, name = option.path.rpartition(".")
        found = values.get(section, {}) if section else values
        if name in found and not isinstance(found[name], dict):
            value = found[name]
            if isinstance(value, bool):
                words.append(option.flag if value else option.off)
            else:
                words += [option.flag, *(map(str, value) if isinstance(value, list | tuple) else [str(value)])]
    assert parse(RunConfig, words, "x") == RunConfig.model_validate(values)
