"""The contract of an architecture, tried on every row of the registry: a new row needs no test of its own."""

from __future__ import annotations

import sys

import pytest
import torch

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models import ARCHITECTURES, Segmenter, build_model, model_builder, register_model

SIZES = [(64, 96), (65, 97), (75, 101), (33, 47)]


def build(architecture: str, seed: int = 0, dropout: float = 0.0) -> Segmenter:
    config = ModelConfig(architecture=architecture, weights="random", channels=32, dropout=dropout)
    return build_model(config, 5, seed)


def draw(height: int = 64, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def model(request: pytest.FixtureRequest) -> Segmenter:
    return build(request.param).eval()


every_architecture = pytest.mark.parametrize("architecture", list(ARCHITECTURES))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_logits_of_that_size_and_features_at_stride_4(model: Segmenter, size: tuple[int, int]) -> None:
    images = draw(*size)
    with torch.inference_mode():
        features = model.features(images)
        assert features.shape == (2, 32, -(-size[0] // 4), -(-size[1] // 4))
        assert model.classifier.in_channels == 32
        logits = model(images)
        assert logits.shape == (2, 5, *size)
        assert logits.dtype == torch.float32
        # What scoring computes from the features is what the model says.
        torch.testing.assert_close(model.logits(features, size), logits)


def test_images_of_a_batch_do_not_mix(model: Segmenter) -> None:
    images = draw(75, 101)
    with torch.inference_mode():
        torch.testing.assert_close(model(images)[1:], model(images[1:]), atol=1e-4, rtol=1e-4)


@every_architecture
def test_state_goes_through_a_dictionary(architecture: str) -> None:
    model, other = (build(architecture, seed).eval() for seed in (0, 1))
    images = draw()
    with torch.inference_mode():
        assert not torch.equal(other(images), model(images))
        other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
        assert torch.equal(other(images), model(images))


@every_architecture
def test_dropout_acts_in_training_and_in_stochastic_passes_only(architecture: str) -> None:
    model = build(architecture, dropout=0.5).eval()
    images = draw()
    with torch.inference_mode():
        assert torch.equal(model(images), model(images))
        encoded = model.encode(model.normalise(images))
        plain = model.decode(encoded, stochastic=False)
        passes = [model.drop(model.decode(encoded, stochastic=True), 0.5) for _ in range(2)]
        torch.testing.assert_close(plain, model.features(images))
        assert not torch.equal(*passes)
        model.train()
        assert not torch.equal(model(images), model(images))


@every_architecture
def test_head_is_drawn_from_the_seed_and_leaves_the_global_generator_alone(architecture: str) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (build(architecture, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@every_architecture
def test_every_parameter_of_the_head_learns_and_a_frozen_backbone_does_not(architecture: str) -> None:
    model = build(architecture)
    model.freeze_backbone()
    model.train()
    backbone = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    model(draw()).square().mean().backward()
    assert model.head_parameters()
    assert all(p.grad is not None for p in model.head_parameters())
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(torch.equal(tensor, backbone[name]) for name, tensor in model.backbone.state_dict().items())


# What a configuration names, and architectures from outside the package

PLUGIN = """
import torch
from torch import nn

from raylab.models import Segmenter, register_model


class Plain(Segmenter):
    def __init__(self, config, n_classes):
        super().__init__(config, n_classes, (4, config.output_stride), config.output_stride)
        self.reduce = nn.Conv2d(self.backbone_channels[0], config.channels, 1)
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)

    def encode(self, images):
        return (self.backbone(images)[0],)

    def decode(self, encoded, stochastic):
        return self.reduce(encoded[0])


register_model("plain", Plain)
"""


def test_an_unknown_architecture_is_told_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"^model\.architecture: no architecture 'deeplabv3'; did you mean 'deeplabv3\+'"
    ):
        build("deeplabv3")
    with pytest.raises(ConfigError, match=r"no architecture 'unet'; there are deeplabv3\+, fpn"):
        model_builder(ModelConfig(architecture="unet"))


def test_registered_by_a_module_it_is_built_like_any_other(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "plain_of_a_test.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        plain = __import__("plain_of_a_test").Plain
        model = build("plain").eval()
        assert isinstance(model, plain)
        for size in SIZES:
            test_any_size_gives_logits_of_that_size_and_features_at_stride_4(model, size)
        test_dropout_acts_in_training_and_in_stochastic_passes_only("plain")
        test_every_parameter_of_the_head_learns_and_a_frozen_backbone_does_not("plain")
        register_model("plain", plain)
        for name in ("plain", "fpn"):
            with pytest.raises(ConfigError, match=f"architecture: '{name}' is registered already, as something"):
                register_model(name, lambda config, n_classes: plain(config, n_classes))
    finally:
        ARCHITECTURES._rows.pop("plain", None)
        sys.modules.pop("plain_of_a_test", None)
    with pytest.raises(ConfigError, match="'' cannot be a name"):
        register_model("", ARCHITECTURES["fpn"])


def test_a_builder_that_gives_no_segmenter_is_refused(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(ARCHITECTURES._rows, "linear", lambda config, n_classes: torch.nn.Linear(1, n_classes))
    with pytest.raises(
        ConfigError, match=r"the builder of 'linear' returned a Linear, which is no raylab\.models\.Seg"
    ):
        build("linear")
