"""The drawing of the packages is the one that the imports give."""

from __future__ import annotations

from itertools import pairwise

from docs import draw_packages


def test_the_picture_in_the_repository_is_today_s() -> None:
    drawn = draw_packages.PICTURE.read_text(encoding="utf-8")
    assert drawn == draw_packages.drawing(), "python -m docs.draw_packages, and look at docs/packages.svg"


def test_an_arrow_that_others_imply_is_left_out() -> None:
    few = draw_packages.fewest({"top": {"middle", "ground"}, "middle": {"ground"}, "ground": set()})
    assert few == {"top": {"middle"}, "middle": {"ground"}, "ground": set()}


def test_every_arrow_leads_down_the_order() -> None:
    order = draw_packages.LAYERS
    found = draw_packages.arrows()
    assert all(order.index(below) < order.index(above) for above in found for below in found[above])
    assert found["loop"] >= {"regions", "selection"}, "the imports were not read"


def test_boxes_of_a_row_do_not_touch() -> None:
    rows, ways = draw_packages.ways(draw_packages.fewest(draw_packages.arrows()))
    middle = draw_packages.placed(rows, ways)
    for row in rows:
        boxes = sorted(middle[node] for node in row if len(node) == 1)
        assert all(right - left >= draw_packages.BOX for left, right in pairwise(boxes))
