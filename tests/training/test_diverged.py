"""A training that diverges is a failure that is told, and never a result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raylab.backends.local import LocalBackend
from raylab.errors import TrainingError
from raylab.files import Folder
from raylab.loop import Loop
from raylab.runs import RunStore
from tests.configs import resolved, tiny_run
from tests.progress import Silent


def test_a_rate_too_high_names_iteration_and_rate_and_commits_nothing(tmp_path: Path) -> None:
    config = tiny_run(str(tmp_path), "entropy")
    config = config.model_copy(update={"training": config.training.model_copy(update={"learning_rate": 1e9})})
    run = resolved(config)
    with pytest.raises(TrainingError) as caught:
        Loop(run, Folder(config.storage), LocalBackend(run, Folder(config.storage)), Silent()).run()
    message = str(caught.value)
    assert message.startswith("the training diverged: the loss is ")
    assert "of 4, where the rate was " in message
    assert message.endswith("; lower training.learning_rate (1e+09)")
    store = RunStore(Folder(config.storage), run)
    assert store.round(0).record("select") is not None
    assert store.round(0).record("train") is None
    assert store.store.list(store.round(0).prefix) == ["identity.json", "ledger.parquet", "select.json"]


def test_weights_that_are_not_finite_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_run(str(tmp_path), "entropy")
    run = resolved(config)

    def spoil(model, crops, job, device):  # the loss of the last step does not show what that step does
        with torch.no_grad():
            next(iter(model.parameters())).fill_(float("inf"))

    config = config.model_copy(update={"training": config.training.model_copy(update={"norm_images": 2})})
    run = resolved(config)
    monkeypatch.setattr("raylab.training.step._measure_norms", spoil)
    with pytest.raises(TrainingError, match=r"1 of \d+ tensors \(\S+ the first\) are not finite after 4 iterations"):
        Loop(run, Folder(config.storage), LocalBackend(run, Folder(config.storage)), Silent()).run()
