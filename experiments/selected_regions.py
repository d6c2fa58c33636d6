"""Figs. 1, 3 and 4: where the strategies select, round by round, beside the ground truth.

    python experiments/selected_regions.py --root DATA/cityscapes --storage s3://bucket/raylab

The report's overlays show every strategy's regions with their order and terms. The paper: entropy alone takes
neighbouring regions along the same boundary; with the spatial term they spread over images.
Time: none after budget_curves.py with the same seed; alone about 55 GPU hours by `--plan`.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class SelectedRegions(Experiment):
    """Figs. 1, 3 and 4: selected regions."""

    name = "selected-regions"
    paper = "Fig. 3"

    data: tuple[str, ...] = ("cityscapes",)
    """Data sets: presets of raylab, each with the paper's settings for it; one study each."""
    seeds: tuple[int, ...] = (0,)

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """Those whose regions the figures show, and Random."""
        return ("random", "entropy", "core-set", "entropy+feature", "entropy+spatial", "entropy+spatial+feature")


if __name__ == "__main__":
    main(SelectedRegions, __doc__)
