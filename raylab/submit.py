"""`ray job submit` that looks first, and follows the job to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
import yaml
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE
from ray._private.runtime_env.packaging import _dir_travel, _get_excludes  # Ray has no public way to ask
from ray.job_submission import JobSubmissionClient

from raylab.errors import ClusterError, ConfigError, StoppedError
from raylab.files import brought_folder, first_line

REACH, ANSWER = 5.0, 30.0
"""Seconds within which a port must take a connection, and the dashboard that listens there must answer."""
GONE = 60.0
"""Seconds for which a job is asked after whose cluster does not answer any more."""
_PORT = 8265


def submit(
    command: Sequence[str],
    address: str | None = None,
    working_dir: str = ".",
    environment: str | None = None,
    submission_id: str | None = None,
    wait: bool = True,
    write: Callable[[str], Any] = sys.stdout.write,
) -> int:
    """Submit a job once nothing that can be seen from here speaks against it, and follow it.

    Nodes, storage and data are looked at by the job itself, before it begins (`raylab.study.preflight`).

    Args:
        command: a script and its arguments, or a command of raylab.
        address: of the cluster's dashboard; None: RAY_API_SERVER_ADDRESS, else this machine's.
        working_dir: folder that the job brings, and runs in.
        environment: YAML file of Ray's runtime environment; None: raylab's.
        submission_id: name of the job; None: Ray's choice.
        wait: follow it.
        write: takes what the job says.

    Returns:
        The exit status of the job; 0 where it is not followed.

    Raises:
        ClusterError: no cluster answers there, or another Ray than here; all that is wrong, a line each.
        ConfigError: the address or the runtime environment cannot be read.
        StoppedError: Ctrl-C; the job goes on.
    """
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every file and upload
    folder, address = Path(working_dir).absolute(), _address(address)
    brought = runtime_env(environment) | {"working_dir": str(folder)}
    entrypoint, problems = _entrypoint(command, folder)
    size, too_large = upload(folder, brought.get("excludes", []))
    problems += [*too_large, *answers(address)]
    if problems:
        raise ClusterError("\n".join(problems))
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # which, as RAY_ADDRESS, wins over what the client is told
    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=entrypoint, runtime_env=brought, submission_id=submission_id)
    except Exception as error:  # RuntimeError and requests' own
        raise ClusterError(f"{address}: the job is not taken ({first_line(error)}); correct it") from None
    write(f"{job}: {entrypoint}\n{_mib(size)} sent to {address}\n")
    if not wait:
        write(_ways(job, address) + "\n")
        return 0
    try:
        return follow(client, job, write)
    except KeyboardInterrupt:
        raise StoppedError(f"{job} goes on\n{_ways(job, address)}", signal.SIGINT) from None


def _ways(job: str, address: str) -> str:
    return (
        f"follow it: ray job logs --follow --address {address} {job}\nstop it: ray job stop --address {address} {job}"
    )


def _address(given: str | None) -> str:
    address = given or os.environ.get("RAY_API_SERVER_ADDRESS") or f"http://127.0.0.1:{_PORT}"
    try:
        url = urlsplit(address)
        if url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port):
            return address.rstrip("/")
    except ValueError:  # a port that is none
        pass
    raise ConfigError(f"address: {address} is no dashboard; give http://host:{_PORT}")


def runtime_env(file: str | None) -> dict[str, Any]:
    """A runtime environment as a file has it.

    Raises:
        ConfigError: it cannot be read.
    """
    path = Path(file) if file else brought_folder("cluster") / "runtime_env.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"runtime_env: {path} cannot be read ({first_line(error)}); correct it") from None
    if not isinstance(found, dict):
        raise ConfigError(f"runtime_env: {path} holds no fields with values; see cluster/runtime_env.yaml")
    return found


def _entrypoint(command: Sequence[str], folder: Path) -> tuple[str, list[str]]:
    """What the job runs, and what is wrong with it."""
    first, *rest = command
    if not first.endswith(".py"):
        return shlex.join(["python", "-m", "raylab", *command]), []
    script = Path(first).absolute()
    if not script.is_file():
        return "", [f"{first}: there is no such script"]
    if not script.is_relative_to(folder):
        return "", [f"{first}: lies outside of {folder}, which the job brings; give a --working-dir that holds it"]
    return shlex.join(["python", script.relative_to(folder).as_posix(), *rest]), []


def upload(folder: Path, excludes: Sequence[str]) -> tuple[int, list[str]]:
    """How much a job would bring, and what is wrong with that.

    Args:
        folder: that it brings.
        excludes: patterns of what is left out, as in a .gitignore, which counts too.

    Returns:
        Bytes, and a line where Ray would refuse them.
    """
    if not folder.is_dir():
        return 0, [f"working_dir: {folder} is no folder"]
    sizes = Counter[str]()

    def add(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).parts[0]] += path.stat().st_size

    ignored = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1"
    _dir_travel(folder, [_get_excludes(folder, list(excludes))], add, include_gitignore=not ignored)
    total = sum(sizes.values())
    if total < DASHBOARD_CLIENT_MAX_SIZE:
        return total, []
    largest = ", ".join(f"{name} {_mib(size)}" for name, size in sizes.most_common(3))
    return total, [
        f"working_dir: {folder} is {_mib(total)}, and Ray takes {_mib(DASHBOARD_CLIENT_MAX_SIZE)}; leave out what the "
        f"job does not need, by .gitignore or a --runtime-env with excludes (largest: {largest})"
    ]


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def answers(address: str) -> list[str]:
    """What is wrong with a dashboard, found in bounded time; Ray's own client would wait for ever.

    Args:
        address: of the dashboard.
    """
    url = urlsplit(address)
    way_out = "correct --address, start the cluster, or forward its port (`ray dashboard`, `kubectl port-forward`)"
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((str(url.hostname), port), REACH).close()
        request = urllib.request.Request(f"{address}/api/version", headers=get_auth_headers_if_auth_enabled({}))
        with urllib.request.urlopen(request, timeout=ANSWER) as response:
            there = json.load(response)["ray_version"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return [
                f"{address}: the cluster wants another token; export RAY_AUTH_MODE=token, and take its "
                "~/.ray/auth_token or set RAY_AUTH_TOKEN"
            ]
        return [f"{address}: is no dashboard of Ray (HTTP status {error.code}); {way_out}"]
    except OSError as error:
        return [f"{address}: nothing answers there ({first_line(error)}); {way_out}"]
    except Exception as error:  # no HTTP, no JSON, no version
        return [f"{address}: is no dashboard of Ray ({first_line(error)}); {way_out}"]
    if there != ray.__version__:
        return [f"{address}: the cluster has Ray {there}, this environment {ray.__version__}; install the same"]
    return []


def follow(client: JobSubmissionClient, job: str, write: Callable[[str], Any]) -> int:
    """Write what a job says until its end, also where the connection is lost meanwhile.

    Args:
        client: of its cluster.
        job: its name.
        write: takes what it says.

    Returns:
        Its exit status.

    Raises:
        ClusterError: the cluster does not answer any more.
    """
    written, since = 0, time.monotonic()
    while True:
        try:
            written = asyncio.run(_tail(client, job, written, write))
            info = client.get_job_info(job)
            since = time.monotonic()
        except Exception as error:  # aiohttp's, requests' and RuntimeError
            if time.monotonic() - since > GONE:
                raise ClusterError(
                    f"{job}: its cluster does not answer any more ({first_line(error)}); once one does, the same "
                    "command goes on"
                ) from None
        else:
            if info.status.is_terminal():
                return _status(job, info, write)
        time.sleep(1)


async def _tail(client: JobSubmissionClient, job: str, written: int, write: Callable[[str], Any]) -> int:
    """Write what follows the first `written` characters, until the stream ends; gives how many there are then."""
    seen = 0
    async for text in client.tail_job_logs(job):
        write(text[max(0, written - seen) :])
        seen += len(text)
        written = max(written, seen)
        sys.stdout.flush()
    return written


def _status(job: str, info: Any, write: Callable[[str], Any]) -> int:
    if info.status == "SUCCEEDED":
        return 0
    code = info.driver_exit_code
    if code is None or info.status == "STOPPED":
        write(f"{job}: {info.status}: {first_line(RuntimeError(info.message or ''))}\n")
    if info.status == "STOPPED":
        return 128 + signal.SIGTERM
    return 1 if not code else code if code > 0 else 128 - code
