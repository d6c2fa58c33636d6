"""The acquisition's numbers, and what they are as JSON."""

from __future__ import annotations

import json
import math

from raylab.acquisition import Acquisition, strategy


def test_json_holds_what_differs_from_the_defaults() -> None:
    assert strategy("entropy").to_json() == {"uncertainty": 1.0}
    assert strategy("entropy", tau=None, p=math.inf, map="entropy", a=1).to_json() == {"uncertainty": 1.0}
    assert Acquisition(feature=1.0, p=1, class_balanced=True).to_json() == {
        "feature": 1.0,
        "p": 1.0,
        "class_balanced": True,
    }


def test_json_of_equal_acquisitions_is_the_same_text() -> None:
    ways = [strategy("entropy+spatial", tau=64), strategy("entropy+spatial", tau=64.0, c=2, random=-0.0)]
    assert len({json.dumps(way.to_json(), allow_nan=False) for way in ways}) == 1
