"""Configuration from YAML files, presets and given values, each layer over the one before it."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.config.problems import lines_of
from raylab.errors import ConfigError, nearest, no_such_field
from raylab.files import absolute
from raylab.yaml_text import parse_yaml

Model = TypeVar("Model", bound=BaseModel)

_VARIABLE = re.compile(r"\$(\w+|\{\w+\})", re.ASCII)

GENERATED = "synthetic"
"""The preset of generated scenes, which runs on them start from."""


class Layer(NamedTuple):
    """A file or preset whose values lie over those of the ones before it.

    Attributes:
        option: `--config` or `--preset`.
        value: a YAML file's path, or a preset's name.
    """

    option: str
    value: str


def read_layers(
    model: type[Model], layers: Sequence[Layer], given: dict[str, Any], default: Model | None = None
) -> Model:
    """A configuration from files, presets and given values; a later layer wins over an earlier one.

    A run on generated scenes for which nothing else is said takes what the preset `synthetic` says, with the budget in
    the same proportion to the scenes that there are.

    Args:
        model: the configuration to make.
        layers: files and presets in their order.
        given: nested values that win over all of them.
        default: values where no layer names one, unless it has them from the model itself.

    Raises:
        ConfigError: names the file and the field.
    """
    values = default.model_dump(exclude_unset=True) if default else {}
    for layer in layers:
        if layer.option == "--preset":
            values = _merge(values, _preset_values(model, layer.value))
        else:
            values = _merge(values, _file_values(model, layer.value))
    values = _merge(values, given)
    if model not in (RunConfig, StudyConfig):
        return _validated(model, values)
    config = _validated(model, values)
    run = config if isinstance(config, RunConfig) else config.run  # type: ignore[attr-defined]
    if run.data.name != "synthetic":
        return config
    config = _validated(model, _merge(_preset_values(model, GENERATED), values))
    named = values if model is RunConfig else values.get("run", {})
    return config if named.get("budget") else _with_budget_in_proportion(config)


def read_yaml(model: type[Model], path: str, default: Model | None = None) -> Model:
    """A configuration from a YAML file.

    Args:
        model: the configuration to make.
        path: of the file.
        default: values of what the file does not name.

    Raises:
        ConfigError: names the file and the field.
    """
    return read_layers(model, [Layer("--config", path)], {}, default)


def _file_values(model: type[BaseModel], path: str) -> dict[str, Any]:
    """What a file says, after a look at whether it can be said.

    Raises:
        ConfigError: names the file and the field.
    """
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8-sig")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; give a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeError:
        raise ConfigError(f"{path}: is no text; give a YAML file in UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold fields with values, such as `seeds: [0, 1]` (got {values!r:.60})")
    base = _preset_values(model, str(preset)) if (preset := values.pop("preset", None)) else {}
    problems = list(_unknown_keys(model, values))
    if not problems:
        try:
            model.model_validate(values)
        except ValidationError as error:
            problems = lines_of(error, model, partial=True)
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return _merge(base, values)


def _validated(model: type[Model], values: dict[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(lines_of(error, model))) from None


def _with_budget_in_proportion(config: Model) -> Model:
    """The budget of the preset `synthetic`, for as many regions as there are."""
    preset = read_preset(RunConfig, GENERATED)
    if isinstance(config, StudyConfig):
        return config.model_copy(update={"run": _with_budget_in_proportion(config.run)})
    assert isinstance(config, RunConfig)
    budget = preset.budget.scaled(_regions(config) / _regions(preset))
    if budget != preset.budget:
        rounds = " ".join(map(str, budget.rounds))
        warnings.warn(
            f"budget: initial {budget.initial} and rounds {rounds}, the preset's in proportion to these "
            "scenes; give another if that is not meant",
            stacklevel=2,
        )
    return config.model_copy(update={"budget": budget})


def _regions(run: RunConfig) -> int:
    scenes, size = run.data.synthetic, run.regions.size
    return scenes.train_images * math.ceil(scenes.height / size) * math.ceil(scenes.width / size)


def presets() -> dict[str, str]:
    """The presets by name, each with the first line of its description."""
    folder = resources.files("raylab") / "presets"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {
        file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for file in files
    }


def read_preset(model: type[Model], name: str, default: Model | None = None) -> Model:
    """A configuration with the settings of a run that raylab brings.

    Args:
        model: a run's configuration, or one with a field `run` that holds one.
        name: of the preset.
        default: values of what the preset does not name.

    Raises:
        ConfigError: there is no such preset, or the configuration holds no run.
    """
    values = default.model_dump(exclude_unset=True) if default else {}
    return _validated(model, _merge(values, _preset_values(model, name)))


def _preset_values(model: type[BaseModel], name: str) -> dict[str, Any]:
    if name not in presets():
        raise ConfigError(f"--preset: no preset {name!r}{nearest(name, presets())}; there are {', '.join(presets())}")
    if not takes_presets(model):
        raise ConfigError("--preset: describes a run, and this command takes none; leave it out")
    values = yaml.safe_load((resources.files("raylab") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))
    return values if model is RunConfig else {"run": values}


def takes_presets(model: type[BaseModel]) -> bool:
    """Whether a configuration is that of a run, or holds one."""
    return model is RunConfig or "run" in model.model_fields


def absolute_paths(config: Model) -> Model:
    """The same configuration with local paths made absolute: workers run in other folders."""
    if isinstance(config, StudyConfig):
        return config.model_copy(update={"run": absolute_paths(config.run)})
    if isinstance(config, DataConfig):
        return config.model_copy(update={"root": config.root and absolute(expanded(config.root, "data.root"))})
    if isinstance(config, RunConfig):
        weights = config.model.weights
        if not config.model.weights_by_name:
            weights = absolute(expanded(weights, "model.weights"))
        return config.model_copy(
            update={
                "data": absolute_paths(config.data),
                "pretraining": config.pretraining.model_copy(update={"data": absolute_paths(config.pretraining.data)}),
                "model": config.model.model_copy(update={"weights": weights}),
                "storage": absolute(expanded(config.storage, "storage")),
            }
        )
    return config


def expanded(path: str, field: str) -> str:
    """A path or URI with the environment's variables in it, `$DATA` or `${DATA}`, in place of their names.

    Args:
        path: as it was given.
        field: that gave it, for messages.

    Raises:
        ConfigError: a variable is not set, and nothing lies at the path as it is written.
    """
    text = os.path.expandvars(path)
    if "://" not in text and (missing := _VARIABLE.search(text)) and not os.path.exists(os.path.expanduser(text)):
        raise ConfigError(f"{field}: {path} names {missing[0]}, which is not set; set it, or give the path itself")
    return text


def _unknown_keys(model: type[BaseModel], values: dict[str, Any], section: str = "") -> Iterable[str]:
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field is None:
            yield f"{section}{key}: {no_such_field(str(key), list(model.model_fields))}"
        elif isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _unknown_keys(field.annotation, value, f"{section}{key}.")


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), str):
            merged[key] = {"name": merged[key]}  # a strategy given as text, under single fields of it
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def refuse_without_effect(run: RunConfig, instead: Mapping[str, str]) -> None:
    """Refuse a field of a study's `run` that each run of the grid gets from elsewhere.

    Args:
        run: what all runs share.
        instead: by field, what sets it.

    Raises:
        ConfigError: names the field and what to set.
    """
    for field, setting in instead.items():
        if getattr(run, field) != getattr(RunConfig(), field):
            raise ConfigError(f"run.{field}: has no effect in a study, which takes it from {setting}; set {setting}")
