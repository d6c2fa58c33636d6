"""Several raylets on one machine: what cluster/README.md says, as it stands, and a study by `raylab submit`."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from raylab.config import ComputeConfig, DataConfig, StudyConfig, SyntheticConfig
from raylab.data import open_dataset
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.runs.studies import stored_study
from raylab.study import run_study
from tests.cluster.machine import CHECKOUT, Machine, machine
from tests.configs import tiny_run

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
HEAD = "127.0.0.2"
PORT = 6379


def blocks(page: Path, heading: str) -> list[str]:
    """The commands under a heading of a page, a text a block."""
    section = re.split(r"^#+ ", page.read_text(), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{heading}\n"))
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def raylet(here: Machine, address: str, *options: str, **env: str) -> None:
    """Start a head or worker with an address and a folder of its own."""
    role = ["--head", f"--port={PORT}", f"--dashboard-host={HEAD}"] if address == HEAD else [f"--address={HEAD}:{PORT}"]
    folder = f"--temp-dir={here.folder / address.rpartition('.')[2]}"
    here.run("ray", "start", *role, f"--node-ip-address={address}", folder, *options, **env)


def test_the_readmes_commands_as_they_stand(tmp_path: Path) -> None:
    page = CHECKOUT / "cluster" / "README.md"
    commands = blocks(page, "On a cluster") + blocks(page, "One machine")
    whole = "".join(commands)
    (short,) = blocks(CHECKOUT / "README.md", "On a cluster")
    assert [line.partition(" #")[0].rstrip() for line in short.splitlines()] == whole.splitlines()
    for name in ("raylab", "experiments", "cluster"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with machine() as here:
        del here.env["RAY_AUTH_MODE"]
        said = here.run("bash", "-euo", "pipefail", "-c", f"{whole}ray stop\n", cwd=tmp_path)
        assert f"Report:  {tmp_path}/raylab-results/studies/fixed-budget-smoke/report/index.html" in said
        assert "preflight: versions, storage, data and resources are as they must be on every node" in said
        assert here.processes() == []


def files_of(scenes: SyntheticConfig, root: Path) -> None:
    """Generated scenes as a folder of images and masks."""
    dataset = open_dataset(DataConfig(synthetic=scenes))
    names = dataset.classes.names
    classes = [{"name": name, "id": index, "colour": [index, 0, 0]} for index, name in enumerate(names)]
    root.mkdir()
    seen = set()
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(len(dataset.image_names(split))):
            mask = dataset.read_mask(split, index)
            seen |= set(mask.ravel().tolist())
            Image.fromarray(dataset.read_image(split, index)).save(root / "images" / split / f"{index}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{index}.png")
    absent = [name for index, name in enumerate(names) if index not in seen]
    (root / "dataset.yaml").write_text(yaml.safe_dump({"classes": classes, "absent": absent}))


@contextmanager
def served(here: Machine, folder: Path, *command: str, ready: str) -> Iterator[None]:
    """A server there, once its log says that it is ready."""
    log = folder / f"{command[1]}.log"
    process = here.start("python", *command, log=log)
    while ready not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    yield
    here.run("kill", "-TERM", *[line.split()[0] for line in here.processes() if command[1] in line])
    process.wait()


def study(storage: str, data: str, compute: ComputeConfig, **changes: Any) -> StudyConfig:
    run = tiny_run(storage, data=DataConfig(name="folder", root=data), compute=compute, **changes)
    return StudyConfig(name="tiny", run=run, strategies=("random", "entropy+spatial"), seeds=(0, 1))


def ledgers(store: Folder) -> dict[str, Any]:
    return {run.label: RunStore(store, run).ledger(3).to_pylist() for run in stored_study(store, "tiny").runs}


def test_a_study_by_submit_from_a_packed_set_on_s3(tmp_path: Path) -> None:
    files_of(SyntheticConfig(train_images=8, val_images=3, height=64, width=96), tmp_path / "data")
    config = study(str(tmp_path / "local"), str(tmp_path / "data"), ComputeConfig(backend="local"))
    run_study(config, say=lambda line: None)
    s3 = "s3://{}?endpoint_override=127.0.0.1:5001&scheme=http"
    with machine() as here:
        moto = served(here, tmp_path, "-m", "moto.server", "-p", "5001", ready="Running on")
        places = ("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--workers", "1")
        mlflow = served(here, tmp_path, "-m", "mlflow", "server", "--port", "5002", *places, ready="startup complete")
        with moto, mlflow:
            here.run("python", "-c", BUCKET)
            packing = ("--name", "folder", "--root", str(tmp_path / "data"), "--output", s3.format("bucket/packed"))
            here.run("python", "-m", "raylab", "pack", *packing)
            here.run("ray", "get-auth-token", "--generate")
            raylet(here, HEAD, "--num-cpus=0")
            for address in ("127.0.0.3", "127.0.0.4"):
                raylet(here, address, "--num-cpus=1")
            asked = study(
                s3.format("bucket/results"),
                s3.format("bucket/packed"),
                ComputeConfig(),
                tracking="http://127.0.0.1:5002",
            )
            (tmp_path / "job").mkdir()
            (tmp_path / "job" / "study.yaml").write_text(
                yaml.safe_dump(asked.model_dump(mode="json", exclude_defaults=True))
            )
            address = ("--address", f"http://{HEAD}:8265", "--working-dir", str(tmp_path / "job"))
            said = here.run("python", "-m", "raylab", "submit", *address, "study", "--config", "study.yaml")
            assert "preflight: looking at 3 nodes" in said
            assert "Report:  s3://bucket/results/studies/tiny/report/index.html" in said
            free = here.run("python", "-c", FREE, RAY_ADDRESS=f"{HEAD}:{PORT}").splitlines()[-1]
            assert json.loads(free) == {}
            here.run("python", "-c", COPY, s3.format("bucket/results"), str(tmp_path / "there"))
            runs = here.run("python", "-c", RUNS)
            here.run("ray", "stop")
        assert here.processes() == []
    there = ledgers(Folder(tmp_path / "there"))
    assert there == ledgers(Folder(tmp_path / "local"))
    assert len(there) == 4
    assert json.loads(runs.splitlines()[-1]) == ["FINISHED"] * 5


BUCKET = """
import urllib.request
urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:5001/bucket", data=b"", method="PUT"))
"""
FREE = """
import json, time, ray
ray.init(log_to_driver=False)
for _ in range(100):  # Ray takes resources back in its own time
    free = ray.available_resources()
    held = {kind: amount for kind, amount in ray.cluster_resources().items() if free.get(kind) != amount}
    if not held: break
    time.sleep(0.2)
print(json.dumps(held))
"""
COPY = """
import sys
from raylab.files import Folder
there, here = Folder(sys.argv[1]), Folder(sys.argv[2])
for path in there.walk()[0]: here.write_bytes(path, there.read_bytes(path))
"""
RUNS = """
import json, mlflow
mlflow.set_tracking_uri("http://127.0.0.1:5002")
found = mlflow.search_runs(search_all_experiments=True)
print(json.dumps(sorted(found["status"])))
"""


def test_what_nodes_lack_is_told_at_once(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    scenes = tiny_run(str(results), compute=ComputeConfig(workers=3))
    config = StudyConfig(name="tiny", run=scenes, strategies=("random",))
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "study.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True)))
    shutil.copytree(CHECKOUT / "raylab", tmp_path / "older" / "raylab", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "older" / "raylab" / "__init__.py"
    module.write_text(re.sub('__version__ = ".*"', '__version__ = "0.0.9"', module.read_text()))
    with machine() as here:
        here.run("ray", "get-auth-token", "--generate")
        raylet(here, HEAD, "--num-cpus=0")
        raylet(here, "127.0.0.3", "--num-cpus=1", PYTHONPATH=str(tmp_path / "older"))
        # A node on which another folder lies at the same path.
        apart = f'mount -t tmpfs none {results} && exec "$@"'
        options = ("--num-cpus=1", "--node-ip-address=127.0.0.4", f"--temp-dir={here.folder / '4'}")
        here.run("unshare", "--mount", "sh", "-c", apart, "sh", "ray", "start", f"--address={HEAD}:{PORT}", *options)
        address = ("--address", f"http://{HEAD}:8265", "--working-dir", str(tmp_path / "job"))
        said = here.run("python", "-m", "raylab", "submit", *address, "study", "--config", "study.yaml", status=2)
    problems = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(problems) == 3, said
    assert "compute.workers: 3 x 1" in problems[0]
    assert (
        "error: node 127.0.0.3: raylab 0.0.9, but the job's driver has 0.1.0; install the same on all nodes" in problems
    )
    assert f"error: node 127.0.0.4: storage: {results} is not there what it is on the driver's node; mount" in said
    assert list(results.iterdir()) == []
