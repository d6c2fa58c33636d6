"""Algorithm 1 with every kind of budget, region and committee, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, ModelConfig, RegionConfig, RunConfig, ScoringConfig
from raylab.data import open_dataset
from raylab.errors import BudgetError
from raylab.files import Folder
from raylab.labels.cost import Prices
from raylab.lease import LEASES
from raylab.loop import Loop
from raylab.pool import known_regions
from raylab.runs import ResolvedRun, RunStore
from raylab.runs.replay import replay_runs
from raylab.training.job import TrainingJob
from tests.configs import resolved, tiny_run
from tests.progress import Silent


class Counting(LocalBackend):
    """Keeps the trainings it was asked for."""

    def __init__(self, run: ResolvedRun) -> None:
        super().__init__(run, Folder(run.config.storage))
        self.trained: list[TrainingJob] = []

    def train(self, job: TrainingJob, *args: Any) -> dict[str, Any]:
        self.trained.append(job)
        return super().train(job, *args)


def run_loop(config: RunConfig) -> tuple[Loop, RunStore]:
    run = resolved(config)
    backend = LocalBackend(run, Folder(config.storage))
    loop = Loop(run, backend.store, backend, Silent())
    loop.run()
    return loop, RunStore(backend.store, run)


@pytest.mark.parametrize("strategy", ["entropy+spatial", "entropy+random", "random"])
@pytest.mark.parametrize(
    ("unit", "budget"), [("regions", (12, 12, 24)), ("pixels", (3000, 3100, 6000)), ("clicks", (150, 140, 300))]
)
def test_a_budget_is_spent_and_never_exceeded(tmp_path: Path, unit: Any, budget: Any, strategy: str) -> None:
    # N = 20 clips regions at the right and the bottom, so that pixels differ.
    config = tiny_run(
        str(tmp_path), strategy, regions=RegionConfig(size=20),
        budget=BudgetConfig(unit=unit, initial=budget[0], rounds=budget[1:]),
    )  # fmt: skip
    loop, store = run_loop(config)
    prices = Prices(unit, open_dataset(config.data), loop.regions)
    spent, dearest = 0.0, prices(np.arange(loop.regions.n_regions)).max()
    for t, allowed in enumerate(np.cumsum(budget)):
        ledger, record = store.round(t).ledger(), store.round(t).record("select")
        assert record is not None
        cost = ledger["cost"].to_numpy()
        assert cost.tolist() == prices(ledger["region_id"].to_numpy()).tolist()
        spent += cost.sum()
        assert record["spent"] == spent
        assert spent <= allowed
        assert spent > allowed - dearest
    picks = store.ledger(3)["region_id"].to_pylist()
    assert len(set(picks)) == len(picks)
    assert replay_runs(Folder(str(tmp_path)), [resolved(config)], None, lambda _: None, known_regions)


def test_a_budget_that_pays_for_nothing_is_refused(tmp_path: Path) -> None:
    config = tiny_run(str(tmp_path), budget=BudgetConfig(unit="pixels", initial=3, rounds=()))
    with pytest.raises(BudgetError, match=r"budget\.initial: 3 pixels pay for no region"):
        run_loop(config)


def test_superpixels_go_through_every_step(tmp_path: Path) -> None:
    config = tiny_run(
        str(tmp_path), "entropy+spatial+feature", regions=RegionConfig(size=16, shape="superpixels"),
        budget=BudgetConfig(initial=10, rounds=(10, 20)),
    )  # fmt: skip
    loop, store = run_loop(config)
    ledger = store.ledger(3)
    assert len(set(ledger["region_id"].to_pylist())) == 40
    image, region = ledger["image_index"][0].as_py(), ledger["region_id"][0].as_py()
    covered = loop.regions.covered(image, np.array([region]))
    top, left, height, width = (ledger[name][0].as_py() for name in ("top", "left", "height", "width"))
    assert covered[top : top + height, left : left + width].sum() == covered.sum() == loop.regions.pixels([region])[0]
    assert replay_runs(Folder(str(tmp_path)), [resolved(config)], None, lambda _: None, known_regions)


@pytest.mark.parametrize("strategy", ["bald+spatial", "vote-entropy"])
def test_an_ensemble_is_trained_asked_and_found_again(tmp_path: Path, strategy: str) -> None:
    config = tiny_run(str(tmp_path), strategy, budget=BudgetConfig(initial=12, rounds=(12,)))
    config = config.model_copy(update={"training": config.training.model_copy(update={"ensemble": 2})})
    run = resolved(config)
    backend = Counting(run)
    Loop(run, backend.store, backend, Silent()).run()
    assert len({job.seed for job in backend.trained}) == 2
    assert len(backend.trained) == 4
    # A member that was trained before a kill is not trained again.
    store = RunStore(backend.store, run).round(1)
    for step in ("train", "score"):
        Path(backend.store.uri_of(store.path(f"{step}.json"))).unlink(missing_ok=True)
    Loop(run, backend.store, backend, Silent()).run()
    assert len(backend.trained) == 5


def test_a_committee_of_passes(tmp_path: Path) -> None:
    config = tiny_run(
        str(tmp_path), "bald", model=ModelConfig(weights="random", channels=16, dropout=0.2),
        scoring=ScoringConfig(batch_size=3, pca=8, passes=3), budget=BudgetConfig(initial=12, rounds=(12,)),
    )  # fmt: skip
    _, store = run_loop(config)
    score = store.scores(0).record("score")
    assert score is not None
    assert score["maps"] == ["bald"]


def test_a_strategy_may_have_features_of_another_dimension(tmp_path: Path) -> None:
    config = tiny_run(str(tmp_path), "core-set", budget=BudgetConfig(initial=12, rounds=(12,)))
    for pca, dimension in ((4, 4), (0, 16), (None, 8)):
        run = resolved(config.model_copy(update={"strategy": config.strategy.model_copy(update={"pca": pca})}))
        backend = Counting(run)
        Loop(run, backend.store, backend, Silent()).run()
        table = backend.store.read_table(RunStore(backend.store, run).scores(0).path("regions.parquet"))
        assert len(backend.trained) == (2 if pca == 4 else 1)  # the model of round 0 is shared
        assert table.schema.field("feature").type.list_size == dimension


def test_what_one_strategy_had_scored_stays_when_another_scores_the_shared_round(tmp_path: Path) -> None:
    configs = [tiny_run(str(tmp_path), name, budget=BudgetConfig(initial=12, rounds=(12,))) for name in
               ("entropy", "margin", "core-set")]  # fmt: skip
    for config in configs:
        run_loop(config)
    shared = RunStore(Folder(str(tmp_path)), resolved(configs[0])).scores(0)
    assert Folder(str(tmp_path)).read_table(shared.path("regions.parquet")).column_names == [
        "region_id", "entropy", "margin", "feature",
    ]  # fmt: skip
    assert replay_runs(Folder(str(tmp_path)), list(map(resolved, configs)), None, lambda _: None, known_regions)
    before = shared.store.read_bytes(shared.path("score.json"))
    for config in configs:
        run_loop(config)
    assert shared.store.read_bytes(shared.path("score.json")) == before


def test_who_scored_slowly_and_was_overtaken_keeps_what_the_other_scored(tmp_path: Path) -> None:
    budget = BudgetConfig(initial=12, rounds=(12,))
    slow, fast = (resolved(tiny_run(str(tmp_path), name, budget=budget)) for name in ("entropy", "margin"))

    class Overtaken(LocalBackend):
        times = 0

        def score(self, *args: Any) -> Any:
            found = super().score(*args)
            self.times += 1
            if self.times == 1:
                self.store.delete(LEASES)  # as if it had been silent
                Loop(fast, self.store, LocalBackend(fast, self.store), Silent()).score(0, ("margin",), False)
            return found

    backend = Overtaken(slow, Folder(str(tmp_path)))
    loop = Loop(slow, backend.store, backend, Silent())
    loop.select(0)
    loop.train(0)
    loop.score(0, ("entropy",), False)
    assert backend.times == 2
    assert loop.run_store.scores(0).regions().column_names == ["region_id", "entropy", "margin"]
