"""Selection for a notebook: plain arrays in, a table of picks out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from numpy.typing import ArrayLike

from raylab.acquisition import Acquisition
from raylab.config import parse_strategy
from raylab.errors import ConfigError
from raylab.regions import RegionGrid, Regions
from raylab.regions.table import ledger_table
from raylab.selection import select as select_regions
from raylab.selection.arrays import array_namespace


def select(
    regions: Regions | Sequence[tuple[int, int]] | ArrayLike,
    k: int,
    strategy: str | Acquisition = "entropy+spatial",
    *,
    region_size: int | None = None,
    uncertainty: ArrayLike | None = None,
    features: ArrayLike | None = None,
    predicted_class: ArrayLike | None = None,
    labelled: ArrayLike = (),
    seed: int = 0,
) -> pd.DataFrame:
    """The next k regions of a pool by a strategy (Algorithm 1), with every term; a pure function of its arguments.

    Args:
        regions: the pool: (images, 2) heights and widths in pixels, which `region_size` cuts into tiles, or its
            regions. Ids run row by row through the first image, then through the second.
        k: how many to pick; all that are left when it is more than that.
        strategy: a strategy's name, with changes if wanted (`entropy+spatial,tau=64`), or its numbers.
        region_size: N in pixels; only with sizes of images.
        uncertainty: (n_regions,) float, unscaled; needed by strategies that ask the model.
        features: (n_regions, d) float32; needed by strategies with a feature term.
        predicted_class: (n_regions,) integer; needed by class-balanced strategies.
        labelled: (m,) integer ids of the regions that are labelled already.
        seed: of regions drawn at random.

    Returns:
        One row a pick, in the order of the picks: region_id, image_index, top, left, height and width in pixels, the
        potential phi (Eq. 4), and its scaled terms uncertainty, feature and spatial at the time of the pick.

    Raises:
        ConfigError: an argument is missing or does not fit, or the strategy sets `pca`; the message names it.

    Example:
        Two images of 64 x 64 pixels, each cut into four regions. Entropy alone would take regions 0 and 1, which touch:

        >>> import raylab
        >>> entropy = [0.9, 0.8, 0.1, 0.2, 0.7, 0.3, 0.1, 0.1]
        >>> sizes = [(64, 64), (64, 64)]
        >>> raylab.select(sizes, 2, "entropy", region_size=32, uncertainty=entropy)["region_id"].tolist()
        [0, 1]
        >>> picks = raylab.select(sizes, 2, "entropy+spatial", region_size=32, uncertainty=entropy)
        >>> picks[["region_id", "image_index", "top", "left", "uncertainty", "spatial"]].round(2)
           region_id  image_index  top  left  uncertainty  spatial
        0          0            0    0     0         1.00      1.0
        1          4            1    0     0         0.75      1.0
    """
    if not isinstance(regions, Regions):
        if region_size is None:
            raise ConfigError("region_size: is not given; sizes of images need it to be cut into regions")
        regions = RegionGrid(regions, region_size)
    elif region_size not in (None, regions.region_size):
        raise ConfigError(f"region_size: {region_size} is not that of the regions; leave it out")
    acquisition = parse_strategy(strategy).without_pca() if isinstance(strategy, str) else strategy
    picks = select_regions(
        regions,
        acquisition,
        k,
        labelled=labelled if len(labelled) else (),  # type: ignore[arg-type]
        uncertainty=uncertainty,
        features=features,
        predicted_class=predicted_class,
        seed=seed,
        xp=array_namespace(),
    )
    names = [str(index) for index in range(regions.n_images)]
    table = ledger_table(regions, names, 0, picks.region_id, picks.terms())
    return table.drop_columns(["round", "order", "image", "cost"]).to_pandas()
