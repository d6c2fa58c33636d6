"""Kills studies at random times for as long as it is told, and looks after each end: `python -m tests.faults.soak`.

Each study has two strategies and runs in a process of its own. That is killed (SIGKILL), asked to stop (SIGTERM,
SIGINT), or on Ray loses one of its processes (SIGKILL of a trial, a worker, a scorer, a selector, a service), after a
random time; a study that ends then is started again until it ends by itself, done. Its picks and results must be those
of a study that nothing happened to; no process and no file half written may be left, and the folder for temporary files
must hold what it held after the undisturbed study. Then the next one begins.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.disk import PARTIAL
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.runs import RunStore, stored_study
from raylab.runs.verify import verify_study
from tests.configs import tiny_run
from tests.faults import table

ROOT = Path(__file__).parents[2]
STRATEGIES = ("random", "entropy+spatial")
_PROGRAM = """
import sys
from raylab.errors import exit_cleanly, without_teardown
with without_teardown(), exit_cleanly():
    from raylab.study import run_study
    from tests.faults.soak import study_of
    run_study(study_of(sys.argv[1], sys.argv[2]))
"""
_MARK = "RAYLAB_SOAK"
_BELOW = (
    "ImplicitFunc", "TrainController", "RayTrainWorker", "Map(PoolReader", "MapWorker", "SelectorActor",
    "ProgressCollector",
)  # fmt: skip
"""What Ray calls the processes of a study: a trial, those of a stage, the services."""
_ENDS = {signal.SIGTERM: (143,), signal.SIGINT: (130,), signal.SIGKILL: (-9,)}
NOT_OURS = ("torchinductor_", "ray")
"""What stays in a folder for temporary files: torch makes an empty folder for its compiler when it is imported, one for
all processes of a user; Ray one for its sessions, where other studies may be."""


def study_of(storage: str, backend: str) -> StudyConfig:
    """Two strategies with round 0 in common and one round after it; on Ray with a training worker."""
    compute = ComputeConfig(backend="ray", workers=1, grace=5) if backend == "ray" else ComputeConfig(backend="local")
    config = tiny_run(storage, budget=BudgetConfig(initial=12, rounds=(12,)), compute=compute)
    return StudyConfig(name="soak", run=config, strategies=STRATEGIES)


def result(storage: Path) -> list[Any]:
    """What a finished study says; every file that it committed is compared with its hash before.

    Raises:
        RaylabError: a file is damaged, or missing.
    """
    store = Folder(str(storage))
    if damages := verify_study(store, "soak").damages:
        raise RaylabError(str(damages))
    found = []
    for run in (RunStore(store, run) for run in stored_study(store, "soak").runs):
        trained = [run.round(t).record("train") or {} for t in range(2)]
        found.append([run.ledger(2).to_pylist(), *((one["losses"], one["confusion"]) for one in trained)])
    return found


class Soak:
    """Studies one after another, killed at random.

    Args:
        folder: for their storage roots; its path must be short where Ray keeps its sockets below it.
        backend: of the studies, `local` or `ray`.
        seed: of the times.

    Attributes:
        usual: seconds of an undisturbed study.
        pace: seconds within which the next study is disturbed: fewer once one has ended before that, as on a machine
            that other work has left; more after each disturbance, so that studies come to their ends.
        done: how often what was done.
        wrong: what should not have been, a line each.
        studies: that came to their end.
    """

    def __init__(self, folder: Path, backend: str, seed: int) -> None:
        self.folder, self.backend = folder, backend
        self.random = random.Random(seed)
        self.done = Counter[str]()
        self.wrong: list[str] = []
        self.studies = 0
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        start = time.monotonic()
        self._attempt(folder / "undisturbed", disturbed=False)
        self.usual = self.pace = time.monotonic() - start
        self.expected = result(folder / "undisturbed")

    def run(self, seconds: float, say: Callable[[str], None] = lambda line: None) -> None:
        """Study after study until the time is over; a last one is then left to end.

        Args:
            seconds: how long.
            say: takes a line after each attempt.
        """
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            root = self.folder / f"root-{self.studies}"
            ended = False
            while not ended:
                told = len(self.wrong)
                ended = self._attempt(root, disturbed=passed < seconds)
                if ended:
                    self.studies += 1
                    self._compare(root)
                    shutil.rmtree(root)
                passed = time.monotonic() - start
                left = max(0.0, seconds - passed) / 60
                say("\n".join([*self.wrong[told:], f"[{passed / 60:5.1f} min, {left:.0f} to go] {self.line()}"]))

    def _compare(self, root: Path) -> None:
        try:
            if result(root) != self.expected:
                self.wrong.append(f"study {self.studies}: other results than undisturbed")
        except RaylabError as error:
            self.wrong.append(f"study {self.studies}: {error}")
        self.wrong += [f"study {self.studies}: {path} is half written" for path in root.rglob(f"{PARTIAL}*")]

    def _attempt(self, root: Path, disturbed: bool) -> bool:
        """Begin a study or go on with it, and whether it came to its end."""
        log = self.folder / "log"
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(root), self.backend],
                start_new_session=True,
                stdout=out,
                stderr=out,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "RAY_TMPDIR": str(self.temporary),
                    "TMPDIR": str(self.temporary),
                    _MARK: str(self.folder),
                },
            )
        what = self._disturb(process) if disturbed else None
        status = process.wait()
        if what is not None:
            self.done[what] += 1
        self._look_at_end(what, status, log.read_text(encoding="utf-8"))
        return status == 0

    def _disturb(self, process: subprocess.Popen[bytes]) -> str | None:
        """Do something to a study after a random time; what it was, None where the study ended before."""
        kind = self.random.choice(_BELOW) if self.backend == "ray" and self.random.random() < 0.5 else None
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0, self.pace))
            self.pace *= 0.8
            return None
        self.pace *= 1.05
        if kind is None:
            number = self.random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            process.send_signal(number)
            return f"{number.name} of the driver"
        # Some are there for seconds alone, and are waited for.
        while not (found := sorted(self._below(kind))):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                return None
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(found), signal.SIGKILL)
        return f"SIGKILL of {kind}"

    def _look_at_end(self, what: str | None, status: int, log: str) -> None:
        """Take note of all that is not as it should be after a study's end."""
        asked = next((statuses for number, statuses in _ENDS.items() if what == f"{number.name} of the driver"), ())
        expected = (0, *asked) if what is None or asked else (0, 1)
        if status not in expected or "Traceback" in log or (status == 1 and not log.strip()):
            self.wrong.append(f"status {status} after {what}: {log[-2000:]}")
            if what is None:
                raise SystemExit(self.wrong[-1])
        deadline = time.monotonic() + 10
        while (left := dict(self._processes())) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.wrong += [f"process left after {what}: {command}" for command in left.values()]
        found = [path.relative_to(self.temporary) for path in self.temporary.rglob("*")]
        ours = [path for path in found if len(path.parts) > 1 or not path.name.startswith(NOT_OURS)]
        self.wrong += [f"left in the temporary folder after {what}: {path}" for path in ours]
        for path in self.temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()  # each is told once

    def _processes(self) -> Iterator[tuple[int, str]]:
        """Ids and command lines of the processes of a study."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{_MARK}={self.folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ").strip()

    def _below(self, kind: str) -> Iterator[int]:
        """Ids of the processes of a kind that Ray runs for a study."""
        return (pid for pid, command in self._processes() if command.startswith(f"ray::{kind}"))

    def row(self, seconds: float) -> table.Row:
        """For the table of docs/reliability.md."""
        return table.Row(
            f"a soak of studies of two strategies ({self.backend}): disturbed at random times",
            "by itself or started again to the same end; a line, the right status, nothing left",
            {"minutes": round(seconds / 60), "studies": self.studies, **dict(sorted(self.done.items()))},
            {"things wrong": len(self.wrong)},
            holds=not self.wrong,
        )

    def line(self) -> str:
        """What was done and seen so far."""
        return f"{self.done.total()} disturbances, {self.studies} studies, {len(self.wrong)} things wrong"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="studies on Ray instead of in one process")
    parser.add_argument("--record", action="store_true", help="leave a row for docs/reliability.md")
    options = parser.parse_args(arguments)
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        soak = Soak(Path(folder), "ray" if options.ray else "local", options.seed)
        print(f"undisturbed, a study takes {soak.usual:.0f} s", flush=True)
        soak.run(seconds, lambda line: print(line, flush=True))
    for what, count in sorted(soak.done.items()):
        print(f"{count:5} {what}")
    if options.record:
        table.write(table.read() | {f"tests/faults/soak.py::{soak.backend}": [asdict(soak.row(seconds))]})
    return bool(soak.wrong)


if __name__ == "__main__":
    sys.exit(main())
