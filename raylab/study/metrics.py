"""raylab's own metrics, which Ray exports to Prometheus beside its own; cluster/grafana/raylab.json draws them."""

from __future__ import annotations

from ray.util.metrics import Counter

from raylab.data import open_dataset
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid

TRAININGS = "raylab_trainings_total"
CROPS = "raylab_crops_trained_total"
IMAGES = "raylab_images_scored_total"


class StudyMetrics:
    """Counts what events tell; called with each.

    Args:
        grid: of the studies.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.counters = {
            TRAININGS: Counter(TRAININGS, "Trainings that came to their last iteration."),
            CROPS: Counter(CROPS, "Crops that networks were trained on."),
            IMAGES: Counter(IMAGES, "Images of pools that were scored."),
        }
        self._done: dict[tuple[str, int, str], int] = {}
        # Now, since where the data are may not answer in the middle of a study, which must not end for a metric.
        pools = {run.config.data for run in grid.runs.values()}
        self._images = {data: len(open_dataset(data).image_names("train")) for data in pools}

    def __call__(self, event: ProgressEvent) -> None:
        """Add what was done since the last event of the same stage."""
        if event.stage not in ("train", "score"):
            return
        key = (event.run, event.round_index, event.stage)
        new = event.done - self._done.get(key, 0)
        self._done[key] = event.done
        if new <= 0:  # it began, or went back to its last checkpoint
            return
        config = self.grid.run_of(event.run).config
        if event.stage == "train":
            self.counters[CROPS].inc(new * config.training.batch_size)
            if event.done == event.total:
                self.counters[TRAININGS].inc()
        else:
            self.counters[IMAGES].inc(new / event.total * self._images[config.data])
