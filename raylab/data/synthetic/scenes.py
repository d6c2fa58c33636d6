"""Street scenes drawn by a seeded generator: 19 classes with a street's long tail, no files, no download."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.data.base import Split
from raylab.data.classes import CITYSCAPES, ClassMap
from raylab.data.synthetic import background
from raylab.data.synthetic.background import (
    BICYCLE,
    BUS,
    FENCE,
    MOTORCYCLE,
    TRAFFIC_LIGHT,
    TRAIN,
    TRUCK,
    WALL,
    Canvas,
    Dice,
)
from raylab.data.synthetic.objects import SceneObject, cast_shadows, choose_objects, paint_objects, pole
from raylab.errors import ConfigError

GENERATOR_VERSION = 1
"""Raise it with every change that alters a pixel: it is part of the fingerprint."""

CACHE_BYTES = 64 * 2**20
SMALLEST_SIDE = 32

_SPLIT_KEYS: dict[Split, int] = {"train": 0, "val": 1}
_FEATURED = (WALL, BICYCLE, TRUCK, FENCE, MOTORCYCLE, BUS, TRAFFIC_LIGHT, TRAIN)

# Strength of fine and coarse grain a class: what is flat (sky, paint) and what is rough (leaves, grass).
_GRAIN = {
    background.ROAD: (0.05, 0.05),
    background.SIDEWALK: (0.06, 0.05), background.BUILDING: (0.05, 0.07), WALL: (0.09, 0.08),
    FENCE: (0.10, 0.06), background.VEGETATION: (0.24, 0.26),
    background.TERRAIN: (0.18, 0.16), background.SKY: (0.0, 0.02),
}  # fmt: skip

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def draw_scene(seed: int, split: Split, index: int, height: int, width: int) -> Scene:
    """Draw one scene, a pure function of its arguments.

    Args:
        seed: of the data set, at least 0.
        split: which stream of scenes.
        index: within the split.
        height: pixels.
        width: pixels.

    Returns:
        (H, W, 3) uint8 RGB and (H, W) uint8 training ids of `CITYSCAPES`.
    """
    dice = Dice(seed, _SPLIT_KEYS[split], index, height, width)
    camera, street = background.plan_camera(dice, height, width), background.plan_street(dice)
    featured = _FEATURED[index % len(_FEATURED)]
    canvas = Canvas(camera)
    background.paint_sky(canvas, dice, street)
    ahead = background.paint_ground(canvas, dice, street)
    objects = choose_objects(dice, street, featured, dice.field(height, width, 3))
    if featured == TRAFFIC_LIGHT:
        side = dice.pick((-1, 1))
        beside = side * (street.road[side] + street.strip[side] + 0.3)
        objects.append(SceneObject(dice.between(8.0, 11.0), beside, 0.3, pole(dice, TRAFFIC_LIGHT)))
    cast_shadows(canvas, street, objects, ahead)
    background.paint_backdrop(canvas, dice, street)
    for side in (-1, 1):
        background.paint_facades(canvas, dice, street, side)
    for side, class_id in ((-1, WALL), (1, FENCE)) if dice.chance(0.5) else ((-1, FENCE), (1, WALL)):
        if featured == class_id or dice.chance(0.07):
            background.paint_barrier(canvas, dice, street, side, class_id)
    paint_objects(canvas, street, objects)
    return _expose(canvas, dice), canvas.mask


def _expose(canvas: Canvas, dice: Dice) -> NDArray[np.uint8]:
    """Grain of the surfaces, then the camera's part: exposure, tint, slight blur, sensor noise."""
    height, width = canvas.mask.shape
    fine_table, coarse_table = np.full(256, 0.03, np.float32), np.full(256, 0.03, np.float32)
    for class_id, (fine, coarse) in _GRAIN.items():
        fine_table[class_id], coarse_table[class_id] = fine, coarse
    grain = 1 + fine_table[canvas.mask] * dice.field(height, width, 1.5)
    grain += coarse_table[canvas.mask] * dice.field(height, width, 5)
    gain = np.float32(dice.between(0.6, 1.15))
    warm = np.float32(dice.between(-0.06, 0.08))
    tint = np.asarray([1 + warm, 1, 1 - warm], np.float32) * gain
    rgb = canvas.rgb * grain[..., None] * tint + np.float32(dice.between(0, 12))
    rgb = _blur(rgb, np.float32(dice.between(0.05, 0.22)))
    # Four bytes summed are near enough to a normal distribution (standard deviation 148), and exact everywhere.
    noise = dice.bytes(4, height, width, 3).astype(np.int32)
    rgb += (noise[0] + noise[1] + noise[2] + noise[3] - 510) * np.float32(dice.between(2.0, 6.0) / 148)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


def _blur(rgb: NDArray[np.float32], share: np.float32) -> NDArray[np.float32]:
    """Three taps along each axis: `share` from each neighbour, the border repeated."""
    for axis in (0, 1):
        last = rgb.shape[axis] - 1
        steps = np.arange(last + 1)
        before, after = rgb.take(np.maximum(steps - 1, 0), axis), rgb.take(np.minimum(steps + 1, last), axis)
        rgb = rgb * (1 - 2 * share) + (before + after) * share
    return rgb


class SyntheticScenes:
    """Generated street scenes behind the data-set protocol.

    Args:
        train_images: scenes in the pool.
        val_images: scenes in the validation split; another stream than the pool's.
        height: pixels, at least 32.
        width: pixels, at least 32.
        seed: at least 0.

    Raises:
        ConfigError: a number is out of its range.
    """

    name = "synthetic"
    classes: ClassMap = CITYSCAPES

    def __init__(
        self, train_images: int = 48, val_images: int = 16, height: int = 128, width: int = 192, seed: int = 0
    ) -> None:
        limits = {"train_images": (train_images, 1), "val_images": (val_images, 1), "height": (height, SMALLEST_SIDE),
                  "width": (width, SMALLEST_SIDE), "seed": (seed, 0)}  # fmt: skip
        for field, (value, least) in limits.items():
            if value < least:
                raise ConfigError(f"data.synthetic.{field}: {value} is too small; choose at least {least}")
        self._images: dict[Split, int] = {"train": train_images, "val": val_images}
        self._size = (height, width)
        self._seed = seed
        self._start_cache()

    def _start_cache(self) -> None:
        self._cache: OrderedDict[tuple[Split, int], Scene] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_cache()

    def image_names(self, split: Split) -> list[str]:
        """Numbers with leading zeros, so that their order is that of the indices."""
        return [f"{index:06d}" for index in range(self._images[split])]

    def image_sizes(self, split: Split) -> NDArray[np.int32]:
        """(images, 2) int32 heights and widths, all the same."""
        return np.tile(np.asarray(self._size, np.int32), (self._images[split], 1))

    def read_image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            IndexError: the split has no such image.
        """
        return self._scene(split, index)[0].copy()

    def read_mask(self, split: Split, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 training ids; no pixel is ignored.

        Raises:
            IndexError: the split has no such image.
        """
        return self._scene(split, index)[1].copy()

    def problems(self) -> list[str]:
        """Nothing: there are no files."""
        return []

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over the parameters and the generator's version."""
        what = {"generator": GENERATOR_VERSION, "images": self._images, "size": self._size, "seed": self._seed}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _scene(self, split: Split, index: int) -> Scene:
        if not 0 <= index < self._images[split]:
            raise IndexError(f"{split} has {self._images[split]} images, not one with index {index}")
        key = (split, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        scene = draw_scene(self._seed, split, index, *self._size)
        with self._lock:
            self._cache[key] = scene
            while len(self._cache) > max(1, CACHE_BYTES // (4 * self._size[0] * self._size[1])):
                self._cache.popitem(last=False)
        return scene
