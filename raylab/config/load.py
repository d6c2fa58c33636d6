"""Configuration from a YAML file and the command line."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
import yaml
from pydantic import BaseModel, ValidationError

from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.errors import ConfigError, nearest
from raylab.files import absolute

Model = TypeVar("Model", bound=BaseModel)


def parse(
    model: type[Model], args: Sequence[str], prog: str, description: str | None = None, default: Model | None = None
) -> Model:
    """Read options, those of the command line in place of those of `--config FILE.yaml` and `--preset NAME`.

    Both may be given several times; a later one wins over an earlier one.

    Args:
        model: the configuration to make.
        args: the command line after the command.
        prog: name shown in the help.
        description: shown in the help.
        default: values where neither file nor command line names one.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or a value does not fit.
        SystemExit: with 0 after --help, with 2 after an option that is unknown or cannot be read.
    """
    sources, rest = _split_off_sources(args)
    for option, value in sources:
        default = read_yaml(model, value, default) if option == "--config" else read_preset(model, value, default)
    text = f"{description or ''}\n\n--config FILE.yaml reads any of these options from a file."
    if _takes_presets(model):
        text += f"\n--preset NAME starts from one of raylab's own: {', '.join(presets())}."
    draft = _draft(default or model())
    read = tyro.cli(type(draft), args=rest, prog=prog, description=text, default=draft)
    try:
        return model.model_validate(dataclasses.asdict(read))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def read_yaml(model: type[Model], path: str, default: Model | None = None) -> Model:
    """A configuration from a YAML file.

    Args:
        model: the configuration to make.
        path: of the file.
        default: values of what the file does not name.

    Raises:
        ConfigError: names the file and the field.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(values).__name__}")
    if preset := values.pop("preset", None):
        default = read_preset(model, str(preset), default)
    if problems := list(_unknown_keys(model, values)):
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    try:
        return model.model_validate(_merge(default.model_dump() if default else {}, values))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _explain(error).splitlines())) from None


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
    if name not in presets():
        raise ConfigError(f"--preset: no preset {name!r}{nearest(name, presets())}; there are {', '.join(presets())}")
    if not _takes_presets(model):
        raise ConfigError("--preset: describes a run, and this command takes none; leave it out")
    values = yaml.safe_load((resources.files("raylab") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))
    nested = values if model is RunConfig else {"run": values}
    return model.model_validate(_merge(default.model_dump() if default else {}, nested))


def _takes_presets(model: type[BaseModel]) -> bool:
    return model is RunConfig or "run" in model.model_fields


def _split_off_sources(args: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """What `--config FILE`, `--config=FILE` and `--preset NAME` name, and the other arguments."""
    wanted = {"--config": "the path of a YAML file", "--preset": f"one of {', '.join(presets())}"}
    sources, rest = [], []
    left = iter(args)
    for arg in left:
        option, equals, value = arg.partition("=")
        if option not in wanted:
            rest.append(arg)
            continue
        value = value if equals else next(left, "")
        if not value or value.startswith("--"):
            raise ConfigError(f"{option}: give {wanted[option]}")
        sources.append((option, value))
    return sources, rest


def _draft(values: BaseModel) -> Any:
    """The values as an instance of a dataclass with the model's fields and help texts, but none of its checks.

    tyro fills this one, and the model checks it as a whole afterwards: tyro would report a model's refusal in its own
    words, with the field's place in the configuration lost.
    """
    drafts: dict[str, Any] = {}
    fields = []
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        drafts[name] = _draft(value) if isinstance(value, BaseModel) else value
        kind = type(drafts[name]) if isinstance(value, BaseModel) else field.annotation
        fields.append((name, Annotated[kind, tyro.conf.arg(help=field.description)]))
    kind = dataclasses.make_dataclass(type(values).__name__, fields, frozen=True)
    kind.__doc__ = type(values).__doc__
    return kind(**drafts)


def absolute_paths(config: Model) -> Model:
    """The same configuration with local paths made absolute: workers run in other folders."""
    if isinstance(config, StudyConfig):
        return config.model_copy(update={"run": absolute_paths(config.run)})
    if isinstance(config, DataConfig):
        return config.model_copy(update={"root": config.root and absolute(config.root)})
    if isinstance(config, RunConfig):
        weights = config.model.weights
        if weights not in ("imagenet", "random") and not weights.startswith("hub:"):
            weights = absolute(weights)
        return config.model_copy(
            update={
                "data": absolute_paths(config.data),
                "pretraining": config.pretraining.model_copy(update={"data": absolute_paths(config.pretraining.data)}),
                "model": config.model.model_copy(update={"weights": weights}),
                "storage": absolute(config.storage),
            }
        )
    return config


def _unknown_keys(model: type[BaseModel], values: dict[str, Any], place: str = "") -> Iterable[str]:
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field is None:
            hint = nearest(str(key), model.model_fields) or f"; known are {', '.join(model.model_fields)}"
            yield f"unknown key {place}{key}{hint}"
        elif isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _unknown_keys(field.annotation, value, f"{place}{key}.")


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        got = textwrap.shorten(repr(problem["input"]), 80, placeholder=" ...")
        lines.append(f"{place}: {message} (got {got})" if place else message)
    return "\n".join(lines)


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
