"""DeepLabv3+ on timm backbones, and the pre-trained weights they start from. Plain torch."""

from raylab.models.deeplab import DeepLabV3Plus, build_model

__all__ = ["DeepLabV3Plus", "build_model"]
