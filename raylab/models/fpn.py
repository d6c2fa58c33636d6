"""FPN as RALIS has it (Casanova et al., ICLR 2020; after Kirillov et al., CVPR 2019), for Table I."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models.segmenter import STRIDE, Segmenter

STRIDES = (4, 8, 16, 32)


class PyramidSegmenter(Segmenter):
    """What the two FPNs share: a pyramid over strides 4 to 32 in `pyramid`, whose output at stride 4 are the features.

    The pyramid doubles each level, so images are padded to a multiple of 32 with the mean colour, and what comes of
    the padding is cut off.
    """

    pyramid: nn.Module

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Segmenter.encode`: the pyramid too, since only the classifier's input is dropped."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        features: Tensor = self.pyramid(self.backbone(padded))
        return (features[:, :, : -(-height // STRIDE), : -(-width // STRIDE)],)

    def decode(self, encoded: tuple[Tensor, ...], stochastic: bool) -> Tensor:
        """See `Segmenter.decode`."""
        return encoded[0]

    def logits(self, features: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """See `Segmenter.logits`; a cell is 4 x 4 pixels, also where the image ends within it."""
        whole = (STRIDE * features.shape[2], STRIDE * features.shape[3])
        return super().logits(features, whole)[:, :, : size[0], : size[1]]


class FPN(PyramidSegmenter):
    """Four levels of a quarter of the channels each, concatenated; a 3 x 3 classifier; no norms in the head.

    Raises:
        ConfigError: the channels are no multiple of 4.
    """

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        levels = len(STRIDES)
        if config.channels % levels:
            raise ConfigError(
                f"model.channels: {config.channels} is no multiple of {levels}, and FPN's {levels} levels share them; "
                f"choose {-(-config.channels // levels) * levels}"
            )
        super().__init__(config, n_classes, STRIDES, STRIDES[-1])
        self.pyramid = _Pyramid(self.backbone_channels, config.channels // levels)
        self.classifier = nn.Conv2d(config.channels, n_classes, 3, padding=1)


class _Pyramid(nn.Module):
    def __init__(self, inputs: list[int], channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.lateral = nn.ModuleList(nn.Conv2d(n, inner, 1) for n in inputs)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU(inplace=True),
                nn.Conv2d(inner, channels, 3, padding=1), nn.ReLU(inplace=True),
            )
            for _ in inputs
        )  # fmt: skip
        # The finest level is not enlarged.
        self.enlarged = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in inputs[1:])

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Features at strides 4, 8, 16 and 32 -> (B, 4 * channels, h, w) at stride 4, the coarsest first."""
        sums: list[Tensor] = []
        for lateral, level in zip(reversed(self.lateral), reversed(levels), strict=True):
            x = lateral(level)
            sums.append(x if not sums else x + _enlarge(sums[-1], x))
        *coarse, finest = (smooth(x) for smooth, x in zip(reversed(self.smooth), sums, strict=True))
        enlarged = (conv(_enlarge(x, finest)) for conv, x in zip(reversed(self.enlarged), coarse, strict=True))
        return torch.cat([*enlarged, finest], dim=1)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
