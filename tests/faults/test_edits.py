"""What is edited between two starts of a study: it never goes on as another one, and what differs is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save

from raylab.acquisition import STRATEGIES
from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, DataConfig, ModelConfig, StudyConfig
from raylab.errors import MismatchError
from raylab.files import Folder
from raylab.loop import Loop
from raylab.models import build_model
from raylab.report.study_data import read_study
from raylab.report.tables import format_table
from raylab.runs import ResolvedStudy, RunStore, resolve_study, stored_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import begin_study
from raylab.sealed import read_sealed, write_sealed
from tests.configs import tiny_run
from tests.progress import Silent

pytestmark = pytest.mark.fault
STRATEGY = "entropy+spatial"
EDITED = (
    "the strategy's numbers, the weights or the data are edited between two starts",
    "refused with the field, what it was and what it is",
)


def weights(seed: int) -> bytes:
    model = build_model(ModelConfig(weights="random", channels=16), 3, seed=seed)
    return save(dict(model.backbone.state_dict()))


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    """A study of one run of two rounds on files, from a file of weights."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for split, names in (("train", "abcd"), ("val", "e")):
        for kind, shape, top in (("images", (64, 96, 3), 256), ("masks", (64, 96), 3)):
            (root / kind / split).mkdir(parents=True)
            for name in names:
                Image.fromarray(rng.integers(0, top, shape).astype(np.uint8)).save(root / kind / split / f"{name}.png")
    (root / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}, {name: c, id: 2}]\n")
    (tmp_path / "w.safetensors").write_bytes(weights(1))
    run = tiny_run(
        str(tmp_path / "results"),
        data=DataConfig(name="folder", root=str(root)),
        model=ModelConfig(weights=str(tmp_path / "w.safetensors"), channels=16),
        budget=BudgetConfig(initial=8, rounds=(8,)),
    )
    run = run.model_copy(update={"training": run.training.model_copy(update={"iterations": 1})})
    return StudyConfig(name="edited", run=run, strategies=(STRATEGY,))


def start(config: StudyConfig, stop: int | None = None) -> ResolvedStudy:
    """Begin the study or go on with it, as the driver does, and stop after some rounds."""
    store = Folder(config.run.storage)
    study = resolve_study(config, read_inputs(config.run, store))
    begin_study(store, study)
    loop = Loop(study.runs[0], store, LocalBackend(study.runs[0], store), Silent())
    if stop is None:
        loop.run()
    for t in range(stop or 0):
        loop.select(t)
        loop.train(t)
        loop.score(t, loop.acquisition.maps, loop.acquisition.needs_features)
    return study


def edit_row(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any, Any]:
    row = dataclasses.replace(STRATEGIES[STRATEGY], spatial=0.0)
    monkeypatch.setitem(STRATEGIES._rows, STRATEGY, row)
    return f"strategies.{STRATEGY}.acquisition.spatial", 1.0, 0.0


def edit_weights(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any, Any]:
    before = read_inputs(config.run).weights
    Path(config.run.model.weights).write_bytes(weights(2))
    return "run.weights", f"sha256:{before}", f"sha256:{read_inputs(config.run).weights}"


def edit_data(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any, Any]:
    before = read_inputs(config.run).data
    mask = Path(str(config.run.data.root)) / "masks/train/b.png"
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[5, 7] = (pixels[5, 7] + 1) % 3
    Image.fromarray(pixels).save(mask)
    return "run.data_fingerprint", before, read_inputs(config.run).data


@pytest.mark.parametrize("edit", [edit_row, edit_weights, edit_data])
def test_a_study_does_not_go_on_after_an_edit(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch, edit: Any, record_fault: Callable[..., None]
) -> None:
    study = start(config, stop=1)
    store = Folder(config.run.storage)
    field, then, now = edit(config, monkeypatch)
    with pytest.raises(MismatchError) as caught:
        start(config)
    assert str(caught.value) == (
        f"{store.uri_of('studies/edited/study.json')}: {field} was {then!r} when the study 'edited' began and is "
        f"{now!r} now; restore it, or give the study another name"
    )
    # Under another name it is another run, and what was there stays.
    other = start(config.model_copy(update={"name": "other"}), stop=1)
    assert other.runs[0].label != study.runs[0].label
    assert store.list("runs") == sorted([study.runs[0].label, other.runs[0].label])
    shares_round_0 = edit is edit_row
    assert len(store.list("round0")) == (1 if shares_round_0 else 2)
    assert stored_study(store, "edited") == study
    record_fault(*EDITED, {"edits": 1}, {"refused": 1})


def test_weights_replaced_while_a_run_goes_on_are_found_by_the_next_round(
    config: StudyConfig, record_fault: Callable[..., None]
) -> None:
    study = start(config, stop=1)
    Path(config.run.model.weights).write_bytes(weights(2))
    store, run = Folder(config.run.storage), study.runs[0]
    with pytest.raises(MismatchError) as caught:
        Loop(run, store, LocalBackend(run, store), Silent()).run()
    assert f"{run.label}/round-01/train.json: weights_sha256 is '{read_inputs(config.run).weights}'" in str(
        caught.value
    )
    assert f"but '{run.inputs.weights}' of the run" in str(caught.value)
    assert RunStore(store, run).round(1).record("train") is None
    record_fault(
        "the weights are replaced while a run goes on", "the next round refuses them", {"edits": 1}, {"refused": 1}
    )


def test_a_round_that_started_from_other_weights_is_refused(config: StudyConfig) -> None:
    study = start(config, stop=1)
    store, run = Folder(config.run.storage), study.runs[0]
    path = RunStore(store, run).round(0).path("train.json")
    manifest = read_sealed(store, path)
    assert manifest["record"]["weights_sha256"] == run.inputs.weights
    manifest["record"]["weights_sha256"] = "0" * 64
    write_sealed(store, path, manifest)
    with pytest.raises(MismatchError, match=rf"{path}: weights_sha256 is '{'0' * 64}' of this training"):
        start(config)


def test_a_study_is_found_again_without_data_weights_or_its_strategy(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = start(config, stop=1)
    Path(config.run.model.weights).unlink()
    (Path(str(config.run.data.root)) / "dataset.yaml").unlink()
    monkeypatch.delitem(STRATEGIES._rows, STRATEGY)
    found = stored_study(Folder(config.run.storage), "edited")
    assert found == study
    assert RunStore(Folder(config.run.storage), found.runs[0]).done_rounds() == 1
    assert STRATEGY in format_table(read_study(Folder(config.run.storage), "edited"))
