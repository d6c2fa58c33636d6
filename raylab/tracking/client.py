"""The few things that are asked of MLflow, each safe to ask again; everything else here imports no MLflow."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from raylab.errors import TrackingError
from raylab.files import Folder
from raylab.guardian import guardian
from raylab.lease import leased
from raylab.tracking.address import hidden, sqlite_path, tracking_uri, upgrade_command
from raylab.tracking.payload import common_tags

_LONGEST_TAG, _PARAMS_A_CALL = 8000, 100

# All set before mlflow is imported. By default, one call to a server that is down blocks for minutes. No call is
# repeated below us: a creation that was slow to be answered would be made twice.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Client:
    """An MLflow experiment. Every method but the constructor may raise what requests, SQLAlchemy or MLflow do.

    Args:
        uri: see `tracking_uri`.
        experiment: name; made where it is not there. With SQLite its artifacts lie in `mlartifacts` beside the file.

    Attributes:
        points: values of metrics sent so far.
        files: files sent so far.
        answers: of MLflow so far, errors not counted.

    Raises:
        TrackingError: the address can never work. A server is not asked.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = tracking_uri(uri)
        self.experiment = experiment
        self.points = self.files = self.answers = 0
        self._client: Any = None
        self._experiment_id = ""
        self._seen: set[str] = set()
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Here, since importing it takes seconds that `raylab plan` need not wait; and not by the thread that sends,
        # since two threads that import what needs each other can meet a module half imported.
        import mlflow.tracking  # noqa: F401

        for name in ("mlflow.store.db.utils", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if sqlite_path(self.uri):
            self._open_database()

    def connect(self) -> None:
        """Find or make the experiment, unless that was done."""
        if self._experiment_id:
            return
        database = sqlite_path(self.uri)
        if database is None:
            self._open()
            return
        database.parent.mkdir(parents=True, exist_ok=True)
        # Several processes that touch a new SQLite database at once break it.
        folder = Folder(database.parent)
        with leased(folder, database.name):
            if not database.exists() or not database.stat().st_size:
                folder.write_bytes(database.name, _empty_database())
            _probe(database)
            self._open()

    def forget(self) -> None:
        """Look again, after an error, for what was there before."""
        self._experiment_id = ""
        self._seen.clear()

    def is_there(self, state: Mapping[str, Any]) -> bool:
        """Whether a remembered run (its key `id`) still exists in MLflow; asked once until `forget`."""
        from mlflow.exceptions import MlflowException

        run_id = state.get("id")
        if run_id is None or run_id in self._seen:
            return run_id is not None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if run.info.lifecycle_stage == "deleted":
            return False
        self._seen.add(run_id)
        return True

    def find_or_create(
        self, name: str, key: dict[str, str], tags: dict[str, str], start: int | None = None
    ) -> dict[str, Any]:
        """The run with some tags, made where there is none: its id and status.

        Args:
            name: of a run that is made.
            key: tags that tell it from every other.
            tags: of a run that is made.
            start: of a run that is made, in milliseconds since 1970.
        """
        # A driver killed after it made a run and before it wrote down its id must not make a second one.
        query = " and ".join(f"tags.`{tag}` = {_quoted(value)}" for tag, value in key.items())
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        run = found[0] if found else None
        run = run or self._client.create_run(self._experiment_id, start, {**common_tags(), **tags}, name)
        self._seen.add(run.info.run_id)
        return {"id": run.info.run_id, "status": run.info.status}

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Add the parameters that a run does not have; those it has cannot be changed."""
        from mlflow.entities import Param

        there = self._client.get_run(run_id).data.params
        new = [Param(key, value) for key, value in params.items() if key not in there]
        for start in range(0, len(new), _PARAMS_A_CALL):
            self._client.log_batch(run_id, params=new[start : start + _PARAMS_A_CALL])

    def log_points(self, run_id: str, values: Iterable[tuple[str, float]], when: int, step: int) -> None:
        """Add values of metrics; the same values with the same time and step again are kept once by MLflow."""
        from mlflow.entities import Metric

        points = [Metric(name, value, when, step) for name, value in values]
        self._client.log_batch(run_id, metrics=points)
        self.points += len(points)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_files(self, run_id: str, files: Mapping[str, bytes], where: str | None = None) -> None:
        """Attach files to a run, in the folder `where`, in place of those of the same names."""
        with tempfile.TemporaryDirectory(dir=guardian().folder) as folder:
            for name, data in files.items():
                path = Path(folder) / name
                path.write_bytes(data)
                # One by one: MLflow sends a folder by threads that Python waits for before a process may end.
                self._client.log_artifact(run_id, str(path), where)
                self.files += 1

    def set_status(self, run_id: str, status: str, failure: str | None = None, end: int | None = None) -> None:
        """Say how a run stands.

        Args:
            run_id: of the run.
            status: of MLflow's.
            failure: becomes the tag `raylab.failure`; None takes that away.
            end: of a run that ended, in milliseconds since 1970; None is now.
        """
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, end)
        if failure:
            self._client.set_tag(run_id, "raylab.failure", failure[:_LONGEST_TAG])
        elif "raylab.failure" in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, "raylab.failure")

    def _open_database(self) -> None:
        try:
            self.connect()
        except Exception as error:  # every layer below (sqlite3, SQLAlchemy, alembic) raises its own
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                return  # somebody is writing, which ends
            problem = _schema_problem(str(error), self.uri) or f"cannot be used ({cause_of(error)})"
            raise TrackingError(f"tracking: MLflow's database {self.uri} {problem}; or give another address") from None

    def _open(self) -> None:
        from mlflow.tracking import MlflowClient

        self._client = self._client or _Counted(MlflowClient(tracking_uri=self.uri), self)
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            database = sqlite_path(self.uri)
            artifact_uri = (database.parent / "mlartifacts").as_uri() if database else None
            self._experiment_id = str(self._client.create_experiment(self.experiment, artifact_location=artifact_uri))
            return
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self._experiment_id = str(found.experiment_id)


class _Counted:
    """An MlflowClient that counts its answers, which tell a server that is slow from one that is silent."""

    def __init__(self, client: Any, owner: Client) -> None:
        self._client, self._owner = client, owner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            answer = method(*args, **options)
            self._owner.answers += 1
            return answer

        return call


def cause_of(error: BaseException) -> str:
    """What an error says, on one line and without the layers it came through."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "timed out" in text.lower():
        return "no answer in time"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(too many \d+ error responses)", text)
    return hidden((found[1] or found[2]) if found else text[:300])


def _schema_problem(message: str, uri: str) -> str:
    """What is wrong with a database of another MLflow, and the way out; nothing where that is not the error."""
    import mlflow.store.db_migrations

    found = re.search(r"found version (\w+)", message)
    if found is None:
        return ""
    (folder,) = mlflow.store.db_migrations.__path__
    # MLflow tells an older database and a newer one by the same words: it knows the steps to itself alone.
    if any(Path(folder, "versions").glob(f"{found[1]}_*.py")):
        return f"is of an older MLflow; copy the file, then bring it up to this one with: {upgrade_command(uri)}"
    return f"is of a newer MLflow than {mlflow.__version__}, which is installed; install that one"


def _empty_database() -> bytes:
    """What MLflow makes of a new SQLite file, made in memory, so that it is written whole.

    Of a file that MLflow was making itself when it was killed, no MLflow makes anything any more.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore("sqlite:///:memory:", "mlruns")
    with closing(store.engine.raw_connection()) as connection:
        memory: Any = connection.driver_connection
        return bytes(memory.serialize())


def _probe(database: Path) -> None:
    """Refuse at once what MLflow would try for minutes to open."""
    connection = sqlite3.connect(database, timeout=5)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    finally:
        connection.close()


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"
