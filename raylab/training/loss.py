"""Cross-entropy averaged over the labelled pixels of the global batch (docs/definitions.md)."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from raylab.data.classes import IGNORE


def global_batch_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """One worker's share of the loss.

    DDP averages gradients over the workers, so the share is multiplied by their number: the averaged gradient is then
    the sum over all labelled pixels divided by their global count, what one worker holding the whole batch would get.

    Args:
        logits: (B, C, H, W) float32.
        target: (B, H, W) int64 training ids, `IGNORE` where a pixel is not labelled.

    Returns:
        The scalar to call backward on (0, never NaN, where no pixel of this worker is labelled), and the global
        batch's mean loss, detached.
    """
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    sums = torch.stack([(target != IGNORE).sum().to(total.dtype), total.detach()])
    workers = 1
    if dist.is_initialized():
        workers = dist.get_world_size()
        dist.all_reduce(sums)
    count = sums[0].clamp(min=1)
    return total * workers / count, sums[1] / count
