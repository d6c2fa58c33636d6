"""DeepLabv3+ and FPN on timm backbones, and the pre-trained weights they start from. Plain torch."""

from raylab.models.registry import ARCHITECTURES, build_model, model_builder, register_model
from raylab.models.segmenter import Segmenter

__all__ = ["ARCHITECTURES", "Segmenter", "build_model", "model_builder", "register_model"]
