"""DeepLabv3+ as Chen et al. (ECCV 2018) draw it, on any timm backbone with features at strides 4 and 16.

smp's head has one separable convolution where the paper has two, and refuses sizes that are no multiple of its stride.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.models.segmenter import STRIDE, Segmenter

_LOW_LEVEL_CHANNELS = 48


def _conv(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, inputs, 3, dilation, groups=inputs), _conv(inputs, outputs))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three atrous separable 3x3 and the image's mean, projected to one map."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv(inputs, outputs), *(_separable(inputs, outputs, r) for r in rates)])
        self.pooled = _conv(inputs, outputs)
        self.project = _conv(outputs * (len(rates) + 2), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        mean = self.pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), mean], dim=1))


class DeepLabV3Plus(Segmenter):
    """Backbone, ASPP with dropout after it, and decoder at stride 4."""

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        super().__init__(config, n_classes, (STRIDE, config.output_stride), config.output_stride)
        low, high = self.backbone_channels
        self.aspp_dropout = config.aspp_dropout
        self.aspp = ASPP(high, config.channels, config.atrous_rates)
        self.low_level = _conv(low, _LOW_LEVEL_CHANNELS)
        self.decoder = nn.Sequential(
            _separable(config.channels + _LOW_LEVEL_CHANNELS, config.channels),
            _separable(config.channels, config.channels),
        )
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Segmenter.encode`."""
        low, high = self.backbone(images)
        return self.low_level(low), self.aspp(high)

    def decode(self, encoded: tuple[Tensor, ...], stochastic: bool) -> Tensor:
        """See `Segmenter.decode`."""
        low, high = encoded
        high = self.drop(high, self.aspp_dropout if stochastic else 0)
        high = F.interpolate(high, size=low.shape[2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([high, low], dim=1))
