"""Fig. 2: mIoU against the labelling budget, all eight strategies, three seeds, and the fully supervised line.

    python experiments/budget_curves.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab
    python experiments/budget_curves.py --data camvid --root DATA/camvid --supervised-iterations 1500   on a laptop

The paper: with the spatial term 95 % of the fully supervised mIoU is reached with 5 to 9 % of the pixels labelled,
and the spatial term helps uncertainty as well as features.
Time: about 340 GPU hours for both data sets, by `--plan`, which takes 10 TFLOP/s sustained a GPU.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class BudgetCurves(Experiment):
    """Fig. 2: budget curves of all strategies."""

    name = "budget-curves"
    paper = "Fig. 2"
    supervised = True

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """The eight strategies of the paper."""
        return (
            "random", "entropy", "entropy+random", "core-set", "feature+spatial", "entropy+feature", "entropy+spatial",
            "entropy+spatial+feature",
        )  # fmt: skip


if __name__ == "__main__":
    main(BudgetCurves, __doc__)
