"""Fig. 8: the dimension of the region features: 64, 128, and all 256 without PCA.

    python experiments/ablation_feature_dim.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

The model of round 0 is shared by all; only the region table differs.
Time: about 169 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationFeatureDim(Experiment):
    """Fig. 8: Entropy+Feature under several feature dimensions, beside Entropy+Spatial."""

    name = "ablation-feature-dim"
    paper = "Fig. 8"

    dimensions: tuple[int, ...] = (64, 128, 0)
    """After PCA; 0 is none."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """The preset's own dimension is what Entropy+Feature says without a number; Entropy+Spatial sees none."""
        dimensions = self.dimensions if not self.smoke else (4, run.scoring.pca, 0)
        changes = ["" if d == run.scoring.pca else f",pca={d}" for d in dimensions]
        return ("entropy+spatial", *(f"entropy+feature{change}" for change in changes))


if __name__ == "__main__":
    main(AblationFeatureDim, __doc__)
