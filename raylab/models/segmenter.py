"""What every model of raylab is: a timm backbone, a decoder whose output is the region features, a classifier."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError

STRIDE = 4
"""Of the decoder's features."""


class Segmenter(nn.Module):
    """Takes uint8 images of any size, normalises them itself, and gives logits of the images' own size.

    A subclass builds its decoder and defines `encode` and `decode`.

    Args:
        config: backbone and head.
        n_classes: channels of the logits.
        strides: of the backbone's features that the decoder takes, rising.
        output_stride: of the backbone's last features.

    Attributes:
        classifier: the last layer.
        mean_colour: (3,) uint8, the colour images are padded with: it normalises to about zero.
        weights_source: where the weights came from.
        weights_sha256: of their bytes; None where they were drawn.
    """

    classifier: nn.Conv2d

    def __init__(self, config: ModelConfig, n_classes: int, strides: tuple[int, ...], output_stride: int) -> None:
        super().__init__()
        self.frozen = False
        self.weights_source = "none: initialised at random"
        self.weights_sha256: str | None = None
        self.dropout = config.dropout
        self.backbone, self.backbone_channels = _backbone(config.backbone, strides, output_stride)
        import timm  # two seconds of imports, which the processes that only drive a run need not spend

        normalisation = timm.get_pretrained_cfg(config.backbone, allow_unregistered=True)
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            values = torch.tensor(getattr(normalisation, name)) * 255
            self.register_buffer(name, values[:, None, None], persistent=False)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """What no dropout touches, of normalised images: computed once for all stochastic passes.

        Args:
            images: (B, 3, H, W) float32.
        """
        raise NotImplementedError

    def decode(self, encoded: tuple[Tensor, ...], stochastic: bool) -> Tensor:
        """(B, channels, h, w) decoder features; `stochastic` drops within the decoder, where the architecture does."""
        raise NotImplementedError

    def freeze_backbone(self) -> None:
        """Keep the backbone as it is: no gradients, and its batch norms use their running averages."""
        self.backbone.requires_grad_(False)
        self.frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Segmenter:
        """As for any module, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    @property
    def mean_colour(self) -> Tensor:
        """(3,) uint8 RGB that normalises to about zero."""
        return self.mean.flatten().round().to(torch.uint8).cpu()

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters that do not come with the backbone."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB -> float32 as the backbone was trained on, in the memory format of the images."""
        x = (images.to(self.mean.dtype) - self.mean) / self.std
        if images.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def features(self, images: Tensor) -> Tensor:
        """The decoder's last layer before the classifier.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, channels, ceil(H / 4), ceil(W / 4)).
        """
        return self.decode(self.encode(self.normalise(images)), self.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' own size.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, classes, H, W) float32.
        """
        dropped = self.drop(self.features(images), self.dropout if self.training else 0)
        return self.logits(dropped, images.shape[2:])

    def logits(self, features: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """(B, classes, *size) float32 logits of decoder features."""
        small = self.classifier(features)
        small = small.to(torch.promote_types(small.dtype, torch.float32))
        return F.interpolate(small, size=tuple(size), mode="bilinear", align_corners=False)

    @staticmethod
    def drop(x: Tensor, share: float) -> Tensor:
        """`x` with a share of it dropped, whatever mode the model is in."""
        return F.dropout(x, share) if share else x


def _backbone(name: str, strides: tuple[int, ...], output_stride: int) -> tuple[nn.Module, list[int]]:
    import timm

    try:
        probe: Any = timm.create_model(name, features_only=True, output_stride=output_stride)
        there, channels = probe.feature_info.reduction(), probe.feature_info.channels()
        indices = [there.index(stride) for stride in strides[:-1]]
        indices.append(len(there) - 1)
        if there[-1] != strides[-1]:
            raise ValueError(f"its last features have stride {there[-1]}")
        backbone = timm.create_model(name, features_only=True, output_stride=output_stride, out_indices=tuple(indices))
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        wanted = ", ".join(map(str, strides))
        raise ConfigError(
            f"model.backbone: {name!r} gives no features at strides {wanted} "
            f"({str(error).splitlines()[0]}); see timm.list_models()"
        ) from None
    return backbone, [channels[index] for index in indices]
