"""Per-pixel uncertainty maps of a softmax posterior, or of a committee of them (docs/definitions.md). Plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
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
"""Maps of one posterior, by the name that strategies use."""


class Committee:
    """Running sums over the posteriors of stochastic passes and ensemble members; memory does not grow with them."""

    def __init__(self) -> None:
        self.members = 0
        self._mean: Tensor | None = None
        self._entropies: Tensor | None = None
        self._votes: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """Take a member's logits (B, C, H, W)."""
        p, h = torch.softmax(logits, dim=1), entropy(logits)
        votes = F.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2).to(p.dtype)
        if self._mean is None or self._entropies is None or self._votes is None:
            self._mean, self._entropies, self._votes = torch.zeros_like(p), torch.zeros_like(h), torch.zeros_like(p)
        self._mean += p
        self._entropies += h
        self._votes += votes
        self.members += 1

    def bald(self) -> Tensor:
        """Mutual information of the prediction and the model, H(mean of p) - mean of H(p): (B, H, W), 0 or more."""
        assert self._mean is not None
        assert self._entropies is not None
        # Rounding can leave a little less than nothing where all members agree.
        return (_entropy_of(self._mean / self.members) - self._entropies / self.members).clamp(min=0)

    def vote_entropy(self) -> Tensor:
        """Entropy of the share of members that vote for each class: (B, H, W), in nats."""
        assert self._votes is not None
        return _entropy_of(self._votes / self.members)


COMMITTEE_MAPS: dict[str, Callable[[Committee], Tensor]] = {
    "bald": Committee.bald,
    "vote_entropy": Committee.vote_entropy,
}
"""Maps of a committee, by the name that strategies use."""


def _entropy_of(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(1)
