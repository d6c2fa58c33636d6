"""Paints shapes given in metres into a generated scene: colours and classes at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from raylab.data.classes import Colour
from raylab.data.synthetic.background import FARTHEST, Camera, Canvas, Street


class Brush:
    """Paints shapes given in metres onto a canvas, colours and classes, lit and hazed by where they stand.

    Drawing needs PIL images, the scenery arrays: `flush` hands the pixels back.
    """

    def __init__(self, canvas: Canvas, street: Street) -> None:
        self.camera: Camera = canvas.camera
        self.street = street
        self._canvas = canvas
        self._rgb = Image.fromarray(np.clip(canvas.rgb, 0, 255).astype(np.uint8))
        self._mask = Image.fromarray(canvas.mask)
        self._paint, self._classes = ImageDraw.Draw(self._rgb), ImageDraw.Draw(self._mask)
        self.z = self.x = 0.0

    def at(self, x: float, z: float) -> None:
        """Shapes that follow stand x metres right and z metres ahead."""
        self.x, self.z = x, z

    def tone(self, value: Colour, light: float = 1.0) -> Colour:
        """A colour as it looks where the brush stands."""
        if self.x * self.street.sun > 0.35 * self.street.front(self.street.sun):
            light *= 1 - 0.4 * self.street.sunlight
        share = min(1.0, self.z / FARTHEST) * self.street.haze
        mixed = [
            part * light * (1 - share) + air * share for part, air in zip(value, self.street.haze_colour, strict=True)
        ]
        return int(mixed[0]), int(mixed[1]), int(mixed[2])

    def polygon(self, class_id: int | None, value: Colour, points: Sequence[tuple[float, float, float]],
                light: float = 1.0) -> None:  # fmt: skip
        """A polygon of (x, y, z) points in metres; class_id None paints a detail of what is there already."""
        flat = [self._pixel(*self.camera.project(*point)) for point in points]
        self._paint.polygon(flat, fill=self.tone(value, light))
        if class_id is not None:
            self._classes.polygon(flat, fill=class_id)

    def box(self, class_id: int | None, value: Colour, left: float, right: float, low: float, high: float,
            light: float = 1.0) -> None:  # fmt: skip
        """An upright rectangle, `left` and `right` counted from the present x; at least a pixel wide and high."""
        corners = self._corners(left, right, low, high)
        self._paint.rectangle(corners, fill=self.tone(value, light))
        if class_id is not None:
            self._classes.rectangle(corners, fill=class_id)

    def disc(self, class_id: int | None, value: Colour | None, left: float, right: float, low: float, high: float,
             rim: Colour | None = None, light: float = 1.0) -> None:  # fmt: skip
        """An ellipse within a rectangle; value None leaves what is seen through it and paints the rim alone."""
        corners = self._corners(left, right, low, high)
        fill = None if value is None else self.tone(value, light)
        self._paint.ellipse(corners, fill=fill, outline=None if rim is None else self.tone(rim, light))
        if class_id is not None:
            self._classes.ellipse(corners, fill=class_id)

    def _corners(self, left: float, right: float, low: float, high: float) -> list[tuple[int, int]]:
        upper = self._pixel(*self.camera.project(self.x + left, high, self.z))
        lower = self._pixel(*self.camera.project(self.x + right, low, self.z))
        # A rectangle includes its last row and column.
        return [upper, (max(upper[0], lower[0] - 1), max(upper[1], lower[1] - 1))]

    @staticmethod
    def _pixel(col: float, row: float) -> tuple[int, int]:
        return int(np.floor(col + 0.5)), int(np.floor(row + 0.5))

    def blob(self, class_id: int, value: Colour, centre: tuple[float, float], radius: tuple[float, float],
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
        self._mask.paste(class_id, (left, top), stamp)

    def flush(self) -> None:
        """Write what was painted back onto the canvas."""
        self._canvas.rgb = np.asarray(self._rgb, np.float32).copy()
        self._canvas.mask = np.asarray(self._mask, np.uint8).copy()
