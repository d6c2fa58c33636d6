from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from raylab.config import DataConfig
from raylab.errors import ConfigError, StoreError
from raylab.files import Folder
from raylab.report import write_report
from raylab.runs.studies import begin_study, report_folder
from tests.configs import resolved_study
from tests.report.study_on_disk import CONFIG, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    store = Folder(str(tmp_path_factory.mktemp("results")))
    write_study(store)
    write_report(store, "small", "mlflow ui --here <&", paper="Table V")
    return store


@pytest.fixture(scope="module")
def folder(store: Folder) -> Path:
    assert store.local is not None
    return store.local / report_folder("small")


def test_the_page_stands_alone(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    # Six plots; four images with a ground truth and three strategies; the first one round by round.
    assert len(sources) >= 6 + 4 * 4 + 2
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page
    assert "url(" not in page
    assert "6.0 points above random" in page
    assert "mlflow ui --here &lt;&amp;" in page
    assert "@media print" in page


def test_everything_lies_beside_the_page_as_well(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    plots = ("curves", "images", "classes", "seconds", "differences", "labels")
    assert names >= {f"{plot}.{kind}" for plot in plots for kind in ("png", "svg")}
    tables = ("points", "summary", "seeds", "differences", "classes", "labels", "picks")
    assert names >= {"index.html", "study.yaml", "overlay-1.png", "overlay-1-rounds.png", *(f"{t}.csv" for t in tables)}
    # The mirror logs the files of the folder, and none below it.
    assert all(file.is_file() for file in folder.iterdir())


def test_the_papers_values_stand_beside_ours(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert "Beside the paper: Table V" in page
    assert "paper (quoted)" in page
    assert "6,350" in page
    assert "10.1109/TIP.2021.3120041" in page


def test_a_table_that_the_paper_lacks_is_refused_before_anything_is_drawn(store: Folder) -> None:
    with pytest.raises(ConfigError, match="it has no 'Table X'"):
        write_report(store, "small", paper="Table X")


def test_only_the_page_tells_when_it_was_made(store: Folder, folder: Path) -> None:
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    write_report(store, "small", paper="Table II")
    assert {file.name for file in folder.iterdir()} == set(first)
    assert {file.name for file in folder.iterdir() if file.read_bytes() != first[file.name]} == {"index.html"}
    assert "row Cityscapes, Linear, column 16k" in (folder / "index.html").read_text()


def test_without_the_images_the_report_says_so(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    stale = [f"{report_folder('small')}/{file}" for file in ("overlay-1.png", "labels.csv", "picks.csv")]
    for file in stale:
        store.write_bytes(file, b"of an earlier report")
    gone = CONFIG.run.model_copy(update={"data": DataConfig(name="camvid", root=str(tmp_path / "gone"))})
    config = CONFIG.model_copy(update={"run": gone, "seeds": (0,)})
    write_study(store, config, dataset=CONFIG.run.data)
    page = Path(write_report(store, "small")).read_text()
    assert "The images and masks could not be read: camvid" in page
    assert "Beside the paper" not in page
    assert not any(store.exists(file) for file in stale)


def test_a_study_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))
    begin_study(store, resolved_study(CONFIG.model_copy(update={"supervised": False})))
    page = Path(write_report(store, "small")).read_text()
    assert "No round is finished yet." in page
    assert "No regions were selected yet." in page
    with pytest.raises(StoreError, match="is missing"):
        write_report(store, "other")


def test_an_object_store_will_do() -> None:
    store = Folder("memory://raylab-report")
    write_study(store, CONFIG.model_copy(update={"seeds": (0,)}))
    uri = write_report(store, "small")
    assert uri == "memory://raylab-report/studies/small/report/index.html"
    assert store.read_bytes("studies/small/report/index.html").startswith(b"<!doctype html>")


def test_a_report_needs_neither_ray_nor_torch() -> None:
    code = "import sys, raylab.report; sys.exit(bool({'ray', 'torch', 'mlflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
