"""The report as a browser shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raylab.files import Folder
from raylab.report import write_report
from tests.report.study_on_disk import CONFIG, write_study


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Folder(str(tmp_path_factory.mktemp("store")))
    return Path(write_report(store, write_study(store).name))


def test_every_picture_is_there_and_nothing_is_fetched(visit: Any, report: Path) -> None:
    visit.page.goto(report.as_uri())
    pictures = visit.page.evaluate("[...document.images].map(i => [i.alt, i.complete && i.naturalWidth > 0])")
    assert {alt for alt, _ in pictures} >= {"mIoU against the budget, one line a strategy", "ground truth of 000000"}
    assert [alt for alt, shown in pictures if not shown] == []
    for strategy in CONFIG.strategies:
        assert visit.page.get_by_alt_text(f"{strategy} on 000000", exact=True).count() == 1
    assert visit.elsewhere == []
    assert visit.errors == []


@pytest.mark.parametrize("width", [1920, 800])
def test_the_page_fits_the_window(visit: Any, report: Path, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.goto(report.as_uri())
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_folded_can_be_opened(visit: Any, report: Path) -> None:
    visit.page.goto(report.as_uri())
    folded = visit.page.locator("details")
    assert folded.count() > 0
    for i in range(folded.count()):
        folded.nth(i).locator("summary").first.click()
        assert folded.nth(i).evaluate("one => one.open && one.scrollHeight > 30")
