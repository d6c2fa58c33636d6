"""What stands and moves on a generated street: vehicles, people, poles, trees; painted back to front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from raylab.data.classes import Colour
from raylab.data.synthetic.background import (
    BICYCLE,
    BUS,
    CAR,
    MOTORCYCLE,
    PERSON,
    POLE,
    RIDER,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    TRAIN,
    TRUCK,
    VEGETATION,
    Canvas,
    Dice,
    Street,
)
from raylab.data.synthetic.brush import Brush

CAR_COLOURS: tuple[Colour, ...] = (
    (44, 46, 52), (150, 152, 156), (206, 206, 204), (140, 34, 32), (40, 62, 110), (84, 88, 92), (66, 82, 64),
)  # fmt: skip
LORRY_COLOURS: tuple[Colour, ...] = ((200, 198, 190), (168, 60, 46), (52, 84, 142), (196, 168, 66), (120, 126, 130))
CLOTHES: tuple[Colour, ...] = (
    (40, 42, 54), (120, 40, 44), (60, 80, 120), (150, 140, 120), (80, 90, 70), (180, 180, 176), (70, 54, 48),
)  # fmt: skip
DARK: Colour = (30, 30, 34)
GLASS: Colour = (58, 70, 84)
SKIN: Colour = (186, 142, 116)
METAL: Colour = (104, 106, 108)


@dataclass(frozen=True)
class SceneObject:
    """An object on the ground.

    Attributes:
        z: metres ahead of its nearest point.
        x: metres right of the middle of the road.
        width: metres, of its shadow.
        paint: draws it, with the brush already there.
    """

    z: float
    x: float
    width: float
    paint: Callable[[Brush], None]


def _prism(brush: Brush, class_id: int, value: Colour, size: tuple[float, float, float], low: float) -> int:
    """A box with its back towards the camera and the flank that can be seen. Returns the flank's side, or 0."""
    width, height, length = size
    half = width / 2
    flank = -1 if brush.x - half > 0 else 1 if brush.x + half < 0 else 0
    if flank:
        edge = brush.x + flank * half
        brush.polygon(class_id, value, [(edge, low, brush.z), (edge, height, brush.z), (edge, height, brush.z + length),
                                     (edge, low, brush.z + length)], light=0.72)  # fmt: skip
    brush.box(class_id, value, -half, half, low, height)
    return flank


def _flank_windows(brush: Brush, flank: int, half: float, low: float, high: float, length: float, count: int) -> None:
    """A row of panes along the flank."""
    edge = brush.x + flank * half
    for pane in range(count):
        near = brush.z + length * (pane + 0.15) / count
        far = brush.z + length * (pane + 0.85) / count
        brush.polygon(
            None, GLASS, [(edge, low, near), (edge, high, near), (edge, high, far), (edge, low, far)], light=0.9
        )


def car(dice: Dice) -> Callable[[Brush], None]:
    """A car from behind."""
    value, width, height = dice.pick(CAR_COLOURS), dice.between(1.65, 1.9), dice.between(1.35, 1.75)

    def paint(brush: Brush) -> None:
        half, waist = width / 2, height * 0.58
        flank = _prism(brush, CAR, value, (width, waist, 4.0), 0.2)
        inner = half * 0.8
        x, z = brush.x, brush.z
        if flank:
            edge = x + flank * half
            brush.polygon(CAR, GLASS, [(edge, waist, z), (x + flank * inner, height, z),
                                       (x + flank * inner, height, z + 2.4), (edge, waist, z + 3.2)])  # fmt: skip
        brush.polygon(
            CAR, value, [(x - half, waist, z), (x - inner, height, z), (x + inner, height, z), (x + half, waist, z)]
        )
        brush.box(None, GLASS, -inner * 0.85, inner * 0.85, waist, height * 0.93)
        for side in (-1, 1):
            wheel, lamp = side * (half * 0.95 - 0.1), side * half * 0.8
            brush.box(CAR, DARK, wheel - 0.1, wheel + 0.1, 0.0, 0.3)
            brush.box(None, (190, 40, 36), lamp - 0.14, lamp + 0.14, waist * 0.72, waist * 0.9)
        brush.box(None, (190, 190, 180), -0.25, 0.25, waist * 0.5, waist * 0.68)

    return paint


def lorry(dice: Dice, class_id: int) -> Callable[[Brush], None]:
    """A truck, bus or tram: boxes of like size and colour that differ in their windows."""
    value, width = dice.pick(LORRY_COLOURS), dice.between(2.3, 2.6)
    height = dice.between(2.9, 3.5)
    length = {TRUCK: 8.0, BUS: 11.0, TRAIN: 26.0}[class_id]
    shutter = dice.chance(0.5)

    def paint(brush: Brush) -> None:
        half = width / 2
        flank = _prism(brush, class_id, value, (width, height, length), 0.35)
        brush.box(class_id, DARK, -half * 0.9, -half * 0.55, 0.0, 0.5)
        brush.box(class_id, DARK, half * 0.55, half * 0.9, 0.0, 0.5)
        if class_id == TRUCK:
            brush.box(None, value, -0.04, 0.04, 0.6, height * 0.95, light=0.6)
            if shutter:
                for step in range(4):
                    brush.box(None, value, -half * 0.9, half * 0.9, 0.8 + 0.55 * step, 0.86 + 0.55 * step, light=0.75)
            brush.box(None, DARK, -half, half, 0.4, 0.65)
        else:
            brush.box(
                None, GLASS, -half * 0.82, half * 0.82, height * (0.5 if class_id == BUS else 0.42), height * 0.82
            )
            sign = (220, 170, 60) if class_id == BUS else (230, 226, 214)
            brush.box(None, sign, -half * 0.4, half * 0.4, height * 0.87, height * 0.95)
            if flank:
                _flank_windows(brush, flank, half, height * 0.48, height * 0.82, length, 6 if class_id == BUS else 12)
        for side in (-1, 1):
            lamp = (232, 226, 190) if class_id == TRAIN else (186, 44, 38)
            brush.box(None, lamp, side * half * 0.8 - 0.12, side * half * 0.8 + 0.12, 0.75, 0.95)

    return paint


def _body(brush: Brush, class_id: int, clothes: tuple[Colour, Colour], low: float, tall: float, lean: float) -> None:
    """Legs, trunk, arms and head between two heights."""
    size = tall - low
    brush.box(class_id, clothes[1], -0.17, -0.02, low, low + size * 0.5)
    brush.box(class_id, clothes[1], 0.03, 0.18, low, low + size * 0.47)
    brush.disc(class_id, clothes[0], -0.27 + lean, 0.27 + lean, low + size * 0.42, low + size * 0.87)
    brush.disc(class_id, SKIN, -0.12 + lean, 0.12 + lean, low + size * 0.84, tall)


def person(dice: Dice) -> Callable[[Brush], None]:
    """Somebody on foot."""
    clothes, tall = (dice.pick(CLOTHES), dice.pick(CLOTHES)), dice.between(1.15, 1.9)
    return lambda brush: _body(brush, PERSON, clothes, 0.0, tall, 0.0)


def two_wheeler(dice: Dice, class_id: int, ridden: bool) -> Callable[[Brush], None]:
    """A bicycle or motorcycle, seen from the side or from behind, with its rider or parked."""
    clothes, value = (dice.pick(CLOTHES), dice.pick(CLOTHES)), dice.pick(CAR_COLOURS)
    aside, lean = dice.chance(0.5), dice.between(-0.12, 0.12)

    def paint(brush: Brush) -> None:
        solid = class_id == MOTORCYCLE
        if aside:
            for left in (-0.85, 0.2):
                brush.disc(class_id, DARK if solid else None, left, left + 0.65, 0.0, 0.65, rim=DARK)
            x, z = brush.x, brush.z
            low, high = (0.3, 0.85) if solid else (0.32, 0.62)
            brush.polygon(
                class_id, value, [(x - 0.55, low, z), (x - 0.4, high, z), (x + 0.4, high + 0.08, z), (x + 0.5, low, z)]
            )
            brush.box(class_id, DARK, 0.3, 0.4, 0.5, 1.05)
            brush.box(class_id, DARK, -0.5, -0.15, high, high + 0.1)
        else:
            wide = 0.34 if solid else 0.12
            brush.box(class_id, DARK, -wide / 2, wide / 2, 0.0, 0.7)
            brush.box(class_id, value, -wide, wide, 0.45, 0.95 if solid else 0.7)
            brush.box(class_id, DARK, -0.32, 0.32, 0.95, 1.05)
        if ridden:
            _body(brush, RIDER, clothes, 0.45, 1.8, lean)

    return paint


def pole(dice: Dice, head: int | None) -> Callable[[Brush], None]:
    """A lamp post (head None), or a post with a traffic light or a sign."""
    tall = dice.between(5.0, 7.5) if head is None else dice.between(2.6, 3.6)
    thick, shape, arm = dice.between(0.12, 0.2), dice.pick(("disc", "triangle", "board")), dice.pick((-1, 1))
    board = dice.pick(((36, 70, 150), (190, 36, 34), (220, 180, 40), (214, 214, 210)))
    lamp = dice.pick((0, 2))

    def paint(brush: Brush) -> None:
        brush.box(POLE, METAL, -thick / 2, thick / 2, 0.0, tall)
        if head is None:
            brush.box(POLE, METAL, min(0.0, arm * 1.2), max(0.0, arm * 1.2), tall - 0.12, tall)
        elif head == TRAFFIC_LIGHT:
            brush.box(TRAFFIC_LIGHT, DARK, -0.24, 0.24, tall - 1.15, tall)
            for spot, value in enumerate(((220, 50, 40), (90, 80, 30), (60, 200, 110))):
                value = value if spot == lamp else (60, 58, 54)
                brush.disc(None, value, -0.15, 0.15, tall - 0.37 * (spot + 1), tall - 0.37 * spot - 0.05)
        elif shape == "triangle":
            x, z = brush.x, brush.z
            for size, value in ((0.5, (190, 36, 34)), (0.3, (224, 220, 212))):
                foot = tall - 0.42 - size * 0.7
                brush.polygon(
                    TRAFFIC_SIGN, value, [(x - size, foot, z), (x, foot + size * 1.75, z), (x + size, foot, z)]
                )
        elif shape == "disc":
            brush.disc(TRAFFIC_SIGN, (190, 36, 34), -0.42, 0.42, tall - 0.84, tall)
            brush.disc(None, (224, 220, 212), -0.26, 0.26, tall - 0.68, tall - 0.16)
        else:
            brush.box(TRAFFIC_SIGN, board, -0.45, 0.45, tall - 0.8, tall)
            brush.box(None, (224, 220, 212), -0.3, 0.3, tall - 0.5, tall - 0.35)

    return paint


def tree(dice: Dice, ragged: NDArray[np.float32]) -> Callable[[Brush], None]:
    """A trunk and a few ragged crowns, lighter on top."""
    tall, wide = dice.between(4.0, 8.5), dice.between(1.3, 2.6)
    green: Colour = dice.pick(((70, 96, 46), (58, 82, 44), (92, 108, 54), (110, 100, 52)))
    lobes = [(dice.between(-0.6, 0.6) * wide, dice.between(-0.8, 0.5)) for _ in range(4)]

    def paint(brush: Brush) -> None:
        brush.box(VEGETATION, (74, 60, 46), -0.16, 0.16, 0.0, tall * 0.6)
        for step, (aside, up) in enumerate(sorted(lobes, key=lambda lobe: lobe[1])):
            shade = 0.8 + 0.12 * step
            value = (int(green[0] * shade), int(green[1] * shade), int(green[2] * shade))
            brush.blob(VEGETATION, value, (aside, tall * 0.75 + up), (wide * 0.75, tall * 0.26), ragged)

    return paint


def choose_objects(dice: Dice, street: Street, featured: int, ragged: NDArray[np.float32]) -> list[SceneObject]:
    """All objects of a scene; `featured` names a rare class that this scene shows for certain, near the camera."""
    objects: list[SceneObject] = []
    for side in (-1, 1):
        _park(objects, dice, street, side)
        _furnish(objects, dice, street, side, ragged)
    for _ in range(int(dice.between(0, 3.2))):
        lane = dice.pick((-1, 1))
        objects.append(
            SceneObject(dice.between(9, 55), lane * street.road[lane] * dice.between(0.25, 0.5), 2.0, car(dice))
        )
    for class_id in (TRUCK, BUS, TRAIN):
        if featured == class_id or dice.chance(0.06):
            near = 15.0 if featured == class_id else 40.0
            lane = dice.pick((-1, 1))
            offset = 0.35 if class_id == TRAIN else dice.between(0.4, 0.6)
            spot = SceneObject(dice.between(9, near), lane * street.road[lane] * offset, 2.8, lorry(dice, class_id))
            # A vehicle this large would stand in the cars of its lane.
            objects[:] = [other for other in objects if other.z < spot.z - 5 or abs(other.x - spot.x) > 2.2]
            objects.append(spot)
    for class_id, chance in ((BICYCLE, 0.16), (MOTORCYCLE, 0.08)):
        near = featured == class_id
        if near or dice.chance(chance):
            side = dice.pick((-1, 1))
            edge = street.road[side] * dice.between(0.35, 0.7)
            ahead = dice.between(6, 9.5 if near else 26)
            objects.append(SceneObject(ahead, side * edge, 0.8, two_wheeler(dice, class_id, ridden=True)))
    return objects


def _park(objects: list[SceneObject], dice: Dice, street: Street, side: int) -> None:
    """A row of parked cars."""
    if not dice.chance(0.55):
        return
    ahead, density = dice.between(5.0, 14.0), dice.between(0.3, 0.85)
    while ahead < 60:
        if dice.chance(density):
            objects.append(SceneObject(ahead, side * (street.road[side] - 1.0), 2.0, car(dice)))
        ahead += dice.between(5.4, 7.0)


def _furnish(objects: list[SceneObject], dice: Dice, street: Street, side: int, ragged: NDArray[np.float32]) -> None:
    """Poles, trees, people and parked two-wheelers on one sidewalk."""
    kerb, walk = street.road[side] + street.strip[side], street.walk[side]
    ahead = dice.between(6.0, 16.0)
    while ahead < 60:
        head = dice.pick((None, None, TRAFFIC_SIGN))
        objects.append(SceneObject(ahead, side * (kerb + 0.3), 0.3, pole(dice, head)))
        ahead += dice.between(9.0, 24.0)
    if street.crossing is not None and dice.chance(0.75):
        objects.append(SceneObject(street.crossing, side * (kerb + 0.4), 0.3, pole(dice, TRAFFIC_LIGHT)))
    ahead = dice.between(7.0, 16.0)
    while ahead < 70 and dice.chance(0.95 - 0.5 * street.town):
        objects.append(SceneObject(ahead, side * (kerb + walk * 0.8), 3.0, tree(dice, ragged)))
        ahead += dice.between(5.0, 12.0)
    for _ in range(int(dice.between(0, 4.5))):
        across = dice.between(0.2, 0.9) if dice.chance(0.85) else -dice.between(0.5, 2.0)
        objects.append(SceneObject(dice.between(6.5, 38), side * (kerb + walk * across), 0.6, person(dice)))
    if dice.chance(0.2):
        class_id = BICYCLE if dice.chance(0.75) else MOTORCYCLE
        objects.append(
            SceneObject(
                dice.between(7, 24), side * (kerb + walk * 0.35), 1.0, two_wheeler(dice, class_id, ridden=False)
            )
        )


def cast_shadows(canvas: Canvas, street: Street, objects: Sequence[SceneObject], ahead: NDArray[np.float32]) -> None:
    """Darken the ground: the houses of the sun's side, and a pool of shade beside each object."""
    camera = canvas.camera
    shade = Image.new("L", (camera.width, camera.height), 0)
    draw = ImageDraw.Draw(shade)
    side, reach = street.sun, street.front(street.sun) * 0.35
    if street.town > 0.5:
        points = [camera.project(side * across, 0, z) for across, z in
                  ((reach, 95.0), (reach, 0.5), (60.0, 0.5), (60.0, 95.0))]  # fmt: skip
        draw.polygon([(int(col), int(row)) for col, row in points], fill=170)
    for one in sorted(objects, key=lambda one: -one.z):
        long = one.width * (0.6 + 0.9 * street.sunlight)
        left = one.x - one.width * 0.5 - (long if side > 0 else 0)
        upper = camera.project(left, 0, one.z + min(4.0, one.width * 1.5))
        lower = camera.project(left + one.width + long, 0, max(one.z - 0.15, 0.5))
        left_top = int(upper[0]), int(upper[1])
        right_bottom = max(left_top[0], int(lower[0])), max(left_top[1], int(lower[1]))
        draw.ellipse([left_top, right_bottom], fill=200)
    strength = np.asarray(shade, np.float32) / np.float32(255) * np.float32(0.25 + 0.4 * street.sunlight)
    strength = strength * (canvas.rows > camera.horizon) * (1 - ahead / np.float32(130))
    canvas.rgb *= (1 - strength)[..., None]


def paint_objects(canvas: Canvas, street: Street, objects: Sequence[SceneObject]) -> None:
    """Paint the objects back to front, so that the near ones hide the far ones."""
    brush = Brush(canvas, street)
    for one in sorted(objects, key=lambda one: -one.z):
        brush.at(one.x, one.z)
        one.paint(brush)
    brush.flush()
