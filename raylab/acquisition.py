"""What makes a strategy: the row of numbers of Eq. 4, and the table of the strategies by name.

Imports no array library, so that a configuration is read without one.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from raylab.errors import ConfigError, nearest

PREDICTED_CLASS = "predicted_class"
"""Column of the region table: the class that most of a region's pixels are predicted as."""


@dataclass(frozen=True)
class Acquisition:
    """A strategy, as a row of numbers.

    Attributes:
        uncertainty: lambda_u of Eq. 4.
        feature: lambda_f of Eq. 4.
        spatial: lambda_s of Eq. 4.
        random: share of the batch that is drawn uniformly at random, after the rest is picked by the potential.
            Of k regions floor(random * k) are drawn, so of an odd batch Entropy+Random takes one more by entropy.
        distance: the spatial distance, "piecewise" (Eq. 6) or "linear" (Eq. 5).
        tau: radius of the neighbourhood of Eq. 6 in pixels; None is the region size N.
        a: distance within tau in one image (Eq. 6).
        b: distance beyond tau in one image (Eq. 6).
        c: distance across images (Eq. 6).
        p: which L_p norm measures the distance of two centres, 1 or more, may be infinite.
        set_function: "max_min" (Algorithm 1) or "max_sum" (the greedy of Borodin et al.).
        map: which per-pixel map the uncertainty is the region's mean of; selection only sees its numbers.
        class_balanced: weight the scaled uncertainty of a region whose pixels are mostly predicted as class c by
            exp(-p_c), p_c being the share of such regions in the pool (Cai et al., CVPR 2021).

    Raises:
        ConfigError: a field has a value that cannot work; the message names it.
    """

    uncertainty: float = 0.0
    feature: float = 0.0
    spatial: float = 0.0
    random: float = 0.0
    distance: Literal["piecewise", "linear"] = "piecewise"
    tau: float | None = None
    a: float = 1.0
    b: float = 2.0
    c: float = 2.0
    p: float = math.inf
    set_function: Literal["max_min", "max_sum"] = "max_min"
    map: str = "entropy"
    class_balanced: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool):
                # 1 and 1.0 are one number and must be one identity, so they are stored alike.
                object.__setattr__(self, field.name, float(value))
        for name in ("uncertainty", "feature", "spatial", "a", "b", "c"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"acquisition.{name}: {value} is not a finite number of 0 or more")
        if not 0 <= self.random <= 1:
            raise ConfigError(f"acquisition.random: {self.random} is not a share between 0 and 1")
        if self.tau is not None and not self.tau >= 0:
            raise ConfigError(f"acquisition.tau: {self.tau} is not a number of pixels")
        if not self.p >= 1:
            raise ConfigError(f"acquisition.p: {self.p} is less than 1, so it is no norm")
        choices = {"distance": ("piecewise", "linear"), "set_function": ("max_min", "max_sum")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"acquisition.{name}: {getattr(self, name)!r} is none of {', '.join(known)}")
        if max(self.b, self.c) == 0:
            raise ConfigError("acquisition.b: b and c are both 0, so the spatial distance has no scale")
        if self.random < 1 and max(self.uncertainty, self.feature, self.spatial) == 0:
            raise ConfigError("acquisition.uncertainty: all weights are 0, so there is nothing to select by")
        if self.spatial > 0 and self.distance == "piecewise" and not self.is_metric:
            warnings.warn(
                f"acquisition: a={self.a}, b={self.b}, c={self.c} is no metric (a <= b <= 2a and c >= b); "
                "the approximation guarantees of the greedy do not hold",
                stacklevel=3,
            )

    def to_json(self) -> dict[str, float | str | bool | None]:
        """The fields that differ from their defaults, as plain JSON values: equal for equal acquisitions.

        Infinity, which JSON has no number for, is the text "inf". A field that a later version adds is left out as
        long as it has its default, so it changes nothing that was computed before.

        >>> Acquisition(uncertainty=1, spatial=0.5, tau=math.inf).to_json()
        {'uncertainty': 1.0, 'spatial': 0.5, 'tau': 'inf'}
        """
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: "inf" if value == math.inf else value for name, value in changed.items()}

    @property
    def is_metric(self) -> bool:
        """Whether Eq. 6 with this (a, b, c) is a metric."""
        return self.a <= self.b <= 2 * self.a and self.c >= self.b

    @property
    def needs_uncertainty(self) -> bool:
        """Whether `select` must be given the regions' uncertainty."""
        return self.random < 1 and self.uncertainty > 0

    @property
    def maps(self) -> tuple[str, ...]:
        """Columns of the region table, beside the features, that `select` must be given."""
        if not self.needs_uncertainty:
            return ()
        return (self.map, PREDICTED_CLASS) if self.class_balanced else (self.map,)

    @property
    def needs_features(self) -> bool:
        """Whether `select` must be given the regions' features."""
        return self.random < 1 and self.feature > 0

    @property
    def needs_spatial(self) -> bool:
        """Whether the spatial distances take part."""
        return self.random < 1 and self.spatial > 0

    @property
    def is_sum(self) -> bool:
        """Whether the set function is Max-Sum."""
        return self.set_function == "max_sum"


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
        hint = nearest(name, STRATEGIES) or "; raylab strategies lists them"
        raise ConfigError(f"strategy: {name!r} is not known{hint}")
    known = [f.name for f in fields(Acquisition)]
    for field in overrides:
        if field not in known:
            hint = nearest(field, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"acquisition.{field}: no such field{hint}")
    return replace(STRATEGIES[name], **overrides)
