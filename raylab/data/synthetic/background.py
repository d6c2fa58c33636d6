"""The still part of a generated street: camera, light, sky, ground, facades, walls and fences.

All of it is array code in metres: a row below the horizon has one scale (pixels a metre), and so has every
column of a plane that runs along the street, so no ray is traced and no polygon clipped. Only additions,
products, quotients and comparisons act on pixels, and all randomness comes from the raw bytes and uniform
doubles of PCG64: neither depends on the machine's vector unit or C library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raylab.data.classes import Colour

(
    ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY, PERSON,
    RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE,
) = range(19)  # fmt: skip

Floats = NDArray[np.float32]
T = TypeVar("T")

FARTHEST = 95.0
"""Metres at which the street ends and the backdrop stands."""

FACADE_COLOURS: tuple[Colour, ...] = (
    (150, 138, 120), (128, 96, 82), (172, 160, 140), (112, 112, 116), (158, 122, 96), (140, 146, 150), (186, 176, 160),
)  # fmt: skip
BARRIER_COLOURS: tuple[Colour, ...] = ((132, 124, 114), (112, 96, 86), (96, 98, 92), (150, 146, 138))


class Dice:
    """The random numbers of one scene."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def between(self, low: float, high: float) -> float:
        """A uniform number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return float(self._generator.random()) < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self._generator.random() * len(items))]

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Uniform uint8 of this shape."""
        return np.frombuffer(self._generator.bytes(int(np.prod(shape))), np.uint8).reshape(shape)

    def field(self, height: int, width: int, cell: float) -> Floats:
        """(height, width) float32 in [-1, 1]: smooth noise whose bumps are `cell` pixels wide."""
        coarse = self.bytes(max(2, int(height / cell) + 1), max(2, int(width / cell) + 1))
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(smooth, np.float32) / np.float32(127.5) - np.float32(1)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the street.

    Attributes:
        horizon: row of the vanishing point.
        centre: column of the vanishing point.
        eye: metres above the road.
        focal: pixels.
    """

    height: int
    width: int
    horizon: float
    centre: float
    eye: float
    focal: float

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row of the point x metres right, y metres above the road, z metres ahead."""
        scale = self.focal / z
        return self.centre + x * scale, self.horizon + (self.eye - y) * scale


@dataclass(frozen=True)
class Street:
    """What a scene is made of; lengths in metres, sides are -1 (left) and +1 (right).

    Attributes:
        road: half width of the road, for each side.
        walk: width of the sidewalk, for each side.
        verge: width of the strip between sidewalk and facades, for each side.
        strip: width of the grass between road and sidewalk, for each side.
        sun: side the sun stands on; the facades of that side are dark and throw shadow.
        sunlight: 0 (overcast) to 1.
        haze: share of the haze colour at `FARTHEST`.
        town: 0 (suburb) to 1 (town): the share of facades that are buildings.
    """

    road: dict[int, float]
    walk: dict[int, float]
    verge: dict[int, float]
    strip: dict[int, float]
    sun: int
    sunlight: float
    haze: float
    haze_colour: Colour
    town: float
    crossing: float | None

    def kerb(self, side: int) -> float:
        """Distance of the sidewalk's outer border from the middle of the road."""
        return self.road[side] + self.strip[side] + self.walk[side]

    def front(self, side: int) -> float:
        """Distance of the facades from the middle of the road."""
        return self.kerb(side) + self.verge[side]


def plan_camera(dice: Dice, height: int, width: int) -> Camera:
    """A camera on the road; all its lengths in pixels follow the image's size."""
    horizon = height * dice.between(0.36, 0.47)
    centre = width * dice.between(0.38, 0.62)
    return Camera(height, width, horizon, centre, eye=dice.between(2.0, 2.7), focal=height * dice.between(1.1, 1.4))


def plan_street(dice: Dice) -> Street:
    """Widths, weather and kind of street."""
    sides = (-1, 1)
    overcast = dice.chance(0.35)
    return Street(
        road={side: dice.between(3.4, 6.0) for side in sides},
        walk={side: dice.between(1.8, 3.4) for side in sides},
        verge={side: dice.between(1.0, 5.0) if dice.chance(0.5) else 0.3 for side in sides},
        strip={side: dice.between(0.6, 1.6) if dice.chance(0.3) else 0.0 for side in sides},
        sun=dice.pick(sides),
        sunlight=dice.between(0.0, 0.25) if overcast else dice.between(0.6, 1.0),
        haze=dice.between(0.15, 0.7),
        haze_colour=dice.pick(((188, 194, 200), (202, 196, 186), (172, 182, 196))),
        town=dice.between(0.35, 1.0),
        crossing=dice.between(8.0, 16.0) if dice.chance(0.35) else None,
    )


class Canvas:
    """The colours and classes while a scene is painted.

    Attributes:
        rgb: (H, W, 3) float32, 0..255.
        mask: (H, W) uint8 training ids.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.rgb = np.zeros((camera.height, camera.width, 3), np.float32)
        self.mask = np.full((camera.height, camera.width), SKY, np.uint8)
        self.rows = np.arange(camera.height, dtype=np.float32)[:, None] + np.float32(0.5)
        self.cols = np.arange(camera.width, dtype=np.float32)[None, :] + np.float32(0.5)

    def put(self, where: NDArray[np.bool_], class_id: int, rgb: Floats) -> None:
        """Paint where the mask says so; `rgb` broadcasts to (H, W, 3)."""
        np.copyto(self.mask, np.uint8(class_id), where=where)
        np.copyto(self.rgb, rgb, where=where[..., None])


def colour(value: Sequence[float]) -> Floats:
    """A colour as a (3,) float32 array."""
    return np.asarray(value, np.float32)


def fraction(value: Floats, period: float) -> Floats:
    """Position within a repeated pattern, in [0, 1)."""
    turns = value / np.float32(period)
    return np.asarray(turns - np.floor(turns), np.float32)


def paint_sky(canvas: Canvas, dice: Dice, street: Street) -> None:
    """A gradient that ends in the haze at the horizon, with clouds."""
    camera = canvas.camera
    top = colour(dice.pick(((96, 146, 206), (130, 166, 210), (150, 160, 172), (120, 140, 176))))
    down = np.clip(canvas.rows / np.float32(max(camera.horizon, 1.0)), 0, 1)[..., None]
    sky = top * (1 - down) + colour(street.haze_colour) * down
    cover = dice.field(camera.height, camera.width, camera.height / 5) + np.float32(1.2 - street.sunlight)
    clouds = np.clip(cover, 0, 1)[..., None] * np.float32(0.6)
    canvas.put(np.ones_like(canvas.mask, bool), SKY, sky * (1 - clouds) + np.float32(232) * clouds)


def paint_ground(canvas: Canvas, dice: Dice, street: Street) -> Floats:
    """Road with markings, sidewalks with slabs, grass.

    Returns:
        (H, 1) float32 metres to the ground at each row; `FARTHEST` above the horizon.
    """
    camera = canvas.camera
    scale = np.maximum(canvas.rows - np.float32(camera.horizon), np.float32(0.25)) / np.float32(camera.eye)
    across, ahead = (canvas.cols - np.float32(camera.centre)) / scale, np.float32(camera.focal) / scale
    below = np.broadcast_to(canvas.rows > camera.horizon, canvas.mask.shape)
    grass = colour(dice.pick(((96, 118, 62), (116, 124, 74), (128, 116, 84))))
    canvas.put(below, TERRAIN, grass)
    slab = colour(dice.pick(((156, 150, 146), (140, 134, 134), (166, 152, 138))))
    joint = (fraction(across, 0.9) < 0.08) | (fraction(ahead, 0.9) < 0.08)
    sharp = np.clip(scale / np.float32(14), 0, 1) * np.float32(0.22)
    slabs = slab * (1 - joint * sharp)[..., None]
    asphalt = colour(dice.pick(((92, 92, 96), (106, 102, 100), (80, 82, 88), (118, 114, 108))))
    for side in (-1, 1):
        beside = across * side
        canvas.put(below & (beside > street.road[side] + street.strip[side]) & (beside < street.kerb(side)),
                    SIDEWALK, slabs)  # fmt: skip
        canvas.put(below & (beside >= 0) & (beside < street.road[side]), ROAD, asphalt)
        kerb = below & (beside >= street.road[side] - 0.05) & (beside < street.road[side] + 0.15)
        canvas.rgb[kerb] = canvas.rgb[kerb] * np.float32(0.6) + np.float32(74)
    _paint_markings(canvas, dice, street, across, ahead)
    return np.minimum(np.where(below[:, :1], ahead, np.float32(FARTHEST)), np.float32(FARTHEST))


def _paint_markings(canvas: Canvas, dice: Dice, street: Street, across: Floats, ahead: Floats) -> None:
    """Lane lines and a zebra crossing, worn."""
    line = (np.abs(across) < 0.09) & (fraction(ahead, 7.0) < 0.55)
    for side in (-1, 1):
        if dice.chance(0.6):
            line |= np.abs(across * side - np.float32(street.road[side] - 2.2)) < 0.07
    if street.crossing is not None:
        line |= (ahead > street.crossing) & (ahead < street.crossing + 3.0) & (fraction(across, 1.0) < 0.5)
    worn = dice.field(*canvas.mask.shape, cell=3) * np.float32(0.25) + np.float32(0.65)
    on = line & (canvas.mask == ROAD)
    canvas.rgb[on] += (np.float32(225) - canvas.rgb[on]) * worn[on][:, None]


def paint_backdrop(canvas: Canvas, dice: Dice, street: Street) -> None:
    """What closes the street: far houses or trees, as high as a few rows."""
    camera = canvas.camera
    foot = camera.horizon + camera.eye * camera.focal / FARTHEST
    for class_id, shade, high in ((BUILDING, (136, 130, 126), 9.0), (VEGETATION, (84, 100, 72), 6.0)):
        steps = dice.bytes(1, max(2, camera.width // 6)).astype(np.float32) / np.float32(255)
        profile = np.repeat(steps, -(-camera.width // steps.shape[1]), axis=1)[:, : camera.width]
        if class_id == VEGETATION:
            profile = (dice.field(camera.height, camera.width, 4)[:1] + 1) * np.float32(0.5)
            profile = np.where(profile > street.town * 0.8, profile, np.float32(0))
        top = np.float32(foot) - profile * np.float32(high * camera.focal / FARTHEST)
        where = (canvas.rows > top) & (canvas.rows <= np.float32(foot)) & (profile > 0.15)
        mixed = colour(shade) * np.float32(1 - street.haze * 0.7) + colour(street.haze_colour) * np.float32(
            street.haze * 0.7
        )
        canvas.put(where, class_id, mixed)


@dataclass(frozen=True)
class Plane:
    """A plane along the street on one side, seen by each column: (1, W) arrays, and metres up at each pixel."""

    seen: NDArray[np.bool_]
    scale: Floats
    ahead: Floats
    up: Floats

    def band(self, low: float, high: Floats | float) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels between two heights."""
        return self.seen & (self.up >= np.float32(low)) & (self.up < high)


def see_plane(canvas: Canvas, side: int, distance: float) -> Plane:
    """The plane `distance` metres to the left (-1) or right (+1) of the camera."""
    camera = canvas.camera
    offset = (canvas.cols - np.float32(camera.centre)) * side
    scale = np.maximum(offset, np.float32(0.01)) / np.float32(distance)
    ahead = np.float32(camera.focal) / scale
    up = np.float32(camera.eye) - (canvas.rows - np.float32(camera.horizon)) / scale
    return Plane((offset > 0) & (ahead < FARTHEST), scale, ahead, up)


def haze(street: Street, rgb: Floats, ahead: Floats) -> Floats:
    """Mix a colour with the haze that lies before it; `ahead` in metres broadcasts against all but the colour axis."""
    share = (np.minimum(ahead, np.float32(FARTHEST)) * np.float32(street.haze / FARTHEST))[..., None]
    return np.asarray(rgb * (1 - share) + colour(street.haze_colour) * share, np.float32)


def paint_facades(canvas: Canvas, dice: Dice, street: Street, side: int) -> None:
    """Houses with windows, and between them hedges or open ground."""
    plane = see_plane(canvas, side, street.front(side))
    sunlit = np.float32(1.0 if side != street.sun else 1.0 - 0.45 * street.sunlight)
    ragged = dice.field(*canvas.mask.shape, cell=5) * np.float32(1.3)
    start = 0.0
    while start < FARTHEST:
        end = start + dice.between(7.0, 18.0)
        here = (plane.ahead >= start) & (plane.ahead < end)
        if dice.chance(street.town):
            _paint_house(canvas, dice, street, plane, here, sunlit)
        elif dice.chance(0.65):
            green = colour(dice.pick(((62, 88, 44), (78, 98, 52), (54, 76, 48)))) * sunlit
            tall = ragged + np.float32(dice.between(2.5, 7.0))
            canvas.put(plane.band(0.0, tall) & here, VEGETATION, haze(street, green, plane.ahead))
        start = end


def _paint_house(
    canvas: Canvas, dice: Dice, street: Street, plane: Plane, here: NDArray[np.bool_], sunlit: np.float32
) -> None:
    """One house front: plaster or brick, rows of windows, another ground floor, a dark cornice."""
    tall, bay, floor = dice.between(6.0, 17.0), dice.between(2.2, 3.6), dice.between(2.8, 3.5)
    base, pane = colour(dice.pick(FACADE_COLOURS)), colour(dice.pick(((66, 76, 88), (52, 54, 60), (120, 130, 140))))
    across, high = fraction(plane.ahead, bay), fraction(plane.up, floor)
    window = (across > 0.25) & (across < 0.75) & (high > 0.28) & (high < 0.8)
    fine = np.clip(plane.scale * np.float32(bay / 4), 0, 1)
    lit = (np.floor(plane.ahead / np.float32(bay)) * 7 + np.floor(plane.up / np.float32(floor)) * 13) % 5 < 1
    brick = ((fraction(plane.up, 0.5) < 0.2) | (fraction(plane.ahead, 1.0) < 0.08)) * np.clip(
        plane.scale / np.float32(22), 0, 1
    )
    rgb = base * (1 - brick * np.float32(dice.between(0.0, 0.25)))[..., None]
    shine = np.where(lit, np.float32(1.7), np.float32(1.0))[..., None]
    rgb = rgb + (pane * shine - rgb) * (window * fine)[..., None]
    shop = colour((dice.between(60, 190), dice.between(50, 150), dice.between(50, 150)))
    rgb = np.where((plane.up < floor)[..., None], rgb * np.float32(0.6) + shop * np.float32(0.3), rgb)
    rgb = np.where((plane.up > tall - 0.7)[..., None], rgb * np.float32(0.65), rgb)
    canvas.put(plane.band(0.0, tall) & here, BUILDING, haze(street, rgb * sunlit, plane.ahead))


def paint_barrier(canvas: Canvas, dice: Dice, street: Street, side: int, class_id: int) -> None:
    """A wall (courses of stone) or a fence (pickets one can look through) of like height and colour."""
    plane = see_plane(canvas, side, street.kerb(side) + 0.15)
    start = dice.between(4.0, 14.0)
    where = plane.band(0.0, dice.between(1.3, 2.3)) & (plane.ahead > start)
    where &= plane.ahead < start + dice.between(8.0, 22.0)
    base = colour(dice.pick(BARRIER_COLOURS)) * np.float32(1.0 if side != street.sun else 1 - 0.4 * street.sunlight)
    fine = np.clip(plane.scale / np.float32(12), 0, 1)
    if class_id == WALL:
        course = (fraction(plane.up, 0.45) < 0.2) | (fraction(plane.ahead, 1.1) < 0.1)
        rgb = base * (1 - course * fine * np.float32(0.3))[..., None]
    else:
        picket = (fraction(plane.ahead, 0.5) < 0.45) | (fraction(plane.up, 0.8) < 0.2)
        through = np.where(picket, np.float32(0.1), np.float32(0.45) + fine * np.float32(0.45))[..., None]
        rgb = base * (1 - through) + canvas.rgb * through
    canvas.put(where, class_id, haze(street, rgb, plane.ahead))
