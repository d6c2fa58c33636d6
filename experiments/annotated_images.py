"""Table IV: in how many images the selected regions lie, strategy by strategy.

    python experiments/annotated_images.py --root DATA/cityscapes --storage s3://bucket/raylab

The runs are those of budget_curves.py; where they lie under the same storage root nothing is computed again, and the
report's figure and table of annotated images are what this is about.
Time: none after budget_curves.py; alone about 110 GPU hours by `--plan`.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AnnotatedImages(Experiment):
    """Table IV: annotated images."""

    name = "annotated-images"
    paper = "Table IV"

    data: tuple[str, ...] = ("cityscapes",)
    """Data sets: presets of raylab, each with the paper's settings for it; one study each."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """The table's rows."""
        return ("random", "entropy", "entropy+feature", "entropy+spatial")


if __name__ == "__main__":
    main(AnnotatedImages, __doc__)
