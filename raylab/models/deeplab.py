"""DeepLabv3+ as Chen et al. (ECCV 2018) draw it, on any timm backbone with features at strides 4 and 16.

smp's head has one separable convolution where the paper has two, and refuses sizes that are no multiple of its stride.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raylab.config import ModelConfig
from raylab.errors import ConfigError
from raylab.models.weights import load_backbone_weights

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


class DeepLabV3Plus(nn.Module):
    """Encoder, ASPP and decoder; takes uint8 images of any size and normalises them itself.

    Attributes:
        mean_colour: (3,) uint8, the colour images are padded with: it normalises to about zero.
    """

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        super().__init__()
        self.frozen = False
        self.backbone, low, high = _backbone(config)
        import timm  # two seconds of imports, which the processes that only drive a run need not spend

        normalisation = timm.get_pretrained_cfg(config.backbone, allow_unregistered=True)
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            values = torch.tensor(getattr(normalisation, name)) * 255
            self.register_buffer(name, values[:, None, None], persistent=False)
        self.aspp = ASPP(high, config.channels, config.atrous_rates)
        self.low_level = _conv(low, _LOW_LEVEL_CHANNELS)
        self.decoder = nn.Sequential(
            _separable(config.channels + _LOW_LEVEL_CHANNELS, config.channels),
            _separable(config.channels, config.channels),
        )
        self.classifier = nn.Conv2d(config.channels, n_classes, 1)

    def freeze_backbone(self) -> None:
        """Keep the backbone as it is: no gradients, and its batch norms use their running averages."""
        self.backbone.requires_grad_(False)
        self.frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> DeepLabV3Plus:
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
        """The parameters that do not come pre-trained."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def features(self, images: Tensor) -> Tensor:
        """The decoder's last layer before the classifier.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, channels, ceil(H / 4), ceil(W / 4)).
        """
        x = (images.float() - self.mean) / self.std
        if images.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        low, high = self.backbone(x)
        low = self.low_level(low)
        high = F.interpolate(self.aspp(high), size=low.shape[2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([high, low], dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' own size.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, classes, H, W) float32.
        """
        return self.logits(self.features(images), images.shape[2:])

    def logits(self, features: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """(B, classes, *size) float32 logits of decoder features."""
        return F.interpolate(self.classifier(features).float(), size=tuple(size), mode="bilinear", align_corners=False)


def _backbone(config: ModelConfig) -> tuple[nn.Module, int, int]:
    import timm

    try:
        probe: Any = timm.create_model(config.backbone, features_only=True, output_stride=config.output_stride)
        strides, channels = probe.feature_info.reduction(), probe.feature_info.channels()
        low, high = strides.index(4), len(strides) - 1
        backbone = timm.create_model(
            config.backbone, features_only=True, output_stride=config.output_stride, out_indices=(low, high)
        )
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"model.backbone: {config.backbone!r} gives no features at strides 4 and {config.output_stride} "
            f"({str(error).splitlines()[0]}); see timm.list_models()"
        ) from None
    load_backbone_weights(backbone, config.backbone, config.weights)
    return backbone, channels[low], channels[high]


def build_model(config: ModelConfig, n_classes: int, seed: int) -> DeepLabV3Plus:
    """A model with pre-trained backbone and a head drawn from the seed.

    Args:
        config: backbone, weights and head.
        n_classes: channels of the logits.
        seed: of the head's initial weights (and of the backbone's where `weights` is `random`).

    Raises:
        ConfigError: the backbone is unknown or has no such strides.
        WeightsError: its weights are not to be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DeepLabV3Plus(config, n_classes)
