"""Per-pixel uncertainty maps of a softmax posterior, or of a committee of them (docs/definitions.md). Plain torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from raylab.errors import ConfigError
from raylab.plugins import Registry
from raylab.regions.table import RESERVED_COLUMNS


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

    @property
    def posterior(self) -> Tensor:
        """(B, C, H, W): the mean of the members' posteriors."""
        return self._of(self._mean)

    @property
    def mean_entropy(self) -> Tensor:
        """(B, H, W): the mean of the entropies of the members' posteriors, in nats."""
        return self._of(self._entropies)

    @property
    def votes(self) -> Tensor:
        """(B, C, H, W): the share of the members that each class is the most probable one of."""
        return self._of(self._votes)

    def _of(self, total: Tensor | None) -> Tensor:
        assert total is not None, "a committee without members"
        return total / self.members


def bald(committee: Committee) -> Tensor:
    """Mutual information of the prediction and the model, H(mean of p) - mean of H(p): (B, H, W), 0 or more."""
    # Rounding can leave a little less than nothing where all members agree.
    return (_entropy_of(committee.posterior) - committee.mean_entropy).clamp(min=0)


def vote_entropy(committee: Committee) -> Tensor:
    """Entropy of the share of members that vote for each class: (B, H, W), in nats."""
    return _entropy_of(committee.votes)


def _entropy_of(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(1)


@dataclass(frozen=True)
class UncertaintyMap:
    """A per-pixel map.

    Attributes:
        function: from logits (B, C, H, W) float32, or from a `Committee`, to (B, H, W) float.
        committee: whether it takes a committee of models or passes, instead of one model's logits.
    """

    function: Callable[[Any], Tensor]
    committee: bool = False


MAPS = Registry(
    "map",
    {
        "entropy": UncertaintyMap(entropy),
        "margin": UncertaintyMap(margin),
        "least_confidence": UncertaintyMap(least_confidence),
        "bald": UncertaintyMap(bald, committee=True),
        "vote_entropy": UncertaintyMap(vote_entropy, committee=True),
    },
)
"""Every per-pixel map by the name that strategies use; plugins add theirs by `register_map`."""


def register_map(name: str, function: Callable[[Any], Tensor], committee: bool = False) -> None:
    """Add a per-pixel map, in a module that the configuration names under `plugins` or a package as an entry point.

    Args:
        name: lower-case letters, digits and `_`; it is a column of region tables.
        function: from logits (B, C, H, W) float32 to (B, H, W) float, larger where labels are wanted more; it is tried
            on a few pixels.
        committee: whether the function takes a `Committee` instead of logits.

    Raises:
        ConfigError: the name cannot be one or another map has it, or the function gives something else.

    Example:
        In a plugin, the share of the committee that votes against the majority:

            def variation_ratio(committee: Committee) -> Tensor:
                return 1 - committee.votes.amax(1)

            register_map("variation_ratio", variation_ratio, committee=True)
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED_COLUMNS:
        raise ConfigError(
            f"map: {name!r} cannot be a name; use lower-case letters, digits and _, and none of "
            f"{', '.join(sorted(RESERVED_COLUMNS))}"
        )
    row = UncertaintyMap(function, committee)
    MAPS.register(name, row, behaviour=_try(name, row))


def _try(name: str, row: UncertaintyMap) -> str:
    """What a function gives on a few pixels, to a hundredth: a processor's rounding is no part of what it does.

    Raises:
        ConfigError: it does not give a finite number a pixel.
    """
    logits = torch.linspace(-3, 3, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    committee = Committee()
    for member in (logits, logits.flip(1)):
        committee.add(member)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            values = row.function(committee if row.committee else logits)
    except Exception as error:  # a user's function raises what it likes
        raise ConfigError(f"map: {name!r} failed on three classes: {type(error).__name__}: {error}") from None
    if not (isinstance(values, Tensor) and values.shape == (2, 4, 5) and values.is_floating_point()):
        got = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ConfigError(f"map: {name!r} must give a float tensor (B, H, W) = (2, 4, 5) here, and gave {got}")
    if not values.isfinite().all():
        raise ConfigError(f"map: {name!r} gave values that are not finite")
    return str([round(100 * value) for value in values.double().flatten().tolist()])
