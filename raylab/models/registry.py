"""A model by its configuration: architecture, backbone, weights, and a head drawn from the seed."""

from __future__ import annotations

import logging

import torch

from raylab.config import ModelConfig
from raylab.models.deeplab import DeepLabV3Plus
from raylab.models.fpn import FPN
from raylab.models.segmenter import Segmenter
from raylab.models.weights import load_weights

ARCHITECTURES: dict[str, type[DeepLabV3Plus] | type[FPN]] = {"deeplabv3+": DeepLabV3Plus, "fpn": FPN}
"""By the name used in the configuration."""

_log = logging.getLogger(__name__)


def build_model(config: ModelConfig, n_classes: int, seed: int) -> Segmenter:
    """A model with pre-trained weights and a head drawn from the seed; where they came from is said in the log.

    Args:
        config: architecture, backbone, weights and head.
        n_classes: channels of the logits.
        seed: of the head's initial weights (and of the backbone's where `weights` is `random`).

    Raises:
        ConfigError: the backbone is unknown or has no such strides.
        WeightsError: its weights are not to be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ARCHITECTURES[config.architecture](config, n_classes)
    if config.weights != "random":
        model.weights_source = load_weights(model, config.backbone, config.weights)
    _log.info("%s on %s, weights %s", config.architecture, config.backbone, model.weights_source)
    return model
