"""The MLflow uploader of a running study: one thread sends, and only the end of the study waits a moment for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from raylab.errors import StoreError
from raylab.files import Folder
from raylab.runs import ResolvedRun
from raylab.tracking.address import hidden, sqlite_path, sync_command
from raylab.tracking.client import Client, cause_of
from raylab.tracking.payload import supervised_name
from raylab.tracking.sync import MlflowSync

SERVER_PATIENCE, FILE_PATIENCE = 5.0, 120.0
"""Seconds without an answer that the end of a study waits, in all: for a server, or for a local file, which nobody else
holds up."""
_LOOK = 0.2
"""Seconds after which it is asked whether there was an answer."""
_AGAIN = 60.0
"""Seconds after which what could not be sent is tried again when nothing else is asked for."""

_log = logging.getLogger(__name__)


class MlflowUploader:
    """Sends studies to MLflow from a thread of its own, each time as they are by then.

    A server that is down or slow holds nothing up: it is said once, and what is missing is sent when the server
    answers, by this process or by `raylab sync`.

    Args:
        uri: `http(s)://` of a server, an SQLAlchemy address such as `sqlite:///file`, or the path of an SQLite file.
        experiment: name; made where it is not there. With SQLite its artifacts lie in `mlartifacts` beside the file.
        say: takes a line for the person who waits, from any thread; a warning is logged where it is not given.

    Attributes:
        uri: in full.

    Raises:
        TrackingError: the address can never work. Whether a server answers is not asked here.
    """

    def __init__(self, uri: str, experiment: str, say: Callable[[str], None] | None = None) -> None:
        self._client = client = Client(uri, experiment)
        self.uri, self._experiment = client.uri, client.experiment
        self._sync = MlflowSync(client)
        self._say = say or _log.warning
        self._patience = FILE_PATIENCE if sqlite_path(self.uri) else SERVER_PATIENCE
        # What follows is shared with the thread, under this condition.
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._studies: dict[str, tuple[Folder, list[ResolvedRun]]] = {}
        self._failures: dict[str, str] = {}
        self._reports: set[str] = set()
        self._asked: list[str] = []
        self._sending: list[str] = []
        self._unsent: list[str] = []
        self._problem = ""
        self._said: set[str] = set()

    def sync(self, store: Folder, study_name: str, runs: list[ResolvedRun]) -> None:
        """Have sent what is committed and not yet sent; returns at once.

        Args:
            store: of the results.
            study_name: becomes the parent run.
            runs: of the study; each becomes a child.
        """
        with self._turn:
            self._studies[study_name] = store, list(runs)
            self._ask(study_name)

    def mark_failed(self, task: str, reason: str) -> None:
        """Show a run as failed, from the next `sync` on, until it is finished or another driver takes over.

        The first reason that is given for it stays.

        Args:
            task: the identity of a run that failed, or the folder of a training on all masks.
            reason: becomes the tag `raylab.failure`.
        """
        with self._turn:
            self._failures.setdefault(task, reason)

    def log_report(self, store: Folder, study_name: str) -> None:
        """Attach the study's report to the parent run, and `flush`.

        Args:
            store: of the results.
            study_name: of a study that `sync` was called for.
        """
        with self._turn:
            self._reports.add(study_name)
            self._studies.setdefault(study_name, (store, []))
            self._ask(study_name)
        self.flush()

    def flush(self) -> bool:
        """Wait while MLflow answers until everything was sent or could not be, and say the latter.

        Of MLflow's silence it waits `SERVER_PATIENCE` in all, whatever number of times it is called.

        Returns:
            Whether everything was sent.
        """
        with self._turn:
            while (self._asked or self._sending) and self._patience > 0:
                answers, start = self._client.answers, time.monotonic()
                self._turn.wait_for(lambda: not (self._asked or self._sending), min(_LOOK, self._patience))
                if self._client.answers == answers:
                    self._patience -= time.monotonic() - start
            missing = list(dict.fromkeys([*self._unsent, *self._sending, *self._asked]))
            problem = self._problem or "it takes long to answer"
        if missing:
            store, _ = self._studies[missing[0]]
            self._say_once(
                f"MLflow at {hidden(self.uri)} does not have everything of {', '.join(missing)} ({problem}); bring it "
                f"in later with: {sync_command(self.uri, store, missing, self._experiment)}"
            )
        return not missing

    def _ask(self, name: str) -> None:
        if name not in self._asked:
            self._asked.append(name)
        if self._thread is None:
            # A process that ends does not wait for it.
            self._thread = threading.Thread(target=self._work, name="mlflow uploader", daemon=True)
            self._thread.start()
        self._turn.notify_all()

    def _work(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: bool(self._asked), _AGAIN if self._unsent else None)
                self._sending = list(dict.fromkeys([*self._unsent, *self._asked]))
                self._asked, self._unsent = [], []
            problem = self._send_all()
            if self._problem and not problem:
                self._said.clear()
                self._say(f"MLflow at {hidden(self.uri)} is up to date again")
            with self._turn:
                self._problem = problem
                self._sending = []
                self._turn.notify_all()

    def _send_all(self) -> str:
        """Send each study that is due; those that cannot be are told in `_unsent`, and the reason is returned."""
        problem = ""
        for index, name in enumerate(self._sending):
            with self._turn:
                store, runs = self._studies[name]
                failures = {supervised_name(task): reason for task, reason in self._failures.items()}
                # One computation may be another label's run too.
                failures |= {run.label: self._failures[run.identity] for run in runs if run.identity in self._failures}
                report = name in self._reports
            try:
                self._sync.send(store, name, runs, failures, report)
            except StoreError as error:
                problem = str(error)
                self._unsent.append(name)
                self._say_once(f"MLflow: {problem}; all else of {name} was sent")
            except Exception as error:  # every layer below (requests, SQLAlchemy, boto3) raises its own
                _log.debug("sending %s", name, exc_info=True)
                self._unsent.extend(self._sending[index:])
                self._say_lost(name, cause_of(error))
                return cause_of(error)
            else:
                with self._turn:
                    self._reports -= {name} if report else set()
        return problem

    def _say_lost(self, name: str, problem: str) -> None:
        if not self._problem:
            store, _ = self._studies[name]
            self._say_once(
                f"MLflow at {hidden(self.uri)} cannot be reached ({problem}); the study runs on and sends its results "
                f"when it can be; what is missing at the end: {sync_command(self.uri, store, [name], self._experiment)}"
            )

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)
