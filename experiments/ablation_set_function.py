"""Table III: Max-Min (Algorithm 1) against Max-Sum (Borodin et al.).

    python experiments/ablation_set_function.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

The paper takes Max-Min: what counts is the nearest member of the set, not the sum over all.
Time: about 87 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationSetFunction(Experiment):
    """Table III: set functions."""

    name = "ablation-set-function"
    paper = "Table III"

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """Both set functions."""
        return ("entropy+spatial", "entropy+spatial-maxsum")


if __name__ == "__main__":
    main(AblationSetFunction, __doc__)
