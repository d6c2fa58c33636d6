"""What tests give as a `raylab.progress.Progress`."""

from __future__ import annotations


class Silent:
    """Takes no note."""

    round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...
