"""Whether a selection runs on a GPU is found by using it, and a GPU that is not used is a warning that says why."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from raylab.cli import main
from raylab.selection import array_namespace, arrays
from tests.selection import guarded


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The stand-in in the place of CuPy, on a machine that shows a GPU; what was decided before is decided anew."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(arrays, "_NODES", (f"{tmp_path}/nvidia[0-9]*",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    standin = guarded.namespace()
    standin.__version__ = "14.2.0"
    monkeypatch.setitem(sys.modules, "cupy", standin)
    caches = (arrays.array_namespace, arrays.why_not_cupy)
    for one in caches:
        one.cache_clear()
    yield standin
    for one in caches:
        one.cache_clear()


def test_a_namespace_that_does_all_is_used(cupy: ModuleType) -> None:
    assert array_namespace() is cupy


def test_a_library_that_a_product_needs_is_missing(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cupy-cuda12x beside a torch of CUDA 13: imports, adds, sorts."""

    def product(one: Any, other: Any) -> Any:
        raise ImportError("libcublas.so.12: cannot open shared object file: No such file or directory\nmore")

    monkeypatch.setattr(guarded.DeviceArray, "__matmul__", product)
    with pytest.warns(UserWarning, match=r"a GPU is here, .* NumPy: libcublas.so.12: .* directory; .*raylab\[gpu\]"):
        assert array_namespace() is np
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array_namespace()  # said once


@pytest.mark.parametrize("name", ["partition", "argmax", "where", "sqrt"])
def test_every_function_that_is_used_is_tried(name: str, cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(cupy, name)
    monkeypatch.setattr(cupy, name, lambda *args, **options: right(*args, **options) * 2)
    assert "differs from NumPy's" in str(arrays.why_not_cupy())
    monkeypatch.setattr(cupy, name, lambda *args, **options: right(*args, **options).astype(np.float16))
    arrays.why_not_cupy.cache_clear()
    assert "differs from NumPy's" in str(arrays.why_not_cupy())


def test_a_gpu_that_is_hidden_or_not_there_is_no_warning(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cupy, "partition")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert array_namespace() is np
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        monkeypatch.setattr(arrays, "_NODES", ("/dev/no such thing*",))
        arrays.array_namespace.cache_clear()
        assert array_namespace() is np


def test_info_says_the_same(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    main(["info"])
    assert "selection: on CuPy" in capsys.readouterr().out
    monkeypatch.delattr(cupy, "partition")
    arrays.why_not_cupy.cache_clear()
    main(["info"])
    assert "selection: on NumPy, because CuPy fails: module 'guarded' has no attribute" in capsys.readouterr().out


def test_errors_that_mean_that_memory_is_short() -> None:
    class CUBLASError(RuntimeError):
        pass

    CUBLASError.__module__ = "cupy_backends.cuda.libs.cublas"
    assert arrays.is_out_of_memory(MemoryError())
    assert arrays.is_out_of_memory(CUBLASError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert not arrays.is_out_of_memory(CUBLASError("CUBLAS_STATUS_INVALID_VALUE"))
    assert not arrays.is_out_of_memory(RuntimeError("out of memory"))
