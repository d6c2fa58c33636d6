"""A grid of runs, on Ray Tune or in one process: what they share is computed once.

Nothing is imported before it is asked for: the services of a study live in small processes of their own, which import
this package and need none of it.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raylab.study.base import RunFailedError
    from raylab.study.checks import check_study
    from raylab.study.plan import Plan, plan_studies
    from raylab.study.run import run_studies, run_study

__all__ = ["Plan", "RunFailedError", "check_study", "plan_studies", "run_studies", "run_study"]

_MODULES = {
    "Plan": "plan",
    "RunFailedError": "base",
    "check_study": "checks",
    "plan_studies": "plan",
    "run_studies": "run",
    "run_study": "run",
}


# The raylet's advice on processes that died stays out of the console. Ray reads this when it is imported, which any
# module of this package may be the first to do.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
