"""What counts as the same row, and what does not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from raylab.row_digest import row_digest

TABLE = np.arange(3)
SCALES = {"a": 1.0}
log = logging.getLogger("mine")


def weighted(x: Any) -> Any:
    log.debug("the state of a logger is no code")
    return x * TABLE * SCALES["a"]


class Model(torch.nn.Module):
    """Of a plugin."""

    width = 3

    def forward(self, x: Any) -> Any:
        return weighted(x)


def digest(thing: Any) -> str:
    return row_digest(thing, ())


@pytest.mark.parametrize("of", [weighted, Model, functools.partial(weighted, 2), Model().forward, Model.forward])
def test_what_a_row_uses_is_part_of_it(of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(of)
    log.getChild("another").isEnabledFor(10)
    assert digest(of) == before
    monkeypatch.setitem(globals(), "TABLE", TABLE + 1)
    assert digest(of) != before
    monkeypatch.undo()
    monkeypatch.setitem(SCALES, "a", 2.0)
    assert digest(of) != before


def test_the_values_of_a_class_and_of_a_closure_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(by: float) -> Callable[[float], float]:
        return lambda x: by * x

    assert digest(scaled(2)) == digest(scaled(2)) != digest(scaled(3))
    before = digest(Model)
    monkeypatch.setattr(Model, "width", 4)
    assert digest(Model) != before


def test_what_is_installed_counts_by_its_name() -> None:
    assert digest(torch.relu) != digest(torch.abs)
    assert digest(np.mean) != digest(np.median)
    assert digest(torch.nn.functional.softmax) != digest(torch.nn.functional.relu)
