"""The array namespace the selection runs on: NumPy or CuPy, and work cut into blocks that fit.

Everything in `raylab.selection` takes the namespace as `xp` and calls only what both have. Scalars that steer
the loop are brought to the host by `float` and `int`; whole arrays by `to_host`.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylab.files import first_line

Array = Any
"""An array of the namespace in use (numpy.ndarray or cupy.ndarray); neither can be named without importing it."""

_log = logging.getLogger(__name__)
HOST_BLOCK = 1 << 21
"""Bytes of a working block that stay in a core's second-level cache."""
_DEVICE_BLOCK = 1 << 28
_NODES = ("/dev/nvidia[0-9]*", "/dev/dxg")
"""What the system shows of a GPU: of NVIDIA's driver, and of Windows below its Linux."""
_EXTRA = "install the extra of the CUDA that torch brings (pip install 'raylab[gpu]') and no other cupy package"


@cache
def array_namespace(prefer_gpu: bool = True) -> ModuleType:
    """CuPy when it can be imported and a device does what a selection asks, else NumPy. Decided, and said, once.

    A GPU that is there and cannot be used is a warning that says why.

    Args:
        prefer_gpu: False keeps to NumPy without asking for a device.
    """
    if not prefer_gpu:
        return np
    if reason := why_not_cupy():
        if has_gpu():
            warnings.warn(f"a GPU is here, and the selection runs on NumPy: {reason}; {_EXTRA}", stacklevel=2)
        else:
            _log.info("selection runs on NumPy (%s)", reason)
        return np
    import cupy  # type: ignore[import-not-found,import-untyped,unused-ignore]

    _log.info("selection runs on CuPy %s", cupy.__version__)
    return cupy  # type: ignore[no-any-return,unused-ignore]


@cache
def why_not_cupy() -> str | None:
    """Why the selection cannot run on CuPy, in one line; None where it can."""
    try:
        import cupy  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return wrong_result(cupy)
    except Exception as error:  # CuPy raises errors of its own, of CUDA and of the system
        return first_line(error)


def wrong_result(xp: ModuleType) -> str | None:
    """Use a namespace as a selection does: CuPy imports without a GPU, and beside another CUDA fails at a product only.

    Args:
        xp: the namespace.

    Returns:
        What it gets wrong; None where all is as NumPy has it.

    Raises:
        Exception: whatever the namespace raises where it does not work.
    """
    rows = np.arange(12, dtype=np.float64).reshape(4, 3) - 5
    device = xp.asarray(rows)
    found = {
        "a matrix product": (device @ device.T, rows @ rows.T),
        "partition": (xp.partition(device[:, 0], 2)[2], np.partition(rows[:, 0], 2)[2]),
        "argmax": (xp.argmax(device, axis=1), np.argmax(rows, axis=1)),
        "where": (either(xp, device > 0, 1 / 3, -np.inf), np.where(rows > 0, 1 / 3, -np.inf)),
        "a square root": (xp.sqrt(xp.maximum(device, 0.0)), np.sqrt(np.maximum(rows, 0.0))),
    }
    for name, (got, want) in found.items():
        if to_host(got).dtype != want.dtype or not np.array_equal(to_host(got), want):
            return f"{name} differs from NumPy's"
    return None


def has_gpu() -> bool:
    """Whether the system shows a GPU that this process may use; neither CuPy nor torch is asked."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(any(Path("/").glob(pattern.lstrip("/"))) for pattern in _NODES)


class BeginAgainError(Exception):
    """A selection has to be begun again, with equal picks: a device was short of memory, or a process was replaced."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of NumPy, CuPy or a library below it says that memory is short."""
    short = ("ALLOC_FAILED", "MemoryAllocation", "out of memory")
    below = type(error).__module__.startswith("cupy") and any(word in str(error) for word in short)
    return below or isinstance(error, MemoryError)  # as CuPy's OutOfMemoryError is


def release(xp: ModuleType) -> None:
    """Give a device's memory that is not in use back to others, such as a training that follows."""
    if hasattr(xp, "get_default_memory_pool"):
        xp.get_default_memory_pool().free_all_blocks()


def either(xp: ModuleType, mask: Array, one: float, other: float) -> Array:
    """float64 of the shape of `mask`: `one` where it is true, else `other`; CuPy makes float16 of two plain numbers."""
    return xp.where(mask, xp.asarray(one, xp.float64), xp.asarray(other, xp.float64))


def to_host(array: Array) -> NDArray[Any]:
    """The same values as a NumPy array (no copy when it is one)."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def default_block_bytes(xp: ModuleType) -> int:
    """Size of a working block: cache on the host, an eighth of what is free on a device."""
    if xp is np or not hasattr(xp, "cuda"):
        return HOST_BLOCK
    free, _ = xp.cuda.runtime.memGetInfo()
    return max(HOST_BLOCK, min(_DEVICE_BLOCK, int(free) // 8))


class Blocks:
    """Runs work over row ranges of a bounded size; a block that does not fit in memory is halved, and stays so.

    Attributes:
        block_bytes: the most bytes a block's temporary arrays should take.
    """

    def __init__(self, block_bytes: int) -> None:
        self.block_bytes = block_bytes

    def run(self, rows: int, row_bytes: int, work: Callable[[int, int], None]) -> None:
        """Calls `work(start, stop)` over all of `range(rows)`, in order.

        Args:
            rows: number of rows.
            row_bytes: bytes of temporary arrays a row needs.
            work: may be called again on the same rows after it ran out of memory, so it must be repeatable.

        Raises:
            MemoryError: a single row does not fit (CuPy's OutOfMemoryError is a MemoryError; libraries below it have
                errors of their own, see `is_out_of_memory`).
        """
        start = 0
        while start < rows:
            size = max(1, self.block_bytes // max(1, row_bytes))
            stop = min(rows, start + size)
            try:
                work(start, stop)
            except Exception as error:
                if stop - start == 1 or not is_out_of_memory(error):
                    raise
                self.block_bytes = (stop - start) * row_bytes // 2
                _log.warning("out of memory; selection goes on with blocks of %d bytes", self.block_bytes)
                continue
            start = stop
