from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from raylab.config import RunConfig
from raylab.errors import TrackingError
from raylab.files import Folder
from raylab.tracking import MlflowUploader, experiment_for, tracking_for, tracking_uri, ui_command
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
        with pytest.raises(TrackingError, match=r"MLflow's database .* cannot be used .*give another address") as error:
            MlflowUploader(address, "any")
        assert tracking_uri(address) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("revision", "says"),
    [
        (
            "acf3f17fdcc7",
            r"is of an older MLflow; copy the file, then bring it .* with: \S*mlflow db upgrade {uri};",
        ),
        ("ffffffffffff", r"is of a newer MLflow than [\d.]+, which is installed; install that one;"),
    ],
)
def test_a_database_of_another_mlflow_is_refused_whole(
    revision: str, says: str, empty_database: Path, tmp_path: Path
) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = database.read_bytes()
    with pytest.raises(TrackingError, match=says.format(uri=f"sqlite:///{database}")) as error:
        MlflowUploader(str(database), "any")
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).endswith("or give another address")
    assert database.read_bytes() == before


def test_the_experiment_of_the_configuration_then_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert RunConfig().experiment is None
    assert experiment_for(None) == "raylab"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "my team")
    assert experiment_for(None) == "my team"
    assert experiment_for("raylab") == "raylab"  # given, though it is the default
    store = Folder(str(tmp_path))
    line = sync_command("http://host:1", store, ["small"], "my team")
    assert "--experiment 'my team'" in line  # the variable need not be set where the line is typed
    assert "--experiment" not in sync_command("http://host:1", store, ["small"], "raylab")


ELSEWHERE = """
import sys
from raylab.config import RunConfig
from raylab.tracking import experiment_for
from raylab.tracking.client import Client
client = Client(sys.argv[1], experiment_for(RunConfig().experiment))
found = [client.find_or_create("a run", {"key": "1"}, {"key": "1"}) for _ in range(2)]
assert found[0] == found[1]
print(found[0]["id"])
"""


def test_what_schedulers_and_notebooks_leave_in_the_environment(empty_database: Path, tmp_path: Path) -> None:
    """A home that is not there, and the id of a run that is over, which MLflow's own functions would go on with."""
    database = tmp_path / "re sults #1 50% it's" / "mlflow.db"
    database.parent.mkdir()
    database.write_bytes(empty_database.read_bytes())
    stale = "0123456789abcdef" * 2
    left = {"HOME": "/dev/null/none", "MLFLOW_RUN_ID": stale, "MLFLOW_EXPERIMENT_NAME": "my-team"}
    command = [sys.executable, "-c", ELSEWHERE, str(database)]
    done = subprocess.run(command, env=os.environ | left, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT r.run_uuid, e.name FROM runs r JOIN experiments e USING (experiment_id)"
        assert connection.execute(query).fetchall() == [(done.stdout.strip(), "my-team")]
    assert done.stdout.strip() != stale


def test_a_question_mark_would_end_the_path_of_a_database(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"^tracking: .*what\?/mlflow.db .* give --tracking"):
        tracking_for(None, Folder(str(tmp_path / "what?")))
    with pytest.raises(TrackingError, match=r"^MLFLOW_TRACKING_URI: .*what\?.db"):
        tracking_uri("what?.db", source="MLFLOW_TRACKING_URI")


def test_a_new_database_is_never_seen_half_made(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def probe(database: Path) -> None:
        with closing(sqlite3.connect(database)) as connection:
            seen.extend(connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall())

    (tmp_path / "mlflow.db").touch()  # what was killed before it wrote anything
    monkeypatch.setattr("raylab.tracking.client._probe", probe)
    MlflowUploader(str(tmp_path / "mlflow.db"), "any")
    with closing(sqlite3.connect(empty_database)) as connection:
        assert seen == connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()


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
    with pytest.raises(TrackingError, match=r"memory://results there is no local folder.*MLFLOW_TRACKING_URI"):
        tracking_for(None, Folder("memory://results"))


def test_the_line_that_sends_later_can_be_typed(tmp_path: Path) -> None:
    store = Folder(str(tmp_path / "my results"))
    line = sync_command("http://host:1", store, ["small"], "raylab")
    assert line == f"raylab sync small --storage '{store.uri}' --tracking http://host:1"
    assert (
        sync_command(tracking_for(None, store), store, ["a", "b"], "mine") == f"raylab sync a b --storage '{store.uri}'"
    )


def test_the_command_line_does_not_wait_for_mlflow() -> None:
    code = "import sys, raylab.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
