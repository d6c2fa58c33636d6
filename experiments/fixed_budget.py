"""Table I: Random, BALD, Entropy and Entropy+Spatial at 16k regions, FPN started from GTA5.

    python experiments/fixed_budget.py --root DATA/cityscapes --run.pretraining.data.root DATA/gta5 --storage ...

The setting is that of the region-based methods the paper compares with: FPN on ResNet-50, trained on GTA5 first.
RAL is not computed: its figure would stand in the report as quoted, but no printed value of Table I is at hand
(raylab/report/paper.yaml takes them).
Time: about 100 GPU hours by `--plan`.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class FixedBudget(Experiment):
    """Table I: four strategies at one budget."""

    name = "fixed-budget"
    paper = "Table I"
    supervised = True

    data: tuple[str, ...] = ("cityscapes-fpn",)
    """Data sets: presets of raylab, each with the paper's settings for it; one study each."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """BALD by MC dropout beside entropy."""
        return ("random", "bald", "entropy", "entropy+spatial")

    def smoke_run(self) -> RunConfig:
        """FPN, started from other generated scenes."""
        run = super().smoke_run()
        model = run.model.model_copy(update={"architecture": "fpn", "output_stride": 32})
        pretraining = run.pretraining.model_copy(update={"iterations": 4})
        return run.model_copy(update={"model": model, "pretraining": pretraining})


if __name__ == "__main__":
    main(FixedBudget, __doc__)
