"""Gini impurity as a per-pixel uncertainty."""

import torch
from torch import Tensor

from raylab.scoring.uncertainty import register_map


def gini(logits: Tensor) -> Tensor:
    """1 - sum_c p_c^2.

    Args:
        logits: (B, C, H, W) float32.

    Returns:
        (B, H, W) float32, 0 where the model is certain.
    """
    return 1 - torch.softmax(logits, dim=1).square().sum(1)


register_map("gini", gini)
