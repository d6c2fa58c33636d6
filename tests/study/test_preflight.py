"""What is wrong with nodes is found before a study begins on them, and told all at once."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from raylab.config import ComputeConfig, DataConfig, StudyConfig
from raylab.errors import ClusterError
from raylab.files import Folder
from raylab.study import preflight
from raylab.study.preflight import Answer, Question, answer, check_cluster
from tests.configs import tiny_run

HERE = {"Python": "3.11.1", "Ray": "2.60.0", "raylab": "0.1.0"}


def study(storage: Path, **changes: object) -> StudyConfig:
    return StudyConfig(name="mine", run=tiny_run(str(storage), compute=ComputeConfig(device="cpu"), **changes))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_nodes_that_are_as_they_must_be(tmp_path: Path) -> None:
    lines: list[str] = []
    check_cluster([study(tmp_path / "results")], lines.append)
    assert lines == [
        "preflight: looking at 1 node",
        "preflight: versions, storage, data and resources are as they must be on every node",
    ]
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    data = DataConfig(name="camvid", root=str(tmp_path / "gone"))
    config = study(tmp_path / "results", data=data)
    many = config.run.compute.model_copy(update={"workers": 50})
    config = config.model_copy(update={"run": config.run.model_copy(update={"compute": many})})
    with pytest.raises(ClusterError) as caught:
        check_cluster([config], lambda line: None)
    workers, root = str(caught.value).splitlines()
    assert "compute.workers: 50 x 1" in workers
    assert f"{tmp_path / 'gone'}: no such folder" in root
    assert list((tmp_path / "results").iterdir()) == []


def _sleep(question: None, node: str) -> None:
    time.sleep(600)


def _die(question: None, node: str) -> None:
    os._exit(1)


@pytest.mark.ray
def test_a_node_that_does_not_answer(ray_session) -> None:
    nodes = {node["NodeID"]: node for node in ray_session.nodes()}
    (late,) = preflight._on_nodes(_sleep, None, nodes, 0.5).values()
    assert late == "no answer within 0 s; look at the node, or take it out of the cluster"
    (dead,) = preflight._on_nodes(_die, None, nodes, 120).values()
    assert dead.startswith("its process failed (a process of it ended unexpectedly")


def test_a_storage_root_that_the_node_does_not_share(tmp_path: Path) -> None:
    Folder(tmp_path / "shared").write_bytes("preflight-1", b"")
    shared = Question(str(tmp_path / "shared"), "preflight-1", (), ())
    assert answer(shared, "node").problems == ()
    assert sorted(Folder(tmp_path / "shared").list()) == ["preflight-1", "preflight-1-node"]
    (line,) = answer(dataclasses.replace(shared, storage=str(tmp_path / "own")), "node").problems
    assert line.startswith(f"storage: {tmp_path / 'own'} is not there what it is on the driver's node; mount the same")
    assert not (tmp_path / "own").exists()


def test_nodes_that_differ_from_the_drivers() -> None:
    data = DataConfig(name="camvid", root="/data")
    question = Question("/results", "preflight-1", (data,), ())
    here = Answer(HERE, ("a",), ())
    assert preflight._differences(here, here, question) == []
    version, root = preflight._differences(here, Answer({**HERE, "raylab": "0.0.9"}, ("b",), ()), question)
    assert version == "raylab 0.0.9, but the job's driver has 0.1.0; install the same on all nodes"
    assert root == "data.root: /data holds other files there than on the driver's node; give one that all share"
