from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models import build_model
from raylab.models.norm import measure_batch_norm

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


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone: 'resnet0'"):
        build_model(ModelConfig(backbone="resnet0", weights="random"), 5, seed=0)


@pytest.mark.parametrize("architecture", ["deeplabv3+", "fpn"])
def test_dropout_acts_in_training_and_in_stochastic_passes_only(architecture: Any) -> None:
    model = build_model(
        CONFIG.model_copy(update={"architecture": architecture, "channels": 32, "dropout": 0.5}), 5, seed=0
    ).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(model(images), model(images))
        encoded = model.encode(model.normalise(images))
        passes = [model.drop(model.decode(encoded, stochastic=True), stochastic=True) for _ in range(2)]
        assert not torch.equal(*passes)
        model.train()
        assert not torch.equal(model(images), model(images))


def test_the_papers_model_has_its_parameters_and_features() -> None:
    """Xception-41 at output stride 16, ASPP 6/12/18, decoder of 256 channels at stride 4; 513 is no multiple of 16."""
    model = build_model(ModelConfig(backbone="xception41", weights="random"), 19, seed=0).eval()
    assert sum(p.numel() for p in model.parameters()) == 28_108_147
    with torch.inference_mode():
        features = model.features(torch.randint(0, 256, (1, 3, 513, 513), dtype=torch.uint8))
        assert features.shape == (1, 256, 129, 129)
        assert model.logits(features, (513, 513)).shape == (1, 19, 513, 513)
