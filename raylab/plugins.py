"""What users add from outside the package: rows of raylab's registries, registered where a module is imported.

A module is named in the configuration (`plugins`), or by an entry point of the group `raylab.plugins` of an installed
package:

    [project.entry-points."raylab.plugins"]
    mine = "my_package.my_module"

A registry is a table in memory, so a plugin has to be imported in every process that looks a name up. Entry points are
read at the first look-up of a name that is not raylab's own: raylab itself looks up only its own while it is imported,
so a plugin may import any part of it. Modules that are named travel as names, in configurations and jobs, and every
worker begins with `load`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, TypeVar

from raylab.errors import ConfigError, RaylabError, nearest
from raylab.row_digest import installed_folders, read_source, row_digest

GROUP = "raylab.plugins"
"""Group of the entry points."""

Row = TypeVar("Row")

_lock = threading.RLock()
_installed = {"loaded": False}
_packages: set[str] = set()
_tables: dict[str, Registry[Any]] = {}


class Registry(Mapping[str, Row]):
    """Rows by name, raylab's own first, then those of plugins.

    Args:
        kind: of thing that a row is, for messages: `strategy`.
        rows: raylab's own.

    Example:
        >>> units = Registry("unit", {"one": 1})
        >>> units.register("dozen", 12)
        >>> units.find("dozen")
        12
        >>> units.find("dozn")
        Traceback (most recent call last):
        raylab.errors.ConfigError: unit: 'dozn' is not known; did you mean 'dozen'?
    """

    def __init__(self, kind: str, rows: Mapping[str, Row]) -> None:
        self.kind = kind
        self._rows = dict(rows)
        self._shipped = frozenset(rows)
        self._behaviours: dict[str, str] = {}
        _tables.setdefault(kind, self)

    def is_shipped(self, name: str) -> bool:
        """Whether a row is raylab's own; a plugin's is not, nor is a name without one."""
        return name in self._shipped

    def digest(self, name: str) -> str | None:
        """What a plugin's row is or does, as 16 hexadecimal digits (`raylab.row_digest`).

        None of a row of raylab's own, and of a name without a row, which is refused where it is looked up.
        """
        if self.is_shipped(name) or name not in self:
            return None
        return row_digest(self[name], _packages, self._behaviours.get(name, ""))

    def register(self, name: str, row: Row, behaviour: str = "") -> None:
        """Add a row, or replace a plugin's by the same made anew, as by a notebook's cell that is run again.

        Rows are the same if their fields are equal; functions and classes in them are, if they have one qualified name
        and come from one file, whatever they do by now. A row of raylab's own stays as it is.

        Args:
            name: of the row.
            row: what it is.
            behaviour: what it gave when it was tried, which is part of its digest.

        Raises:
            ConfigError: another row has that name.
        """
        if name in self._rows and not _are_same(self._rows[name], row):
            way_out = "choose another name"
            if not self.is_shipped(name):
                way_out += f", or free this one with the table's remove({name!r})"
            raise ConfigError(f"{self.kind}: {name!r} is registered already, as something else; {way_out}")
        if not self.is_shipped(name):
            self._rows[name] = row
            self._behaviours[name] = behaviour
            read_source(row, _packages)

    def remove(self, name: str) -> None:
        """Take a plugin's row away, so that its name is free.

        Raises:
            ConfigError: the row is raylab's own, or there is none.
        """
        if self.is_shipped(name):
            raise ConfigError(f"{self.kind}: {name!r} is raylab's own and stays; add yours under another name")
        self.find(name)
        del self._rows[name]

    def find(self, name: str, field: str | None = None) -> Row:
        """The row of that name.

        Args:
            name: of the row.
            field: of the configuration, that the name stands in; for the message.

        Raises:
            ConfigError: there is none; the message names the nearest.
        """
        if name not in self:
            problem = f"{self.kind}: {name!r} is not known" if field is None else f"{field}: no {self.kind} {name!r}"
            raise ConfigError(f"{problem}{nearest(name, self) or f'; there are {self}'}")
        return self[name]

    def __getitem__(self, name: str) -> Row:
        if not self.is_shipped(name):
            load_installed()
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        load_installed()
        return iter(list(self._rows))

    def __len__(self) -> int:
        load_installed()
        return len(self._rows)

    def __str__(self) -> str:
        return ", ".join(self)


def plugin_digest(kind: str, name: str) -> str | None:
    """`Registry.digest` of the table of that kind, without importing what the table is made in.

    Args:
        kind: of the row: `map`, `architecture`, `data set`.
        name: of the row.

    Returns:
        None of a row of raylab's own, and where no plugin has one.
    """
    if kind not in _tables:
        load_installed()
    return _tables[kind].digest(name) if kind in _tables else None


def _are_same(one: Any, other: Any) -> bool:
    """Whether two rows say the same: by their fields, and functions by where they are from (`Registry.register`)."""
    if one is other:
        return True
    if hasattr(one, "__qualname__") and hasattr(other, "__qualname__"):
        return _origin(one) == _origin(other)
    if type(one).__qualname__ != type(other).__qualname__:
        return False
    if isinstance(one, functools.partial):
        return _are_same((one.func, one.args, one.keywords), (other.func, other.args, other.keywords))
    if is_dataclass(one):
        names = [field.name for field in fields(one) if field.init]
        return all(_are_same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_are_same, one, other))
    return bool(one == other)


def _origin(thing: Any) -> tuple[str, str | None]:
    """The qualified name of a function or class, and its file; what is not from a file has that of a notebook, None."""
    space = getattr(thing, "__globals__", None)
    if space is None:
        space = vars(sys.modules[thing.__module__]) if thing.__module__ in sys.modules else {}
    file = space.get("__file__")
    return thing.__qualname__, None if file is None else os.path.abspath(file)


def load_installed() -> None:
    """Import what installed packages name as entry points of `raylab.plugins`; once in a process.

    Raises:
        ConfigError: a module cannot be imported; the message names it.
    """
    with _lock:
        if _installed["loaded"]:
            return
        _installed["loaded"] = True  # now, because a plugin may look a name up
        try:
            for entry in importlib.metadata.entry_points(group=GROUP):
                _import(entry.module, f"entry point {entry.name!r} of the installed package {_package(entry)}")
        except ConfigError:
            _installed["loaded"] = False
            raise


def load(plugins: Sequence[str]) -> tuple[str, ...]:
    """Import modules that register rows; safe to repeat.

    Args:
        plugins: names of modules, a folder in front where they are not installed: `my_module`, `plugins/my_module`
            or `plugins/my_module.py`. Without a folder, the current one is searched after all others.

    Returns:
        The same, each with the absolute folder it was found in unless it is installed: in this form it is found again
        from another folder, and by workers.

    Raises:
        ConfigError: a module is missing or cannot be imported; the message names it.
    """
    with _lock:
        return tuple(_load(plugin) for plugin in plugins)


def _load(plugin: str) -> str:
    folder, name = os.path.split(plugin)
    name = name.removesuffix(".py")
    top = name.partition(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"plugins: {plugin!r} is not the name of a module; give my_module or folder/my_module")
    if folder and not os.path.isdir(folder):
        raise ConfigError(f"plugins: {plugin}: there is no folder {os.path.abspath(folder)}; correct the path")
    if folder and not _holds(folder, top):
        raise ConfigError(f"plugins: {plugin}: no module {top!r} is in the folder {os.path.abspath(folder)}")
    _search(os.path.abspath(folder))
    module = _import(name, f"plugins: {plugin}")
    if module.__spec__ is not None and module.__spec__.loader is not None and module.__spec__.origin is None:
        raise ConfigError(f"plugins: {plugin}: is a folder without code of its own; name a module in it")
    found = _folder_of(sys.modules.get(top, module))
    if folder and found != os.path.abspath(folder):
        raise ConfigError(
            f"plugins: {plugin}: another module {top!r}, of {found}, comes before it; give yours a name of its own"
        )
    return name if found is None or found in installed_folders() else os.path.join(found, name)


def _search(folder: str) -> None:
    """Have a folder searched for modules, after all others: what is installed keeps its name."""
    if os.path.isdir(folder) and folder not in sys.path:
        sys.path.append(folder)
        importlib.invalidate_caches()


def _import(name: str, origin: str) -> ModuleType:
    _packages.add(name.partition(".")[0])
    try:
        _adopt_main(name)
        return importlib.import_module(name)
    except RaylabError as error:
        raise ConfigError(f"{origin}: {error}") from None
    except ModuleNotFoundError as error:
        if error.name == name or name.startswith(f"{error.name}."):
            raise ConfigError(f"{origin}: no module {error.name!r} is installed or in that folder") from None
        raise ConfigError(_why(error, origin)) from None
    except Exception as error:  # whatever a user's module raises, its author needs to know what and where
        raise ConfigError(_why(error, origin)) from None


def _why(error: Exception, origin: str) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
    return f"{origin} could not be imported: {type(error).__name__}: {error}{where}"


def _adopt_main(name: str) -> None:
    """Take a script that names itself as a plugin for the module it is, instead of running it a second time."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None or name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None and os.path.abspath(spec.origin) == os.path.abspath(script):
        sys.modules[name] = sys.modules["__main__"]


def _folder_of(module: ModuleType) -> str | None:
    """The folder that has to be searched for a module to be found; None where it has no file."""
    paths = list(getattr(module, "__path__", [])) or [getattr(module, "__file__", None)]
    return os.path.dirname(os.path.abspath(paths[0])) if paths[0] else None


def _holds(folder: str, top: str) -> bool:
    importlib.invalidate_caches()  # the folder may have been looked into before the module was written
    return importlib.machinery.PathFinder.find_spec(top, [os.path.abspath(folder)]) is not None


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "?"
