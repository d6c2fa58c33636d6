from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from raylab.config import DataConfig
from raylab.errors import StoreError
from raylab.report import write_report
from raylab.store import Store
from tests.report.study_on_disk import CONFIG, write_study


def test_the_page_stands_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_study(store)
    place = Path(write_report(store, "small", "mlflow ui --here <&"))
    page = place.read_text()
    assert place == tmp_path / "studies/small/report/index.html"
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert len(sources) == 3 * 2 + 4 * 4
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page
    assert "6.0 points above random" in page
    assert "mlflow ui --here &lt;&amp;" in page
    assert "prefers-color-scheme: dark" in page
    names = {file.name for file in place.parent.iterdir()}
    assert names >= {
        "index.html",
        "points.csv",
        "study.yaml",
        "curves.png",
        "classes.png",
        "seconds.png",
        "overlay-1.png",
    }


def test_without_the_images_the_report_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_study(store)
    write_report(store, "small")
    assert store.exists("studies/small/report/overlay-1.png")
    gone = CONFIG.run.model_copy(update={"data": DataConfig(name="camvid", root=str(tmp_path / "gone"))})
    write_study(store, CONFIG.model_copy(update={"run": gone}), dataset=CONFIG.run.data)
    page = Path(write_report(store, "small")).read_text()
    assert "The images could not be read, so there are no overlays: camvid" in page
    assert not store.exists("studies/small/report/overlay-1.png")


def test_a_study_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    raw = CONFIG.model_copy(update={"supervised": False}).model_dump(mode="json")
    store.write_json("studies/small/study.json", {"config": raw, "supervised": []})
    page = Path(write_report(store, "small")).read_text()
    assert "No round is finished yet." in page
    assert "No regions were selected yet." in page
    with pytest.raises(StoreError, match="is missing"):
        write_report(store, "other")


def test_an_object_store_will_do() -> None:
    store = Store("memory://raylab-report")
    write_study(store, CONFIG.model_copy(update={"seeds": (0,)}))
    place = write_report(store, "small")
    assert place == "memory://raylab-report/studies/small/report/index.html"
    assert store.read_bytes("studies/small/report/index.html").startswith(b"<!doctype html>")


def test_a_report_needs_neither_ray_nor_torch() -> None:
    code = "import sys, raylab.report; sys.exit(bool({'ray', 'torch', 'mlflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])
