"""What the tests of selection share."""

from __future__ import annotations

import pytest

from raylab.selection import epochs, max_min, max_sum, prefix_bounds


@pytest.fixture
def small_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of a few regions and products of a few members, so that small cases go through all of the nesting."""
    monkeypatch.setattr(epochs, "EPOCH", 7)
    monkeypatch.setattr(max_min, "INNER", 3)
    monkeypatch.setattr(max_min, "FIRST", 2)
    monkeypatch.setattr(max_min, "CHUNK", 3)
    monkeypatch.setattr(max_sum, "CHUNK", 3)
    monkeypatch.setattr(prefix_bounds, "FROM_DIMENSIONS", 2)
    monkeypatch.setattr(prefix_bounds, "FROM_MEMBERS", 1)
    monkeypatch.setattr(prefix_bounds, "COLUMNS", 2)
    monkeypatch.setattr(prefix_bounds, "FEW", 1)
