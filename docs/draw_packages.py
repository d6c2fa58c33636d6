"""Draws docs/packages.svg: the packages of raylab from the ground up, and which imports which, read from the code.

    python -m docs.draw_packages

An arrow is left out where others already lead the same way (report imports errors, but through files too), so what
is drawn is the smallest picture with the same order. The order and the reading of imports are those of
tests/test_layout.py; a test fails when the picture in the repository is not the one that is drawn from the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from html import escape
from itertools import pairwise
from pathlib import Path

from tests.test_layout import LAYERS, MODULES, NAMES, imports, own

PICTURE = Path(__file__).with_name("packages.svg")
COLOURS = {"ray": "#f6c7b6", "mlflow": "#cfe0f7", "torch": "#f9e3a8", "": "#dcefe3"}
"""Fill of a package by the heaviest library that a module of it imports."""
LEGEND = {"ray": "a module of it imports Ray", "mlflow": "MLflow", "torch": "torch", "": "none of these"}
BOX, LANE, HEIGHT, DOWN, MARGIN = 116.0, 14.0, 38.0, 86.0, 30.0
"""Pixels: width of a box, and of an arrow that passes a row; height of a box; from row to row; around the picture."""

Node = tuple[str, ...]
"""A package `(name,)`, or where its arrow to another passes a row: `(above, below, row)`."""


def arrows() -> dict[str, set[str]]:
    """The packages that each package imports."""
    found: dict[str, set[str]] = {layer: set() for layer in LAYERS}
    for name in NAMES:
        if (package := name.split(".")[0]) in found:
            found[package] |= {other.split(".")[0] for other in own(name)} - {package}
    return found


def fewest(arrows: Mapping[str, Set[str]]) -> dict[str, set[str]]:
    """The arrows that no way over other arrows replaces (the transitive reduction)."""

    def reach(package: str) -> set[str]:
        return set(arrows[package]).union(*(reach(other) for other in arrows[package]))

    return {a: {b for b in below if not any(b in reach(c) for c in below - {b})} for a, below in arrows.items()}


def heaviest(package: str) -> str:
    """The library of `COLOURS` that stands for a package."""
    within = [name for name in NAMES if name.split(".")[0] == package]
    used = {target.split(".")[0] for name in within for target in imports(MODULES[name])}
    return next((library for library in COLOURS if library in used), "")


def ways(arrows: Mapping[str, Set[str]]) -> tuple[list[list[Node]], list[list[Node]]]:
    """The rows of the picture, the lowest first, and the nodes that each arrow passes, from above to below."""
    level: dict[str, int] = {}
    for package in LAYERS:
        level[package] = 1 + max((level[other] for other in arrows[package]), default=-1)
    rows: list[list[Node]] = [[(p,) for p in LAYERS if level[p] == row] for row in range(max(level.values()) + 1)]
    found = []
    for above in LAYERS:
        for below in sorted(arrows[above]):
            lanes: list[Node] = [(above, below, str(row)) for row in range(level[above] - 1, level[below], -1)]
            for lane in lanes:
                rows[int(lane[2])].append(lane)
            found.append([(above,), *lanes, (below,)])
    return rows, found


def placed(rows: list[list[Node]], ways: list[list[Node]]) -> dict[Node, float]:
    """The middle of every node from left to right: rows are ordered and moved towards what they are joined with."""
    joined: dict[Node, list[Node]] = {node: [] for row in rows for node in row}
    for upper, lower in (pair for way in ways for pair in pairwise(way)):
        joined[upper].append(lower)
        joined[lower].append(upper)
    row_of = {node: number for number, row in enumerate(rows) for node in row}
    x: dict[Node, float] = {node: float(i) for row in rows for i, node in enumerate(row)}
    for sweep in range(60):
        down = sweep % 2 == 0
        for number in range(len(rows)) if down else range(len(rows) - 1, -1, -1):
            row = rows[number]
            wish = {}
            for node in row:
                towards = [x[other] for other in joined[node] if sweep > 40 or (row_of[other] < number) == down]
                wish[node] = sum(towards) / len(towards) if towards else x[node]
            if sweep <= 40:
                row.sort(key=wish.__getitem__)
            x |= _apart(row, wish)
    return x


def _apart(row: list[Node], wish: Mapping[Node, float]) -> dict[Node, float]:
    """The positions nearest to the wished ones (least squares) at which no two nodes of a row touch."""
    offset, offsets = 0.0, []
    for i, node in enumerate(row):
        offset += (_width(row[i - 1]) + _width(node)) / 2 + 22 if i else 0.0
        offsets.append(offset)
    # Pool adjacent violators: what would overlap moves as one block, to the mean of its wishes.
    blocks: list[list[float]] = []
    for node, offset in zip(row, offsets, strict=True):
        blocks.append([wish[node] - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, n), (b, m) = blocks.pop(-2), blocks.pop()
            blocks.append([(a * n + b * m) / (n + m), n + m])
    shifts = [shift for shift, n in blocks for _ in range(int(n))]
    return {node: shift + offset for node, shift, offset in zip(row, shifts, offsets, strict=True)}


def _width(node: Node) -> float:
    return BOX if len(node) == 1 else LANE


def drawing() -> str:
    """The picture as SVG text; the same for the same code."""
    rows, passed = ways(fewest(arrows()))
    middle = placed(rows, passed)
    left = min(middle[node] - _width(node) / 2 for node in middle) - MARGIN
    right = max(middle[node] + _width(node) / 2 for node in middle) + MARGIN
    width, height = max(right - left, 560.0), 2 * MARGIN + (len(rows) - 1) * DOWN + HEIGHT + 30
    top = {node: MARGIN + (len(rows) - 1 - number) * DOWN for number, row in enumerate(rows) for node in row}
    at = {node: (middle[node] - left, top[node]) for node in middle}
    shapes = [_arrow(at, way) for way in passed]
    shapes += [_box(*at[(package,)], package) for package in LAYERS]
    return "\n".join(
        [_HEAD.format(width=round(width), height=round(height)), *shapes, *_legend(height - 34), "</svg>\n"]
    )


def _box(x: float, y: float, package: str) -> str:
    return (
        f'<rect x="{x - BOX / 2:.0f}" y="{y:.0f}" width="{BOX:.0f}" height="{HEIGHT:.0f}" rx="6" '
        f'fill="{COLOURS[heaviest(package)]}" stroke="#445"/>'
        f'<text x="{x:.0f}" y="{y + HEIGHT / 2 + 5:.0f}" text-anchor="middle">{escape(package)}</text>'
    )


def _arrow(at: Mapping[Node, tuple[float, float]], way: list[Node]) -> str:
    """From the foot of the package that imports, past the boxes between, to the head of the one that is imported."""
    x, y = at[way[0]][0], at[way[0]][1] + HEIGHT
    path = f"M{x:.0f} {y:.0f}"
    for node in way[1:]:
        last = node == way[-1]
        to_x, to_y = at[node][0], at[node][1] - (7 if last else 0)
        bend = (to_y - y) / 2
        path += f" C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
        x, y = to_x, to_y
        if not last:
            y += HEIGHT
            path += f" V{y:.0f}"
    return f'<path class="arrow" d="{path}"><title>{way[0][0]} imports {way[-1][0]}</title></path>'


def _legend(y: float) -> list[str]:
    x, shapes = MARGIN, []
    for library, words in LEGEND.items():
        shapes.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="14" fill="{COLOURS[library]}" stroke="#445"/>'
            f'<text x="{x + 20:.0f}" y="{y + 12:.0f}">{words}</text>'
        )
        x += 44 + 7 * len(words)
    return shapes


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
font-family="sans-serif" font-size="14" fill="#112">
<title>The packages of raylab and their imports</title>
<defs><marker id="head" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0 L8 4 L0 8 z" fill="#667"/></marker>
<style>.arrow {{ fill: none; stroke: #667; stroke-width: 1.3; marker-end: url(#head) }}</style></defs>
<rect width="100%" height="100%" fill="white"/>"""

if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
