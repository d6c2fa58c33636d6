"""mIoU from one confusion matrix over a whole split (docs/definitions.md)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raylab.data.classes import IGNORE


def confusion(prediction: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        prediction: (...) integer class ids.
        target: (...) uint8 training ids, `IGNORE` where a pixel does not count.

    Returns:
        (n_classes, n_classes) int64, rows the truth, columns the prediction, on the tensors' device.
    """
    known = target != IGNORE
    joint = target[known].long() * n_classes + prediction[known].long()
    return torch.bincount(joint, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def iou_per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union.

    Args:
        matrix: (C, C) int64 confusion, rows the truth.

    Returns:
        (C,) float64 in 0..1; NaN for a class absent from both prediction and truth.
    """
    intersection = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Mean of `iou_per_class` over the classes that occur; NaN where none does."""
    scores = iou_per_class(matrix)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")
