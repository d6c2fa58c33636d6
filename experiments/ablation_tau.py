"""Fig. 5: how far the spatial term should reach.

Entropy+Spatial with the radius tau of Eq. 6 swept in units of the region size N, beside Random and Entropy.
Round 0 is trained once a seed and shared by all of them.

    python experiments/ablation_tau.py --config experiments/camvid.yaml ...   see --help
    ray job submit -- python experiments/ablation_tau.py --smoke --run.storage /absolute/folder
"""

from __future__ import annotations

import sys

from pydantic import BaseModel, ConfigDict

from raylab.cli import exit_cleanly
from raylab.config import RunConfig, StudyConfig
from raylab.experiment import launch, smoke
from raylab.settings import parse


class AblationTau(BaseModel):
    """Fig. 5: Entropy+Spatial under several radii tau."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run: RunConfig = RunConfig()
    """What all runs share; the defaults are the paper's on 128-pixel regions."""
    taus: tuple[float, ...] = (1, 2, 3, 4)
    """Radii in units of N."""
    baselines: tuple[str, ...] = ("random", "entropy")
    """Strategies beside them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    name: str = "ablation-tau"
    """Folder of the report and MLflow parent run."""
    plan: bool = False
    """Only say what it would cost."""
    smoke: bool = False
    """Minutes on generated scenes: shows that everything works, means nothing."""

    def study(self) -> StudyConfig:
        """The grid of runs."""
        run = smoke(self.run) if self.smoke else self.run
        taus = self.taus[:2] if self.smoke else self.taus
        radii = tuple(f"entropy+spatial,tau={tau * run.regions.size:g}" for tau in taus)
        return StudyConfig(
            name=self.name + "-smoke" * self.smoke,
            run=run,
            strategies=(*self.baselines, *radii),
            seeds=self.seeds[:1] if self.smoke else self.seeds,
        )


if __name__ == "__main__":
    with exit_cleanly():
        options = parse(AblationTau, sys.argv[1:], "ablation_tau.py", __doc__)
        launch(options.study(), plan=options.plan)
