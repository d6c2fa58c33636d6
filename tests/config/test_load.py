from __future__ import annotations

from pathlib import Path

import pytest

from raylab.config import BudgetConfig, DataConfig, ModelConfig, RunConfig, StudyConfig
from raylab.config.load import absolute_paths, read_preset, read_yaml
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
    path = write(
        "strategies: [random]\nrun:\n  data: {name: camvid}\n"
        "  training: {learning_rate: 1.0e-3, scale: [1, 2]}\n  seed: 0\n"
    )
    config = read_yaml(StudyConfig, path)
    assert config.strategies == ("random",)
    assert config.run.training.learning_rate == 0.001
    assert config.run.training.scale == (1.0, 2.0)
    rest = config.run.training.model_copy(update={"learning_rate": 0.01, "scale": (0.5, 2.0)})
    assert rest == RunConfig().training
    camvid = "run: {data: {name: camvid}}"
    assert read_yaml(StudyConfig, write(camvid)) == StudyConfig(run=RunConfig(data=DataConfig(name="camvid")))


def test_a_file_leaves_a_default_where_it_says_nothing(write):
    default = RunConfig(seed=5, model=ModelConfig(channels=16, weights="random"))
    config = read_yaml(RunConfig, write("model: {channels: 8}"), default)
    assert (config.seed, config.model.channels, config.model.weights) == (5, 8, "random")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("strategys: [random]", "strategys: no such field; did you mean 'strategies'?"),
        ("run: {regions: {sise: 3}}", "run.regions.sise: no such field; did you mean 'size'?"),
        ("run: {data: {synthetic: {widht: 3}}}", "run.data.synthetic.widht: no such field; did you mean 'width'?"),
        ("run: {regions: {zzz: 3}}", "run.regions.zzz: no such field; there are size"),
        ("1: 2", "1: no such field; there are plugins, name, run, strategies"),
    ],
)  # fmt: skip
def test_unknown_keys_name_the_nearest_known_one(write, text, line):
    assert problems(write(text))[0].startswith(line)


def test_all_unknown_keys_at_once(write):
    text = "nam: x\nrun: {seeds: 1, training: {epoch: 3}}\n"
    assert [line.split(";")[0] for line in problems(write(text))] == [
        "nam: no such field",
        "run.seeds: no such field",
        "run.training.epoch: no such field",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run: {regions: {size: big}}", "run.regions.size: must be a whole number"),
        ("run: {regions: {size: 0}}", "run.regions.size: must be greater than 0 (got 0)"),
        ("run: {budget: {rounds: [1, -1]}}", "run.budget.rounds[1]: must be greater than 0 (got -1)"),
        ("run: {budget: {rounds: 3}}", "run.budget.rounds: must be a list (got 3); write [3]"),
        ("run: {regions: 3}", "run.regions: must be fields with values"),
        ("run:", "run: must be fields with values"),
        ("run: {data: {name: 3}}", "run.data.name: must be a text (got 3)"),
        ("run: {compute: {device: tpu}}", "run.compute.device: must be 'auto', 'cpu' or 'cuda' (got 'tpu')"),
        ("seeds: []", "strategies and seeds must each name at least one value"),
        ("[1, 2]", "must hold fields with values, such as `seeds: [0, 1]` (got [1, 2])"),
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
    assert problems(str(tmp_path / "binary.yaml")) == ["is no text; give a YAML file in UTF-8"]
    assert problems(str(tmp_path)) == ["is a folder; give a YAML file"]


def test_a_long_value_is_shortened(write):
    (line,) = problems(write(f"run: {{regions: {{size: {list(range(500))}}}}}"))
    assert len(line) < 160


def test_generated_scenes_start_from_their_preset(write):
    preset = read_preset(RunConfig, "synthetic")
    assert read_yaml(StudyConfig, write("")).run == preset
    assert read_yaml(RunConfig, write("seed: 3")) == preset.model_copy(update={"seed": 3})
    # What a file says wins, and a budget that it does not say follows the number of regions.
    config = read_yaml(RunConfig, write("regions: {size: 32}\ntraining: {crop: 64}"))
    assert (config.training.crop, config.training.iterations) == (64, preset.training.iterations)
    assert (config.budget.initial, config.budget.rounds) == (25, (38, 88))
    assert read_yaml(RunConfig, write("budget: {initial: 7}")).budget == BudgetConfig(initial=7, rounds=(150, 350))


def test_of_another_data_set_nothing_comes_from_generated_scenes(write):
    config = read_yaml(RunConfig, write("data: {name: camvid}\nseed: 3"))
    assert config == RunConfig(data=DataConfig(name="camvid"), seed=3)


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


def test_variables_in_paths_stand_for_their_values(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute_paths(DataConfig(name="folder", root="$DATA/real")).root == f"{tmp_path}/real"
    run = absolute_paths(RunConfig(storage="s3://bucket/${DATA}", data=DataConfig(name="folder", root="~/real")))
    assert (run.storage, run.data.root) == (f"s3://bucket/{tmp_path}", "/home/someone/real")
    monkeypatch.delenv("DATA")
    with pytest.raises(ConfigError, match=r"data\.root: \$DATA/real names \$DATA, which is not set"):
        absolute_paths(DataConfig(name="folder", root="$DATA/real"))
    (tmp_path / "$DATA").mkdir()
    assert absolute_paths(DataConfig(name="folder", root=f"{tmp_path}/$DATA")).root == f"{tmp_path}/$DATA"


def test_deep_yaml_is_one_line(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("data: " + "[" * 10_000)
    with pytest.raises(ConfigError, match=r"deep\.yaml: not readable as YAML .*more than 32 levels deep") as caught:
        read_yaml(RunConfig, str(path))
    assert "\n" not in str(caught.value)
