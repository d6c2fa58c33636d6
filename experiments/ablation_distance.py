"""Table II: the piecewise spatial distance (Eq. 6) against the linear one (Eq. 5).

    python experiments/ablation_distance.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

The paper takes the piecewise distance from here on: which regions are near matters, not how far the far ones are.
Time: about 87 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationDistance(Experiment):
    """Table II: spatial distances."""

    name = "ablation-distance"
    paper = "Table II"

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """Both distances."""
        return ("entropy+spatial", "entropy+spatial-linear")


if __name__ == "__main__":
    main(AblationDistance, __doc__)
