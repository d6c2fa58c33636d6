"""Paints shapes given in metres into a generated scene: colours and labels at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from raylab.data.synthetic.background import FAR, Camera, Colour, Picture, Street


class Brush:
    """Paints shapes given in metres into a picture's colours and labels, lit and hazed for their place.

    Drawing needs PIL images, the scenery arrays: `flush` hands the pixels back.
    """

    def __init__(self, picture: Picture, street: Street) -> None:
        self.camera: Camera = picture.camera
        self.street = street
        self._picture = picture
        self._rgb = Image.fromarray(np.clip(picture.rgb, 0, 255).astype(np.uint8))
        self._label = Image.fromarray(picture.label)
        self._paint, self._mark = ImageDraw.Draw(self._rgb), ImageDraw.Draw(self._label)
        self.z = self.x = 0.0

    def at(self, x: float, z: float) -> None:
        """Shapes that follow stand x metres right and z metres ahead."""
        self.x, self.z = x, z

    def tone(self, value: Colour, light: float = 1.0) -> Colour:
        """A colour as it looks at the present place."""
        if self.x * self.street.sun > 0.35 * self.street.front(self.street.sun):
            light *= 1 - 0.4 * self.street.sunlight
        share = min(1.0, self.z / FAR) * self.street.haze
        mixed = [
            part * light * (1 - share) + air * share for part, air in zip(value, self.street.haze_colour, strict=True)
        ]
        return int(mixed[0]), int(mixed[1]), int(mixed[2])

    def polygon(self, label: int | None, value: Colour, points: Sequence[tuple[float, float, float]],
                light: float = 1.0) -> None:  # fmt: skip
        """A polygon of (x, y, z) points in metres; label None paints a detail of what is there already."""
        flat = [self._pixel(*self.camera.project(*point)) for point in points]
        self._paint.polygon(flat, fill=self.tone(value, light))
        if label is not None:
            self._mark.polygon(flat, fill=label)

    def box(self, label: int | None, value: Colour, left: float, right: float, low: float, high: float,
            light: float = 1.0) -> None:  # fmt: skip
        """An upright rectangle, `left` and `right` counted from the present x; at least a pixel wide and high."""
        corners = self._corners(left, right, low, high)
        self._paint.rectangle(corners, fill=self.tone(value, light))
        if label is not None:
            self._mark.rectangle(corners, fill=label)

    def disc(self, label: int | None, value: Colour | None, left: float, right: float, low: float, high: float,
             rim: Colour | None = None, light: float = 1.0) -> None:  # fmt: skip
        """An ellipse within a rectangle; value None leaves what is seen through it and paints the rim alone."""
        corners = self._corners(left, right, low, high)
        fill = None if value is None else self.tone(value, light)
        self._paint.ellipse(corners, fill=fill, outline=None if rim is None else self.tone(rim, light))
        if label is not None:
            self._mark.ellipse(corners, fill=label)

    def _corners(self, left: float, right: float, low: float, high: float) -> list[tuple[int, int]]:
        upper = self._pixel(*self.camera.project(self.x + left, high, self.z))
        lower = self._pixel(*self.camera.project(self.x + right, low, self.z))
        # A rectangle includes its last row and column.
        return [upper, (max(upper[0], lower[0] - 1), max(upper[1], lower[1] - 1))]

    @staticmethod
    def _pixel(col: float, row: float) -> tuple[int, int]:
        return int(np.floor(col + 0.5)), int(np.floor(row + 0.5))

    def blob(self, label: int, value: Colour, centre: tuple[float, float], radius: tuple[float, float],
             ragged: NDArray[np.float32]) -> None:  # fmt: skip
        """A leafy ellipse: centre (metres right of x, metres up), radii in metres, (H, W) noise at its border."""
        col, row = self.camera.project(self.x + centre[0], centre[1], self.z)
        scale = self.camera.focal / self.z
        reach = [max(1.0, part * scale) for part in radius]
        top, left = max(0, int(row - 1.5 * reach[1])), max(0, int(col - 1.5 * reach[0]))
        bottom, right = int(row + 1.5 * reach[1]) + 1, int(col + 1.5 * reach[0]) + 1
        rows = (np.arange(top, min(bottom, self.camera.height), dtype=np.float32)[:, None] - np.float32(row)) / reach[1]
        cols = (np.arange(left, min(right, self.camera.width), dtype=np.float32)[None, :] - np.float32(col)) / reach[0]
        if not rows.size or not cols.size:
            return
        noise = ragged[top : top + len(rows), left : left + cols.shape[1]]
        inside = rows * rows + cols * cols < 1 + noise * np.float32(0.6)
        stamp = Image.fromarray((inside * np.uint8(255)).astype(np.uint8))
        self._rgb.paste(self.tone(value), (left, top), stamp)
        self._label.paste(label, (left, top), stamp)

    def flush(self) -> None:
        """Write what was painted back into the picture."""
        self._picture.rgb = np.asarray(self._rgb, np.float32).copy()
        self._picture.label = np.asarray(self._label, np.uint8).copy()
