"""A training in one process: it goes on after the checkpoint it left in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raylab.config import ComputeConfig
from raylab.errors import TrainingError
from raylab.files import Folder
from raylab.training.checkpoint import decode_state, encode_state
from raylab.training.session import fit_in_process
from tests.configs import tiny_run
from tests.progress import Silent
from tests.training.jobs import job_of

CHECKPOINT = "round/training-0/state.pt"
"""Of the second of four iterations."""


class Killed(BaseException):
    """Stands for whatever ends a process."""


class KilledAtTheEnd(Silent):
    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        raise Killed


class KilledAfterTheLast(Silent):
    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if done == total:
            raise Killed


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.notes.append(note)


def fit(store: Folder, progress: Any) -> dict[str, Any]:
    job = job_of(tiny_run(), np.arange(0, 192, 5))
    return fit_in_process(job, store, "round/training-0", "round/model", torch.device("cpu"), progress)


@pytest.fixture
def stopped(tmp_path: Path) -> Folder:
    store = Folder(str(tmp_path / "stopped"))
    with pytest.raises(Killed):
        fit(store, KilledAtTheEnd())
    return store


def test_a_stopped_training_goes_on_after_its_checkpoint(stopped: Folder, tmp_path: Path) -> None:
    whole = Folder(str(tmp_path / "whole"))
    expected, found = fit(whole, Silent()), fit(stopped, Silent())
    assert found["losses"] == expected["losses"]
    assert found["confusion"] == expected["confusion"]
    assert stopped.read_bytes("round/model") == whole.read_bytes("round/model")


def test_a_training_that_is_not_committed_is_not_trained_again(
    stopped: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its end and its commit, the training begins after its last step."""
    first, steps = fit(stopped, Silent()), Noting()
    again = fit(stopped, steps)
    assert steps.notes == []
    assert (again["losses"], again["confusion"]) == (first["losses"], first["confusion"])


def test_what_was_trained_before_is_not_trained_again(stopped: Folder) -> None:
    state = decode_state(stopped.read_bytes(CHECKPOINT), CHECKPOINT)
    assert state["done"] == 2
    stopped.write_bytes(CHECKPOINT, encode_state({**state, "losses": [7.0, 8.0]}))
    assert fit(stopped, Silent())["losses"][:2] == [7.0, 8.0]


@pytest.mark.parametrize(("seconds", "kept"), [(1e-9, True), (1e9, False)])
def test_a_checkpoint_is_kept_after_some_seconds_too(tmp_path: Path, seconds: float, kept: bool) -> None:
    config = tiny_run(compute=ComputeConfig(checkpoint_seconds=seconds))
    training = config.training.model_copy(update={"iterations": 11, "checkpoint_every": 500})
    store, job = Folder(str(tmp_path)), job_of(config.model_copy(update={"training": training}), np.arange(0, 192, 5))
    with pytest.raises(Killed):
        fit_in_process(job, store, "round/training-0", "round/model", torch.device("cpu"), KilledAfterTheLast())
    assert store.exists(CHECKPOINT) == kept
    assert not kept or decode_state(store.read_bytes(CHECKPOINT), CHECKPOINT)["done"] == 10


def test_a_damaged_checkpoint_is_said_and_trained_again(stopped: Folder, tmp_path: Path) -> None:
    data = bytearray(stopped.read_bytes(CHECKPOINT))
    data[len(data) // 2] ^= 1
    stopped.write_bytes(CHECKPOINT, bytes(data))
    progress = Noting()
    found = fit(stopped, progress)
    assert progress.notes[0] == "its checkpoint is damaged; from the start"
    assert found["losses"] == fit(Folder(str(tmp_path / "whole")), Silent())["losses"]


def test_a_training_that_diverges_leaves_no_checkpoint(stopped: Folder) -> None:
    state = decode_state(stopped.read_bytes(CHECKPOINT), CHECKPOINT)
    name = next(name for name, tensor in state["model"].items() if tensor.is_floating_point())
    state["model"][name].fill_(float("nan"))
    stopped.write_bytes(CHECKPOINT, encode_state(state))
    with pytest.raises(TrainingError, match="the training diverged"):
        fit(stopped, Silent())
    assert not stopped.exists(CHECKPOINT)
