from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raylab.files import Folder
from raylab.tracking.client import Client
from tests.tracking.server import MlflowServer


@pytest.fixture(autouse=True)
def no_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "results with spaces"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make one, so the tests copy it."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Client(str(path), "other")
    return path


@pytest.fixture
def database(store: Folder, empty_database: Path) -> str:
    shutil.copy(empty_database, f"{store.root}/mlflow.db")
    return f"sqlite:///{store.root}/mlflow.db"


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[MlflowServer]:
    """Not started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = MlflowServer(folder, Path(shutil.copy(empty_database, folder / "mlflow.db")))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[MlflowServer]:
    """For tests that leave it running; each takes an experiment of its own."""
    folder = tmp_path_factory.mktemp("server")
    server = MlflowServer(folder, Path(shutil.copy(empty_database, folder / "mlflow.db")))
    try:
        server.start()
        yield server
    finally:
        server.kill()
