"""Buckets of object stores, by obstore: S3, Google Cloud Storage, Azure, and the memory of this process.

Where an object store knows no conditional puts (some S3-compatible servers ignore them), `create` replaces what was
there.

obstore's threads do not survive a fork, and a request would then wait for ever: a process that has used a bucket starts
others by `start_method`, and a forked one is told.
"""

from __future__ import annotations

import errno
import io
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import IO, Any, TypeVar

import pyarrow.fs as pafs
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, from_url

from raylab.bucket_address import SCHEMES, Address, arrow_client, client_arguments, patience_of
from raylab.disk import Buffer, Info, Kind

RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(seconds=10)}
"""How long obstore tries a request again, with waits that double from 0.1 s: no signal is handled meanwhile."""
HEAD_BYTES = 64 * 1024
"""What is fetched of a file of which only some will be read."""
_PART = 1 << 20
_AWAY = re.compile(r"HTTP error|status code: (5(?!01)\d\d|429)")
"""In messages of obstore, which has no class for it: there was no answer, or one that says to come later. 501 says that
the store does not know the request."""
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or install boto3 for AWS profiles)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_forked_after_use = False

T = TypeVar("T")


@cache
def open_bucket(address: Address) -> Bucket:
    """A bucket; one client of it serves the whole process. Nothing is asked of it yet.

    Raises:
        ValueError: an option is not known, or what it needs is not there.
    """
    try:
        return Bucket(address)
    except (BaseError, ImportError, OSError) as error:
        raise ValueError(reason(error)) from None


def probe(address: Address, path: str) -> Kind | None:
    """What is there, asked without the patience of later requests: a wrong address is likelier than an outage."""
    return (open_bucket(address) if address.scheme == "memory" else Bucket(address, patient=False)).kind(path)


def start_method() -> str | None:
    """How further processes of this one have to be started: without fork once a bucket was used; None for any way."""
    return "forkserver" if open_bucket.cache_info().currsize else None


def _after_fork() -> None:
    global _forked_after_use
    _forked_after_use = start_method() is not None


os.register_at_fork(after_in_child=_after_fork)


class Bucket:
    """Objects by their paths, with the methods of `raylab.disk.Disk`, which raise OSError too.

    Folders are what the objects' paths make of them: there are no empty ones.

    Args:
        address: of the bucket.
        patient: ask again for as long as the address says while there is no answer.

    Attributes:
        name: of the bucket, without keys or account.
        patience: in seconds.
    """

    def __init__(self, address: Address, patient: bool = True) -> None:
        self.address = address
        self.patience = patience_of(address) if patient else 0.0
        before, _, after = address.bucket.rpartition("@")
        self.name = before if before and address.scheme in ("abfs", "abfss") else after
        self.arguments: dict[str, Any] = {}
        if address.scheme == "memory":
            self.store: Any = MemoryStore()
        else:
            url, self.arguments = client_arguments(address)
            self.arguments["retry_config"] = RETRY
            self.store = from_url(url, **self.arguments)

    def ask(self, path: str, request: Callable[[], T]) -> T:
        """What a request gives, made again while the store does not answer.

        Raises:
            ConnectionError: it has not answered for `patience` seconds.
            OSError: its answer is an error.
        """
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with _os_errors(path):
                    return request()
            except ConnectionError:
                if time.monotonic() >= deadline:
                    raise
                _say_that_it_is_away(self.name, self.patience)

    def kind(self, path: str) -> Kind | None:
        """What is there: the second question, for a folder, is only asked where there is no file."""
        if path and self.info(path) is not None:
            return "file"
        return "folder" if self.is_folder(path) else None

    def is_folder(self, path: str) -> bool:
        """Whether there is an object below a path."""
        return self.ask(path, lambda: bool(next(iter(self.store.list(path, chunk_size=1)), None)))

    def info(self, path: str) -> Info | None:
        """Size and time of an object; None where there is none."""
        try:
            found = self.ask(path, lambda: self.store.head(path))
        except FileNotFoundError:
            return None
        return Info(found["size"], found["last_modified"])

    def names(self, path: str) -> list[str]:
        """What lies directly in a folder."""
        found = self.ask(path, lambda: self.store.list_with_delimiter(path))
        paths = {*found["common_prefixes"], *(one["path"] for one in found["objects"])}
        return [one.rpartition("/")[2] for one in paths - {path}]  # the folder itself: see walk

    def sweep(self, path: str) -> None:
        """Nothing: an object is there whole or not at all."""

    def walk(self, path: str) -> tuple[list[str], list[OSError]]:
        """Objects at any depth, relative to the folder."""
        found = self._below(path)
        start = len(path) + 1 if path else 0
        paths = [one["path"] for one in found]
        if any(one["size"] == 0 for one in found):
            # Other programs put empty objects where they want a folder to be seen.
            folders = {path, *(parent for one in paths for parent in _parents(one))}
            paths = [one for one in paths if one not in folders]
        return [one[start:] for one in paths], []

    def open(self, path: str, whole: bool = True) -> IO[bytes]:
        """Open an object for reading: all of it in one request, or its beginning first."""
        if whole:
            return io.BytesIO(self.read(path))
        buffered: Any = io.BufferedReader(_Object(self, path), HEAD_BYTES)
        return buffered

    def read(self, path: str) -> bytes:
        """A whole object."""
        return self.ask(path, lambda: self.store.get(path).bytes().to_bytes())

    def parts(self, path: str) -> Iterator[Buffer]:
        """An object in parts, which is never in memory as a whole."""
        found = self.ask(path, lambda: self.store.get(path))
        with _os_errors(path):
            for chunk in found.stream(min_chunk_size=_PART):
                yield memoryview(chunk)

    def for_arrow(self, path: str) -> Any:
        """An object as pyarrow reads parts of it."""
        return self.open(path, whole=False)

    def write(self, path: str, data: Buffer) -> None:
        """Write an object, in place of what was there; a put is seen whole or not at all."""
        self.ask(path, lambda: self.store.put(path, memoryview(data).cast("B")))

    def create(self, path: str, data: Buffer) -> None:
        """Write an object where there is none."""
        self.ask(path, lambda: self.store.put(path, memoryview(data).cast("B"), mode="create"))

    def move(self, path: str, to: str) -> None:
        """Give an object another path: a copy, then the first one is removed."""
        self.ask(path, lambda: self.store.rename(path, to))

    def delete(self, path: str) -> None:
        """Remove an object and all that lie below its path."""
        paths = [one["path"] for one in self._below(path)]
        if self.info(path) is not None:
            paths.append(path)
        if paths:
            self.ask(path, lambda: self.store.delete(paths))
            if self.address.scheme != "memory" and self.is_folder(path):
                # Ray's client draws folders by empty objects whose names end in a slash, which obstore cannot name.
                self.arrow().delete_dir(f"{self.name}/{path}")

    def _below(self, path: str) -> list[Any]:
        return self.ask(path, lambda: [one for chunk in self.store.list(path, chunk_size=1000) for one in chunk])

    def way_out(self, error: OSError) -> str:
        """What a person can do about an error."""
        if isinstance(error, PermissionError) or "169.254." in str(error):
            wanted = _KEYS.get(SCHEMES[self.address.scheme], "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")
            return f"set {wanted} to keys that may do that, or add anonymous=true to the URI of public data"
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            return "create the bucket, or correct its name"
        return "check the address and the network, then try again"

    def arrow(self) -> pafs.FileSystem:
        """pyarrow's own client, for Ray: obstore's fsspec face refuses the buffers that pyarrow writes."""
        return arrow_client(self.address, self.arguments.get("config", {}))


class _Object(io.RawIOBase):
    """An object of which parts are read; the first request brings its beginning and its size."""

    def __init__(self, bucket: Bucket, path: str) -> None:
        self._bucket, self._path, self._at = bucket, path, 0
        try:
            self._head, self._size = bucket.ask(path, self._begin)
        except OSError:
            info = bucket.info(path)
            if info is None or info.size:
                raise
            self._head, self._size = b"", 0  # of an empty object there are no ranges

    def _begin(self) -> tuple[bytes, int]:
        found = self._bucket.store.get(self._path, options={"range": (0, HEAD_BYTES)})
        return found.bytes().to_bytes(), found.meta["size"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if self._at >= stop:
            return 0
        if stop <= len(self._head):
            data: Any = self._head[self._at : stop]
        else:
            range_of = self._bucket.store.get_range
            data = memoryview(self._bucket.ask(self._path, lambda: range_of(self._path, start=self._at, end=stop)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Tell obstore's errors as Python's own."""
    if _forked_after_use:
        raise OSError(errno.EIO, "a forked process cannot use object stores; start it by spawn or forkserver", path)
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, reason(error), path) from None
    except AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "it exists already", path) from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, reason(error), path) from None
    except (BaseError, ValueError) as error:
        # That address is asked for keys where none are given.
        away = _AWAY.search(str(error)) and "169.254." not in str(error)
        raise (ConnectionError if away else OSError)(errno.EIO, reason(error), path) from None


@cache
def _say_that_it_is_away(name: str, patience: float) -> None:
    warnings.warn(
        f"bucket {name} does not answer; it is asked again for {patience:g} seconds: check the address and the network",
        stacklevel=2,
    )


def reason(error: BaseException) -> str:
    """The cause that a server or obstore names, on one line."""
    text = str(error)
    if found := re.search(r"<Code>(\w+)</Code>.*?<Message>([^<]*)", text, re.DOTALL):
        return " ".join(f"{found[1]}: {found[2]}".split())
    line = (text or type(error).__name__).splitlines()[0]
    return re.sub(r" in [\d.]+.?s(, after .*?retry_timeout: \w+)?(?=\s+-)", "", line).strip(" :")
