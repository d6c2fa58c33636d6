"""raylab: region-based active learning for semantic segmentation on Ray.

The whole from Python: `run_studies` runs a grid of strategies and `load_study` reads it as pandas tables; `select`
picks regions from plain arrays; `open_dataset` reads a data set; `register_*` add what raylab does not bring.

    >>> import raylab
    >>> raylab.strategy("entropy+spatial").spatial
    1.0

Names are imported when they are first used, so that `import raylab` is quick and brings neither torch, Ray nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raylab.acquisition import Acquisition, register_strategy, strategy
    from raylab.config import DataConfig, RunConfig, StudyConfig
    from raylab.config.load import read_preset, read_yaml
    from raylab.data.registry import open_dataset, register_dataset
    from raylab.errors import RaylabError
    from raylab.launch import run_studies
    from raylab.models.registry import register_model
    from raylab.report.frames import StudyFrames, load_study
    from raylab.scoring.uncertainty import register_map
    from raylab.selection.plain import select

__version__ = "0.1.0"

_MODULES = {
    "Acquisition": "acquisition",
    "DataConfig": "config",
    "RaylabError": "errors",
    "RunConfig": "config",
    "StudyConfig": "config",
    "StudyFrames": "report.frames",
    "load_study": "report.frames",
    "open_dataset": "data.registry",
    "read_preset": "config.load",
    "read_yaml": "config.load",
    "register_dataset": "data.registry",
    "register_map": "scoring.uncertainty",
    "register_model": "models.registry",
    "register_strategy": "acquisition",
    "run_studies": "launch",
    "select": "selection.plain",
    "strategy": "acquisition",
}
"""The module of each public name; the imports above say the same to type checkers."""

__all__ = [
    "Acquisition",
    "DataConfig",
    "RaylabError",
    "RunConfig",
    "StudyConfig",
    "StudyFrames",
    "load_study",
    "open_dataset",
    "read_preset",
    "read_yaml",
    "register_dataset",
    "register_map",
    "register_model",
    "register_strategy",
    "run_studies",
    "select",
    "strategy",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'raylab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"raylab.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
