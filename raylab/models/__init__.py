"""DeepLabv3+ and FPN on timm backbones, and the pre-trained weights they start from. Plain torch."""

from raylab.models.registry import build_model
from raylab.models.segmenter import Segmenter

__all__ = ["Segmenter", "build_model"]
