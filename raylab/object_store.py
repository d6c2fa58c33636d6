"""Buckets of object stores, by obstore: S3, Google Cloud Storage, Azure, and the memory of this process.

URIs and their options:

    s3://bucket/path        region, endpoint_override and scheme (as pyarrow writes them), anonymous=true
    gs://bucket/path        endpoint_override and scheme, anonymous=true
    az://container/path     (abfs, abfss too)
    memory://name/path      this process only; for tests

Further options are obstore's own (`request_payer=true`, `account_name=...`). Keys come from the environment
(AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, ...), from the machine's role, or, where
boto3 is installed, from AWS profiles; they are refreshed when they expire. Requests that fail are tried again for about
a minute.

obstore's threads do not survive a fork, and a request would then wait for ever: a process that has used a bucket starts
others by `start_method`, and a forked one is told.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import pyarrow.fs as pafs
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, S3Store, from_url

from raylab.disk import Buffer, Info, Kind

SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "abfs", "abfss": "abfss"}
"""Schemes of URIs, and what obstore calls them; `memory` beside."""
RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
"""How long requests are tried again: waits double from 0.1 s to 15 s."""
PROBE: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
"""The same for the first request, where a wrong address is likelier than an outage."""
CLIENT = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "1h"}
HEAD_BYTES = 64 * 1024
"""What is fetched of a file of which only some will be read."""
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or install boto3 for AWS profiles)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_NO_PROFILE = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_forked_after_use = False


class Address(NamedTuple):
    """A bucket.

    Attributes:
        scheme: of the URI.
        bucket: what stands before the path.
        options: what stands after the question mark.
    """

    scheme: str
    bucket: str
    options: str


def split_uri(uri: str) -> tuple[Address, str]:
    """The bucket of a URI, and the path in it.

    Raises:
        ValueError: the scheme is not known, or there is no bucket.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES and scheme != "memory":
        raise ValueError(f"scheme {scheme!r} is unknown; known are file, {', '.join(SCHEMES)} and memory")
    rest, _, options = rest.partition("?")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ValueError("no bucket is named")
    return Address(scheme, bucket, options), path.strip("/")


@lru_cache
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
    """What is there, asked with less patience than later requests."""
    return (open_bucket(address) if address.scheme == "memory" else Bucket(address, PROBE)).kind(path)


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
        retry: how long requests are tried again.

    Attributes:
        name: of the bucket, without keys or account.
    """

    def __init__(self, address: Address, retry: Mapping[str, Any] = RETRY) -> None:
        self.address = address
        before, _, after = address.bucket.rpartition("@")
        self.name = before if before and address.scheme in ("abfs", "abfss") else after
        self.arguments: dict[str, Any] = {}
        if address.scheme == "memory":
            self.store: Any = MemoryStore()
        else:
            url, self.arguments = _arguments(address)
            self.arguments["retry_config"] = retry
            self.store = from_url(url, **self.arguments)

    def kind(self, path: str) -> Kind | None:
        """What is there: the second question, for a folder, is only asked where there is no file."""
        if path and self.info(path) is not None:
            return "file"
        return "folder" if self.is_folder(path) else None

    def is_folder(self, path: str) -> bool:
        """Whether there is an object below a path."""
        with _os_errors(path):
            return bool(next(iter(self.store.list(path, chunk_size=1)), None))

    def info(self, path: str) -> Info | None:
        """Size and time of an object; None where there is none."""
        try:
            with _os_errors(path):
                found = self.store.head(path)
        except FileNotFoundError:
            return None
        return Info(found["size"], found["last_modified"])

    def names(self, path: str) -> list[str]:
        """What lies directly in a folder."""
        with _os_errors(path):
            found = self.store.list_with_delimiter(path)
        paths = {*found["common_prefixes"], *(one["path"] for one in found["objects"])}
        return [one.rpartition("/")[2] for one in paths - {path}]  # the folder itself: see walk

    def walk(self, path: str) -> tuple[list[str], list[OSError]]:
        """Objects at any depth, relative to the folder."""
        with _os_errors(path):
            found = [one for chunk in self.store.list(path, chunk_size=1000) for one in chunk]
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
        with _os_errors(path):
            return self.store.get(path).bytes().to_bytes()

    def sha256(self, path: str) -> str:
        """Hexadecimal digest of an object, which is never in memory as a whole."""
        digest = hashlib.sha256()
        with _os_errors(path):
            for chunk in self.store.get(path).stream(min_chunk_size=1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def for_arrow(self, path: str) -> Any:
        """An object as pyarrow reads parts of it."""
        return self.open(path, whole=False)

    def write(self, path: str, data: Buffer) -> None:
        """Write an object, in place of what was there; a put is seen whole or not at all."""
        with _os_errors(path):
            self.store.put(path, memoryview(data).cast("B"))

    def create(self, path: str, data: Buffer) -> None:
        """Write an object where there is none."""
        with _os_errors(path):
            self.store.put(path, memoryview(data).cast("B"), mode="create")

    def delete(self, path: str) -> None:
        """Remove an object and all that lie below its path."""
        with _os_errors(path):
            paths = [one["path"] for chunk in self.store.list(path, chunk_size=1000) for one in chunk]
        if self.info(path) is not None:
            paths.append(path)
        if paths:
            with _os_errors(path):
                self.store.delete(paths)

    def way_out(self, error: OSError) -> str:
        """What a person can do about an error."""
        if isinstance(error, PermissionError) or "169.254." in str(error):
            wanted = _KEYS.get(SCHEMES[self.address.scheme], "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")
            return f"set {wanted} to keys that may do that, or add anonymous=true to the URI of public data"
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            return "create the bucket, or correct its name"
        return "check the address and the network, then try again"

    def arrow(self) -> pafs.FileSystem:
        """pyarrow's own client of the bucket, for Ray: obstore's fsspec face refuses the buffers that pyarrow writes.

        Paths on it begin with the bucket's name.

        Raises:
            ValueError: it is the memory of this process, which Ray's workers do not see.
        """
        config = self.arguments.get("config", {})
        endpoint = config.get("endpoint") or config.get("base_url") or ""
        scheme, _, host = endpoint.partition("://")
        options: dict[str, Any] = {"scheme": scheme, "endpoint_override": host} if endpoint else {}
        kind = SCHEMES.get(self.address.scheme)
        if kind == "s3":
            keys = {"access_key": config.get("access_key_id"), "secret_key": config.get("secret_access_key")}
            patience = pafs.AwsStandardS3RetryStrategy(max_attempts=RETRY["max_retries"])
            options |= {**keys, "region": config.get("region"), "retry_strategy": patience}
            return pafs.S3FileSystem(anonymous="skip_signature" in config, **options)
        if kind == "gs":
            return pafs.GcsFileSystem(anonymous="skip_signature" in config, **options)
        if kind is None:
            raise ValueError(f"memory://{self.address.bucket} is seen by this process only; use another storage root")
        account = config.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        account = account or self.address.bucket.rpartition("@")[2].partition(".")[0]
        return pafs.AzureFileSystem(
            account, account_key=config.get("account_key") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
        )


class _Object(io.RawIOBase):
    """An object of which parts are read; the first request brings its beginning and its size."""

    def __init__(self, bucket: Bucket, path: str) -> None:
        self._bucket, self._path, self._at = bucket, path, 0
        try:
            with _os_errors(path):
                found = bucket.store.get(path, options={"range": (0, HEAD_BYTES)})
                self._head, self._size = found.bytes().to_bytes(), found.meta["size"]
        except OSError:
            info = bucket.info(path)
            if info is None or info.size:
                raise
            self._head, self._size = b"", 0  # of an empty object there are no ranges

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
            with _os_errors(self._path):
                data = memoryview(self._bucket.store.get_range(self._path, start=self._at, end=stop))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _arguments(address: Address) -> tuple[str, dict[str, Any]]:
    """URL and settings of a bucket as obstore takes them."""
    if address.scheme == "memory":
        return "", {}
    scheme = SCHEMES[address.scheme]
    config: dict[str, Any] = dict(parse_qsl(address.options, keep_blank_values=True))
    client: dict[str, Any] = dict(CLIENT)
    login, at, bucket = address.bucket.rpartition("@")
    if scheme in ("abfs", "abfss"):  # container@account
        login, at, bucket = "", "", address.bucket
    if login == "anonymous" or config.pop("anonymous", "").lower() in ("true", "1"):
        config["skip_signature"] = True
    elif at:
        key, _, secret = login.partition(":")
        config |= {"access_key_id": unquote(key), "secret_access_key": unquote(secret)}
    endpoint, protocol = config.pop("endpoint_override", ""), config.pop("scheme", "https")
    if endpoint:
        endpoint = endpoint if "://" in endpoint else f"{protocol}://{endpoint}"
    elif scheme == "s3":
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    if endpoint:
        config["base_url" if scheme == "gs" else "endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    arguments: dict[str, Any] = {"config": config, "client_options": client}
    if scheme == "s3":
        _complete_s3(bucket, arguments)
    return f"{scheme}://{bucket}", arguments


def _complete_s3(bucket: str, arguments: dict[str, Any]) -> None:
    """Add what obstore does not look for by itself: AWS profiles, and the region of a bucket on AWS.

    Raises:
        OSError: the region is not given and cannot be asked for.
    """
    config = arguments["config"]
    if not (config.keys() & {"access_key_id", "skip_signature"} or any(os.environ.get(name) for name in _NO_PROFILE)):
        files = (os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config")
        has_profile = os.environ.get("AWS_PROFILE") or any(os.path.exists(os.path.expanduser(file)) for file in files)
        if has_profile and find_spec("boto3"):
            arguments["credential_provider"] = provider = _Profile()
            config |= {} if "region" in config else provider.config
    if not ("region" in config or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        S3Store(bucket, **arguments)  # tells of options that it does not know before the network is asked
        config["region"] = "us-east-1" if "endpoint" in config else pafs.resolve_s3_region(bucket)


class _Profile:
    """Keys from an AWS profile, by boto3; pickles, and asks again."""

    def __init__(self) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        self._provider = Boto3CredentialProvider()
        self.config = self._provider.config

    def __reduce__(self) -> tuple[type[_Profile], tuple[()]]:
        return _Profile, ()

    def __call__(self) -> Any:
        return self._provider()


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
        raise OSError(errno.EIO, reason(error), path) from None


def reason(error: BaseException) -> str:
    """The cause that a server or obstore names, on one line."""
    text = str(error)
    if found := re.search(r"<Code>(\w+)</Code>.*?<Message>([^<]*)", text, re.DOTALL):
        return " ".join(f"{found[1]}: {found[2]}".split())
    line = (text or type(error).__name__).splitlines()[0]
    return re.sub(r" in [\d.]+.?s(, after .*?retry_timeout: \w+)?(?=\s+-)", "", line).strip(" :")
