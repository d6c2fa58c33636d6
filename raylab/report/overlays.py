"""Where regions were selected: images of the pool with the labelled regions drawn over them, round by round."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from raylab.config import RunConfig
from raylab.data import SegmentationDataset, open_dataset
from raylab.errors import DataError, RaylabError
from raylab.report.aggregate import Study
from raylab.store import RunStore, Store

Colour = tuple[int, int, int]

PANEL_WIDTH = 640
"""Pixels of a panel; larger images are scaled down to it, smaller ones up."""
FIRST_ROUND: Colour = (255, 255, 255)
"""Round 0 was drawn at random: it is the same for every strategy, so it stays in the background."""


@dataclass(frozen=True)
class Overlay:
    """One image of the pool as every strategy saw it.

    Attributes:
        image: name.
        panels: (strategy, regions selected after round 0, RGB picture), in the order of the strategies.
        mask: RGB picture of the true classes, or None.
    """

    image: str
    panels: tuple[tuple[str, int, NDArray[np.uint8]], ...]
    mask: NDArray[np.uint8] | None


def round_colours(rounds: int) -> list[Colour]:
    """A colour a round: white for round 0, then dark to light, so that the order can be seen in grey as well."""
    ramp = matplotlib.colormaps["plasma"](np.linspace(0.3, 0.95, max(1, rounds - 1)))
    return [FIRST_ROUND, *((int(255 * r), int(255 * g), int(255 * b)) for r, g, b, _ in ramp)][:rounds]


def run_ledger(store: Store, run: RunConfig) -> pa.Table | None:
    """All picks a run has committed, or None where it has not begun."""
    run_store = RunStore(store, run)
    total = len(run.budget.rounds) + 1
    done = next((t for t in range(total) if run_store.round(t).record("select") is None), total)
    return run_store.ledger(done) if done else None


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


def draw_regions(image: NDArray[np.uint8], ledger: pa.Table, palette: Sequence[Colour]) -> NDArray[np.uint8]:
    """An image with regions as outlines and a translucent fill.

    Args:
        image: (H, W, 3) uint8.
        ledger: the picks in this image.
        palette: a colour a round.

    Returns:
        (h, `PANEL_WIDTH`, 3) uint8.
    """
    scale = PANEL_WIDTH / image.shape[1]
    base = _resize(image, Image.Resampling.LANCZOS).convert("RGBA")
    layer = Image.new("RGBA", base.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    columns = (ledger[name].to_pylist() for name in ("round", "top", "left", "height", "width"))
    for t, top, left, height, width in zip(*columns, strict=True):
        right, bottom = round((left + width) * scale) - 1, round((top + height) * scale) - 1
        box = [round(left * scale), round(top * scale), right, bottom]
        # The dark line around keeps a light outline visible on a bright sky.
        pen.rectangle(box, fill=(*palette[t], 70 if t else 30), outline=(0, 0, 0, 150), width=4 if t else 3)
        pen.rectangle([box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1], outline=(*palette[t], 255), width=3 if t else 1)
    return np.asarray(Image.alpha_composite(base, layer).convert("RGB"))


def study_overlays(store: Store, study: Study, k: int = 4) -> list[Overlay]:
    """The images that tell most about where the strategies of a study looked: first seed, first region size.

    Args:
        store: of the results.
        study: as read.
        k: how many images.

    Raises:
        DataError: the data set is not there, or is another one than the study ran on.
    """
    first = [r.config for r in study.runs if r.config.seed == study.config.seeds[0]]
    runs = [run for run in first if run.regions.size == study.region_sizes[0]]
    ledgers = {run.strategy.label: ledger for run in runs if (ledger := run_ledger(store, run)) is not None}
    if not ledgers:
        return []
    dataset = _open(study)
    names, palette = dataset.image_names("train"), round_colours(len(study.config.run.budget.rounds) + 1)
    overlays = []
    for index in busiest_images(list(ledgers.values()), k):
        rows = {label: _of_image(ledger, index) for label, ledger in ledgers.items()}
        if index >= len(names) or any(set(r["image"].to_pylist()) - {names[index]} for r in rows.values()):
            raise DataError(f"{study.config.run.data.name}: its images are not those the study ran on")
        image = dataset.read_image("train", index)
        panels = tuple((label, _picked(r), draw_regions(image, r, palette)) for label, r in rows.items())
        mask = dataset.classes.paint(dataset.read_mask("train", index))
        overlays.append(Overlay(names[index], panels, np.asarray(_resize(mask, Image.Resampling.NEAREST))))
    return overlays


def sheet(overlay: Overlay, rounds: int) -> bytes:
    """All panels of an overlay in one PNG with titles and a legend of the rounds."""
    pictures = [(f"{label} ({n} after round 0)", picture) for label, n, picture in overlay.panels]
    pictures += [("classes", overlay.mask)] if overlay.mask is not None else []
    cols = min(2, len(pictures))
    rows = -(-len(pictures) // cols)
    height, width = pictures[0][1].shape[:2]
    figure = Figure(figsize=(4.2 * cols, (4.2 * height / width + 0.35) * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, cols, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, picture) in zip(grid.flat, pictures, strict=False):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
    patches = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*colour), edgecolor="#888888", label=f"round {t}")
        for t, colour in enumerate(round_colours(rounds))
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(8, rounds), frameon=False, fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _open(study: Study) -> SegmentationDataset:
    try:
        return open_dataset(study.config.run.data)
    except (RaylabError, OSError) as error:
        raise DataError(f"{study.config.run.data.name}: {str(error).splitlines()[0]}") from None


def _of_image(ledger: pa.Table, index: int) -> pa.Table:
    return ledger.filter(pa.array(ledger["image_index"].to_numpy() == index))


def _picked(ledger: pa.Table) -> int:
    return int((ledger["round"].to_numpy() > 0).sum())


def _resize(picture: NDArray[np.uint8], how: Image.Resampling) -> Image.Image:
    height, width = picture.shape[:2]
    return Image.fromarray(picture).resize((PANEL_WIDTH, round(height * PANEL_WIDTH / width)), how)
