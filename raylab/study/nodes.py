"""The nodes that Ray has at this moment."""

from __future__ import annotations

import ray

from raylab.study.resources import Node


def live_nodes() -> list[Node]:
    """What each node has that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
