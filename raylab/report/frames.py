"""A study as tidy tables, for a notebook: read from the store, not from MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.report.ledgers import run_ledger
from raylab.report.study_data import MEASURED, Study, points_frame, read_study
from raylab.runs import ResolvedRun

KEYS = ("run", "strategy", "region_size", "seed", "round_index")
"""The columns that every table begins with, by which they are joined."""


@dataclass(frozen=True)
class StudyFrames:
    """What a study has committed so far, as pandas tables that begin with the same columns `KEYS`.

    Attributes:
        name: of the study.
        config: of the study.
        points: one row a run and round that is trained and evaluated: the budget of rounds 0 to t in the study's unit,
            labelled_regions, labelled_percent (of the pool's pixels), annotated_images, miou in 0..1, and a column
            `iou.<class>` for every class, missing where it is absent from prediction and truth.
        picks: one row a pick of every run, as in its ledger: order, region_id, image_index, image, box, phi and its
            terms, and the cost in the study's unit.
        results: one row a run: what is varied (`data`, `tau`, `a`, `b`, `c`, `p` too, as in the search space of Ray
            Tune), and what it came to: the rounds done, the last one's measures as in `points`, and the seconds of all
            by stage.
        costs: one row a run and round, as in `points`: what the round's picks cost, and for each stage
            `seconds.<stage>` and `peak_memory_bytes.<stage>`, as in `points.csv`; those of the shared round 0
            stand at every run.
        bound: mIoU of every finished training on all masks, in 0..1.
    """

    name: str
    config: StudyConfig
    points: pd.DataFrame
    picks: pd.DataFrame
    costs: pd.DataFrame
    results: pd.DataFrame
    bound: tuple[float, ...]


def load_study(storage: str, name: str) -> StudyFrames:
    """Read a study, finished or not.

    Args:
        storage: folder or URI under which its results lie (its `run.storage`).
        name: of the study.

    Raises:
        StoreError: no such study lies there (the message names those that do), or a committed file is damaged.

    Example:
        >>> import raylab, tempfile
        >>> raylab.load_study(tempfile.gettempdir(), "no-such-study")
        Traceback (most recent call last):
        ...
        raylab.errors.StoreError: ...no-such-study/study.json is missing; ...

        The best round of every strategy, mean over seeds, of a study that is there::

            study = raylab.load_study("raylab-results", "demo")
            study.points.groupby(["strategy", "round_index"])["miou"].mean().unstack()
    """
    store = Folder(storage, create=False)
    study = read_study(store, name)
    picks = [_picks(store, result.run) for result in study.runs]
    spent = {
        (frame["run"].iloc[0], int(index)): float(cost)
        for frame in picks
        if len(frame)
        for index, cost in frame.groupby("round_index")["cost"].sum().items()
    }
    table = points_frame(study).rename(columns={"round": "round_index"})
    shares, stages = (
        [c for c in table if str(c).startswith(kinds)] for kinds in ("iou.", ("seconds.", "peak_memory_bytes."))
    )
    costs = table[[*KEYS, *stages]].copy()
    costs.insert(len(KEYS), "cost", [spent[key] for key in zip(table["run"], table["round_index"], strict=True)])
    points = table[[*KEYS, *MEASURED, *shares]]
    return StudyFrames(
        name=name,
        config=study.config,
        points=points,
        picks=pd.concat(picks, ignore_index=True),
        costs=costs,
        results=_results(study, points, costs),
        bound=study.supervised,
    )


def _results(study: Study, points: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    settings = pd.DataFrame([{"run": result.run.label, **result.run.settings} for result in study.runs])
    last = points.groupby("run").last()[list(MEASURED)]
    last.insert(0, "rounds", points.groupby("run").size())
    seconds = costs.groupby("run")[[c for c in costs if str(c).startswith("seconds.")]].sum(min_count=1)
    return settings.merge(last.join(seconds), how="left", left_on="run", right_index=True)


def _keys(run: ResolvedRun) -> dict[str, Any]:
    config = run.config
    values = (run.label, run.strategy, config.regions.size, config.seed)
    return dict(zip(KEYS, values, strict=False))


def _picks(store: Folder, run: ResolvedRun) -> pd.DataFrame:
    ledger = run_ledger(store, run)
    if ledger is None:
        return pd.DataFrame(columns=[*KEYS, "order", "region_id", "cost"])
    frame = ledger.to_pandas().rename(columns={"round": "round_index"})
    for column, (key, value) in enumerate(_keys(run).items()):
        frame.insert(column, key, value)
    return frame
