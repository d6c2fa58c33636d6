"""What joins files and configuration: the rounds of a run, the studies, past picks computed again."""

from raylab.runs.rounds import RoundStore, RunStore

__all__ = ["RoundStore", "RunStore"]
