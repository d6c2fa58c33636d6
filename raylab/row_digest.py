"""What a plugin's row is or does, as a digest: of its code and of all that this uses of its own package.

The digest is over source text without comments, so it is the same in every process, on every machine and, but for code
without a file, under every Python; it never holds an address in memory.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import os
import sys
import sysconfig
import textwrap
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def row_digest(row: Any, packages: Collection[str], *more: str) -> str:
    """16 hexadecimal digits over a row.

    Functions and classes count with their source, and with the functions, classes, constants and arrays that they use
    of their own module, of other plugins and of files that are not installed. What else is installed counts by name.

    Args:
        row: a function, a class or a dataclass; of a dataclass the fields that decide equality.
        packages: top-level names of the modules of plugins, which may be installed.
        more: what else is known of it.

    Example:
        >>> row_digest(("ids", 1), ()) == row_digest(("ids", 1), ()), row_digest(1, ()) == row_digest(2, ())
        (True, False)
    """
    parts = [*_Walk(packages).parts(row), *more]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_source(row: Any, packages: Collection[str]) -> None:
    """Read the source of a row as it is while it is imported: digests are of that, whatever the file says later."""
    walk = _Walk(packages)
    list(walk.parts(row))
    for file in walk.files:
        linecache.checkcache(file)
        linecache.getlines(file)


class _Walk:
    """Goes through what a row is made of.

    Args:
        packages: see `row_digest`.

    Attributes:
        files: that source was taken from.
    """

    def __init__(self, packages: Collection[str]) -> None:
        self.files: set[str] = set()
        self._packages = packages
        self._seen: dict[int, Any] = {}  # keeps what it has seen alive: a number may not name another thing then

    def parts(self, thing: Any) -> Iterator[str]:
        """Text that says what a thing is; a function, class or object is told once."""
        if isinstance(thing, _PLAIN):
            yield repr(thing)
            return
        yield type(thing).__qualname__
        if isinstance(thing, tuple | list):
            yield str(len(thing))
            yield from self._all(*thing)
        elif isinstance(thing, Mapping):
            yield from (part for key in sorted(thing, key=repr) for part in self._all(key, thing[key]))
        elif isinstance(thing, set | frozenset):
            yield from self._all(*sorted(thing, key=repr))
        elif id(thing) not in self._seen:
            self._seen[id(thing)] = thing
            yield from self._things(thing)

    def _all(self, *things: Any) -> Iterator[str]:
        for thing in things:
            yield from self.parts(thing)

    def _things(self, thing: Any) -> Iterator[str]:
        if isinstance(thing, ModuleType):
            yield thing.__name__
        elif isinstance(thing, FunctionType):
            yield from self._function(thing)
        elif isinstance(thing, type):
            yield from self._class(thing)
        elif isinstance(thing, MethodType):
            yield from self._all(thing.__func__, thing.__self__)
        elif isinstance(thing, functools.partial):
            yield from self._all(thing.func, thing.args, thing.keywords)
        elif isinstance(thing, staticmethod | classmethod):
            yield from self.parts(thing.__func__)
        elif isinstance(thing, property):
            yield from self._all(thing.fget, thing.fset)
        elif is_dataclass(thing):
            yield from self._all(type(thing), *(getattr(thing, one.name) for one in fields(thing) if one.compare))
        elif hasattr(thing, "detach"):
            yield from self.parts(thing.detach().cpu().numpy())
        elif hasattr(thing, "tobytes"):
            yield f"{thing.dtype} {thing.shape} {hashlib.sha256(thing.tobytes()).hexdigest()}"
        else:
            yield from self._object(thing)

    def _object(self, thing: Any) -> Iterator[str]:
        """An object of a plugin's class by what it holds, of another class only where it says what that is."""
        yield getattr(thing, "__qualname__", "")
        yield from self.parts(getattr(thing, "__wrapped__", None))
        yield from self.parts(type(thing))
        if hasattr(thing, "state_dict"):
            yield from self.parts(thing.state_dict())
        elif self._is_own(type(thing), sys.modules.get(type(thing).__module__)):
            yield from self.parts(getattr(thing, "__dict__", None))

    def _function(self, thing: FunctionType) -> Iterator[str]:
        if not self._is_own(thing, thing.__globals__):
            yield f"{thing.__module__}.{thing.__qualname__}"
            yield from self.parts(getattr(thing, "__wrapped__", None))
            return
        yield thing.__qualname__
        yield self._source(thing)
        yield from self._all(thing.__defaults__, thing.__kwdefaults__, *_cells(thing))
        for name in sorted(_names(thing.__code__) & thing.__globals__.keys()):
            yield from self._all(name, thing.__globals__[name])

    def _class(self, thing: type) -> Iterator[str]:
        if not self._is_own(thing, sys.modules.get(thing.__module__)):
            yield f"{thing.__module__}.{thing.__qualname__}"
            return
        yield thing.__qualname__
        yield from self._all(*thing.__bases__)
        for name, value in sorted(vars(thing).items()):
            if not name.startswith("__") or isinstance(value, FunctionType | staticmethod | classmethod):
                yield from self._all(name, value)

    def _source(self, function: FunctionType) -> str:
        """Its text without comments; its instructions where it comes from no file."""
        code = function.__code__
        lines = linecache.getlines(code.co_filename, function.__globals__)
        if not lines:
            return _instructions(code)
        self.files.add(code.co_filename)
        text = textwrap.dedent("".join(inspect.getblock(lines[code.co_firstlineno - 1 :])))
        try:
            return ast.unparse(ast.parse(text))
        except SyntaxError:  # a lambda within an expression
            return text.strip()

    def _is_own(self, thing: Any, module: Any) -> bool:
        """Whether its code is a plugin's: of one that was loaded, or of a notebook or file that is not installed."""
        package = str(thing.__module__).partition(".")[0]
        if package == "raylab" or package in self._packages:
            return package != "raylab"
        space = module if isinstance(module, dict) else getattr(module, "__dict__", {})
        file = space.get("__file__")
        return package not in sys.stdlib_module_names if file is None else not _is_installed(file)


def _cells(function: FunctionType) -> Iterator[Any]:
    """What a function holds of the one around it."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it is empty as yet
            yield cell.cell_contents


def _names(code: CodeType) -> set[str]:
    """Names that a function may look up in its module."""
    return set(code.co_names).union(*(_names(one) for one in code.co_consts if isinstance(one, CodeType)))


def _instructions(code: CodeType) -> str:
    constants = [_instructions(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))


def installed_folders() -> set[str]:
    """Where Python keeps its own modules and installed packages, absolute."""
    paths = sysconfig.get_paths()
    return {os.path.abspath(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")}


def _is_installed(file: str) -> bool:
    return any(os.path.abspath(file).startswith(folder + os.sep) for folder in installed_folders())
