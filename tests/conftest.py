"""One Ray session for all tests, and where real data lies if there is any."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3 import S3Server

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)  # no test writes where a developer keeps results


@pytest.fixture(autouse=True)
def subnormal_floats() -> Iterator[None]:
    """Undo what `raylab.training.step.prepare_process` does to the whole process: hypothesis needs subnormal floats."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Any]:
    """Ray with 4 logical CPUs, whatever the machine has; everything it held is free at the end of each test module."""
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
def free_resources(ray_session: Any) -> Iterator[None]:
    """Fail a test that leaves CPUs held."""
    import time

    yield
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if ray_session.available_resources().get("CPU") == ray_session.cluster_resources()["CPU"]:
            return
        time.sleep(0.5)
    pytest.fail(f"CPUs still held: {ray_session.available_resources()} of {ray_session.cluster_resources()}")


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
