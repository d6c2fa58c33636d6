"""Brings MLflow up to date with what the store holds, step by step, so that it can be cut off anywhere.

The manifests in the store are the truth. MLflow may lag behind them, be down or be deleted, and is brought up to date
by the next `MlflowSync.send`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylab.errors import StoreError
from raylab.files import Folder
from raylab.lease import leased
from raylab.runs import ResolvedRun
from raylab.runs.rounds import STEPS
from raylab.runs.studies import report_folder, study_path
from raylab.tracking.client import Client
from raylab.tracking.payload import Child, budget, metrics, run_child, supervised_children
from raylab.tracking.sync_state import SyncState, committed_ms

INTERRUPTED = "interrupted"
"""Why a run ended that a signal stopped: its status is KILLED."""


class MlflowSync:
    """Sends studies to an MLflow server or database, and waits for it.

    Args:
        client: of the experiment.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._complete: set[tuple[str, str]] = set()

    def send(
        self,
        store: Folder,
        name: str,
        runs: list[ResolvedRun],
        failures: dict[str, str] | None = None,
        report: bool = False,
    ) -> None:
        """Send what is committed and not yet sent; safe to call at any time and any number of times.

        Args:
            store: of the results.
            name: of the study; becomes the parent run.
            runs: of the study; each becomes a child.
            failures: why runs failed, by the child's name, from the driver that has them; another process gives None.
            report: whether the study's report is attached to the parent where it is there and has changed.

        Raises:
            StoreError: a committed file is missing or damaged; what does not hang on it was sent.
            Exception: whatever MLflow, SQLAlchemy or the network raise.
        """
        # A driver and `raylab sync` at once would make runs twice.
        with leased(store, f"mlflow {name}"):
            sync_state = SyncState(store, name, self.client.uri, self.client.experiment)
            failures = sync_state.failures(failures)
            try:
                self.client.connect()
                self._send(sync_state, name, runs, failures, report)
            except StoreError:
                raise
            except Exception:
                self.client.forget()
                self._complete.clear()
                raise

    def _send(
        self, sync_state: SyncState, name: str, runs: list[ResolvedRun], failures: dict[str, str], report: bool
    ) -> None:
        store = sync_state.store
        parent = self._open_parent(sync_state, name)
        problem: StoreError | None = None
        states = []
        for child in (*(run_child(store, run) for run in runs), *supervised_children(store, name)):
            state = sync_state.state["runs"].setdefault(child.name, {})
            states.append(state)
            # What is finished and sent costs nothing more, however often a large study synchronises.
            if (name, child.name) not in self._complete:
                try:
                    if self._send_child(sync_state, child, state, parent, failures.get(child.name)):
                        self._complete.add((name, child.name))
                except StoreError as error:
                    # A file of one run that is damaged, or being written, must not hold back the others.
                    problem = error
        statuses = {state.get("status") for state in states}
        ended = next((one for one in ("FAILED", "KILLED") if one in statuses), "RUNNING")
        self._set_status(sync_state, sync_state.state, "FINISHED" if statuses == {"FINISHED"} else ended)
        if report:
            self._send_report(sync_state, name)
        if problem:
            raise problem

    def _open_parent(self, sync_state: SyncState, name: str) -> str:
        store = sync_state.store
        if not self.client.is_there(sync_state.state):
            sync_state.state.clear()
            tags = {"raylab.kind": "study", "raylab.study": name, "raylab.storage": store.uri}
            sync_state.state.update(self.client.find_or_create(name, tags, tags), runs={})
            sync_state.write()
            self._complete.clear()
        path = study_path(name)
        if store.exists(path):
            # A study may grow by strategies, seeds and sizes.
            text = store.read_bytes(path)
            if sync_state.state.get("described") != (digest := _hash_files({"": text})):
                self.client.log_files(sync_state.state["id"], {"study.json": text})
                sync_state.state["described"] = digest
                sync_state.write()
        return str(sync_state.state["id"])

    def _send_child(
        self, sync_state: SyncState, child: Child, state: dict[str, Any], parent: str, failure: str | None
    ) -> bool:
        """Send what is new of a run, and tell whether it is finished."""
        if not self.client.is_there(state):
            key = {"mlflow.parentRunId": parent, "raylab.run": child.name}
            start = committed_ms(child.rounds[0], "select")
            found = self.client.find_or_create(child.name, key, {**child.tags, **key}, start)
            state.clear()
            state.update(found, sent=[])
            sync_state.write()
        if not state.get("described"):
            self.client.log_params(state["id"], child.params)
            self.client.log_files(state["id"], child.files)
            state["described"] = True
            sync_state.write()
        try:
            self._send_rounds(child, state)
            if state.get("files_due"):
                self._send_files(child, state)
                state["files_due"] = False
        finally:
            sync_state.write()
        finished = all(f"{t}/train" in state["sent"] for t in range(len(child.rounds)))
        status = "FINISHED" if finished else "RUNNING"
        if failure and not finished:
            status = "KILLED" if failure == INTERRUPTED else "FAILED"
        # When it was done, not when that was sent.
        end = committed_ms(child.rounds[-1], "train") if finished else None
        self._set_status(sync_state, state, status, None if finished else failure, end)
        return finished

    def _send_rounds(self, child: Child, state: dict[str, Any]) -> None:
        """Send the steps that are new."""
        for t, round_store in enumerate(child.rounds):
            for step in STEPS if child.needs_scores else STEPS[:2]:
                if f"{t}/{step}" in state["sent"] or (record := child.record(t, step)) is None:
                    continue
                # The time of the commit, not of sending: a point sent twice is the same point, and MLflow keeps one.
                when, regions = committed_ms(round_store, step) or 0, budget(round_store, record)
                self.client.log_points(state["id"], metrics(step, record), when, regions)
                state["sent"].append(f"{t}/{step}")
                state["files_due"] = True
            if f"{t}/train" not in state["sent"]:
                return

    def _send_files(self, child: Child, state: dict[str, Any]) -> None:
        # The data's fingerprint is known only once the run has begun.
        self.client.set_tags(state["id"], child.tags)
        picked = sum(f"{t}/select" in state["sent"] for t in range(len(child.rounds)))
        if child.run_store and picked:
            sink = pa.BufferOutputStream()
            pq.write_table(child.run_store.ledger(picked), sink)
            self.client.log_files(state["id"], {"ledger.parquet": sink.getvalue().to_pybytes()})

    def _set_status(
        self,
        sync_state: SyncState,
        state: dict[str, Any],
        status: str,
        failure: str | None = None,
        end: int | None = None,
    ) -> None:
        if state["status"] == status:
            return
        self.client.set_status(state["id"], status, failure, end)
        state["status"] = status
        sync_state.write()

    def _send_report(self, sync_state: SyncState, name: str) -> None:
        store, folder = sync_state.store, report_folder(name)
        files = {file: store.read_bytes(f"{folder}/{file}") for file in store.list(folder)}
        if not files or sync_state.state.get("report") == (digest := _hash_files(files)):
            return
        self.client.log_files(sync_state.state["id"], files, "report")
        sync_state.state["report"] = digest
        sync_state.write()


def _hash_files(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(name.encode() + b"\0" + data)
    return digest.hexdigest()
