"""raylab's metrics count what events tell, and Grafana's dashboard asks for none that nobody exports."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
import ray

from raylab.config import ComputeConfig, StudyConfig
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid
from raylab.study.metrics import CROPS, IMAGES, TRAININGS, StudyMetrics
from tests.configs import resolved_study, tiny_run

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana" / "raylab.json"


@pytest.fixture
def metrics() -> StudyMetrics:
    run = tiny_run(compute=ComputeConfig(backend="local"))
    return StudyMetrics(Grid([resolved_study(StudyConfig(run=run, strategies=("random",)))]))


def test_crops_images_and_trainings_are_counted_once(metrics: StudyMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, float] = defaultdict(float)
    for name, counter in metrics.counters.items():
        monkeypatch.setattr(
            counter, "inc", lambda by=1.0, name=name: counted.__setitem__(name, counted[name] + by), raising=True
        )
    (run,) = metrics.grid.runs
    train = [(0, 0), (0, 3), (0, 2), (0, 4), (1, 0), (1, 4)]  # in round 0 it goes back to a checkpoint
    for round_index, done in train:
        metrics(ProgressEvent(run, round_index, "train", done, 4))
    for done in (0, 96, 192):
        metrics(ProgressEvent(run, 0, "score", done, 192))
    metrics(ProgressEvent(run, 0, "committed", 1, 1))
    assert counted == {CROPS: 4 * (3 + 2 + 4), TRAININGS: 2, IMAGES: 8}


def exported() -> str:
    """What Ray's own dashboards ask of Prometheus."""
    folder = Path(ray.__file__).parent / "dashboard" / "modules" / "metrics" / "dashboards"
    return "".join(file.read_text() for file in folder.glob("*_panels.py"))


def test_the_dashboard_asks_for_what_ray_and_raylab_export() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\b(?:ray|autoscaler)_\w+", target["expr"])
    }
    own = {name for name in asked if name.startswith("ray_raylab_")}
    assert own == {f"ray_{name}" for name in (TRAININGS, CROPS, IMAGES)}
    known = set(re.findall(r"\b(?:ray|autoscaler)_\w+", exported()))
    assert asked - own <= known
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
