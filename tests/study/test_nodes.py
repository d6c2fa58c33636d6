"""Nodes that are expected: waited for where they can come, and given up with what there is."""

from __future__ import annotations

from typing import Any

import pytest

from raylab.config import ExpectConfig
from raylab.errors import ResourceError
from raylab.study.nodes import live_nodes, on_demand, wait_for_nodes
from raylab.study.resources import together

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def test_what_is_there_is_not_waited_for() -> None:
    assert together(live_nodes(), "CPU") == 4
    wait_for_nodes(ExpectConfig(cpus=4), grows=True, say=pytest.fail)


@pytest.mark.parametrize(
    ("grows", "message"),
    [
        (False, "compute.expect: 5 CPUs and 2 GPUs, but raylab started Ray on this machine, which has 4 CPUs; set "),
        (
            True,
            "compute.expect: 5 CPUs and 2 GPUs, but Ray has 4 CPUs after 0.001 minutes; see what its autoscaler says",
        ),
    ],
)
def test_what_does_not_come_is_given_up(grows: bool, message: str) -> None:
    lines: list[str] = []
    with pytest.raises(ResourceError, match=message):
        wait_for_nodes(ExpectConfig(cpus=5, gpus=2, minutes=0.001), grows, lines.append)
    assert len(lines) == grows


def test_memory_is_looked_for_on_nodes_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(memory: int, alive: bool = True, **labels: str) -> dict[str, Any]:
        return {"Resources": {"memory": memory}, "Alive": alive, "Labels": labels}

    spot = {"ray.io/market-type": "spot"}
    assert on_demand(1)
    monkeypatch.setattr("ray.nodes", lambda: [node(9, **spot), node(9, alive=False), node(5), node(0)])
    assert on_demand(5)
    assert not on_demand(6)
