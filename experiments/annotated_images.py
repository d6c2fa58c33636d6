"""Table IV: in how many images the selected regions lie, strategy by strategy.

    python experiments/annotated_images.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

The runs are those of budget_curves.py; where they lie under the same storage root nothing is computed again, and the
report's figure and table of annotated images are what this is about.
Time: none after budget_curves.py; alone as long as that one.
"""

from __future__ import annotations

from budget_curves import BudgetCurves

from raylab.experiment import main


class AnnotatedImages(BudgetCurves):
    """Table IV: annotated images."""

    name = "annotated-images"
    paper = "Table IV"
    supervised = False


if __name__ == "__main__":
    main(AnnotatedImages, __doc__)
