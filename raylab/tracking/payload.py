"""What a run of raylab looks like in MLflow: its parameters, tags, metrics and files. Imports no MLflow."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import raylab
from raylab.files import Folder
from raylab.runs import ResolvedRun, RoundStore, RunStore
from raylab.runs.studies import study_path
from raylab.sealed import read_sealed

LONGEST_PARAM = 6000
"""Characters; MLflow refuses longer values."""


@dataclass(frozen=True)
class Child:
    """What becomes a child run.

    Attributes:
        name: of the run, unique in its study.
        params: flattened configuration.
        tags: what identifies it.
        files: artifacts that do not change, by name.
        rounds: where its records lie.
        needs_scores: whether the score records of its rounds are its own.
        scores: where that of round 0 lies.
        run_store: whose ledger becomes an artifact; None where there is none.
    """

    name: str
    params: dict[str, str]
    tags: dict[str, str]
    files: dict[str, bytes]
    rounds: list[RoundStore]
    needs_scores: bool = False
    scores: RoundStore | None = None
    run_store: RunStore | None = None

    def record(self, t: int, step: str) -> dict[str, Any] | None:
        """What a step of round t committed, or None where it is not done."""
        round_store = self.scores if self.scores and step == "score" and t == 0 else self.rounds[t]
        return round_store.record(step)


@cache
def code_tags() -> dict[str, str]:
    """What code this is: a hash over raylab's source files, and the git commit where they are a checkout."""
    root = Path(raylab.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    tags = {"raylab.source_sha256": digest.hexdigest()}
    # An installed raylab may lie in an environment inside somebody else's checkout: that commit says nothing.
    if _git(root, "ls-files", "--error-unmatch", "__init__.py") and (commit := _git(root, "rev-parse", "HEAD")):
        tags["mlflow.source.git.commit"] = commit
        tags["raylab.uncommitted_changes"] = "yes" if _git(root, "status", "--porcelain", "--", ".") else "no"
    return tags


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def common_tags() -> dict[str, str]:
    """Who and which code made a run."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    names = {"raylab.version": raylab.__version__, "mlflow.user": user, "mlflow.source.name": "raylab"}
    return {**names, "mlflow.source.type": "LOCAL", **code_tags()}


def run_child(store: Folder, run: ResolvedRun) -> Child:
    """A run of the study."""
    run_store = RunStore(store, run)
    dump = run.config.model_dump(mode="json")
    tags = {"raylab.kind": "run", "raylab.identity": run.identity, "raylab.round0_identity": run.round0_identity}
    path = f"{run_store.folder}/run.json"
    if store.exists(path):
        tags["data_fingerprint"] = read_sealed(store, path)["data_fingerprint"]
    return Child(
        name=run.label,
        params=dict(_flat(dump)),
        tags=tags,
        files={
            "config.json": json.dumps(dump, indent=1, allow_nan=False).encode(),
            "config.yaml": yaml.safe_dump(dump, sort_keys=False).encode(),
        },
        rounds=[run_store.round(t) for t in range(len(run.config.budget.rounds) + 1)],
        scores=run_store.scores(0),
        needs_scores=run.acquisition.needs_uncertainty or run.acquisition.needs_features,
        run_store=run_store,
    )


def supervised_children(store: Folder, study_name: str) -> Iterator[Child]:
    """The trainings on all masks that belong to a study."""
    path = study_path(study_name)
    for folder in read_sealed(store, path).get("supervised", []) if store.exists(path) else []:
        yield Child(supervised_name(folder), {}, {"raylab.kind": "supervised"}, {}, [RoundStore(store, folder)])


def supervised_name(folder: str) -> str:
    """The child of a training on all masks, by its folder."""
    return folder.replace("/", "-")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(item)[:LONGEST_PARAM]


def budget(round_store: RoundStore, record: Mapping[str, Any]) -> int:
    """The labelled regions a record belongs to: the step of its metrics."""
    own = record.get("labelled_regions")
    if own is None:
        own = (round_store.record("select") or {}).get("labelled_regions", 0)
    return int(own)


def metrics(step: str, record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Names and values of what a step committed."""
    if step == "select":
        yield "labelled_percent", float(record["labelled_percent"])
        yield "annotated_images", float(record["annotated_images"])
        if "spent" in record:
            yield "spent", float(record["spent"])
    if step == "train":
        yield "miou", float(record["miou"])
        yield from ((f"iou.{_key(name)}", float(iou)) for name, iou in record["iou"].items() if iou is not None)
    stages = {"seconds_train": "train", "seconds_evaluate": "evaluate", "seconds": step}
    yield from ((f"seconds.{stage}", float(record[key])) for key, stage in stages.items() if key in record)
    for kind in ("peak_memory", "peak_gpu_memory"):
        if record.get(kind):
            yield f"{kind}_mb.{step}", record[kind] / 1e6


def _key(name: str) -> str:
    """A class's name with what MLflow takes in the name of a metric."""
    return re.sub(r"[^\w.\- ]", "_", name)
