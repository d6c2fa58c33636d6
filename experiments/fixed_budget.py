"""Table I: Random, BALD, Entropy and Entropy+Spatial at 16k regions, FPN started from GTA5.

    python experiments/fixed_budget.py --root DATA/cityscapes --run.pretraining.data.root DATA/gta5 --storage ...

The setting is that of the region-based methods the paper compares with: FPN on ResNet-50, trained on GTA5 first.
How it was trained there is not in the paper; the rest of the preset is that of the paper's other experiments. RAL is
not computed: its figure stands in the report as quoted.
Time: about 195 GPU hours by `--plan`.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class FixedBudget(Experiment):
    """Table I: four strategies at one budget."""

    name = "fixed-budget"
    paper = "Table I"

    data: tuple[str, ...] = ("cityscapes-fpn",)
    """Data sets: presets of raylab, each with the paper's settings for it; one study each."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """BALD by MC dropout beside entropy."""
        return ("random", "bald", "entropy", "entropy+spatial")

    def smoke_run(self) -> RunConfig:
        """FPN, started from other generated scenes; without norms its head diverges at the others' rate."""
        run = super().smoke_run()
        model = run.model.model_copy(update={"architecture": "fpn", "output_stride": 32})
        pretraining = run.pretraining.model_copy(update={"iterations": 4})
        training = run.training.model_copy(update={"head_rate_factor": 1})
        return run.model_copy(update={"model": model, "pretraining": pretraining, "training": training})


if __name__ == "__main__":
    main(FixedBudget, __doc__)
