"""The architectures by name, and a model by its configuration: backbone, weights, and a head drawn from the seed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models.deeplab import DeepLabV3Plus
from raylab.models.fpn import FPN
from raylab.models.fpn_smp import SmpFPN
from raylab.models.segmenter import Segmenter
from raylab.models.weights import load_weights
from raylab.plugins import Registry

ModelBuilder = Callable[[ModelConfig, int], Segmenter]
"""Takes the configuration and the number of classes; draws its head's weights from torch's global generator, which is
seeded around the call. `config.channels` is the number of channels that its `features` have."""

_ROWS: dict[str, ModelBuilder] = {"deeplabv3+": DeepLabV3Plus, "fpn": FPN, "fpn-smp": SmpFPN}
ARCHITECTURES = Registry("architecture", _ROWS)
"""By the name that `model.architecture` gives; tests try every one of them."""

_log = logging.getLogger(__name__)


def register_model(name: str, builder: ModelBuilder) -> None:
    """Add an architecture, so that `model.architecture` may name it.

    Call it in a module that every process imports (`plugins` of the configuration): workers build the model too.

    Args:
        name: for `model.architecture`; decides, with the other fields of `model` and the code of the builder, the
            identity of a run.
        builder: makes the model, such as a subclass of `Segmenter` itself.

    Raises:
        ConfigError: another architecture has the name, or it cannot be one.
    """
    if not name or name != name.strip():
        raise ConfigError(f"register_model: {name!r} cannot be a name; give one without spaces around it")
    ARCHITECTURES.register(name, builder)


def build_model(config: ModelConfig, n_classes: int, seed: int) -> Segmenter:
    """A model with pre-trained weights and a head drawn from the seed; where they came from is said in the log.

    Args:
        config: architecture, backbone, weights and head.
        n_classes: channels of the logits.
        seed: of the head's initial weights (and of the backbone's where `weights` is `random`).

    Raises:
        ConfigError: the architecture is unknown, or the backbone is unknown or has no such strides.
        WeightsError: its weights could not be loaded or do not fit.
    """
    builder = model_builder(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = builder(config, n_classes)
    if not isinstance(model, Segmenter):
        raise ConfigError(
            f"model.architecture: the builder of {config.architecture!r} returned a {type(model).__name__}, "
            "which is no raylab.models.Segmenter; derive the model from it"
        )
    if config.weights != "random":
        model.weights_source, model.weights_sha256 = load_weights(model, config.backbone, config.weights)
    _log.info(
        "%s on %s, weights %s (sha256 %s)",
        config.architecture,
        config.backbone,
        model.weights_source,
        model.weights_sha256,
    )
    return model


def model_builder(config: ModelConfig) -> ModelBuilder:
    """What makes the architecture that a configuration names.

    Raises:
        ConfigError: it is unknown; the nearest name is told.
    """
    return ARCHITECTURES.find(config.architecture, "model.architecture")
