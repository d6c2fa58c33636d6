"""Where MLflow is: addresses in full, a client that fails fast, and the line that opens the user interface."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

from raylab.errors import TrackingError
from raylab.store import Store

# All set before mlflow is imported. With a server that is down, one call would otherwise block for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def tracking_uri(text: str) -> str:
    """An MLflow tracking address in full; a path, and `sqlite:///` with a relative one, become absolute.

    Raises:
        TrackingError: MLflow no longer takes addresses of that kind.
    """
    if text.startswith("file:"):
        raise TrackingError(f"tracking: {text}: MLflow keeps no runs in plain files any more; use sqlite:///<file>")
    if text.startswith("sqlite:///"):
        return f"sqlite:///{Path(text.removeprefix('sqlite:///')).expanduser().absolute()}"
    if "://" in text or text.startswith("databricks"):
        return text.rstrip("/")
    path = Path(text).expanduser().absolute()
    return f"sqlite:///{path if path.suffix else path / 'mlflow.db'}"


def default_tracking(store: Store) -> str:
    """The SQLite database in which MLflow's runs lie where no tracking address is given.

    Raises:
        TrackingError: the storage root is no local folder.
    """
    if store.local is None:
        raise TrackingError(
            f"tracking: with the storage root {store.uri} there is no local place for MLflow's database; "
            "give the address of an MLflow server, or sqlite:///<file>"
        )
    return f"sqlite:///{store.local}/mlflow.db"


def ui_command(uri: str) -> str:
    """The line for a terminal that opens MLflow on the results at an address."""
    uri = tracking_uri(uri)
    if uri.startswith("http"):
        return f"python3 -m webbrowser {shlex.quote(uri)}"
    # The environment raylab is installed in need not be active in the terminal.
    beside = Path(sys.executable).with_name("mlflow")
    program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
    return f"{shlex.quote(program)} ui --backend-store-uri {shlex.quote(uri)}"


def open_client(uri: str) -> Any:
    """An MLflow client; an SQLite database is tried first.

    Raises:
        OSError: its folder cannot be made.
        sqlite3.Error: it cannot be opened, or is none.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if database := sqlite_path(uri):
        # MLflow would try for minutes to open what cannot be opened.
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database, timeout=5)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    # Here, since importing it takes seconds that `raylab plan` need not wait.
    from mlflow.tracking import MlflowClient

    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite address; None for other addresses."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
