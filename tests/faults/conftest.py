from __future__ import annotations

from typing import Any

import pytest

from tests.faults.short_run import go_on, result


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the short run gives that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    go_on(folder / "root", folder / "begun")
    return result(folder / "root")
