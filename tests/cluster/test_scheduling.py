"""Studies of every kind share nodes, and none waits for ever; what a lost node was at is done on another."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.cluster_utils import Cluster

from raylab.config import BudgetConfig, ComputeConfig, ExpectConfig, StudyConfig
from raylab.errors import ResourceError
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.study import run_study
from raylab.study.resources import Node, check_resources
from tests.configs import resolved_runs, tiny_run

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(3600)]
GRIDS = int(os.environ.get("RAYLAB_GRIDS", "2"))
"""Random grids; more find more."""
_NODES = (1, 1), (1, 1, 1), (2,), (2, 1)
_STRATEGIES = "random", "entropy", "entropy+spatial"
_PROGRAM = """
import sys
from raylab.config import StudyConfig
from raylab.config.load import read_yaml
from raylab.errors import exit_cleanly
from raylab.study import run_studies
with exit_cleanly():
    run_studies([read_yaml(StudyConfig, file) for file in sys.argv[1:]], say=lambda line: print(line, flush=True))
"""


@contextmanager
def raylets(*cpus: int, spot: bool = False) -> Iterator[Cluster]:
    """A cluster on this machine: CPUs of its nodes, the head first; whether the others are on spot."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], "include_dashboard": False})
    try:
        for number in cpus[1:]:
            cluster.add_node(num_cpus=number, labels={"ray.io/market-type": "spot"} if spot else {})
        yield cluster
    finally:
        cluster.shutdown()


def start(cluster: Cluster, *configs: StudyConfig) -> subprocess.Popen[bytes]:
    """A driver of some studies, which have one storage root; it writes what it says beside that."""
    root = Path(configs[0].run.storage)
    files = []
    for config in configs:
        files.append(root.with_name(f"{root.name}-{config.name}.yaml"))
        files[-1].write_text(yaml.safe_dump(config.model_dump(mode="json")))
    with open(said(root), "ab") as out:
        command = [sys.executable, "-c", _PROGRAM, *files]
        return subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"RAY_ADDRESS": cluster.address})


def said(root: Path) -> Path:
    return root.with_suffix(".said")


def free_again(cluster: Cluster) -> None:
    """Wait until all that nodes have is free: Ray takes it back in its own time."""
    ours = {"CPU", "memory"}
    while True:
        has, free = cluster.global_state.cluster_resources(), cluster.global_state.available_resources()
        if all(free.get(kind) == amount for kind, amount in has.items() if kind in ours):
            return
        time.sleep(0.2)


def compute(dice: random.Random, nodes: list[Node]) -> ComputeConfig:
    """Any that the nodes have room for."""
    while True:
        one = ComputeConfig(
            workers=dice.choice([0, 1, 2]),
            cpus_per_worker=dice.choice([0.5, 1, 2]),
            scorers=dice.choice([1, 2, 3]),
            cpus_per_scorer=dice.choice([0.5, 1]),
            readers=dice.choice([1, 2]),
            selectors=dice.choice([1, 2]),
        )
        with suppress(ResourceError):
            check_resources(one, nodes)
            return one


def study(storage: Path, name: str, compute: ComputeConfig, strategies: tuple[str, ...], seed: int) -> StudyConfig:
    budget = BudgetConfig(initial=12, rounds=(12,))
    run = tiny_run(str(storage), budget=budget, compute=compute)
    return StudyConfig(name=name, run=run, strategies=strategies, seeds=(seed,))


@pytest.mark.parametrize("grid", range(GRIDS))
def test_two_drivers_with_studies_of_every_kind_finish(tmp_path: Path, grid: int) -> None:
    dice = random.Random(grid)
    cpus = dice.choice(_NODES)
    nodes = [{"CPU": float(number)} for number in cpus]
    drivers = [
        [
            study(
                tmp_path / driver,
                f"{driver}{index}",
                compute(dice, nodes),
                tuple(dice.sample(_STRATEGIES, dice.choice([1, 2]))),
                seed=index,
            )
            for index in range(dice.choice([1, 2]))
        ]
        for driver in ("one", "two")
    ]
    with raylets(*cpus) as cluster:
        processes = [start(cluster, *configs) for configs in drivers]
        try:
            for process, configs in zip(processes, drivers, strict=True):
                assert process.wait() == 0, said(Path(configs[0].run.storage)).read_text()
        finally:
            for process in processes:
                process.kill()
        free_again(cluster)
    for config in (config for configs in drivers for config in configs):
        assert all(RunStore(Folder(config.run.storage), run).finished() for run in resolved_runs(config))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_killed_node_was_at_is_done_on_another(tmp_path: Path, workers: int) -> None:
    strategies = ("random", "entropy+spatial")
    config = study(tmp_path / "killed", "killed", ComputeConfig(workers=workers), strategies, seed=0)
    undisturbed = study(tmp_path / "undisturbed", "killed", ComputeConfig(backend="local"), strategies, seed=0)
    run_study(undisturbed, say=lambda line: None)
    out = said(tmp_path / "killed")
    with raylets(0, 1, 1, spot=True) as cluster:
        head, first, _ = cluster.list_all_nodes()
        process = start(cluster, config)
        try:
            wait_for(lambda: "round 1  train" in out.read_text(), process, out)
            trials = {one["Address"]["NodeID"] for one in alive(cluster, "ImplicitFunc")}
            assert trials <= {head.node_id} if workers else head.node_id not in trials
            cluster.remove_node(first, allow_graceful=False)
            assert process.wait() == 0, out.read_text()
        finally:
            process.kill()
        free_again(cluster)
    assert results(config) == results(undisturbed)


def test_a_training_whose_node_is_to_go_keeps_a_checkpoint_and_goes_on_on_another(tmp_path: Path) -> None:
    iterations = 150
    training = tiny_run().training.model_copy(update={"iterations": iterations, "checkpoint_every": iterations})
    run = tiny_run(str(tmp_path / "drained"), training=training, budget=BudgetConfig(initial=12, rounds=()))
    config = StudyConfig(name="drained", run=run, strategies=("random",))
    out = said(tmp_path / "drained")
    with raylets(0, 1, 1) as cluster:
        process = start(cluster, config)
        try:
            wait_for(lambda: re.search(rf" [1-9]0/{iterations} ", out.read_text()) is not None, process, out)
            (worker,) = alive(cluster, "RayTrainWorker")
            drain(cluster, worker["Address"]["NodeID"])
            folder = Path(run.storage) / "round0"
            wait_for(lambda: any(folder.glob("*/training-0/*/checkpoint_*")), process, out)
            (node,) = (node for node in cluster.list_all_nodes() if node.node_id == worker["Address"]["NodeID"])
            cluster.remove_node(node, allow_graceful=False)
            assert process.wait() == 0, out.read_text()
        finally:
            process.kill()
        free_again(cluster)
    assert f" {iterations}/{iterations} " in out.read_text()


def drain(cluster: Cluster, node: str) -> None:
    """Announce that a node will be taken away."""
    address, reason = f"--address={cluster.address}", "--reason=DRAIN_NODE_REASON_PREEMPTION"
    options = [address, f"--node-id={node}", reason, "--reason-message=test", "--deadline-remaining-seconds=600"]
    subprocess.run([Path(sys.executable).with_name("ray"), "drain-node", *options], check=True)


def test_nodes_that_are_expected_are_waited_for(tmp_path: Path) -> None:
    compute = ComputeConfig(workers=0, expect=ExpectConfig(cpus=1))
    run = tiny_run(str(tmp_path / "later"), budget=BudgetConfig(initial=12, rounds=()), compute=compute)
    out = said(tmp_path / "later")
    with raylets(0) as cluster:
        process = start(cluster, StudyConfig(name="later", run=run, strategies=("random",)))
        try:
            wait_for(lambda: "waiting for 1 CPU; Ray has 0 CPUs" in out.read_text(), process, out)
            cluster.add_node(num_cpus=1)
            assert process.wait() == 0, out.read_text()
        finally:
            process.kill()
        free_again(cluster)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until something is so, while a driver runs."""
    while not happened():
        assert process.poll() is None, out.read_text()
        time.sleep(0.1)


def alive(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Actors whose class has a name."""
    actors = cluster.global_state.actor_table(None, actor_state_name="ALIVE").values()
    return [one for one in actors if one["ActorClassName"].startswith(name)]


def results(config: StudyConfig) -> list[Any]:
    """Picks, losses and confusion matrices of all runs."""
    found = []
    for run in resolved_runs(config):
        store = RunStore(Folder(config.run.storage), run)
        trained = [store.round(t).record("train") or {} for t in range(2)]
        found.append((store.ledger(2).to_pylist(), [(one["losses"], one["confusion"]) for one in trained]))
    return found
