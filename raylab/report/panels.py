"""Pictures of regions over images, and sheets that put them side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from raylab.data.classes import Colour
from raylab.report.labels import Inside, whole_box

Pixels = NDArray[np.uint8]
"""(H, W, 3), red, green and blue."""

_GAP, _TITLE = 14, 30  # pixels of a sheet
PANEL_WIDTH = 640
"""Pixels of a panel; larger images are scaled down to it, smaller ones up."""
FIRST_ROUND: Colour = (255, 255, 255)
"""Round 0 was drawn at random: it is the same for every strategy, so it stays in the background."""


def round_colours(rounds: int) -> list[Colour]:
    """A colour a round: white for round 0, then dark to light, so that the order can be seen in grey as well."""
    ramp = matplotlib.colormaps["plasma"](np.linspace(0.3, 0.95, max(1, rounds - 1)))
    return [FIRST_ROUND, *((int(255 * r), int(255 * g), int(255 * b)) for r, g, b, _ in ramp)][:rounds]


def draw_regions(
    image: Pixels,
    picks: pa.Table,
    palette: Sequence[Colour],
    numbers: Mapping[int, int] | None = None,
    current: int | None = None,
    inside: Inside = whole_box,
) -> Pixels:
    """An image with regions as outlines and a translucent fill.

    Args:
        image: (H, W, 3) uint8.
        picks: ledger rows of this image.
        palette: a colour a round.
        numbers: by region_id, to be written on the region.
        current: the round that is filled; the other rounds are outlines only. None fills all.
        inside: the shape of a region within its box.

    Returns:
        (h, `PANEL_WIDTH`, 3) uint8.
    """
    scale = PANEL_WIDTH / image.shape[1]
    base = scaled(image, Image.Resampling.LANCZOS).convert("RGBA")
    layer = Image.new("RGBA", base.size, (0, 0, 0, 0))
    names = ("round", "image_index", "region_id", "top", "left", "height", "width")
    rows = list(zip(*(picks[name].to_pylist() for name in names), strict=True))
    for t, index, region, top, left, height, width in rows:
        right, bottom = round((left + width) * scale) - 1, round((top + height) * scale) - 1
        box = (round(left * scale), round(top * scale), right, bottom)
        shape = inside(index, region, (top, left, height, width))
        _draw(layer, box, palette[t], bool(t) and current in (None, t), shape)
    pen = ImageDraw.Draw(layer)
    for t, _, region, top, left, height, width in rows:
        if numbers and region in numbers and current in (None, t):
            centre = ((left + width / 2) * scale, (top + height / 2) * scale)
            _write(pen, centre, str(numbers[region]), min(20.0, max(14.0, 0.5 * min(height, width) * scale)))
    return np.asarray(Image.alpha_composite(base, layer).convert("RGB"))


def scaled(picture: Pixels, how: Image.Resampling) -> Image.Image:
    """A picture at the width of a panel."""
    height, width = picture.shape[:2]
    return Image.fromarray(picture).resize((PANEL_WIDTH, round(height * PANEL_WIDTH / width)), how)


def _draw(
    layer: Image.Image, box: tuple[int, int, int, int], colour: Colour, filled: bool, shape: NDArray[np.bool_] | None
) -> None:
    if shape is None:
        _draw_box(layer, box, colour, filled)
    else:
        _draw_shape(layer, box, colour, filled, shape)


def _draw_box(layer: Image.Image, box: tuple[int, int, int, int], colour: Colour, filled: bool) -> None:
    # The dark line around keeps a light outline visible on a bright sky.
    pen = ImageDraw.Draw(layer)
    fill = (*colour, 70 if filled else 24)
    pen.rectangle(box, fill=fill, outline=(0, 0, 0, 150), width=4 if filled else 3)
    inner = [box[0] + 1, box[1] + 1, max(box[0] + 1, box[2] - 1), max(box[1] + 1, box[3] - 1)]
    pen.rectangle(inner, outline=(*colour, 255), width=3 if filled else 1)


def _draw_shape(
    layer: Image.Image, box: tuple[int, int, int, int], colour: Colour, filled: bool, shape: NDArray[np.bool_]
) -> None:
    size = (max(1, box[2] - box[0] + 1), max(1, box[3] - box[1] + 1))
    whole = np.pad(np.asarray(Image.fromarray(shape).resize(size, Image.Resampling.NEAREST)), 2)
    core = whole.copy()
    for axis in (0, 1):
        for step in (-2, 2) if filled else (-1, 1):
            core &= np.roll(whole, step, axis)
    rgba = np.zeros((*whole.shape, 4), np.uint8)
    rgba[whole] = (*colour, 255)
    rgba[core] = (*colour, 70 if filled else 24)
    patch = Image.fromarray(rgba[2:-2, 2:-2])
    layer.paste(patch, box[:2], Image.fromarray(whole[2:-2, 2:-2].astype(np.uint8) * 255))


def _write(pen: ImageDraw.ImageDraw, centre: tuple[float, float], text: str, size: float) -> None:
    font = ImageFont.load_default(size)
    ink = {"fill": (255, 255, 255, 255), "stroke_fill": (0, 0, 0, 255), "stroke_width": 2}
    pen.text(centre, text, font=font, anchor="mm", **ink)  # type: ignore[arg-type]


def sheet(rows: Sequence[Sequence[tuple[str, Pixels]]], rounds: int) -> bytes:
    """Titled pictures in rows, with a legend of the rounds, as PNG.

    Args:
        rows: of (title, picture); all pictures of one size.
        rounds: of the study, round 0 among them.
    """
    cols = max(map(len, rows))
    height, width = rows[0][0][1].shape[:2]
    wide = PANEL_WIDTH if cols <= 2 else PANEL_WIDTH // 2
    high, step = round(wide * height / width), wide + _GAP
    canvas = Image.new("RGB", (cols * step + _GAP, len(rows) * (high + _TITLE + _GAP) + _TITLE + _GAP), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            left, top = _GAP + j * step, i * (high + _TITLE + _GAP) + _TITLE
            pen.text((left, top - 5), title, font=font, fill="#1F2328", anchor="ls")
            canvas.paste(Image.fromarray(picture).resize((wide, high), Image.Resampling.LANCZOS), (left, top))
    left, line = _GAP, canvas.height - _GAP - 4
    for t, colour in enumerate(round_colours(rounds)):
        pen.rectangle([left, line - 14, left + 16, line + 2], fill=colour, outline="#59636E")
        pen.text((left + 24, line), f"round {t}", font=font, fill="#1F2328", anchor="ls")
        left += 105
    out = io.BytesIO()
    canvas.save(out, "png")
    return out.getvalue()
