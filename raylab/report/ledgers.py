"""The ledgers of a study's runs beside the data set they were picked from."""

from __future__ import annotations

import pyarrow as pa

from raylab.data import SegmentationDataset, open_dataset
from raylab.errors import DataError, RaylabError
from raylab.files import Folder
from raylab.plugins import load
from raylab.report.study_data import Study
from raylab.runs import ResolvedRun, RunStore


def run_ledger(store: Folder, run: ResolvedRun) -> pa.Table | None:
    """All picks a run has committed, or None where it has not begun."""
    run_store = RunStore(store, run)
    total = len(run.config.budget.rounds) + 1
    done = next((t for t in range(total) if run_store.round(t).record("select") is None), total)
    return run_store.ledger(done) if done else None


def open_data(study: Study) -> SegmentationDataset:
    """The data set of a study.

    Raises:
        DataError: it cannot be opened; in one line.
    """
    try:
        load(study.config.plugins)
        return open_dataset(study.config.run.data)
    except (RaylabError, OSError) as error:
        raise DataError(f"{study.config.run.data.name}: {str(error).splitlines()[0]}") from None


def of_image(ledger: pa.Table, index: int, name: str) -> pa.Table:
    """The picks in one image, in the order of the ledger.

    Args:
        ledger: of a run.
        index: of the image in the pool.
        name: that the image has in the data set.

    Raises:
        DataError: the ledger knows the image by another name: the data set has changed.
    """
    picks = ledger.filter(pa.array(ledger["image_index"].to_numpy() == index))
    if set(picks["image"].to_pylist()) - {name}:
        raise DataError(f"image {index} of the pool is {name}; it is not the image that the study ran on")
    return picks
