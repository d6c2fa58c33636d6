"""Fig. 7: the region size N = 64, 128, 256, with the number of labelled pixels fixed.

    python experiments/ablation_region_size.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

Half as large regions are four times as many, so that the curves meet at the same share of labelled pixels.
Time: about 241 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationRegionSize(Experiment):
    """Fig. 7: region sizes."""

    name = "ablation-region-size"
    paper = "Fig. 7"

    factors: tuple[float, ...] = (0.5, 1, 2)
    """Region sizes in units of the preset's N."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """The paper's method beside the baseline."""
        return ("random", "entropy+spatial")

    def sizes(self, run: RunConfig) -> tuple[int, ...]:
        """N of every run."""
        return tuple(round(factor * run.regions.size) for factor in self.factors)


if __name__ == "__main__":
    main(AblationRegionSize, __doc__)
