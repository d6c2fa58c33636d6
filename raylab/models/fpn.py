"""FPN (Kirillov et al., CVPR 2019), for Table I: segmentation_models_pytorch's decoder on a timm backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models.segmenter import STRIDE, Segmenter

_STRIDES = (4, 8, 16, 32)
_GROUPS = 32


class FPN(Segmenter):
    """Feature pyramid at strides 4 to 32, summed at stride 4.

    The pyramid doubles each level, so images are padded to a multiple of 32 with the mean colour, and what comes of
    the padding is cut off.

    Raises:
        ConfigError: the channels are no multiple of 32.
    """

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        if config.channels % _GROUPS:
            raise ConfigError(
                f"model.channels: {config.channels} is no multiple of {_GROUPS}, which FPN's group norms need; "
                f"choose {-(-config.channels // _GROUPS) * _GROUPS}"
            )
        super().__init__(config, n_classes, _STRIDES, _STRIDES[-1])
        from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder  # imports timm, see segmenter

        self.decoder = FPNDecoder(
            self.backbone_channels,
            pyramid_channels=config.channels,
            segmentation_channels=config.channels,
            dropout=0.0,  # its own would not tell training from a stochastic pass
        )
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Segmenter.encode`: the pyramid too, since only the classifier's input is dropped."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % _STRIDES[-1], 0, -height % _STRIDES[-1]))
        features: Tensor = self.decoder(self.backbone(padded))
        return (features[:, :, : -(-height // STRIDE), : -(-width // STRIDE)],)

    def decode(self, encoded: tuple[Tensor, ...], stochastic: bool) -> Tensor:
        """See `Segmenter.decode`."""
        return encoded[0]

    def logits(self, features: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """See `Segmenter.logits`; a cell is 4 x 4 pixels, also where the image ends within it."""
        whole = (STRIDE * features.shape[2], STRIDE * features.shape[3])
        return super().logits(features, whole)[:, :, : size[0], : size[1]]
