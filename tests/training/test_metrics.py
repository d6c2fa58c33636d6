from __future__ import annotations

import numpy as np
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from raylab.data.classes import IGNORE
from raylab.training.loss import global_batch_loss
from raylab.training.metrics import confusion, iou_per_class, mean_iou


def test_mean_iou_is_torchmetrics_jaccard() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 5, (3, 40, 40), generator=generator)
    target = torch.randint(0, 5, (3, 40, 40), generator=generator).to(torch.uint8)
    target[0, :10] = IGNORE
    metric = MulticlassJaccardIndex(num_classes=5, ignore_index=IGNORE, average="none")
    expected = metric(prediction, target.long()).numpy()
    np.testing.assert_allclose(iou_per_class(confusion(prediction, target, 5).numpy()), expected, rtol=1e-6)


def test_absent_classes_are_left_out_of_the_mean() -> None:
    matrix = np.zeros((4, 4), np.int64)
    matrix[0, 0], matrix[1, 1], matrix[1, 0] = 10, 5, 5
    assert np.isnan(iou_per_class(matrix)[2:]).all()
    assert mean_iou(matrix) == (10 / 15 + 5 / 10) / 2


def test_nothing_known_is_nan_not_an_error() -> None:
    assert np.isnan(mean_iou(np.zeros((3, 3), np.int64)))


def test_a_batch_without_labels_has_loss_and_gradient_zero() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss, mean = global_batch_loss(logits, torch.full((2, 4, 4), IGNORE))
    loss.backward()
    assert float(loss) == float(mean) == 0.0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
