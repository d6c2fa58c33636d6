"""Crops of images that lie in a bucket, read by processes of the data loader."""

from __future__ import annotations

import io
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from raylab.config import DataConfig
from raylab.data import open_dataset
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.training.crops import Crops
from raylab.training.job import training_job
from tests.configs import tiny_run
from tests.s3 import S3Server

SPEC = b"classes: [{name: road, id: 0}, {name: car, id: 1}]\ncoding: ids\nval: [d]\n"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def data(s3: S3Server) -> DataConfig:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    folder, random = Folder(s3.uri(name)), np.random.default_rng(0)
    folder.write_bytes("dataset.yaml", SPEC)
    for image in "abcd":
        folder.write_bytes(f"images/{image}.png", png(random.integers(0, 256, (48, 64, 3), np.uint8)))
        folder.write_bytes(f"masks/{image}.png", png(random.integers(0, 2, (48, 64), np.uint8)))
    return DataConfig(name="folder", root=folder.uri)


def test_processes_that_read_from_a_bucket_draw_the_same_crops(data: DataConfig) -> None:
    config = tiny_run(data=data)
    dataset = open_dataset(data)
    job = training_job(config, RegionGrid(dataset.image_sizes("train"), config.regions.size), 2, np.arange(8))
    crops = Crops(job, np.zeros(3, np.uint8))
    batches = [crops.batches(job.iterations - 2, 0, 1, loaders, pinned=False) for loaders in (0, 1)]
    for here, there in zip(*batches, strict=True):
        for one, two in zip(here, there, strict=True):
            np.testing.assert_array_equal(one, two)
