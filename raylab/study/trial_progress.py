"""What a trial tells while it runs: its progress to the collector, and every round that is evaluated to Ray Tune."""

from __future__ import annotations

from typing import Any

from ray import tune

from raylab.files import Folder
from raylab.runs import ResolvedRun, RunStore
from raylab.study.collector import CollectedProgress
from raylab.tracking.payload import metrics

NAMES = ("miou", "labelled_percent", "annotated_images", "spent")
"""What of a round's metrics becomes a result, beside seconds."""


class TrialProgress(CollectedProgress):
    """A `Progress` within a trial of Tune; pickles into workers as what it is there: a `CollectedProgress`.

    Args:
        collector: actor handle of the `ProgressCollector`.
        task: of the trial.
        run: whose rounds are reported; None where the task is none.
        store: of the results.

    Attributes:
        result: the one reported last.
    """

    def __init__(self, collector: Any, task: str, run: ResolvedRun | None, store: Folder) -> None:
        super().__init__(collector, task)
        self.rounds = RunStore(store, run) if run else None
        self.result: dict[str, Any] = {}
        self.reported = 0

    def __reduce__(self) -> Any:
        return CollectedProgress, (self.collector, self.run, self.round_index)

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See `raylab.progress.Progress`."""
        if stage == "committed":
            self.report()
        super().__call__(stage, done, total, note)

    def report(self) -> None:
        """Give Tune the rounds that the store holds and it does not have, those from before a restart too."""
        while self.rounds and (result := round_result(self.rounds, self.reported)):
            tune.report(result)
            self.result = result
            self.reported += 1


def round_result(rounds: RunStore, index: int) -> dict[str, Any] | None:
    """What a round came to: miou, what is labelled, and seconds.STAGE from the round before to its mIoU.

    Args:
        rounds: of the run.
        index: t.

    Returns:
        None where the round is not evaluated, or there is none.
    """
    if index > len(rounds.config.budget.rounds):
        return None
    round_store = rounds.round(index)
    select, train = round_store.record("select"), round_store.record("train")
    if select is None or train is None:
        return None
    found = dict([*metrics("select", select), *metrics("train", train)])
    needed = rounds.run.acquisition.maps or rounds.run.acquisition.needs_features
    if index and needed and (score := rounds.scores(index - 1).record("score")):
        found |= dict(metrics("score", score))
    names = [name for name in found if name in NAMES or name.startswith("seconds.")]
    return {
        "round_index": index,
        "labelled_regions": select["labelled_regions"],
        **{name: found[name] for name in names},
    }
