from __future__ import annotations

import random

import pytest
import torch

from raylab.errors import DamagedError
from raylab.training.checkpoint import decode_state, encode_state

STATE = {"model": {"weight": torch.arange(40.0)}, "done": 3, "losses": [0.5, 0.25, 0.125]}


def test_a_state_comes_back() -> None:
    state = decode_state(encode_state(STATE), "state.pt")
    assert state["done"] == 3
    assert state["losses"] == STATE["losses"]
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])


def test_any_flipped_bit_and_any_cut_is_noticed() -> None:
    data, rng = encode_state(STATE), random.Random(0)
    for _ in range(200):
        flipped, at = bytearray(data), rng.randrange(8 * len(data))
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(DamagedError, match=r"^state\.pt is damaged \("):
            decode_state(bytes(flipped), "state.pt")
    for cut in (0, 1, 64, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(DamagedError):
            decode_state(data[:cut], "state.pt")
