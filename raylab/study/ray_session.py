"""The Ray that a study runs on: joined where RAY_ADDRESS names one, else started here and cleaned up after."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import ray
from ray._common.utils import get_default_ray_temp_dir  # Ray has no public way to ask
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; `ray health-check` asks so

from raylab.errors import ClusterError, handler_kept
from raylab.files import first_line
from raylab.guardian import MARK, guardian, remove_sessions, sessions_of

VARIABLE = "RAY_ADDRESS"
REACH, ANSWER = 5.0, 30.0
"""Seconds within which a port must take a connection, and what listens there must answer as Ray does."""
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path on Linux
_CLIENT_PORT = 10001  # of ray:// without one
_ALONE = f"unset {VARIABLE} to let raylab start Ray on this machine"


def named_cluster() -> str:
    """The Ray that RAY_ADDRESS names; empty where raylab is to start one on this machine."""
    address = os.environ.get(VARIABLE, "")
    return "" if address == "local" else address


@contextmanager
def ray_session() -> Iterator[bool]:
    """Ray for the length of a block, unless this process has it already.

    Gives whether it was started here, for this process alone.

    Ray that was started here ends with the block, and its folders of sockets, logs and temporary files go, also where
    this process is killed.

    Raises:
        ClusterError: Ray does not start, or none answers where RAY_ADDRESS says.
    """
    if ray.is_initialized():
        yield False
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # raylab has one (`raylab.study.interrupts`)
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "2")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer output engine prints boxes even when told to be silent
    started_here = not (address := named_cluster())
    folder = Path(get_default_ray_temp_dir())
    before = sessions_of(folder, os.getpid())
    try:
        with handler_kept(signal.SIGTERM):  # Ray would abort the process
            if started_here:
                # Before Ray is there: a process that is killed while Ray starts is cleaned up after, too.
                guardian().guard_sessions(folder, before)
                with _inherited({MARK: guardian().mark, "TMPDIR": str(guardian().folder)}):
                    _start(folder)
            else:
                _join(address)
        yield started_here
    finally:
        ray.shutdown()
        if started_here:
            remove_sessions(sessions_of(folder, os.getpid()) - before)


@contextmanager
def _inherited(variables: dict[str, str]) -> Iterator[None]:
    """Have some variables in the environment of all that is started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(folder: Path) -> None:
    example = folder / f"session_{datetime.now():%Y-%m-%d_%H-%M-%S_%f}_{os.getpid()}" / "sockets" / "plasma_store"
    if (excess := len(os.fsencode(example)) - _LONGEST_SOCKET) > 0:
        raise ClusterError(
            f"Ray cannot start: its sockets below {folder} would have paths that are {excess} bytes too long for the "
            "system; set RAY_TMPDIR to a shorter folder, such as /tmp"
        )
    try:
        _init(address="local", include_dashboard=False, _temp_dir=str(folder.absolute()))
    except Exception as error:  # Ray raises OSError, RuntimeError and plain Exception
        raise ClusterError(
            f"Ray cannot start: {first_line(error)}; its files go to {folder} (RAY_TMPDIR chooses another folder); "
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
        raise ClusterError(f"{named}: Ray cannot be joined ({first_line(error)}); {_way_out(address)}") from None


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
        raise ClusterError(f"{named}: nothing answers there ({first_line(error)}); {_way_out('')}") from None


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
        reason = first_line(found[0]) if found and found[0] else f"no answer in {ANSWER:.0f} seconds"
        raise ClusterError(f"{named}: what listens there does not answer as Ray does ({reason}); {_way_out(address)}")


def _way_out(address: str) -> str:
    if address == "auto":
        return f"start Ray on this machine with `ray start --head`, or {_ALONE}"
    return f"correct it, start Ray there, or {_ALONE}"
