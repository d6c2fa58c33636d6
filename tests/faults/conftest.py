from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import pytest

from tests.faults import two_strategies
from tests.faults.short_run import go_on, result

UndisturbedStudy: TypeAlias = Callable[[int], list[Any]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the short run gives that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    go_on(folder / "root", folder / "begun")
    return result(folder / "root")


@pytest.fixture(scope="session")
def undisturbed_study(tmp_path_factory: pytest.TempPathFactory) -> UndisturbedStudy:
    """By `workers` what the study of two strategies gives that nothing happens to."""

    @cache
    def of(workers: int) -> list[Any]:
        storage = tmp_path_factory.mktemp("undisturbed") / "root"
        # One process gives what one worker gives.
        two_strategies.finish(storage, workers, "ray" if workers > 1 else "local")
        return two_strategies.outcome(storage)

    return of
