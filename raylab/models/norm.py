"""Batch norm over the global batch, so that K workers train as one would.

On CUDA the library's synchronised norms do this; on the CPU they refuse to run, so the statistics are summed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Make every batch norm of a model use the statistics of the global batch; tensor names stay as they are.

    Args:
        model: with `nn.BatchNorm2d` or timm's `BatchNormAct2d` layers; changed in place on the CPU.
        device: where the model will run.

    Returns:
        The model to use from here on.
    """
    if device.type == "cuda":
        return convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _GlobalBatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = _GlobalBatchNormAct2d
    return model


@torch.no_grad()
def measure_batch_norm(model: nn.Module, batches: Iterable[Tensor], precision: torch.autocast) -> None:
    """Replace the running averages of every batch norm that is trained by the mean of its statistics over some batches.

    Args:
        model: left in evaluation mode.
        batches: inputs of the model; with a process group, the same ones on every worker.
        precision: context of the forward passes.
    """
    model.train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    for batch in batches:
        with precision:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


class _Sum(torch.autograd.Function):
    """Sum over the workers, forward and backward; the library's own is deprecated without a stable successor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def _global_batch_norm(module: Any, x: Tensor) -> Tensor:
    # bfloat16 has 8 bits, too few for a sum over a batch.
    wide = x if x.dtype == torch.float64 else x.float()
    count = torch.tensor(float(wide.numel() // wide.shape[1]))
    dist.all_reduce(count)
    mean = _Sum.apply(wide.sum((0, 2, 3))) / count
    centred = wide - mean[:, None, None]
    variance = _Sum.apply((centred * centred).sum((0, 2, 3))) / count
    with torch.no_grad():
        module.num_batches_tracked += 1
        share = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        for running, batch in ((module.running_mean, mean), (module.running_var, unbiased)):
            running.lerp_(batch.to(running.dtype), share)
    scale = module.weight * torch.rsqrt(variance + module.eps)
    return (centred * scale[:, None, None] + module.bias[:, None, None]).to(x.dtype)


class _GlobalBatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        return _global_batch_norm(self, input)


class _GlobalBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return self.act(self.drop(_global_batch_norm(self, x)))
