"""Synchronised batch norm on the CPU: two processes compute what one would, forward, backward and running."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from raylab.models.norm import synchronise_batch_norm
from raylab.training.loss import global_batch_loss


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), BatchNormAct2d(6, act_layer=nn.ReLU6), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Conv2d(6, 4, 1)).double()


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 12, 12, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 4, (6, 8, 8), generator=generator)
    masks[1::2] = 255  # the whole share of the second worker
    masks[0, :4] = 255
    return images, masks


def _step(network: nn.Module, rank: int, workers: int) -> float:
    images, masks = (tensor[rank::workers] for tensor in _batch())
    loss, mean = global_batch_loss(network(images), masks)
    loss.backward()
    return float(mean)


def _worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = synchronise_batch_norm(_network(), torch.device("cpu"))
    loss = _step(DistributedDataParallel(model, broadcast_buffers=False), rank, 2)
    grads = {name: p.grad for name, p in model.named_parameters()}
    torch.save({"loss": loss, "grads": grads, "state": model.state_dict()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results() -> tuple[dict[str, Any], dict[str, Any]]:
    model = _network()
    loss = _step(model, 0, 1)
    one = {"loss": loss, "grads": {n: p.grad for n, p in model.named_parameters()}, "state": model.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (folder,), nprocs=2)
        return one, torch.load(Path(folder) / "1.pt", weights_only=True)


def test_loss_and_gradients_are_those_of_one_process(results: Any) -> None:
    one, two = results
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
    for name, grad in one["grads"].items():
        torch.testing.assert_close(two["grads"][name], grad, rtol=1e-4, atol=1e-7, msg=name)


def test_running_statistics_and_names_are_those_of_one_process(results: Any) -> None:
    one, two = results
    assert list(one["state"]) == list(two["state"])
    for name, tensor in one["state"].items():
        torch.testing.assert_close(two["state"][name], tensor, rtol=1e-5, atol=1e-7, msg=name)
