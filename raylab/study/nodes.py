"""The nodes that Ray has at this moment, and those that it is to have."""

from __future__ import annotations

import time
from collections.abc import Callable

import ray
from ray.autoscaler.sdk import request_resources

from raylab.backends.devices import MARKET
from raylab.config import ExpectConfig
from raylab.errors import ResourceError
from raylab.study.resources import Node, amounts, together

_EVERY = 15.0
"""Seconds between two lines for the person who waits."""


def live_nodes() -> list[Node]:
    """What each node has that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def on_demand(memory: float) -> bool:
    """Whether a node that is not taken away at short notice has some bytes of memory."""
    return any(
        node["Resources"].get("memory", 0) >= memory
        for node in ray.nodes()
        if node["Alive"] and node["Labels"].get(MARKET) != "spot"
    )


def wait_for_nodes(expect: ExpectConfig, grows: bool, say: Callable[[str], None]) -> None:
    """Have an autoscaler bring what is expected, and wait until it is there.

    Args:
        expect: what nodes are to have together, and for how long they are waited for.
        grows: whether this Ray can get more nodes.
        say: takes a line for the person who waits.

    Raises:
        ResourceError: they are not there in time.
    """
    wanted = amounts(expect.cpus, expect.gpus)
    start, said, asked = time.monotonic(), float("-inf"), False
    try:
        while together(nodes := live_nodes(), "CPU") < expect.cpus or together(nodes, "GPU") < expect.gpus:
            has = amounts(together(nodes, "CPU"), together(nodes, "GPU"))
            if not grows:
                raise ResourceError(
                    f"compute.expect: {wanted}, but raylab started Ray on this machine, which has {has}; set "
                    "RAY_ADDRESS to that of the cluster, or expect less"
                )
            if (waited := time.monotonic() - start) > 60 * expect.minutes:
                raise ResourceError(
                    f"compute.expect: {wanted}, but Ray has {has} after {expect.minutes:g} minutes; see what its "
                    "autoscaler says (`ray status`), expect less, or raise compute.expect.minutes"
                )
            if not asked:
                request_resources(num_cpus=expect.cpus, bundles=[{"GPU": 1}] * expect.gpus)
                asked = True
            if time.monotonic() - said > _EVERY:
                say(f"compute.expect: waiting for {wanted}; Ray has {has}, {waited:.0f} s of {60 * expect.minutes:.0f}")
                said = time.monotonic()
            time.sleep(0.5)
    finally:
        if asked:
            request_resources(num_cpus=0)  # a request outlasts whoever made it, and its nodes would stay
