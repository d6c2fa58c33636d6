from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError, WeightsError
from raylab.models import build_model
from raylab.models.norm import measure_batch_norm
from raylab.models.weights import _imagenet
from tests.conftest import shared_folder

CONFIG = ModelConfig(weights="random", channels=16)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (90, 120), (33, 47)])
def test_any_size_gives_logits_of_the_images_size(size: tuple[int, int]) -> None:
    model = build_model(CONFIG, 5, seed=0).eval()
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        assert model(images).shape == (2, 5, *size)
        assert model.features(images).shape == (2, 16, -(-size[0] // 4), -(-size[1] // 4))


def test_head_is_drawn_from_the_seed_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (build_model(CONFIG, 5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_packaged_imagenet_weights_are_timms() -> None:
    expected = load_file(shared_folder("weights/tf_efficientnet_lite0.safetensors"))
    packaged = _imagenet("tf_efficientnet_lite0")
    assert len(packaged) > 280
    assert all(torch.equal(tensor, expected[name]) for name, tensor in packaged.items())


def test_a_frozen_backbone_does_not_move() -> None:
    model = build_model(CONFIG, 5, seed=0)
    model.freeze_backbone()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.head_parameters())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not any(name.startswith("backbone.") for name in changed)


def test_measured_statistics_are_the_means_over_the_batches() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    batches = [torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(i)) * (i + 1) + i for i in range(3)]
    measure_batch_norm(model, batches, torch.autocast("cpu", enabled=False))
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0))
    assert norm.momentum == 0.1
    assert not model.training


def test_weights_of_another_backbone_are_refused(tmp_path: object) -> None:
    path = f"{tmp_path}/other.safetensors"
    save_file({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors of tf_efficientnet_lite0"):
        build_model(ModelConfig(weights=path), 5, seed=0)
    save_file({"conv_stem.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match="do not fit tf_efficientnet_lite0"):
        build_model(ModelConfig(weights=path), 5, seed=0)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone: 'resnet0'"):
        build_model(ModelConfig(backbone="resnet0", weights="random"), 5, seed=0)
