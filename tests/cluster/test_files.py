"""The files of cluster/ are what Ray, KubeRay, Docker, bash and Slurm take, and their versions are raylab's."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import raylab

CHECKOUT = Path(__file__).parents[2]
CLUSTER = CHECKOUT / "cluster"
LAUNCHED = ("onprem", "aws", "gcp")
PINNED = dict(line.split("==") for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if "==" in line)


def read(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text())


def program(name: str) -> str:
    """A tool that a package of the environment brings."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"no {name}")
    return str(path)


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_up_takes_it(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read(f"{name}.yaml"))
    validate_config(config)
    commands = [*config["setup_commands"], *config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all(local in (".", "~/.ray/auth_token") for local in config["file_mounts"].values())
    for command in (*commands, *config["worker_setup_commands"]):
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_a_mistyped_field_is_found_by_rays_loader() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config(read("aws.yaml") | {"idle_timeout": 5}))


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_in_a_cloud_the_head_is_on_demand_and_gpus_on_spot_from_none(name: str) -> None:
    config = read(f"{name}.yaml")
    head, worker = config["available_node_types"]["head"], config["available_node_types"]["gpu-spot"]
    assert (head["labels"], worker["labels"]) == (
        {"ray.io/market-type": "on-demand"},
        {"ray.io/market-type": "spot"},
    )
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert worker["resources"]["GPU"]
    assert "spot" not in str(head["node_config"]).lower()
    assert "spot" in str(worker["node_config"]).lower()


def test_nodes_of_all_kinds_begin_alike() -> None:
    configs = [read(f"{name}.yaml") for name in LAUNCHED]
    for field in ("cluster_name", "file_mounts", "rsync_exclude", "worker_start_ray_commands"):
        assert all(config[field] == configs[0][field] for config in configs), field


SCHEMA = yaml.safe_load(Path(__file__).with_name("kuberay.yaml").read_text())


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_kuberay_takes_it(name: str) -> None:
    jsonschema.validate(read(f"kuberay/{name}.yaml"), SCHEMA, jsonschema.Draft202012Validator)


def test_a_mistyped_field_is_found_by_the_schema() -> None:
    whole = read("kuberay/raycluster.yaml")
    for path in (
        ("enableInTreeAutoscaler",),
        ("headGroupSpec", "label"),
        ("headGroupSpec", "template", "spec", "node"),
    ):
        broken = copy.deepcopy(whole)
        at = broken["spec"]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = "x"
        with pytest.raises(jsonschema.ValidationError, match=path[-1]):
            jsonschema.validate(broken, SCHEMA, jsonschema.Draft202012Validator)


def test_the_job_and_the_cluster_are_the_same_cluster() -> None:
    cluster, job = read("kuberay/raycluster.yaml"), read("kuberay/rayjob.yaml")
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    (spot,) = cluster["spec"]["workerGroupSpecs"]
    assert (spot["minReplicas"], spot["labels"]) == (0, {"ray.io/market-type": "spot"})
    assert cluster["spec"]["headGroupSpec"]["labels"] == {"ray.io/market-type": "on-demand"}


def test_versions_are_those_that_were_tested() -> None:
    assert read("kuberay/raycluster.yaml")["spec"]["rayVersion"] == PINNED["ray"]
    tag = f"raylab:{raylab.__version__}"
    for name in ("Dockerfile", "README.md", "kuberay/raycluster.yaml", "kuberay/rayjob.yaml"):
        assert set(re.findall(r"raylab:\d[\w.]*", (CLUSTER / name).read_text())) == {tag}, name
    images = {
        line for name in ("Dockerfile", "compose.yaml") for line in re.findall("FROM .*", (CLUSTER / name).read_text())
    }
    assert len(images) == 1


def test_scripts_pass_shellcheck() -> None:
    subprocess.run([program("shellcheck"), "--shell=bash", CLUSTER / "slurm.sbatch"], check=True)


def test_the_dockerfile_passes_its_linter() -> None:
    subprocess.run([program("hadolint"), CLUSTER / "Dockerfile"], check=True)


def steps() -> list[str]:
    """The RUN lines of the Dockerfile."""
    text = (CLUSTER / "Dockerfile").read_text().replace("\\\n", "")
    return re.findall("^RUN (.*)", text, re.MULTILINE)


def test_the_image_is_made_of_what_is_there() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = [word for line in re.findall("^COPY (.*)", text, re.MULTILINE) for word in line.split()[:-1]]
    ignore = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    assert all(list(CHECKOUT.glob(path)) for path in kept)
    assert all(path == "." or path in kept for path in copied)
    for step in steps():
        subprocess.run(["bash", "-n", "-c", step], check=True)


@pytest.mark.slow
def test_the_images_steps_run_in_an_environment_of_their_own(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(".*", "data", "raylab-results", "shared", "__pycache__", "site")
    shutil.copytree(CHECKOUT, tmp_path / "raylab", ignore=ignored)
    venv.create(tmp_path / "venv", with_pip=True)
    path = f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    done = [step for step in steps() if not step.startswith("useradd")]
    for step in done:
        subprocess.run(["bash", "-euo", "pipefail", "-c", step], cwd=tmp_path / "raylab", env=env, check=True)
    found = subprocess.run(["raylab", "--version"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert f"ray {PINNED['ray']}" in found.stdout.splitlines()
    assert len(done) == len(steps()) - 1


def test_compose_names_what_it_uses() -> None:
    compose = read("compose.yaml")
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert ("image" in service) != ("build" in service)
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in compose["volumes"]
    assert not re.search(r"(?i)(password|secret\w*key)[\"']?: [\"']?\w", (CLUSTER / "compose.yaml").read_text())


def test_mlflow_serves_what_compose_tells_it() -> None:
    words = shlex.split(read("compose.yaml")["services"]["mlflow"]["command"])
    assert words[:2] == ["mlflow", "server"]
    folder = Path(next(iter(importlib.util.find_spec("mlflow").submodule_search_locations)))
    known = "".join(path.read_text() for path in (*folder.glob("cli/*.py"), folder / "utils/cli_args.py"))
    assert all(f'"{word}"' in known for word in words if word.startswith("--"))


def test_jobs_leave_data_results_and_environments_behind(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package

    left = (".git/config", ".venv/bin/python", "data/a.png", "raylab-results/mlflow.db", "a/b.parquet", "w.safetensors")
    kept = ("raylab/data/base.py", "experiments/ablation_tau.py", "docs/index.md")
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    package = tmp_path.with_suffix(".zip")
    create_package(str(tmp_path), package, include_gitignore=True, excludes=read("runtime_env.yaml")["excludes"])
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) & {*left, *kept} == set(kept)
