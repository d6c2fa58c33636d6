"""JSON files that carry the SHA-256 of what they say, so that a bit that changed is noticed when they are read.

    {"record": ..., "files": ..., "sha256": "5f0c..."}

The digest is over the values, not over the bytes: a file that an editor indented anew says the same.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from raylab.errors import DamagedError, MissingError, StoreError
from raylab.files import Folder

DIGEST = "sha256"
_MARK = b"\nraylab-sha256:"


def json_digest(value: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 of a JSON object, whatever the order of its keys.

    Args:
        value: plain JSON values.

    Raises:
        ValueError: a number in it is not finite.

    Example:
        >>> json_digest({"a": 1, "b": [2.5]}) == json_digest({"b": [2.5], "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(store: Folder, path: str, value: dict[str, Any], create: bool = False) -> str:
    """Write a JSON object with its digest.

    Args:
        store: that it lies in.
        path: of the file.
        value: plain JSON values.
        create: write it only where there is none.

    Returns:
        The digest.

    Raises:
        ExistsError: with `create`, there is one.
        StoreError: it cannot be written, or holds a number that is not finite.
    """
    try:
        digest = json_digest(value)
    except ValueError as error:
        raise StoreError(f"{store.uri_of(path)} is not written: a number in it is not finite ({error})") from None
    store.write_json(path, {**value, DIGEST: digest}, create)
    return digest


def read_sealed(store: Folder, path: str) -> dict[str, Any]:
    """Read a JSON object, and compare it with its digest.

    Args:
        store: that it lies in.
        path: of the file.

    Returns:
        The object without the digest.

    Raises:
        MissingError: it is not there.
        DamagedError: it is not what was written.
        StoreError: it cannot be read.
    """
    return read_with_digest(store, path)[0]


def read_with_digest(store: Folder, path: str) -> tuple[dict[str, Any], str]:
    """`read_sealed`, and the digest."""
    uri = store.uri_of(path)
    try:
        value = store.read_json(path)
    except MissingError:
        raise
    except DamagedError as error:
        raise DamagedError(f"{uri} is damaged ({error.reason}); restore it", error.reason) from None
    return unsealed(value, uri)


def unsealed(value: Any, uri: str) -> tuple[dict[str, Any], str]:
    """A JSON object without its digest, once they agree, and the digest.

    Args:
        value: as JSON was read; may be anything.
        uri: of its file, for the message.

    Raises:
        DamagedError: it is not what was written.
    """
    found = value.get(DIGEST) if isinstance(value, dict) else None
    value = {key: item for key, item in value.items() if key != DIGEST} if isinstance(value, dict) else {}
    try:
        same = found is not None and json_digest(value) == found
    except ValueError:  # NaN, which Python reads and raylab never writes
        same = False
    if not same:
        reason = "it carries no digest" if found is None else "what it says has changed since it was written"
        raise DamagedError(f"{uri} is damaged ({reason}); restore it", reason)
    return value, str(found)


def seal_bytes(content: bytes) -> bytes:
    """Bytes with their SHA-256 behind them.

    Example:
        >>> unseal_bytes(seal_bytes(b"state"), "file")
        b'state'
    """
    return content + _MARK + hashlib.sha256(content).hexdigest().encode()


def unseal_bytes(data: bytes, uri: str) -> bytes:
    """Bytes out of `seal_bytes`, compared with their SHA-256.

    Args:
        data: with the digest.
        uri: of their file, for the message.

    Raises:
        DamagedError: they are not what was sealed.
    """
    content, digest = data[: -len(_MARK) - 64], data[-len(_MARK) - 64 :]
    if digest != _MARK + hashlib.sha256(content).hexdigest().encode():
        reason = "its bytes are not those that were written"
        raise DamagedError(f"{uri} is damaged ({reason}); delete it", reason)
    return content
