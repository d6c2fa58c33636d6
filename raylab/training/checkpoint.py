"""The state that a training resumes from, as bytes that carry their SHA-256."""

from __future__ import annotations

import io
from typing import Any

import torch

from raylab.errors import DamagedError
from raylab.sealed import seal_bytes, unseal_bytes

STATE = "state.pt"
"""Name of its file."""


def encode_state(state: dict[str, Any]) -> bytes:
    """A state as bytes.

    Args:
        state: tensors and plain values, as `raylab.training.step.train` reports it.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return seal_bytes(buffer.getvalue())


def decode_state(data: bytes, uri: str) -> dict[str, Any]:
    """A state out of its bytes, on the CPU.

    Args:
        data: by `encode_state`.
        uri: of its file, for the message.

    Raises:
        DamagedError: they are not what was written.
    """
    content = unseal_bytes(data, uri)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many kinds for bytes of another version
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedError(f"{uri} is no readable checkpoint ({reason}); delete it", reason) from None
    return state
