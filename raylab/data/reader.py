"""What decodes images in the processes of Ray Data; it imports no torch, which takes 300 MB in each of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from raylab.config import DataConfig
from raylab.data.registry import open_dataset
from raylab.errors import carried
from raylab.plugins import load


class PoolReader:
    """Decodes batches of the pool's images; pickles small, and opens the data set once in every process.

    Args:
        data: whose `train` split is read.
        plugins: modules that the data set may be registered in.
    """

    def __init__(self, data: DataConfig, plugins: tuple[str, ...]) -> None:
        self.data = data
        self.plugins = plugins
        self._dataset: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Add the images (B, H, W, 3) uint8 to a row with `indices`, of images that have one size.

        Raises:
            CarriedError: an image cannot be read; its cause says which.
        """
        with carried():
            if self._dataset is None:
                load(self.plugins)
                self._dataset = open_dataset(self.data)
            images = [self._dataset.read_image("train", index) for index in row["indices"]]
        return {"indices": row["indices"], "images": np.stack(images)}
