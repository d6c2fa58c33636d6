"""How long work tells where it is; what is done with it is decided by whoever started the work."""

from __future__ import annotations

import resource
import sys
from typing import Protocol


class Progress(Protocol):
    """Takes note of progress within one stage of one round; cheap enough to be called after every step.

    Attributes:
        round_index: the round that notes belong to; set by the loop.
    """

    round_index: int

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take note.

        Args:
            stage: `train`, `score`, `select` or `committed`.
            done: units of work done.
            total: units in all.
            note: what else a person would like to see, e.g. the loss.
        """
        ...


def peak_memory() -> int:
    """Bytes of the largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
