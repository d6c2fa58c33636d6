"""Where regions were selected: images of the pool with every strategy's picks, their order and their terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from raylab.data import SegmentationDataset
from raylab.files import Folder
from raylab.report.labels import Inside, region_shape
from raylab.report.ledgers import of_image, open_data, run_ledger
from raylab.report.panels import Pixels, draw_regions, round_colours, scaled, sheet
from raylab.report.study_data import Study
from raylab.runs import ResolvedRun
from raylab.selection.objective import TERMS

NUMBERED = 12
"""Picks of a strategy in an image that carry their number; more would hide what they lie on."""


@dataclass(frozen=True)
class NumberedPick:
    """A region a strategy selected after round 0.

    Attributes:
        number: written on the picture: first, second, ... of this strategy in this image.
        round: t.
        order: index in the batch of its round, from 0, as in the ledger.
        region_id: of the region.
        top: of its box, in pixels.
        left: of its box, in pixels.
        terms: phi and each scaled term at the time of the pick; None for a term the strategy does not have.
    """

    number: int
    round: int
    order: int
    region_id: int
    top: int
    left: int
    terms: dict[str, float | None]


@dataclass(frozen=True)
class Panel:
    """One strategy on one image.

    Attributes:
        strategy: label.
        count: regions selected after round 0.
        picture: all rounds, in the rounds' colours.
        rounds: one picture a round after round 0: its picks filled, those before as outlines.
        picks: the first `NUMBERED`.
    """

    strategy: str
    count: int
    picture: Pixels
    rounds: tuple[Pixels, ...]
    picks: tuple[NumberedPick, ...]


@dataclass(frozen=True)
class Overlay:
    """One image of the pool as every strategy saw it.

    Attributes:
        image: name.
        panels: in the order of the strategies.
        truth: RGB picture of the true classes.
        classes: (name, colour) of the classes in it.
    """

    image: str
    panels: tuple[Panel, ...]
    truth: Pixels
    classes: tuple[tuple[str, tuple[int, int, int]], ...]


def busiest_images(ledgers: Sequence[pa.Table], k: int) -> list[int]:
    """The images in which a strategy selected most regions after round 0, strategies taking turns.

    Args:
        ledgers: one a strategy.
        k: how many images.

    Returns:
        At most `k` image indices; ties go to the lowest.
    """
    ranked: list[Any] = []
    for ledger in ledgers:
        images = ledger["image_index"].to_numpy()[ledger["round"].to_numpy() > 0]
        index, count = np.unique(images, return_counts=True)
        ranked.append((-count.max(initial=0), index[np.lexsort((index, -count))]))
    # The strategy that clumps most begins: its first image shows most.
    ranked = [order for _, order in sorted(ranked, key=lambda pair: pair[0])]
    turns = [int(order[i]) for i in range(max(map(len, ranked), default=0)) for order in ranked if i < len(order)]
    return list(dict.fromkeys(turns))[:k]


def study_overlays(store: Folder, study: Study, k: int = 4) -> list[Overlay]:
    """The images that tell most about where the strategies of a study looked: first seed, first region size.

    Args:
        store: of the results.
        study: as read.
        k: how many images.

    Raises:
        DataError: the data set is not there, or is another one than the study ran on.
    """
    first = [r.run for r in study.runs if r.config.seed == study.config.seeds[0]]
    runs = [run for run in first if run.config.regions.size == study.region_sizes[0]]
    found = [(run, ledger) for run in runs if (ledger := run_ledger(store, run)) is not None]
    if not found:
        return []
    dataset = open_data(study)
    inside = region_shape(store, study)
    return [_overlay(dataset, found, index, inside) for index in busiest_images([ledger for _, ledger in found], k)]


def _overlay(
    dataset: SegmentationDataset, found: Sequence[tuple[ResolvedRun, pa.Table]], index: int, inside: Inside
) -> Overlay:
    names = dataset.image_names("train")
    # A pool that has shrunk has no such image: no name will be the ledger's.
    name = names[index] if index < len(names) else ""
    rows = [(run, of_image(ledger, index, name)) for run, ledger in found]
    image, mask = dataset.read_image("train", index), dataset.read_mask("train", index)
    there = [i for i in range(len(dataset.classes)) if (mask == i).any()]
    return Overlay(
        image=name,
        panels=tuple(_panel(run, image, picks, inside) for run, picks in rows),
        truth=np.asarray(scaled(dataset.classes.paint(mask), Image.Resampling.NEAREST)),
        classes=tuple((dataset.classes.names[i], dataset.classes.colours[i]) for i in there),
    )


def _panel(run: ResolvedRun, image: Pixels, picks: pa.Table, inside: Inside) -> Panel:
    total = len(run.config.budget.rounds) + 1
    palette, t = round_colours(total), picks["round"].to_numpy()
    first = _first_picks(run, picks)
    numbers = {pick.region_id: pick.number for pick in first}
    rounds = []
    for current in range(1, int(t.max(initial=0)) + 1):
        until = picks.filter(pa.array(t <= current))
        rounds.append(draw_regions(image, until, palette, numbers, current, inside))
    whole = draw_regions(image, picks, palette, numbers, inside=inside)
    return Panel(run.strategy, int((t > 0).sum()), whole, tuple(rounds), first)


def _first_picks(run: ResolvedRun, picks: pa.Table) -> tuple[NumberedPick, ...]:
    acquisition = run.acquisition
    scored = acquisition.needs_uncertainty or acquisition.needs_features or bool(acquisition.spatial)
    has = dict(zip(TERMS, (scored, acquisition.uncertainty, acquisition.feature, acquisition.spatial), strict=True))
    rows = sorted((row for row in picks.to_pylist() if row["round"] > 0), key=lambda r: (r["round"], r["order"]))
    return tuple(
        NumberedPick(
            number=i,
            **{key: row[key] for key in ("round", "order", "region_id", "top", "left")},
            terms={term: row[term] if has[term] else None for term in TERMS},
        )
        for i, row in enumerate(rows[:NUMBERED], start=1)
    )


def overlay_sheet(overlay: Overlay, rounds: int) -> bytes:
    """The ground truth and all panels of an overlay in one PNG."""
    pictures = [("ground truth", overlay.truth)]
    pictures += [(f"{panel.strategy} ({panel.count} after round 0)", panel.picture) for panel in overlay.panels]
    return sheet([pictures[i : i + 2] for i in range(0, len(pictures), 2)], rounds)


def rounds_sheet(overlay: Overlay, rounds: int) -> bytes | None:
    """One row a strategy, one column a round after round 0; None where no strategy selected anything there."""
    rows = [
        [(f"{panel.strategy}, round {t}", picture) for t, picture in enumerate(panel.rounds, start=1)]
        for panel in overlay.panels
        if panel.rounds
    ]
    return sheet(rows, rounds) if rows else None


def numbered_picks_frame(overlays: Sequence[Overlay]) -> pd.DataFrame:
    """The numbered picks of all overlays, with the terms that their strategy has."""
    fixed = ("number", "round", "order", "region_id", "top", "left")
    rows = [
        (overlay.image, panel.strategy, *(getattr(pick, key) for key in fixed), *pick.terms.values())
        for overlay in overlays
        for panel in overlay.panels
        for pick in panel.picks
    ]
    return pd.DataFrame(rows, columns=["image", "strategy", *fixed, *TERMS])
