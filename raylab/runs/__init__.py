"""What joins files and configuration: the rounds of a run, the studies, past picks computed again."""

from raylab.runs.identity import Inputs, ResolvedRun, resolve
from raylab.runs.rounds import RoundStore, RunStore
from raylab.runs.studies import ResolvedStudy, resolve_study, stored_study

__all__ = [
    "Inputs",
    "ResolvedRun",
    "ResolvedStudy",
    "RoundStore",
    "RunStore",
    "resolve",
    "resolve_study",
    "stored_study",
]
