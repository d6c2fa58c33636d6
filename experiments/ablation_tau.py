"""Fig. 5: how far the spatial term should reach.

    python experiments/ablation_tau.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab
    ray job submit -- python experiments/ablation_tau.py --smoke --storage /absolute/folder

Entropy+Spatial with the radius tau of Eq. 6 swept in units of the region size N. The paper settles on tau = N: only
touching regions count as near. Which radii it swept is in its figure alone; these are ours.
Time: about 169 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationTau(Experiment):
    """Fig. 5: Entropy+Spatial under several radii tau."""

    name = "ablation-tau"
    paper = "Fig. 5"

    taus: tuple[float, ...] = (1, 2, 3, 4)
    """Radii in units of N."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """Radii; tau = N is what Entropy+Spatial says without a number."""
        radii = [tau * run.regions.size for tau in self.taus if tau != 1]
        swept = [f"entropy+spatial,tau={radius:g}" for radius in radii]
        return (*["entropy+spatial"] * (1 in self.taus), *swept)


if __name__ == "__main__":
    main(AblationTau, __doc__)
