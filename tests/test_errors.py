from __future__ import annotations

from raylab.errors import nearest


def test_the_nearest_name_is_told_as_it_is_spelt() -> None:
    assert nearest("entrpy", ["random", "entropy"]) == "; did you mean 'entropy'?"
    assert nearest("CityScape", iter(["Cityscapes", "camvid"])) == "; did you mean 'Cityscapes'?"


def test_nothing_near_gives_no_hint() -> None:
    assert nearest("qqq", ["random", "entropy"]) == ""
    assert nearest("", []) == ""
