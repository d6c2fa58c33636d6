"""Data sets behind one protocol: the field's in their official layouts, folders of one's own, generated scenes.

`registry` holds a row for each. Files may lie in a folder, at a URI, or in a set packed by `raylab pack`. Imports
neither torch, Ray nor MLflow.
"""

from __future__ import annotations

from raylab.data.base import SegmentationDataset, Split
from raylab.data.classes import IGNORE, ClassMap
from raylab.data.coding import ColourCoding, IdCoding
from raylab.data.files import FileDataset
from raylab.data.layout import Layout
from raylab.data.registry import (
    DATASETS,
    DatasetRow,
    Files,
    Nominal,
    dataset_row,
    find_problems,
    open_dataset,
    register_dataset,
    survey_dataset,
)
from raylab.data.synthetic.scenes import SyntheticScenes

__all__ = [
    "DATASETS",
    "IGNORE",
    "ClassMap",
    "ColourCoding",
    "DatasetRow",
    "FileDataset",
    "Files",
    "IdCoding",
    "Layout",
    "Nominal",
    "SegmentationDataset",
    "Split",
    "SyntheticScenes",
    "dataset_row",
    "find_problems",
    "open_dataset",
    "register_dataset",
    "survey_dataset",
]
