"""A stand-in for CuPy where there is no GPU: NumPy whose arrays refuse to meet plain NumPy arrays.

CuPy raises when a NumPy array of one or more dimensions takes part in its arithmetic, indexing or assignment, and
when NumPy is asked to convert one of its arrays. So does this; it says nothing about kernels or speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

_NAMES = (
    *(
        "abs",
        "arange",
        "argmax",
        "argmin",
        "asarray",
        "concatenate",
        "empty",
        "flatnonzero",
        "full",
        "max",
        "maximum",
        "minimum",
    ),
    *("partition", "rint", "sort", "sqrt", "where", "zeros"),
)


_memory = [math.inf, 0.0]


@contextmanager
def short_of_memory(at: int, times: float) -> Iterator[None]:
    """Raise CuPy's kind of error at some of the device's calls, counted from 0.

    Args:
        at: the first call that fails.
        times: how many fail, one after another; infinity: no call succeeds again.
    """
    _memory[:] = at, times
    try:
        yield
    finally:
        _memory[:] = math.inf, 0.0


def _allocate() -> None:
    _memory[0] -= 1
    if _memory[0] < 0 and _memory[1] > 0:
        _memory[1] -= 1
        raise OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 1,024 bytes).")


def calls_failed() -> bool:
    """Whether any has, under `short_of_memory`."""
    return _memory[0] < 0


class OutOfMemoryError(MemoryError):
    """As CuPy's is."""


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_plain(v) for v in value)
    return isinstance(value, np.ndarray) and not isinstance(value, DeviceArray) and value.ndim > 0


class DeviceArray(np.ndarray):
    """An array that only meets its own kind; `get` brings it to the host."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        _allocate()
        if _plain(inputs) or _plain(kwargs.get("out", ())):
            raise TypeError(f"{ufunc.__name__}: a NumPy array meets a device array")
        host = [x.view(np.ndarray) if isinstance(x, DeviceArray) else x for x in inputs]
        if "out" in kwargs:
            kwargs["out"] = tuple(o.view(np.ndarray) for o in kwargs["out"])
        return _device(getattr(ufunc, method)(*host, **kwargs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} is called on a device array")

    def __getitem__(self, key: Any) -> Any:
        _allocate()
        if _plain(key):
            raise TypeError("a device array is indexed by a NumPy array")
        return _device(self.view(np.ndarray)[_host(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        _allocate()
        if _plain(key) or _plain(value):
            raise TypeError("a NumPy array is written to a device array")
        self.view(np.ndarray)[_host(key)] = _host(value)

    def get(self) -> np.ndarray:
        return np.array(self.view(np.ndarray))


def _host(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_host(v) for v in value)
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _device(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_device(v) for v in value)
    return np.asarray(value).view(DeviceArray)  # scalars too: in CuPy they are arrays of no dimension


def namespace() -> ModuleType:
    """What is passed as `xp`; has only names that both libraries have and `raylab.selection` calls."""
    xp = ModuleType("guarded")
    xp.inf = np.inf
    for name in ("float32", "float64", "int32", "int64", "bool_"):
        setattr(xp, name, getattr(np, name))
    xp.cuda = SimpleNamespace(runtime=SimpleNamespace(memGetInfo=lambda: (1 << 30, 1 << 31)))
    for name in _NAMES:
        setattr(xp, name, _wrapped(name))
    return xp


def _wrapped(name: str) -> Any:
    function = getattr(np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        _allocate()
        if name == "where" and not any(isinstance(value, np.ndarray) for value in args[1:]):
            raise TypeError("where: of two plain numbers CuPy makes float16")
        if name != "asarray" and (_plain(args) or _plain(tuple(kwargs.values()))):
            raise TypeError(f"{name}: a NumPy array reaches the device")
        host = [[_host(v) for v in a] if isinstance(a, list) else _host(a) for a in args]
        return _device(function(*host, **{key: _host(value) for key, value in kwargs.items()}))

    return call
