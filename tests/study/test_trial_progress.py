"""What Ray Tune is told of a run's rounds."""

from __future__ import annotations

import pickle

from raylab.runs import RunStore
from raylab.study.collector import CollectedProgress
from raylab.study.trial_progress import TrialProgress, round_result
from tests.configs import resolved_runs
from tests.studies import Finished


def test_a_result_is_what_the_round_committed(finished: Finished) -> None:
    random, spatial, _ = (RunStore(finished.store, run) for run in resolved_runs(finished.config))
    for rounds in (random, spatial):
        for t in range(3):
            found, train = round_result(rounds, t), rounds.round(t).record("train")
            assert found is not None
            assert train is not None
            assert (found["round_index"], found["miou"]) == (t, train["miou"])
            assert found["labelled_regions"] == (12, 24, 48)[t]
            assert ("seconds.score" in found) == (t > 0 and rounds is spatial)
            assert {"seconds.select", "seconds.train", "seconds.evaluate", "annotated_images"} < found.keys()
        assert round_result(rounds, 3) is None


def test_a_round_that_is_not_evaluated_is_no_result(finished: Finished) -> None:
    config = finished.config.model_copy(update={"seeds": (7,)})
    assert round_result(RunStore(finished.store, resolved_runs(config)[0]), 0) is None


def test_workers_get_a_progress_that_reports_nothing(finished: Finished) -> None:
    progress = TrialProgress("collector", "task", resolved_runs(finished.config)[0], finished.store)
    progress.round_index = 2
    sent = pickle.loads(pickle.dumps(progress))
    assert type(sent) is CollectedProgress
    assert (sent.collector, sent.run, sent.round_index) == ("collector", "task", 2)
