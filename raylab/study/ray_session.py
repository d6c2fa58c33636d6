"""The Ray that a study runs on: joined where RAY_ADDRESS names one, else started here and cleaned up after."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import ray
from ray._common.utils import get_default_ray_temp_dir  # Ray has no public way to ask
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; `ray health-check` asks so

from raylab.errors import ClusterError, handler_kept
from raylab.study import guardian as guardian_program

_MARK = "RAYLAB_DRIVER"
VARIABLE = "RAY_ADDRESS"
REACH, ANSWER = 5.0, 30.0
"""Seconds within which a port must take a connection, and what listens there must answer as Ray does."""
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path on Linux
_CLIENT_PORT = 10001  # of ray:// without one
_ALONE = f"unset {VARIABLE} to let raylab start Ray on this machine"


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the length of a block, unless this process has it already.

    Ray that was started here ends with the block, and the folder in which it kept its sockets and logs is removed.

    Raises:
        ClusterError: Ray does not start, or none answers where RAY_ADDRESS says.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # raylab has one (`raylab.study.interrupts`)
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "2")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer output engine prints boxes even when told to be silent
    address = os.environ.get(VARIABLE, "")
    started_here = address in ("", "local")
    before = _own_sessions()
    guardian: subprocess.Popen[bytes] | None = None
    try:
        with handler_kept(signal.SIGTERM):  # Ray would abort the process
            if started_here:
                with _marked() as mark:
                    _start()
                guardian = _guard(mark, _own_sessions() - before)
            else:
                _join(address)
        yield
    finally:
        ray.shutdown()
        if started_here:
            _remove(_own_sessions() - before)
        if guardian is not None:
            guardian.communicate(guardian_program.DONE)


@contextmanager
def _marked() -> Iterator[str]:
    """Have the environment of all that is started in the block tell by whom."""
    os.environ[_MARK] = value = f"{os.getpid()}-{time.monotonic_ns()}"
    try:
        yield f"{_MARK}={value}"
    finally:
        del os.environ[_MARK]


def _guard(mark: str, sessions: set[Path]) -> subprocess.Popen[bytes] | None:
    """Start what cleans up if this process is killed; it looks into /proc, so on Linux alone."""
    if not Path("/proc/self/environ").exists():
        return None
    return subprocess.Popen(
        [sys.executable, "-I", guardian_program.__file__, mark, *map(str, sessions)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # what stops this process's group does not stop it
    )


def _start() -> None:
    folder = Path(get_default_ray_temp_dir())
    example = folder / f"session_{datetime.now():%Y-%m-%d_%H-%M-%S_%f}_{os.getpid()}" / "sockets" / "plasma_store"
    if (excess := len(os.fsencode(example)) - _LONGEST_SOCKET) > 0:
        raise ClusterError(
            f"Ray cannot start: its sockets below {folder} would have paths that are {excess} bytes too long for the "
            "system; set RAY_TMPDIR to a shorter folder, such as /tmp"
        )
    try:
        _init(address="local", include_dashboard=False)
    except Exception as error:  # Ray raises OSError, RuntimeError and plain Exception
        raise ClusterError(
            f"Ray cannot start: {_first_line(error)}; its files go to {folder} (RAY_TMPDIR chooses another folder); "
            "on a machine that is very busy, try again"
        ) from None


def _join(address: str) -> None:
    named = f"{VARIABLE}={address}"
    url = urlsplit(address if "://" in address else f"//{address}")
    if url.scheme in ("http", "https"):
        raise ClusterError(f"{named} is a dashboard, which takes jobs (`ray job submit`); {_ALONE}, or give host:6379")
    if url.scheme in ("", "ray") and address != "auto":
        _reach(url, named)
    if not url.scheme and address != "auto":
        _ask(address, named)
    try:
        _init()
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError, and whatever gRPC does
        raise ClusterError(f"{named}: Ray cannot be joined ({_first_line(error)}); {_way_out(address)}") from None


def _init(**options: object) -> None:
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)  # type: ignore[arg-type]


def _reach(url: SplitResult, named: str) -> None:
    """Refuse at once an address where nothing listens, which Ray would ask for minutes without a word."""
    port = None
    with suppress(ValueError):  # out of range, or no number
        port = url.port or (_CLIENT_PORT if url.scheme == "ray" else None)
    if not url.hostname or port is None:
        raise ClusterError(f"{named} is no address of Ray; give host:port, or {_ALONE}")
    try:
        socket.create_connection((url.hostname, port), REACH).close()
    except OSError as error:
        raise ClusterError(f"{named}: nothing answers there ({_first_line(error)}); {_way_out('')}") from None


def _ask(address: str, named: str) -> None:
    """Refuse an address where something else than Ray listens, for which Ray would wait without end."""
    found: list[Exception | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
            found.append(None)
        except Exception as error:  # of Ray's native part
            found.append(error)

    thread = threading.Thread(target=ask, name="ask for Ray", daemon=True)  # it may hang for ever
    thread.start()
    thread.join(ANSWER)
    if not found or found[0] is not None:
        reason = _first_line(found[0]) if found and found[0] else f"no answer in {ANSWER:.0f} seconds"
        raise ClusterError(f"{named}: what listens there does not answer as Ray does ({reason}); {_way_out(address)}")


def _way_out(address: str) -> str:
    if address == "auto":
        return f"start Ray on this machine with `ray start --head`, or {_ALONE}"
    return f"correct it, start Ray there, or {_ALONE}"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")


def _own_sessions() -> set[Path]:
    """Folders of the Ray sessions that this process began; each is named by the process that began it."""
    return set(Path(get_default_ray_temp_dir()).glob(f"session_*_{os.getpid()}"))


def _remove(sessions: set[Path]) -> None:
    """Remove what Ray kept of some sessions, and its link to the latest one if that is among them."""
    for session in sessions:
        shutil.rmtree(session, ignore_errors=True)
        with suppress(OSError):
            latest = session.parent / "session_latest"
            if os.readlink(latest) == str(session):
                latest.unlink()
