"""One Ray session for all tests, and where real data lies if there is any."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.table import PROPERTY, Row
from tests.s3 import S3Server

# How busy the machine is decides no test; pytest-timeout ends what hangs.
settings.register_profile("raylab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("raylab")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests leave among temporary files is found below a folder of their own (`nothing_left`).
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="t")
# After multiprocessing has removed its own folder in there, which has the priority -100.
Finalize(None, shutil.rmtree, (tempfile.tempdir, True), exitpriority=-200)
os.environ["RAYLAB_CACHE_GB"] = "0"  # nor in a user's cache folder
os.environ.pop("MLFLOW_TRACKING_URI", None)  # no test writes where a developer keeps results


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Any]:
    """Ray with 4 logical CPUs, whatever the machine has."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for all tests; each makes buckets of its own."""
    server = S3Server(tmp_path_factory.mktemp("s3") / "log")
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same, with keys for it in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return s3_server


@pytest.fixture
def record_fault(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Takes the fields of a `Row`: what a test did and saw, for the table of docs/reliability.md."""
    return lambda *args, **fields: record_property(PROPERTY, Row(*args, **fields))


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a module whose tests leave actors, processes or temporary files, or hold resources of the shared session."""
    before = set(left())
    yield
    deadline = time.monotonic() + 120  # Ray takes them away in its own time
    while found := {key: name for key, name in left().items() if key not in before}:
        if time.monotonic() > deadline:
            pytest.fail(f"left: {sorted(found.values())}")
        time.sleep(0.2)


def left() -> dict[str, str]:
    """What there is now that no module should leave, by something that tells it from others like it."""
    return actors_alive() | resources_held() | processes_alive() | temporary_files()


def resources_held() -> dict[str, str]:
    """Resources of the shared session that are not free."""
    if not (ray := running_ray()):
        return {}
    free, there = ray.available_resources(), ray.cluster_resources()
    held = {kind: value for kind, value in there.items() if kind in ("CPU", "memory") and free.get(kind, 0) != value}
    return {f"{kind} held": f"{value} {kind}, of which {free.get(kind, 0)} are free" for kind, value in held.items()}


def processes_alive() -> dict[str, str]:
    """Command lines of the processes that tests started, but for those of the session: Ray's, servers, the guardian."""
    found: dict[str, tuple[int, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"TMPDIR={tempfile.tempdir}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found[entry.name] = parent, (entry / "cmdline").read_text().replace("\0", " ").strip()
    ours = f"_{os.getpid()}/", f"RAYLAB_DRIVER={os.getpid()}-", *_SERVERS
    stay = {int(pid) for pid, (_, command) in found.items() if any(mark in command for mark in ours)}
    return {
        f"process {pid}": command
        for pid, (parent, command) in found.items()
        if not stay & {int(pid), parent} and int(pid) != os.getpid()
    }


_SERVERS = "moto.server", "mlflow", "playwright", "chrom", "resource_tracker", "forkserver"
"""In the command lines of what stays for all tests, besides Ray."""


def temporary_files() -> dict[str, str]:
    """What lies in the folder for temporary files, but for what stays as long as this process."""
    folder = Path(str(tempfile.tempdir))
    found = [*folder.glob("*"), *folder.glob("ray/session_*"), *folder.glob("raylab-*/*")]
    stays = "ray", "raylab-", "session_latest", "torchinductor_", "pymp-"
    return {
        str(path): str(path)
        for path in found
        if not path.name.startswith(stays) and not path.name.endswith(f"_{os.getpid()}")
    }


def actors_alive() -> dict[str, str]:
    """Class names by id of the actors in the shared session, but for those that Ray keeps for itself."""
    if not running_ray():
        return {}
    from ray._private.state import actors

    found = {key: actor for key, actor in actors().items() if actor["State"] != "DEAD"}
    return {key: actor["ActorClassName"] for key, actor in found.items() if actor["ActorClassName"] not in _RAYS_OWN}


_RAYS_OWN = {"_AutoscalingCoordinatorActor", "_StatsActor", "ActorLocationTracker", "TrainStateActor"}
"""What Ray Data and Ray Train start once a session."""


def running_ray() -> Any:
    """The module, where a session is up."""
    ray = sys.modules.get("ray")
    return ray if ray and ray.is_initialized() else None


def shared_folder(name: str) -> Path:
    """A folder of real data or weights, or a skip that says where it was looked for."""
    root = Path(os.environ.get("RAYLAB_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / name).exists():
        pytest.skip(f"no real data at {root / name}; set RAYLAB_SHARED")
    return root / name


@pytest.fixture
def camvid() -> Path:
    """The CamVid folder."""
    return shared_folder("data/camvid")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The `tests.studies.Finished` that tests share."""
    from tests.studies import finish_study

    return finish_study(tmp_path_factory.mktemp("finished"))
