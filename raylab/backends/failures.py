"""What the failures of Ray mean to the person who waits, in one line each."""

from __future__ import annotations

from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.train import TrainingFailedError

from raylab.errors import causes, known_cause

_LESS = "lower concurrent_runs, compute.scorers, compute.workers or a batch size, or give it more memory"
_OUT_OF_MEMORY = f"a process of it was killed because the machine has no more memory; {_LESS}"
_ENDED = f"a process of it ended unexpectedly, as when the system kills one for want of memory; {_LESS}"


def failure_reason(error: BaseException) -> str:
    """Why something failed on Ray.

    Args:
        error: as Ray, Ray Data, Ray Train or Ray Tune raised it.

    Returns:
        The message of the error that the user can fix where there is one inside; else one line, without what Ray adds.
    """
    if known := known_cause(error):
        return str(known)
    if out_of_memory(error):
        return _OUT_OF_MEMORY
    all_causes = list(causes(error))
    if any(isinstance(one, (ActorDiedError, ActorUnavailableError, WorkerCrashedError)) for one in all_causes):
        return _ENDED
    if any(isinstance(one, NodeDiedError) for one in all_causes):
        return "the machine that a process of it ran on was lost; the same command goes on with it"
    own = [one for one in all_causes if not isinstance(one, (RayTaskError, TrainingFailedError))]
    cause = own[0] if own else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__


def out_of_memory(error: BaseException) -> bool:
    """Whether Ray killed a process because its machine had no more memory."""
    return any(isinstance(one, OutOfMemoryError) for one in causes(error))
