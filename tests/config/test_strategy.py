"""A strategy in the configuration: every field of an acquisition, in every way of writing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from raylab.acquisition import FIELDS, Acquisition
from raylab.config import RunConfig, StrategyConfig, StudyConfig, parse_strategy
from raylab.config.load import read_yaml
from raylab.config.options import parse
from raylab.errors import ConfigError
from raylab.runs import Inputs, resolve
from tests.configs import other_values

CHANGED = other_values()


def text_of(name: str) -> str:
    return str(CHANGED[name]).lower()


def option(name: str) -> list[str]:
    flag = f"--strategy.{name.replace('_', '-')}"
    return [flag] if CHANGED[name] is True else [flag, text_of(name)]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_set_in_every_way(name: str, tmp_path: Path) -> None:
    want = CHANGED[name]
    assert getattr(Acquisition(uncertainty=1), name) != want
    (tmp_path / "text.yaml").write_text(f"strategy: 'entropy+spatial,{name}={text_of(name)}'\n")
    (tmp_path / "mapping.yaml").write_text(f"strategy: {{name: entropy+spatial, {name}: {text_of(name)}}}\n")
    (tmp_path / "study.yaml").write_text(f"strategies: [random, {{name: entropy+spatial, {name}: {text_of(name)}}}]\n")
    ways = {
        "Python": StrategyConfig(name="entropy+spatial", **{name: want}),
        "text": parse_strategy(f"entropy+spatial,{name}={text_of(name)}"),
        "YAML text": read_yaml(RunConfig, str(tmp_path / "text.yaml")).strategy,
        "YAML mapping": read_yaml(RunConfig, str(tmp_path / "mapping.yaml")).strategy,
        "YAML study": parse_strategy(read_yaml(StudyConfig, str(tmp_path / "study.yaml")).strategies[1]),
        "option": parse(RunConfig, ["--strategy.name", "entropy+spatial", *option(name)], "x").strategy,
        "option text": parse(RunConfig, ["--strategy.name", f"entropy+spatial,{name}={text_of(name)}"], "x").strategy,
    }
    for way, config in ways.items():
        assert getattr(config.acquisition(), name) == want, way
        assert config.label == ways["Python"].label, way
    assert parse_strategy(ways["Python"].label).acquisition() == ways["Python"].acquisition()


def test_the_configuration_has_the_fields_of_the_acquisition() -> None:
    assert list(StrategyConfig.model_fields) == ["name", *FIELDS, "pca"]
    assert all(field.description for field in StrategyConfig.model_fields.values())


SAME = [
    ("entropy,map=mine", "margin,map=mine", "bald, map=mine"),
    ("margin+spatial", "entropy+spatial,map=margin", "entropy,spatial=1,map=margin"),
    ("entropy+spatial,tau=64", "entropy+spatial,tau=64.0", "entropy,spatial=1,tau=6.4e1"),
    ("entropy+spatial", "entropy+spatial,a=1,p=inf,set_function=max_min", "entropy+spatial-linear,distance=piecewise"),
    ("entropy+spatial,spatial=0.5", "entropy,spatial=0.5", "entropy+spatial, spatial = .5"),
    ("core-set-maxsum,pca=64", "core-set,pca=64,set_function=max_sum", "entropy+feature-maxsum,uncertainty=0,pca=64"),
    ("entropy+random,random=0.25", "entropy,random=0.25", "entropy+random,random=2.5e-1"),
    (
        "entropy-balanced+spatial,b=1.25",
        "entropy+spatial,class_balanced=true,b=1.25",
        "entropy-balanced,spatial=1,b=1.25",
    ),
]


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: texts[0])
def test_one_acquisition_has_one_name_and_one_identity(texts: tuple[str, ...]) -> None:
    configs = [parse_strategy(text) for text in texts]
    assert {config.label for config in configs} == {texts[0]}
    assert len({resolve(RunConfig(strategy=config), Inputs("data")).label for config in configs}) == 1
    with pytest.raises(ConfigError, match="is named twice"):
        StudyConfig(strategies=texts[:2]).runs()


def test_numbers_in_names_are_exact() -> None:
    config = StrategyConfig(name="entropy+spatial", tau=48.123456789, spatial=0.1 + 0.2)
    assert config.label == "entropy+spatial,spatial=0.30000000000000004,tau=48.123456789"
    assert parse_strategy(config.label).acquisition() == config.acquisition()


def test_a_strategy_of_a_study_may_be_given_as_an_object() -> None:
    given: Any = (StrategyConfig(name="entropy", tau=3), {"name": "core-set", "pca": 8}, "random")
    assert StudyConfig(strategies=given).strategies == ("entropy,tau=3", "core-set,pca=8", "random")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entrpy", "strategy: 'entrpy' is not known; did you mean 'entropy'?"),
        ("entropy+spatial-liner", "did you mean 'entropy+spatial-linear'?"),
        ("", "is not known; raylab strategies lists them"),
        ("entropy,tau", "'tau' is not of the form field=value"),
        ("entropy,=3", "'=3' is not of the form field=value"),
        ("entropy,tau=", "'tau=' is not of the form field=value"),
        ("entropy,", "'' is not of the form field=value"),
        ("entropy,tau=far", "tau: must be a number (got 'far')"),
        ("entropy,name=3", "the name comes first, without name="),
        ("entropy,taw=3", "strategies: 'entropy,taw=3': taw: no such field; did you mean 'tau'?"),
        ("entropy,zzz=3", "zzz: no such field; there are uncertainty, feature, spatial"),
        ("entropy,tau=3,tau=4", "tau is given twice; give it once"),
        ("entropy,set_function=maxsum", "(got 'maxsum'); did you mean 'max_sum'?"),
        ("entropy,distance=lineal", "did you mean 'linear'?"),
        ("entropy,class_balanced=maybe", "class_balanced: must be true or false"),
        ("entropy,spatial=-1", "spatial: must be greater than or equal to 0 (got '-1')"),
        ("entropy,spatial=inf", "spatial: must be a finite number"),
        ("entropy,random=1.5", "random: must be less than or equal to 1"),
        ("entropy,tau=nan", "tau: must be a finite number"),
        ("entropy,tau=1e999", "tau: must be a finite number"),
        ("entropy,p=3", "p: must be 1, 2 or inf, the order of the norm of two centres' distance (got 3)"),
        ("entropy,p=0.5", "p: must be 1, 2 or inf"),
        ("entropy,pca=1.5", "pca: must be a whole number"),
        ("entropy,uncertainty=0", "all weights are 0"),
        ("entropy+spatial,b=0,c=0", "b and c are both 0"),
    ],
)
def test_strategies_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_strategy(text)
    assert message in str(caught.value)
    with pytest.raises(ConfigError):
        StudyConfig(strategies=(text,)).runs()


def test_a_field_in_the_text_and_beside_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="tau is given twice"):
        StrategyConfig(name="entropy,tau=3", tau=4)


def test_single_fields_lie_over_a_text(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("strategy: entropy+spatial,tau=8\n")
    args = ["--config", str(tmp_path / "run.yaml"), "--strategy.map", "margin"]
    assert parse(RunConfig, args, "x").strategy.label == "margin+spatial,tau=8"


def test_a_file_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("strategy: {name: entropy, taw: 3}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: strategy\.taw: no such field; did you mean 'tau'\?"):
        read_yaml(RunConfig, str(tmp_path / "run.yaml"))
    with pytest.raises(ConfigError, match=r"^strategy\.p: must be 1, 2 or inf"):
        RunConfig(strategy=cast(Any, {"p": 3}))
