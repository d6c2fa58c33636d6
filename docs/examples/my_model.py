"""The smallest decoder that raylab can train: two levels of the backbone, projected and added."""

import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.models import Segmenter, register_model


class TwoLevels(Segmenter):
    """Stride 4 for the outlines, stride 16 for the meaning."""

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        super().__init__(config, n_classes, strides=(4, 16), output_stride=16)
        fine, coarse = self.backbone_channels
        self.fine = nn.Conv2d(fine, config.channels, 1)
        self.coarse = nn.Conv2d(coarse, config.channels, 1)
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Segmenter.encode`: nothing is dropped before the classifier, so this is all of it."""
        fine, coarse = self.backbone(images)
        upsampled = F.interpolate(self.coarse(coarse), size=fine.shape[2:], mode="bilinear", align_corners=False)
        return (F.relu(self.fine(fine) + upsampled),)

    def decode(self, encoded: tuple[Tensor, ...], stochastic: bool) -> Tensor:
        """See `Segmenter.decode`."""
        return encoded[0]


register_model("two-levels", TwoLevels)
