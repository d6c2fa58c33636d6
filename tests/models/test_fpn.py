from __future__ import annotations

import pytest
import torch
from torch import nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models import build_model

CONFIG = ModelConfig(architecture="fpn", weights="random", channels=32)


def test_padding_is_with_the_mean_colour() -> None:
    model = build_model(CONFIG, 5, seed=0).eval()
    images = torch.randint(0, 256, (1, 3, 60, 90), dtype=torch.uint8)
    whole = nn.functional.pad(model.normalise(images), (0, 6, 0, 4))
    with torch.inference_mode():
        features = model.decode(model.encode(whole), stochastic=False)
        torch.testing.assert_close(model.features(images), features[:, :, :15, :23])


@pytest.mark.parametrize(("name", "channels", "choose"), [("fpn", 42, 44), ("fpn-smp", 40, 64)])
def test_channels_that_do_not_divide_are_refused(name: str, channels: int, choose: int) -> None:
    config = CONFIG.model_copy(update={"architecture": name, "channels": channels})
    with pytest.raises(ConfigError, match=rf"model\.channels: {channels} is no multiple of .*choose {choose}"):
        build_model(config, 5, seed=0)


def test_it_has_the_parameters_of_ralis() -> None:
    config = ModelConfig(architecture="fpn", backbone="resnet50", weights="random", channels=512)
    assert sum(p.numel() for p in build_model(config, 19, seed=0).parameters()) == 28_562_899


def test_its_pyramid_takes_strides_4_to_32_and_learns() -> None:
    model = build_model(CONFIG, 5, seed=0).train()
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).square().mean().backward()
    assert all(p.grad is not None for p in model.head_parameters())
