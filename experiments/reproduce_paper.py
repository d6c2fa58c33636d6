"""All of the paper's tables and figures in one grid; what two of them have in common is computed once.

    python experiments/reproduce_paper.py --plan                       the whole grid, GPU hours and disk
    python experiments/reproduce_paper.py --root DATA/cityscapes DATA/VOCdevkit --gta5 DATA/gta5 --storage s3://bucket/raylab
    python experiments/reproduce_paper.py --smoke --storage /tmp/smoke    minutes on two cores

One study and one report a table or figure, all under one storage root. Table V is selection_runtime.py, which needs
neither data nor Ray.
Time: about 1,268 GPU hours by `--plan`, which takes 10 TFLOP/s sustained a GPU; half of the trainings are shared.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ablation_abc import AblationAbc
from ablation_distance import AblationDistance
from ablation_feature_dim import AblationFeatureDim
from ablation_region_size import AblationRegionSize
from ablation_set_function import AblationSetFunction
from ablation_tau import AblationTau
from annotated_images import AnnotatedImages
from budget_curves import BudgetCurves
from fixed_budget import FixedBudget
from selected_regions import SelectedRegions

from raylab.config import StudyConfig
from raylab.config.options import parse
from raylab.errors import ConfigError, exit_cleanly, nearest
from raylab.experiment import Experiment, studies
from raylab.launch import launch

PARTS: dict[str, type[Experiment]] = {
    part.name: part
    for part in (
        BudgetCurves, AnnotatedImages, SelectedRegions, FixedBudget, AblationDistance, AblationTau, AblationAbc,
        AblationRegionSize, AblationSetFunction, AblationFeatureDim,
    )
}  # fmt: skip


PAPERS = ("cityscapes", "voc2012")
"""The paper's data sets."""


class ReproducePaper(BudgetCurves):
    """Every table and figure of the paper."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Which of them."""
    gta5: str | None = None
    """Folder or URI of GTA5, which Table I starts from."""


def paper_studies(args: Sequence[str], options: ReproducePaper) -> list[StudyConfig]:
    """The studies of all parts, each with the options that were given here.

    A part runs on those of the data sets that the paper shows it on, and on every other that is named.

    Args:
        args: the command line.
        options: the same, as read.

    Raises:
        ConfigError: a part is unknown, or an option does not fit.
    """
    if options.root and len(options.root) != len(options.data):
        raise ConfigError(
            f"--root: {len(options.root)} folders for the data sets {', '.join(options.data)}; give one each"
        )
    roots = dict(zip(options.data, options.root, strict=False))
    found: list[StudyConfig] = []
    shared = _without(args, ("--parts", "--gta5", "--root", "--data"))
    for name in options.parts:
        if name not in PARTS:
            raise ConfigError(f"--parts: {name!r} is unknown{nearest(name, PARTS)}; there are {', '.join(PARTS)}")
        part, own = PARTS[name], list(shared)
        if part is FixedBudget:
            # Its model and pre-training are a preset of their own.
            data = tuple(one for one in options.data if one == "cityscapes")
            if options.gta5:
                own += ["--run.pretraining.data.root", options.gta5]
        else:
            data = tuple(one for one in options.data if one not in PAPERS or one in part.model_fields["data"].default)
            own += ["--data", *data]
        if not data:
            continue
        if roots:
            own += ["--root", *(roots[one] for one in data)]
        found += studies(part, own, "reproduce_paper.py", None)
    return found


def _without(args: Sequence[str], names: Sequence[str]) -> list[str]:
    """The command line without some options and their values."""
    kept, dropping = [], False
    for arg in args:
        if arg.startswith("--"):
            dropping = arg.partition("=")[0] in names
        if not dropping:
            kept.append(arg)
    return kept


if __name__ == "__main__":
    with exit_cleanly():
        options = parse(ReproducePaper, sys.argv[1:], os.path.basename(sys.argv[0]), __doc__)
        launch(paper_studies(sys.argv[1:], options), plan=options.plan, resume=options.resume)
