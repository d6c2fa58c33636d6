"""The MLflow mirror of what the store holds.

The manifests in the store are the truth. MLflow may lag behind them, be down or be deleted, and is brought up to date
by the next `Mirror.sync`. One process writes to it, the driver of the study: several that touch a new SQLite database
at once break it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylab.config import RunConfig
from raylab.errors import StoreError, TrackingError
from raylab.store import RoundStore, Store
from raylab.store.rounds import STEPS
from raylab.store.studies import report_folder, study_folder, study_path
from raylab.tracking.address import first_line, open_client, sqlite_path, tracking_uri
from raylab.tracking.content import Child, budget, common_tags, metrics, run_child, supervised_children

_LONGEST_TAG, _PARAMS_A_CALL = 8000, 100

_log = logging.getLogger(__name__)


class Mirror:
    """Writes a study's results to an MLflow tracking server or database.

    Args:
        uri: `http(s)://` of a server, an SQLAlchemy address such as `sqlite:///file`, or the path of an SQLite file.
        experiment: name; made where it is not there. With SQLite its artifacts lie in `mlartifacts` beside the file.

    Raises:
        TrackingError: the address cannot be used.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = tracking_uri(uri)
        self.experiment = experiment
        self._lock = threading.RLock()
        self._failures: dict[str, str] = {}
        self._report_is_due = False
        self._down = False
        self._seen: set[str] = set()
        self._complete: set[str] = set()
        try:
            self._client = open_client(self.uri)
            self._experiment_id = self._open_experiment()
        except Exception as error:  # every layer below (requests, SQLAlchemy, alembic) raises its own
            raise TrackingError(
                f"tracking: MLflow cannot be used at {self.uri} ({first_line(error)}); start a server there, give "
                "another address, or leave `tracking` out to use an SQLite file under the storage root"
            ) from None

    def sync(self, store: Store, study_name: str, runs: list[RunConfig]) -> None:
        """Send what is committed and not yet sent; safe to call at any time and any number of times.

        When MLflow cannot be reached this warns once and returns; the next call sends what is missing.

        Args:
            store: of the results.
            study_name: becomes the parent run.
            runs: of the study; each becomes a child.
        """
        with self._lock:
            self._attempt(lambda: self._sync(store, study_name, runs))

    def mark_failed(self, run: RunConfig, reason: str) -> None:
        """Show a run as failed, from the next `sync` on, until it is finished or another process takes over.

        Args:
            run: that failed.
            reason: becomes the tag `raylab.failure`.
        """
        with self._lock:
            self._failures[run.label] = reason

    def log_report(self, store: Store, study_name: str) -> None:
        """Attach the study's report to the parent run; where MLflow is down, the next `sync` does it.

        Args:
            store: of the results.
            study_name: of a study that was synchronised before.
        """
        with self._lock:
            self._report_is_due = True
            self._attempt(lambda: self._send_report(store, study_name))

    def _attempt(self, action: Callable[[], None]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            action()
        except (MlflowException, OSError, StoreError) as error:
            if not self._down:
                _log.warning(
                    "MLflow at %s could not be brought up to date (%s); nothing is lost, it is sent later",
                    self.uri,
                    first_line(error),
                )
            self._down = True
            return
        if self._down:
            _log.info("MLflow at %s is up to date again", self.uri)
        self._down = False

    def _open_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            database = sqlite_path(self.uri)
            place = (database.parent / "mlartifacts").as_uri() if database else None
            return str(self._client.create_experiment(self.experiment, artifact_location=place))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _sync(self, store: Store, name: str, runs: list[RunConfig]) -> None:
        memory = _Memory(store, name, self.uri, self.experiment)
        parent = self._open_parent(memory, store, name)
        problem: StoreError | None = None
        states = []
        for child in (*(run_child(store, run) for run in runs), *supervised_children(store, name)):
            state = memory.state["runs"].setdefault(child.name, {})
            states.append(state)
            # What is finished and sent costs nothing more, however often a large study synchronises.
            if child.name not in self._complete:
                try:
                    self._send(memory, child, state, parent)
                except StoreError as error:
                    # A file of one run that is damaged, or being written, must not hold back the others.
                    problem = error
        statuses = {state.get("status") for state in states}
        status = "FAILED" if "FAILED" in statuses else "FINISHED" if statuses == {"FINISHED"} else "RUNNING"
        self._set_status(memory, memory.state, status)
        if self._report_is_due:
            self._send_report(store, name)
        if problem:
            raise problem

    def _open_parent(self, memory: _Memory, store: Store, name: str) -> str:
        if not self._is_there(memory.state):
            memory.state.clear()
            tags = {"raylab.kind": "study", "raylab.study": name, "raylab.storage": store.uri}
            memory.state.update(self._find_or_create(name, tags, tags), runs={})
            memory.write()
            self._complete.clear()
        path = study_path(name)
        if store.exists(path):
            # A study may grow by strategies, seeds and sizes.
            text = store.read_bytes(path)
            if memory.state.get("described") != (digest := hashlib.sha256(text).hexdigest()):
                self._log_files(memory.state["id"], {"study.json": text})
                memory.state["described"] = digest
                memory.write()
        return str(memory.state["id"])

    def _is_there(self, state: dict[str, Any]) -> bool:
        """Whether a remembered run still exists in MLflow; asked once a process."""
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

    def _find_or_create(
        self, name: str, key: dict[str, str], tags: dict[str, str], start: int | None = None
    ) -> dict[str, str]:
        # A driver killed after it made a run and before it wrote down its id must not make a second one.
        query = " and ".join(f"tags.`{tag}` = {_quoted(value)}" for tag, value in key.items())
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        run = found[0] if found else None
        run = run or self._client.create_run(self._experiment_id, start, {**common_tags(), **tags}, name)
        self._seen.add(run.info.run_id)
        return {"id": run.info.run_id, "status": run.info.status}

    def _send(self, memory: _Memory, child: Child, state: dict[str, Any], parent: str) -> None:
        if not self._is_there(state):
            key = {"mlflow.parentRunId": parent, "raylab.run": child.name}
            start = _committed_ms(child.rounds[0], "select")
            found = self._find_or_create(child.name, key, {**child.tags, **key}, start)
            state.clear()
            state.update(found, sent=[])
            memory.write()
        if not state.get("described"):
            self._describe(child, state)
            memory.write()
        try:
            self._send_rounds(child, state)
            if state.get("files_due"):
                self._send_files(child, state)
                state["files_due"] = False
        finally:
            memory.write()
        finished = all(f"{t}/train" in state["sent"] for t in range(len(child.rounds)))
        failure = None if finished else self._failures.get(child.name)
        self._set_status(memory, state, "FINISHED" if finished else "FAILED" if failure else "RUNNING", failure)
        if finished:
            self._complete.add(child.name)

    def _describe(self, child: Child, state: dict[str, Any]) -> None:
        from mlflow.entities import Param

        # Parameters cannot be changed in MLflow, and those of a run found again are there.
        there = self._client.get_run(state["id"]).data.params
        params = [Param(key, value) for key, value in child.params.items() if key not in there]
        for start in range(0, len(params), _PARAMS_A_CALL):
            self._client.log_batch(state["id"], params=params[start : start + _PARAMS_A_CALL])
        self._log_files(state["id"], child.files)
        state["described"] = True

    def _send_rounds(self, child: Child, state: dict[str, Any]) -> None:
        """Send the steps that are new."""
        from mlflow.entities import Metric

        for t, round_store in enumerate(child.rounds):
            for step in STEPS if child.needs_scores else STEPS[:2]:
                if f"{t}/{step}" in state["sent"] or (record := round_store.record(step)) is None:
                    continue
                # The time of the commit, not of sending: a point sent twice is the same point, and MLflow keeps one.
                when, regions = _committed_ms(round_store, step) or 0, budget(round_store, record)
                points = [Metric(name, value, when, regions) for name, value in metrics(step, record)]
                self._client.log_batch(state["id"], metrics=points)
                state["sent"].append(f"{t}/{step}")
                state["files_due"] = True
            if f"{t}/train" not in state["sent"]:
                return

    def _send_files(self, child: Child, state: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        # The data's fingerprint is known only once the run has begun.
        self._client.log_batch(state["id"], tags=[RunTag(key, value) for key, value in child.tags.items()])
        picked = sum(f"{t}/select" in state["sent"] for t in range(len(child.rounds)))
        if child.run_store and picked:
            sink = pa.BufferOutputStream()
            pq.write_table(child.run_store.ledger(picked), sink)
            self._log_files(state["id"], {"ledger.parquet": sink.getvalue().to_pybytes()})

    def _set_status(self, memory: _Memory, state: dict[str, Any], status: str, failure: str | None = None) -> None:
        if state["status"] == status:
            return
        if status == "RUNNING":
            self._client.update_run(state["id"], status=status)
        else:
            self._client.set_terminated(state["id"], status)
        if failure:
            self._client.set_tag(state["id"], "raylab.failure", failure[:_LONGEST_TAG])
        elif "raylab.failure" in self._client.get_run(state["id"]).data.tags:
            self._client.delete_tag(state["id"], "raylab.failure")
        state["status"] = status
        memory.write()

    def _send_report(self, store: Store, name: str) -> None:
        parent = _Memory(store, name, self.uri, self.experiment).state.get("id")
        if parent is None:
            return
        folder = report_folder(name)
        self._log_files(parent, {file: store.read_bytes(f"{folder}/{file}") for file in store.list(folder)}, "report")
        self._report_is_due = False

    def _log_files(self, run_id: str, files: Mapping[str, bytes], where: str | None = None) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(run_id, folder, where)


class _Memory:
    """`studies/<name>/mlflow.json`: the MLflow runs of a study and what they were sent, by address and experiment."""

    def __init__(self, store: Store, study_name: str, uri: str, experiment: str) -> None:
        self.store = store
        self.path = f"{study_folder(study_name)}/mlflow.json"
        self.all: dict[str, Any] = store.read_json(self.path) if store.exists(self.path) else {}
        self.state: dict[str, Any] = self.all.setdefault(uri, {}).setdefault(experiment, {})

    def write(self) -> None:
        self.store.write_json(self.path, self.all)


def _committed_ms(round_store: RoundStore, step: str) -> int | None:
    store = round_store.store
    modified = store.fs.get_file_info(f"{store.root.rstrip('/')}/{round_store.path(step)}.json").mtime
    return None if modified is None else int(1000 * modified.timestamp())


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"
