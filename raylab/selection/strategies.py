"""The strategies by name. Adding one is a line in this table."""

from __future__ import annotations

import difflib
from dataclasses import fields, replace
from typing import Any

from raylab.errors import ConfigError
from raylab.selection.objective import Acquisition

STRATEGIES: dict[str, Acquisition] = {
    "random": Acquisition(random=1.0),
    "entropy": Acquisition(uncertainty=1.0),
    "entropy+random": Acquisition(uncertainty=1.0, random=0.5),
    "core-set": Acquisition(feature=1.0),
    "feature+spatial": Acquisition(feature=1.0, spatial=1.0),
    "entropy+feature": Acquisition(uncertainty=1.0, feature=1.0),
    "entropy+spatial": Acquisition(uncertainty=1.0, spatial=1.0),
    "entropy+spatial+feature": Acquisition(uncertainty=1.0, feature=1.0, spatial=1.0),
    "entropy+spatial-linear": Acquisition(uncertainty=1.0, spatial=1.0, distance="linear"),
    "feature+spatial-linear": Acquisition(feature=1.0, spatial=1.0, distance="linear"),
    "entropy+spatial+feature-linear": Acquisition(uncertainty=1.0, feature=1.0, spatial=1.0, distance="linear"),
    "entropy+spatial-maxsum": Acquisition(uncertainty=1.0, spatial=1.0, set_function="max_sum"),
    "entropy+feature-maxsum": Acquisition(uncertainty=1.0, feature=1.0, set_function="max_sum"),
    "core-set-maxsum": Acquisition(feature=1.0, set_function="max_sum"),
    "entropy+spatial+feature-maxsum": Acquisition(uncertainty=1.0, feature=1.0, spatial=1.0, set_function="max_sum"),
    "entropy+spatial-linear-maxsum": Acquisition(
        uncertainty=1.0, spatial=1.0, distance="linear", set_function="max_sum"
    ),
    "bald": Acquisition(uncertainty=1.0, map="bald"),
    "bald+spatial": Acquisition(uncertainty=1.0, spatial=1.0, map="bald"),
    "margin": Acquisition(uncertainty=1.0, map="margin"),
    "margin+spatial": Acquisition(uncertainty=1.0, spatial=1.0, map="margin"),
    "least-confidence": Acquisition(uncertainty=1.0, map="least_confidence"),
    "least-confidence+spatial": Acquisition(uncertainty=1.0, spatial=1.0, map="least_confidence"),
    "vote-entropy": Acquisition(uncertainty=1.0, map="vote_entropy"),
    "vote-entropy+spatial": Acquisition(uncertainty=1.0, spatial=1.0, map="vote_entropy"),
    "entropy-balanced": Acquisition(uncertainty=1.0, class_balanced=True),
    "margin-balanced": Acquisition(uncertainty=1.0, map="margin", class_balanced=True),
    "entropy-balanced+spatial": Acquisition(uncertainty=1.0, spatial=1.0, class_balanced=True),
}
"""Every known strategy. The uncertainties are rows over another per-pixel map: the map is computed where regions are
scored, the selection sees numbers."""


def strategy(name: str, **overrides: Any) -> Acquisition:
    """The strategy of that name, with some of its fields replaced.

    Args:
        name: a key of `STRATEGIES`.
        **overrides: fields of `Acquisition`.

    Raises:
        ConfigError: the name, or a field, is not known; the message names the nearest that is.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"strategy: {name!r} is not known{_nearest(name, list(STRATEGIES))}")
    known = [f.name for f in fields(Acquisition)]
    for field in overrides:
        if field not in known:
            raise ConfigError(f"acquisition.{field}: no such field{_nearest(field, known)}")
    return replace(STRATEGIES[name], **overrides)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.0)
    return f"; did you mean {close[0]!r}?" if close else ""
