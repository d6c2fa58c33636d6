"""What speaks against a job is told before it is submitted, all at once and in bounded time."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml

from raylab import submit
from raylab.errors import ClusterError, ConfigError
from raylab.files import brought_folder


@pytest.fixture
def dashboard() -> Iterator[http.server.HTTPServer]:
    """What answers as a dashboard does: with `status` and `text`, which a test sets."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as the library has it
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.text.encode())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (200, json.dumps({"ray_version": "2.0.0"}), f"the cluster has Ray 2.0.0, this environment {ray.__version__}"),
        (200, "welcome", "is no dashboard of Ray"),
        (404, "", r"is no dashboard of Ray \(HTTP status 404\)"),
        (401, "", "wants another token; export RAY_AUTH_MODE=token"),
        (403, "", "wants another token; export RAY_AUTH_MODE=token"),
    ],
)
def test_what_listens_there_is_another(dashboard, status: int, text: str, says: str, tmp_path: Path) -> None:
    dashboard.status, dashboard.text = status, text
    with pytest.raises(ClusterError, match=says) as caught:
        submit.submit(["demo"], f"http://127.0.0.1:{dashboard.server_port}", str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_the_same_ray_is_taken(dashboard) -> None:
    dashboard.status, dashboard.text = 200, json.dumps({"ray_version": ray.__version__})
    assert submit.answers(f"http://127.0.0.1:{dashboard.server_port}") == []


def test_a_dashboard_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "ANSWER", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        (line,) = submit.answers(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert "nothing answers there (timed out)" in line


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for name, size in (("data/a", 80 * 2**20), ("kept/b", 30 * 2**20), ("kept/c.py", 1)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)
    (tmp_path / "env.yaml").write_text("{}")
    with pytest.raises(ClusterError) as caught:
        submit.submit(["gone.py", "--smoke"], address, str(tmp_path), str(tmp_path / "env.yaml"))
    script, size, dead = str(caught.value).splitlines()
    assert script == "gone.py: there is no such script"
    assert size.startswith(f"working_dir: {tmp_path} is 110.0 MiB, and Ray takes 100.0 MiB; leave out")
    assert "largest: data 80.0 MiB, kept 30.0 MiB" in size
    assert dead.startswith(f"{address}: nothing answers there")
    assert submit.upload(tmp_path, submit.runtime_env(None)["excludes"])[0] < 31 * 2**20


def test_a_script_lies_in_what_the_job_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a b.py").touch()
    monkeypatch.chdir(tmp_path)
    asked = ["in/a b.py", "--storage", "s3://b?x=1&y=2"]
    assert submit._entrypoint(asked, tmp_path / "in") == ("python 'a b.py' --storage 's3://b?x=1&y=2'", [])
    _, (line,) = submit._entrypoint(["out/a b.py"], tmp_path / "in")
    assert "lies outside of" in line
    assert submit._entrypoint(["study", "--name", "x"], tmp_path) == ("python -m raylab study --name x", [])


@pytest.mark.parametrize("address", ["localhost:8265", "ray://host:10001", "http://", "http://host:x"])
def test_an_address_of_something_else(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is no dashboard; give http://host:8265"):
        submit.submit(["demo"], address)


def test_a_runtime_environment_that_is_none(tmp_path: Path) -> None:
    for text in ("- a", "a: [", ""):
        (tmp_path / "env.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"runtime_env: .*env\.yaml"):
            submit.runtime_env(str(tmp_path / "env.yaml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        submit.runtime_env(str(tmp_path / "gone.yaml"))
    assert yaml.safe_load((brought_folder("cluster") / "runtime_env.yaml").read_text()) == submit.runtime_env(None)
