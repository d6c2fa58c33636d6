"""Algorithm 1: train on what is labelled, score the pool, select the next regions, have them labelled, repeat.

Every step is committed before the next begins and skipped when it is found committed, so a run goes on where it
stopped. How a step is computed (Ray Train, Ray Data, an actor; or all in this process) is the `Backend`'s business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raylab.data import open_dataset
from raylab.data.base import SegmentationDataset
from raylab.data.classes import over_classes
from raylab.errors import BudgetError, MismatchError
from raylab.files import Folder
from raylab.labels.cost import Prices, spend
from raylab.lease import leased
from raylab.pool import pool_regions
from raylab.progress import Progress
from raylab.regions import Regions
from raylab.regions.table import ledger_table
from raylab.runs import ResolvedRun, RoundStore, RunStore
from raylab.runs.manifest import FileEntry
from raylab.runs.rounds import LEDGER, MODEL, checkpoints_name
from raylab.scoring.parts import Written
from raylab.scoring.predict import ScoringJob, scoring_job
from raylab.selection import Selection, drawn, first_draw, interleave
from raylab.training.job import TrainingJob, training_job
from raylab.training.metrics import iou_per_class, mean_iou


class Backend(Protocol):
    """How the three expensive steps are computed."""

    def train(self, job: TrainingJob, round_store: RoundStore, progress: Progress, member: int = 0) -> dict[str, Any]:
        """Train and evaluate a member of the ensemble; its weights go to `model_name` of the round, or beside it
        where that is taken (`Folder.add`).

        Returns:
            See `raylab.training.session.run_session`.
        """
        ...

    def score(
        self, job: ScoringJob, round_store: RoundStore, folder: str, progress: Progress
    ) -> tuple[list[Written], dict[str, Any]]:
        """The pool under the round's models.

        Returns:
            The parts of the region table in `folder`, features reduced; `seconds`, and `peak_memory` in bytes.
        """
        ...

    def select(self, regions: Regions, round_index: int, k: int) -> tuple[Selection, dict[str, Any]]:
        """The `k` regions that round `round_index` labels, by the region table of the round before.

        Returns:
            The picks with their terms; `seconds`, and `peak_memory` in bytes.
        """
        ...

    def close(self) -> None:
        """End whatever was started for the run; a backend that is used again starts it anew."""
        ...


@dataclass(frozen=True)
class _Batch:
    """What a round labels: picks in order, their prices, how many were asked for and paid, and what asking cost."""

    picks: Selection
    prices: NDArray[np.float64]
    counts: dict[str, int]
    cost: dict[str, Any]


class Loop:
    """One run.

    Args:
        run: what is run.
        store: of the results.
        backend: how steps are computed.
        progress: told of every step.

    Raises:
        BudgetError: the pool holds fewer regions than the budget.
        MismatchError: what lies there is another run; it names the field that differs.
    """

    def __init__(self, run: ResolvedRun, store: Folder, backend: Backend, progress: Progress) -> None:
        self.config = config = run.config
        self.backend = backend
        self.progress = progress
        self.run_store = RunStore(store, run)
        self.run_store.open()
        self.dataset = open_dataset(config.data)
        self.regions = pool_regions(run, self.dataset, store, progress)
        self.acquisition = run.acquisition
        self.budgets = (config.budget.initial, *config.budget.rounds)
        self.prices = Prices(config.budget.unit, self.dataset, self.regions)

    def run(self) -> None:
        """All rounds (Algorithm 1)."""
        last = len(self.budgets) - 1
        for t in range(last + 1):
            self.progress.round_index = t
            self.select(t)
            self.train(t)
            if t < last and self.run_store.round(t + 1).record("select") is None:
                self.score(t, self.acquisition.maps, self.acquisition.needs_features)

    def select(self, t: int) -> None:
        """Choose batch B_t and write it to the ledger; the oracle reveals its masks from there."""
        round_store = self.run_store.round(t)
        if round_store.record("select") is not None:
            return
        self.progress("select", 0, 1)
        before = self._spent(t)
        batch = self._afford(t, sum(self.budgets[: t + 1]) - before)
        terms = None if t == 0 else batch.picks.terms()
        names = self.dataset.image_names("train")
        ledger = ledger_table(self.regions, names, t, batch.picks.region_id, terms, batch.prices)
        labelled = np.concatenate([self.labelled(t), batch.picks.region_id])
        if not len(labelled):
            raise BudgetError(
                f"budget.initial: {self.budgets[0]} {self.config.budget.unit} pay for no region; raise it"
            )
        spent = before + float(batch.prices.sum())
        record = {**labelled_share(self.regions, labelled), "spent": spent, **batch.counts, **batch.cost}
        record = round_store.commit("select", record, {LEDGER: ledger})
        self.progress("committed", 1, 1, f"{record['labelled_regions']:,} regions labelled")

    def _afford(self, t: int, allowance: float) -> _Batch:
        """As many of the round's picks, in their order, as the allowance pays."""
        picks, cost = Selection.empty(), dict[str, Any]()

        def choose(k: int) -> NDArray[np.int64]:
            nonlocal picks, cost
            if t == 0:
                picks = drawn(first_draw(self.regions, min(k, self.regions.n_regions), self.config.seed))
                cost = {"seconds": 0.0, "peak_memory": 0}
            else:
                picks, cost = self.backend.select(self.regions, t, k)
                if self.config.budget.unit != "regions":
                    picks = interleave(picks, self.acquisition.random)
            return picks.region_id

        asked, paid, prices = spend(choose, self.prices, allowance, self.prices.usual)
        return _Batch(picks.head(paid), prices, {"asked": asked, "paid": paid}, cost)

    def _spent(self, t: int) -> float:
        """What rounds 0 .. t - 1 cost."""
        record = self.run_store.round(t - 1).record("select") if t else None
        return float(record["spent"]) if record else 0.0

    def train(self, t: int) -> None:
        """Train M_t on L_t from the pre-trained model, and evaluate it."""
        start = pretrained_model(self.run_store.run, self.run_store.store)
        job = training_job(self.config, self.regions, len(self.dataset.classes), self.labelled(t + 1), start=start)
        start_sha256 = self.run_store.start_sha256()
        commit_training(self.run_store.round(t), job, self.dataset, self.backend, self.progress, start_sha256)

    def score(self, t: int, maps: Sequence[str], features: bool) -> None:
        """Score every region of the pool under M_t, where the strategy asks for it."""
        scores = self.run_store.scores(t)
        if scores.is_scored(maps, features):
            return
        # A round 0 is shared: another driver may score it for other strategies at this moment.
        with leased(scores.store, f"score {scores.prefix}", self.config.compute.takeover, self.progress):
            while not scores.is_scored(maps, features):
                self._score(t, scores, maps, features)
        self.progress("committed", 1, 1, "pool scored")

    def _score(self, t: int, scores: RoundStore, maps: Sequence[str], features: bool) -> None:
        # What another strategy had scored stays; where one commits meanwhile, this is done again.
        path = scores.manifest_path("score", again=True)
        done = scores.record("score") or {"maps": [], "features": False}
        maps, features = sorted({*maps, *done["maps"]}), features or done["features"]
        job = scoring_job(self.config, self.regions, len(self.dataset.classes), maps, features)
        parts, cost = self.backend.score(job, self.run_store.round(t), scores.prefix, self.progress)
        record = {"maps": maps, "features": features, **cost}
        files = {part.name: FileEntry(bytes=part.bytes, sha256=part.sha256) for part in parts}
        scores.commit("score", record, described=files, path=path)

    def labelled(self, rounds: int) -> NDArray[np.int64]:
        """(n,) int64: the region ids that rounds 0 .. `rounds` - 1 labelled, in order."""
        if rounds == 0:
            return np.empty(0, np.int64)
        return self.run_store.ledger(rounds)["region_id"].to_numpy()


def commit_training(
    round_store: RoundStore,
    job: TrainingJob,
    dataset: SegmentationDataset,
    backend: Backend,
    progress: Progress,
    start_sha256: str | None,
    budget: dict[str, Any] | None = None,
) -> None:
    """Train, evaluate and commit, unless that is done.

    Args:
        round_store: where the model and the record go.
        job: what to train.
        dataset: names the classes.
        backend: how.
        progress: told of every step.
        start_sha256: of the weights it starts from; None where that is not known before.
        budget: what to write down beside the results of a training that no selection precedes.

    Raises:
        MismatchError: it started, or would start, from other weights.
    """
    if (done := round_store.record("train")) is not None:
        _check_start(round_store, job, done, start_sha256)
        _delete_checkpoints(round_store, 0)
        return
    others = [_member(round_store, job, backend, progress, member) for member in range(1, job.training.ensemble)]
    record = backend.train(job, round_store, progress)
    for other in (record, *others):
        _check_start(round_store, job, other, start_sha256)
    for other in others:
        for cost in ("seconds_train", "seconds_evaluate"):
            record[cost] += other[cost]
    matrix = np.array(record["confusion"], np.int64)
    scores = [None if np.isnan(score) else float(score) for score in iou_per_class(matrix)]
    record |= {
        "miou": mean_iou(matrix),
        "iou": dict(zip(dataset.classes.names, scores, strict=True)),
        "iterations": job.iterations,
        **(budget or {}),
    }
    record = round_store.commit("train", record, adopt=(record.pop("model"),))
    _delete_checkpoints(round_store, 0)
    progress("committed", 1, 1, f"mIoU {100 * record['miou']:.2f} % {over_classes(record['iou'])}")


def _check_start(round_store: RoundStore, job: TrainingJob, record: dict[str, Any], start_sha256: str | None) -> None:
    """Whether a training started from the weights that it was to start from.

    Raises:
        MismatchError: names the record, the weights then and now.
    """
    then = record.get("weights_sha256")
    if start_sha256 is not None and then != start_sha256:
        raise MismatchError(
            f"{round_store.store.uri_of(round_store.path('train.json'))}: weights_sha256 is {then!r} of this training, "
            f"but {start_sha256!r} of the run, whose every round starts from the same weights; restore "
            f"{job.model.weights}, or choose another storage root"
        )


def _member(
    round_store: RoundStore, job: TrainingJob, backend: Backend, progress: Progress, member: int
) -> dict[str, Any]:
    """Train a further member of the ensemble, unless that is done."""
    step = f"member-{member}"
    if (record := round_store.record(step)) is None:
        job = dataclasses.replace(job, seed=member_seed(job.seed, member))
        record = backend.train(job, round_store, progress, member)
        record = round_store.commit(step, record, adopt=(record.pop("model"),))
    _delete_checkpoints(round_store, member)
    return record


def _delete_checkpoints(round_store: RoundStore, member: int) -> None:
    """Once a training is committed; also those left by a process that was killed before it came to that."""
    if round_store.store.exists(path := round_store.path(checkpoints_name(member))):
        round_store.store.delete(path)


def member_seed(seed: int, member: int) -> int:
    """The seed of a member of a run's ensemble; for seeds below a million no other run has it."""
    return seed + 1_000_003 * member


def pretrained_model(run: ResolvedRun, store: Folder) -> str | None:
    """URI of the model that every round starts from; None where rounds start from `model.weights` itself.

    Raises:
        StoreError: it is not trained, or damaged.
    """
    if run.pretrained_folder is None:
        return None
    return store.uri_of(RoundStore(store, run.pretrained_folder).committed("train", MODEL).path)


def labelled_share(regions: Regions, labelled: NDArray[np.int64]) -> dict[str, Any]:
    """How much of the pool a labelled set is: regions, percentage of its pixels, images with at least one region."""
    return {
        "labelled_regions": len(labelled),
        "labelled_percent": 100 * int(regions.pixels(labelled).sum()) / regions.n_pixels,
        "annotated_images": len(np.unique(regions.image_of(labelled))),
    }
