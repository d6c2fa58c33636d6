"""What is wrong with a cluster, before a study begins on it: every node is asked at once, and all is told at once."""

from __future__ import annotations

import hashlib
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raylab import __version__
from raylab.backends.failures import failure_reason
from raylab.config import DataConfig, StudyConfig
from raylab.data import open_dataset
from raylab.errors import ClusterError, MissingError, RaylabError
from raylab.files import Folder
from raylab.plugins import load
from raylab.selection.arrays import why_not_cupy
from raylab.study.nodes import live_nodes
from raylab.study.resources import check_resources

PATIENCE = 120.0
"""Seconds that a node has to answer: it starts a process, and reads a file of each data set."""
_GPU_PATIENCE = 30.0


@dataclass(frozen=True)
class Question:
    """What every node is asked.

    Attributes:
        storage: folder or URI of results, which holds a file `name`.
        name: of that file.
        data: sets to read an image and a mask of.
        plugins: that may register them.
    """

    storage: str
    name: str
    data: tuple[DataConfig, ...]
    plugins: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a node says.

    Attributes:
        versions: of Python, Ray and raylab.
        data: what was read of each data set, to compare; None where it could not be.
        problems: a line each.
    """

    versions: dict[str, str]
    data: tuple[str | None, ...]
    problems: tuple[str, ...]


def check_cluster(configs: Sequence[StudyConfig], say: Callable[[str], None]) -> None:
    """Find what a study would meet on some node later.

    Args:
        configs: of the studies.
        say: takes a line for the person who waits.

    Raises:
        ClusterError: every problem, a line each.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    say(f"preflight: looking at {len(nodes)} node{'s' * (len(nodes) > 1)}")
    problems = _resource_problems(configs)
    found: dict[str, list[str]] = defaultdict(list)  # nodes by problem, so that what all have is told once
    for node, line in [*_asked(configs, nodes, problems), *_gpu_problems(configs, nodes, say)]:
        found[line].append(nodes[node]["NodeManagerAddress"])
    for line, where in found.items():
        problems.append(f"node{'s' * (len(where) > 1)} {', '.join(where)}: {line}" if where else line)
    if problems:
        raise ClusterError("\n".join(problems))
    say("preflight: versions, storage, data and resources are as they must be on every node")


def _resource_problems(configs: Sequence[StudyConfig]) -> list[str]:
    problems = []
    for compute in dict.fromkeys(config.run.compute for config in configs):
        if compute.expect.cpus or compute.expect.gpus:
            continue  # the study waits for nodes that are not there yet
        try:
            check_resources(compute, live_nodes())
        except RaylabError as error:
            problems += str(error).splitlines()
    return problems


def _asked(configs: Sequence[StudyConfig], nodes: dict[str, Any], problems: list[str]) -> list[tuple[str, str]]:
    """Problems with the node that has each; those of this process are added to `problems`."""
    run = configs[0].run
    used = [data for config in configs for data in config.run.datasets if data.name != "synthetic"]
    question = Question(run.storage, f"preflight-{uuid4().hex}", tuple(dict.fromkeys(used)), run.plugins)
    try:
        store = Folder(run.storage)
        store.write_bytes(question.name, b"")
    except RaylabError as error:
        problems += str(error).splitlines()
        return []
    try:
        here = answer(question, "driver")
        problems += here.problems
        answers = _on_nodes(answer, question, nodes, PATIENCE)
    finally:
        for name in store.list():
            if name.startswith(question.name):
                store.delete(name)
    found = []
    for node, said in answers.items():
        if isinstance(said, str):
            found.append((node, said))
            continue
        found += [(node, line) for line in said.problems if line not in here.problems]
        found += [(node, line) for line in _differences(here, said, question)]
    return found


def _differences(here: Answer, there: Answer, question: Question) -> list[str]:
    lines = [
        f"{name} {there.versions[name]}, but the job's driver has {version}; install the same on all nodes"
        for name, version in here.versions.items()
        if there.versions[name] != version
    ]
    for data, mine, its in zip(question.data, here.data, there.data, strict=True):
        if mine and its and mine != its:
            lines.append(
                f"data.root: {data.root} holds other files there than on the driver's node; give one that all share"
            )
    return lines


def answer(question: Question, node: str) -> Answer:
    """Look at this node.

    Args:
        question: what to look at.
        node: its name, for the file that it writes to the storage root.
    """
    problems: list[str] = []
    try:
        load(question.plugins)
        store = Folder(question.storage, create=False)
        store.read_bytes(question.name)
        store.write_bytes(f"{question.name}-{node}", b"")
    except MissingError:
        problems.append(
            f"storage: {question.storage} is not there what it is on the driver's node; mount the same folder on all "
            "nodes, or give a URI"
        )
    except RaylabError as error:
        problems += str(error).splitlines()
    read: list[str | None] = []
    for data in question.data:
        try:
            read.append(_read(data))
        except RaylabError as error:
            problems += str(error).splitlines()[:3]  # of a set that lies wrong, there is a line a file
            read.append(None)
    versions = {"Python": platform.python_version(), "Ray": ray.__version__, "raylab": __version__}
    return Answer(versions, tuple(read), tuple(problems))


def _read(data: DataConfig) -> str:
    """Digest of a data set's names and of its first image and mask."""
    dataset = open_dataset(data)
    digest = hashlib.sha256("\n".join(dataset.image_names("train")).encode(errors="surrogateescape"))
    digest.update(dataset.read_image("train", 0).tobytes())
    digest.update(dataset.read_mask("train", 0).tobytes())
    return digest.hexdigest()


def _gpu_problems(
    configs: Sequence[StudyConfig], nodes: dict[str, Any], say: Callable[[str], None]
) -> list[tuple[str, str]]:
    """Problems of nodes whose GPUs will be used; GPUs that others hold meanwhile are not looked at."""
    if all(config.run.compute.device == "cpu" for config in configs):
        return []
    with_gpus = {node: facts for node, facts in nodes.items() if facts["Resources"].get("GPU", 0) >= 1}
    found = []
    for node, said in _on_nodes(gpu_problems, None, with_gpus, _GPU_PATIENCE, num_gpus=1).items():
        if isinstance(said, str):
            say(f"preflight: {nodes[node]['NodeManagerAddress']}: its GPUs are not looked at ({said})")
            continue
        torch_fails, cupy_fails = said
        if torch_fails:
            found.append((node, torch_fails))
        elif cupy_fails:
            where = nodes[node]["NodeManagerAddress"]
            say(f"preflight: {where}: selection on NumPy, because CuPy fails ({cupy_fails}); pip install 'raylab[gpu]'")
    return found


def gpu_problems(question: None, node: str) -> tuple[str | None, str | None]:
    """Why torch, and why CuPy, cannot use the GPU that this process was given."""
    import torch

    try:
        torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")
    except Exception as error:  # of the driver, or none at all
        version = (
            f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        )
        return (
            f"Ray has a GPU there that torch cannot use ({failure_reason(error)}); {version}, correct the driver",
            None,
        )
    return None, why_not_cupy()


def _on_nodes(look: Any, question: Any, nodes: dict[str, Any], patience: float, **resources: float) -> dict[str, Any]:
    """What each node answers, or a line that says why it does not."""
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(look).options(num_cpus=0, max_retries=0, scheduling_strategy=there, **resources)
        asked[task.remote(question, node)] = node
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=patience) if asked else ([], [])
    answers: dict[str, Any] = {}
    for ref in late:
        ray.cancel(ref, force=True)
        answers[asked[ref]] = f"no answer within {patience:.0f} s; look at the node, or take it out of the cluster"
    for ref in done:
        try:
            answers[asked[ref]] = ray.get(ref)
        except RayError as error:
            answers[asked[ref]] = f"its process failed ({failure_reason(error)}); look at the node's logs"
    return answers
