from __future__ import annotations

import pytest
import torch
from torch import nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models import build_model
from raylab.models.norm import measure_batch_norm

CONFIG = ModelConfig(weights="random", channels=16)


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


def test_the_papers_model_has_its_parameters_and_features() -> None:
    """Xception-41 at output stride 16, ASPP 6/12/18, decoder of 256 channels at stride 4; 513 is no multiple of 16."""
    model = build_model(ModelConfig(backbone="xception41", weights="random"), 19, seed=0).eval()
    assert sum(p.numel() for p in model.parameters()) == 28_108_147
    with torch.inference_mode():
        features = model.features(torch.randint(0, 256, (1, 3, 513, 513), dtype=torch.uint8))
        assert features.shape == (1, 256, 129, 129)
        assert model.logits(features, (513, 513)).shape == (1, 19, 513, 513)
