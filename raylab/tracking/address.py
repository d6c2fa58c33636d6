"""Where MLflow is: the address that is used, what can never be one, and the lines a person is told to type."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

from raylab.errors import TrackingError
from raylab.files import Folder

ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own variable: the address where the configuration gives none."""
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own variable: the experiment where the configuration names none."""
_SCHEMES = ("http", "https", "postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc")


def tracking_for(tracking: str | None, store: Folder) -> str:
    """The address that a study's results are sent to.

    Args:
        tracking: as the configuration has it (`run.tracking`); None leaves it to the variable MLFLOW_TRACKING_URI, and
            where that is not set to an SQLite file under the storage root.
        store: of the results.

    Returns:
        The address in full, see `tracking_uri`.

    Raises:
        TrackingError: MLflow takes no such address, or none is given and the storage root is no local folder.
    """
    if tracking:
        return tracking_uri(tracking)
    if variable := os.environ.get(ADDRESS_VARIABLE):
        return tracking_uri(variable, source=ADDRESS_VARIABLE)
    if store.local is None:
        raise TrackingError(
            f"tracking: with the storage root {store.uri} there is no local folder for MLflow's database; "
            f"give the address of an MLflow server (or set {ADDRESS_VARIABLE}), or sqlite:///<file>"
        )
    return _sqlite_address(store.local / "mlflow.db", "tracking")


def experiment_for(experiment: str | None) -> str:
    """The MLflow experiment that a study's results go to.

    Args:
        experiment: as the configuration has it (`run.experiment`); None leaves it to MLFLOW_EXPERIMENT_NAME, and where
            that is not set to `raylab`.
    """
    return experiment or os.environ.get(EXPERIMENT_VARIABLE) or "raylab"


def tracking_uri(text: str, source: str = "tracking") -> str:
    """An MLflow tracking address in full; a path, and `sqlite:///` with a relative one, become absolute.

    Args:
        text: an address or the path of an SQLite file.
        source: field or variable that it comes from, named in the error.

    Raises:
        TrackingError: MLflow takes no addresses of that kind.
    """
    if text.startswith("file:"):
        raise TrackingError(f"{source}: {text}: MLflow keeps no runs in plain files any more; use sqlite:///<file>")
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", text):
        raise TrackingError(f"{source}: {text} does not say how to speak to the server; write http://{text}")
    if text.startswith("sqlite:///"):
        return f"sqlite:///{Path(text.removeprefix('sqlite:///')).expanduser().absolute()}"
    scheme, found, rest = text.partition("://")
    if not found and not text.startswith("databricks"):
        path = Path(text).expanduser().absolute()
        return _sqlite_address(path if path.suffix else path / "mlflow.db", source)
    if (found and not rest.strip("/")) or not _known(scheme.partition("+")[0]):
        raise TrackingError(
            f"{source}: {hidden(text)} is no address of MLflow; give http(s)://<server>, sqlite:///<file> or the path "
            "of an SQLite file"
        )
    return text.rstrip("/")


def ui_command(uri: str) -> str:
    """The line for a terminal that opens MLflow on the results at an address."""
    uri = tracking_uri(uri)
    if uri.startswith("http"):
        return f"python3 -m webbrowser {shlex.quote(hidden(uri))}"
    return f"{_mlflow()} ui --backend-store-uri {shlex.quote(hidden(uri))}"


def upgrade_command(uri: str) -> str:
    """The line for a terminal that brings a database of an older MLflow up to the installed one."""
    return f"{_mlflow()} db upgrade {shlex.quote(hidden(uri))}"


def sync_command(uri: str, store: Folder, names: list[str], experiment: str) -> str:
    """The line for a terminal that sends later what MLflow has missed.

    Args:
        uri: in full.
        store: of the results.
        names: of the studies.
        experiment: that they go to.
    """
    words = ["raylab", "sync", *names, "--storage", store.uri]
    if experiment == os.environ.get(EXPERIMENT_VARIABLE):  # which may not be set there
        words += ["--experiment", experiment]
    if store.local is None or uri != _database_of(store):
        words += ["--tracking", hidden(uri)]
    return shlex.join(words)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite address; None for other addresses."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def hidden(uri: str) -> str:
    """An address as it may be printed: without a password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def _database_of(store: Folder) -> str:
    return f"sqlite:///{store.local}/mlflow.db"


def _sqlite_address(path: Path, source: str) -> str:
    if "?" in str(path):
        raise TrackingError(
            f"{source}: {path} has a question mark, which ends the path in the address of a database; give --tracking "
            "another file or a server"
        )
    return f"sqlite:///{path}"


def _mlflow() -> str:
    # The environment raylab is installed in need not be active in the terminal.
    beside = Path(sys.executable).with_name("mlflow")
    return shlex.quote("mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside))


def _known(scheme: str) -> bool:
    return scheme in _SCHEMES or any(point.name == scheme for point in entry_points(group="mlflow.tracking_store"))
