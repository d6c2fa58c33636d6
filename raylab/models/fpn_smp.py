"""FPN as segmentation_models_pytorch has it: levels summed, group norms in the head."""

from __future__ import annotations

from torch import nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models.fpn import STRIDES, PyramidSegmenter

_GROUPS = 32


class SmpFPN(PyramidSegmenter):
    """Feature pyramid at strides 4 to 32, summed at stride 4.

    Raises:
        ConfigError: the channels are no multiple of 32.
    """

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        if config.channels % _GROUPS:
            raise ConfigError(
                f"model.channels: {config.channels} is no multiple of {_GROUPS}, which fpn-smp's group norms need; "
                f"choose {-(-config.channels // _GROUPS) * _GROUPS}"
            )
        super().__init__(config, n_classes, STRIDES, STRIDES[-1])
        from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder  # imports timm, see segmenter

        self.pyramid = FPNDecoder(
            self.backbone_channels,
            pyramid_channels=config.channels,
            segmentation_channels=config.channels,
            dropout=0.0,  # its own would not tell training from a stochastic pass
        )
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)
