from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from raylab.errors import TrackingError
from raylab.files import Folder
from raylab.tracking import MlflowUploader, tracking_for, tracking_uri, ui_command
from raylab.tracking.address import sync_command


def test_addresses_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri("mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("results") == f"sqlite:///{tmp_path}/results/mlflow.db"
    assert tracking_uri("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    assert tracking_uri("http://host:5000/") == "http://host:5000"
    assert tracking_uri("postgresql+psycopg2://host/mlflow") == "postgresql+psycopg2://host/mlflow"
    assert ui_command("mlflow.db").endswith(f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db")
    assert "http://host:5000" in ui_command("http://host:5000/")
    assert "secret" not in ui_command("postgresql://me:secret@host/mlflow")


@pytest.mark.parametrize(
    ("address", "way_out"),
    [
        ("file:///tmp/mlruns", "use sqlite:///"),
        ("localhost:5000", "write http://localhost:5000"),
        ("ftp://host", "give http"),
        ("http://", "give http"),
        ("sqlite://runs.db", "sqlite:///<file>"),
    ],
)
def test_addresses_that_mlflow_does_not_know(address: str, way_out: str) -> None:
    with pytest.raises(TrackingError, match=f"^tracking: {address}.*{way_out}"):
        MlflowUploader(address, "any")


def test_files_that_cannot_be_a_database_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    (tmp_path / "file").write_text("")
    for address in (str(tmp_path / "text.db"), str(tmp_path / "file/mlflow.db")):
        with pytest.raises(TrackingError, match=r"MLflow cannot be used at .*give another address") as error:
            MlflowUploader(address, "any")
        assert tracking_uri(address) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_database_that_somebody_writes_to_is_not_refused(empty_database: Path, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    with sqlite3.connect(database) as other:
        other.execute("BEGIN EXCLUSIVE")
        MlflowUploader(str(database), "any")


def test_the_configuration_then_the_environment_then_the_storage_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Folder(str(tmp_path))
    assert tracking_for(None, store) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_for("http://host:1", store) == "http://host:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:2/")
    assert tracking_for(None, store) == "http://other:2"
    assert tracking_for("http://host:1", store) == "http://host:1"
    assert tracking_for(None, Folder("memory://results")) == "http://other:2"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    with pytest.raises(TrackingError, match=r"^MLFLOW_TRACKING_URI: file:\./mlruns"):
        tracking_for(None, store)


def test_remote_results_need_an_address() -> None:
    with pytest.raises(TrackingError, match=r"memory://results there is no local place.*MLFLOW_TRACKING_URI"):
        tracking_for(None, Folder("memory://results"))


def test_the_line_that_sends_later_can_be_typed(tmp_path: Path) -> None:
    store = Folder(str(tmp_path / "my results"))
    line = sync_command("http://host:1", store, ["small"])
    assert line == f"raylab sync small --storage '{store.uri}' --tracking http://host:1"
    assert sync_command(tracking_for(None, store), store, ["a", "b"]) == f"raylab sync a b --storage '{store.uri}'"


def test_the_command_line_does_not_wait_for_mlflow() -> None:
    code = "import sys, raylab.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])
