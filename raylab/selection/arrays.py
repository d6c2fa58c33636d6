"""The array namespace the selection runs on: NumPy or CuPy, and work cut into blocks that fit.

Everything in `raylab.selection` takes the namespace as `xp` and calls only what both have. Scalars that steer
the loop are brought to the host by `float` and `int`; whole arrays by `to_host`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array of the namespace in use (numpy.ndarray or cupy.ndarray); neither can be named without importing it."""

_log = logging.getLogger(__name__)
_HOST_BLOCK = 1 << 21  # what stays in a core's second-level cache
_DEVICE_BLOCK = 1 << 28


@cache
def array_namespace(prefer_gpu: bool = True) -> ModuleType:
    """CuPy when it can be imported and a device answers, else NumPy. Decided, and said in the log, once.

    Args:
        prefer_gpu: False keeps to NumPy without asking for a device.
    """
    if not prefer_gpu:
        return np
    if reason := why_not_cupy():
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

        cupy.zeros(1).sum().item()  # imports without a GPU and fails at first use: so use it
    except Exception as error:  # CuPy raises errors of its own, of CUDA and of the system
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def to_host(array: Array) -> NDArray[Any]:
    """The same values as a NumPy array (no copy when it is one)."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def default_block_bytes(xp: ModuleType) -> int:
    """Size of a working block: cache on the host, an eighth of what is free on a device."""
    if xp is np or not hasattr(xp, "cuda"):
        return _HOST_BLOCK
    free, _ = xp.cuda.runtime.memGetInfo()
    return max(_HOST_BLOCK, min(_DEVICE_BLOCK, int(free) // 8))


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
            MemoryError: a single row does not fit (CuPy's OutOfMemoryError is a MemoryError).
        """
        start = 0
        while start < rows:
            size = max(1, self.block_bytes // max(1, row_bytes))
            stop = min(rows, start + size)
            try:
                work(start, stop)
            except MemoryError:
                if stop - start == 1:
                    raise
                self.block_bytes = (stop - start) * row_bytes // 2
                _log.warning("out of memory; selection goes on with blocks of %d bytes", self.block_bytes)
                continue
            start = stop
