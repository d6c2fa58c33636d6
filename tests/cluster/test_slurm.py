"""The Slurm script on a machine within this one, where `srun` starts each node's program with an address of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import yaml

from raylab.config import BudgetConfig, ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.runs.studies import stored_study
from tests.cluster.machine import CHECKOUT, Machine, machine
from tests.configs import tiny_run

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
SRUN = """#!/usr/bin/env python
import os, signal, subprocess, sys
nodes, words, options = os.environ["SLURM_JOB_NODELIST"].split(","), sys.argv[1:], {}
while words[0].startswith("--"):
    name, _, options[name] = words.pop(0).partition("=")
chosen = [options["--nodelist"]] if "--nodelist" in options else [n for n in nodes if n != options["--exclude"]]
assert len(chosen) == int(options["--nodes"])
steps = [subprocess.Popen(words, env={**os.environ, "SLURMD_NODENAME": node}) for node in chosen]
signal.signal(signal.SIGTERM, lambda number, frame: [step.terminate() for step in steps])
sys.exit(max(step.wait() for step in steps))
"""
SCONTROL = """#!/bin/sh
case "$1 $2" in
"show hostnames") echo "$3" | tr , '\\n' ;;
requeue*) echo "$2" >> "$REQUEUED" ;;
esac
"""
HOSTNAME = """#!/bin/sh
echo "127.0.0.${SLURMD_NODENAME#node} fe80::1"
"""


def job(here: Machine, folder: Path, log: Path) -> object:
    """What `sbatch cluster/slurm.sbatch raylab study ...` starts on the first of three nodes."""
    slurm = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "node2,node3,node4", "SLURM_CPUS_PER_TASK": "1"}
    path = f"{folder / 'bin'}:{here.env['PATH']}"
    command = ("python", "-m", "raylab", "study", "--config", str(folder / "study.yaml"))
    return here.start(
        *("bash", CHECKOUT / "cluster" / "slurm.sbatch", *command),
        log=log, PATH=path, REQUEUED=str(folder / "requeued"), SLURMD_NODENAME="node2", **slurm,
    )  # fmt: skip


def test_near_its_time_limit_a_job_commits_is_requeued_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("hostname", HOSTNAME)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    rounds = BudgetConfig(initial=4, rounds=(4,) * 5)
    run = tiny_run(str(tmp_path / "results"), strategy="random", budget=rounds, compute=ComputeConfig(device="cpu"))
    config = StudyConfig(name="tiny", run=run, strategies=("random",))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True)))
    log = tmp_path / "log"
    with machine() as here:
        first = job(here, tmp_path, log)
        while "round 1  committed" not in (log.read_text() if log.exists() else ""):
            assert first.poll() is None, log.read_text()
            time.sleep(0.2)
        (script,) = (line.split()[0] for line in here.processes() if "slurm.sbatch" in line and "bash " in line[:20])
        here.run("kill", f"-{signal.SIGUSR1.value}", script)
        assert first.wait() == 128 + signal.SIGTERM, log.read_text()
        assert here.processes() == []
        assert (tmp_path / "requeued").read_text() == "1234567\n"
        assert "preflight: looking at 3 nodes" in log.read_text()
        (resolved,) = stored_study(Folder(tmp_path / "results"), "tiny").runs
        assert 1 <= RunStore(Folder(tmp_path / "results"), resolved).done_rounds() < 6
        assert job(here, tmp_path, log).wait() == 0, log.read_text()
        assert here.processes() == []
    assert (tmp_path / "requeued").read_text() == "1234567\n"
    assert RunStore(Folder(tmp_path / "results"), resolved).finished()
