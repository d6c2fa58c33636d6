"""Per-pixel uncertainty maps of a softmax posterior (docs/definitions.md). Plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy -sum_c p_c ln p_c in nats.

    Args:
        logits: (B, C, H, W) float32.

    Returns:
        (B, H, W) float32, in 0..ln C. A class of probability 0 adds 0, never NaN: ln p is taken from the logits.
    """
    log_p = torch.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(1)


def margin(logits: Tensor) -> Tensor:
    """1 minus the gap between the two most probable classes: (B, C, H, W) -> (B, H, W) float32 in 0..1."""
    top = torch.softmax(logits, dim=1).topk(2, dim=1).values
    return 1 - (top[:, 0] - top[:, 1])


def least_confidence(logits: Tensor) -> Tensor:
    """1 minus the largest probability: (B, C, H, W) -> (B, H, W) float32 in 0..1."""
    return 1 - torch.softmax(logits, dim=1).amax(1)


UNCERTAINTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "entropy": entropy,
    "margin": margin,
    "least_confidence": least_confidence,
}
"""By the name used in the configuration."""
