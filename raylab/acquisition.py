"""What makes a strategy: the row of numbers of Eq. 4, and the table of the strategies by name.

Imports no array library, so that a configuration is read without one.
"""

from __future__ import annotations

import functools
import math
import re
import textwrap
import warnings
from dataclasses import fields, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from raylab.errors import ConfigError, nearest, no_such_field, what_is_wrong
from raylab.plugins import Registry

PREDICTED_CLASS = "predicted_class"
"""Column of the region table: the class that most of a region's pixels are predicted as."""


def _known_norm(p: float) -> float:
    if p not in (1, 2, math.inf):
        raise ValueError(f"must be 1, 2 or inf, the order of the norm of two centres' distance (got {p:g})")
    return p


# -0.0 becomes 0.0: one number must be one text, in labels and identities.
Weight = Annotated[float, Field(ge=0), AfterValidator(abs)]
"""A number of 0 or more."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False))
class Acquisition:
    """A strategy, as a row of numbers.

    A field is declared here alone: configuration, command line and `raylab strategies` take its name, values, default
    and description from this class. Values may be texts, as a command line gives them.

    Raises:
        ConfigError: a field is unknown or has a value that cannot work; the message names it.

    Example:
        >>> Acquisition(uncertainty=1, spatial=0.5).changes()
        {'uncertainty': 1.0, 'spatial': 0.5}
    """

    uncertainty: Weight = 0.0
    """lambda_u of Eq. 4."""
    feature: Weight = 0.0
    """lambda_f of Eq. 4."""
    spatial: Weight = 0.0
    """lambda_s of Eq. 4."""
    random: Annotated[Weight, Field(le=1)] = 0.0
    """Share of the batch that is drawn uniformly at random, after the rest is picked by the potential. Of k regions
    floor(random * k) are drawn, so of an odd batch Entropy+Random takes one more by entropy."""
    distance: Literal["piecewise", "linear"] = "piecewise"
    """The spatial distance: `piecewise` (Eq. 6) or `linear` (Eq. 5)."""
    tau: Annotated[float, Field(ge=0), AfterValidator(abs)] | None = None
    """Radius of the neighbourhood of Eq. 6 in pixels; when not given, N."""
    a: Weight = 1.0
    """Distance of two regions of one image not farther apart than tau (Eq. 6)."""
    b: Weight = 2.0
    """Distance of two regions of one image farther apart than tau (Eq. 6)."""
    c: Weight = 2.0
    """Distance of two regions of different images (Eq. 6)."""
    p: Annotated[float, Field(allow_inf_nan=True), AfterValidator(_known_norm)] = math.inf
    """Order of the norm that measures the distance of two centres: 1, 2 or inf."""
    set_function: Literal["max_min", "max_sum", "max_sum_raw"] = "max_min"
    """`max_min` (Algorithm 1), `max_sum` (the greedy of Borodin et al., the sum of the distances scaled to [0, 1] like
    every term) or `max_sum_raw` (the same with the sum as it is)."""
    map: Annotated[str, Field(min_length=1)] = "entropy"
    """The per-pixel map that a region's uncertainty is the mean of; selection only sees its numbers."""
    class_balanced: bool = False
    """Weight the scaled uncertainty of a region whose pixels are mostly predicted as class c by exp(-p_c), p_c being
    the share of such regions in the pool (Cai et al., CVPR 2021)."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_by_field(cls, values: Any, handler: Any) -> Any:
        try:
            return handler(values)
        except ValidationError as error:
            raise ConfigError("\n".join(f"acquisition.{line}" for line in problems_of(error))) from None

    def __post_init__(self) -> None:
        if max(self.b, self.c) == 0:
            raise ConfigError("acquisition.b: b and c are both 0, so the spatial distance has no scale")
        if self.random < 1 and max(self.uncertainty, self.feature, self.spatial) == 0:
            raise ConfigError("acquisition.uncertainty: all weights are 0, so there is nothing to select by")
        if self.spatial > 0 and self.distance == "piecewise" and not self.is_metric:
            warnings.warn(
                f"acquisition: a={self.a}, b={self.b}, c={self.c} is no metric (a <= b <= 2a and c >= b); "
                "the approximation guarantees of the greedy do not hold",
                stacklevel=4,  # past pydantic's frames, to where the acquisition is made
            )

    def effective(self, region_size: int) -> Acquisition:
        """The same selection, with the default in every field that it does not use.

        Args:
            region_size: N, which `tau` is where it is None.

        >>> Acquisition(uncertainty=1, tau=64, p=2).effective(32) == Acquisition(uncertainty=1)
        True
        """
        unused: list[str] = []
        if self.random == 1:
            unused += ["uncertainty", "feature", "spatial", "set_function"]
        if not self.needs_uncertainty:
            unused += ["map", "class_balanced"]
        if not self.needs_spatial:
            unused += ["distance", "p"]
        if not self.needs_spatial or self.distance == "linear":
            unused += ["tau", "a", "b", "c"]
        if self.tau == region_size:
            unused.append("tau")
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self) if field.name in unused}
        same = all(getattr(self, name) == value for name, value in defaults.items())
        return self if same else replace(self, **defaults)  # what is made anew warns anew

    def changes(self, base: Acquisition | None = None) -> dict[str, Any]:
        """The fields that differ from those of another acquisition; when None, from the defaults."""
        before = {f.name: f.default if base is None else getattr(base, f.name) for f in fields(self)}
        return {name: getattr(self, name) for name, value in before.items() if getattr(self, name) != value}

    def to_json(self) -> dict[str, float | str | bool | None]:
        """The fields that differ from their defaults, as plain JSON values: equal for equal acquisitions.

        A field that a later version adds is left out as long as it has its default, so it changes nothing that was
        computed before; neither does p = inf, which JSON has no number for.

        >>> Acquisition(uncertainty=1, spatial=0.5, p=2).to_json()
        {'uncertainty': 1.0, 'spatial': 0.5, 'p': 2.0}
        """
        return self.changes()

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
        """Whether the set function is a Max-Sum."""
        return self.set_function != "max_min"

    def summands(self, labelled: int, picks: int) -> int:
        """What Max-Sum divides its sums by: how many distances they can hold in a round, or 1 where they stay raw.

        Args:
            labelled: |L_t|.
            picks: of the round by potential.
        """
        return labelled + picks if self.set_function == "max_sum" else 1


FIELDS = tuple(f.name for f in fields(Acquisition))
"""Names of what can be changed in a strategy."""

_ROWS = {
    "random": Acquisition(random=1.0),
    "entropy": Acquisition(uncertainty=1.0),
    "entropy+random": Acquisition(uncertainty=1.0, random=0.5),
    "core-set": Acquisition(feature=1.0),
    "feature+spatial": Acquisition(feature=1.0, spatial=1.0),
    "entropy+feature": Acquisition(uncertainty=1.0, feature=1.0),
    "entropy+spatial": Acquisition(uncertainty=1.0, spatial=1.0),
    "entropy+spatial+feature": Acquisition(uncertainty=1.0, feature=1.0, spatial=1.0),
    "bald": Acquisition(uncertainty=1.0, map="bald"),
    "margin": Acquisition(uncertainty=1.0, map="margin"),
    "least-confidence": Acquisition(uncertainty=1.0, map="least_confidence"),
    "vote-entropy": Acquisition(uncertainty=1.0, map="vote_entropy"),
}
STRATEGIES = Registry("strategy", _ROWS)
"""Every strategy that is not another one with fields changed; plugins add theirs by `register_strategy`."""

ALIASES = {
    "entropy+spatial-linear": "entropy+spatial,distance=linear",
    "feature+spatial-linear": "feature+spatial,distance=linear",
    "entropy+spatial+feature-linear": "entropy+spatial+feature,distance=linear",
    "entropy+spatial-maxsum": "entropy+spatial,set_function=max_sum",
    "entropy+feature-maxsum": "entropy+feature,set_function=max_sum",
    "core-set-maxsum": "core-set,set_function=max_sum",
    "entropy+spatial+feature-maxsum": "entropy+spatial+feature,set_function=max_sum",
    "entropy+spatial-linear-maxsum": "entropy+spatial,distance=linear,set_function=max_sum",
    "bald+spatial": "entropy+spatial,map=bald",
    "margin+spatial": "entropy+spatial,map=margin",
    "least-confidence+spatial": "entropy+spatial,map=least_confidence",
    "vote-entropy+spatial": "entropy+spatial,map=vote_entropy",
    "entropy-balanced": "entropy,class_balanced=true",
    "margin-balanced": "margin,class_balanced=true",
    "entropy-balanced+spatial": "entropy+spatial,class_balanced=true",
}
"""Other names of strategies with fields changed."""


def register_strategy(name: str, acquisition: Acquisition) -> None:
    """Add a strategy, in a module that the configuration names under `plugins` or a package as an entry point.

    Args:
        name: letters, digits and `+ - _ .`; it is part of file names and of texts such as `name,tau=64`.
        acquisition: its numbers.

    Raises:
        ConfigError: the name cannot be one, or another strategy has it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+_.-]*", name):
        raise ConfigError(f"strategy: {name!r} cannot be a name; use letters and digits, and + - _ . between them")
    if name in ALIASES:
        raise ConfigError(f"strategy: {name!r} is another name of {ALIASES[name]!r}; choose another name")
    STRATEGIES.register(name, acquisition)


def split_changes(text: str) -> tuple[str, dict[str, str]]:
    """A strategy's name, and what is changed in it.

    >>> split_changes("entropy+spatial, tau=64,map=margin")
    ('entropy+spatial', {'tau': '64', 'map': 'margin'})

    Raises:
        ConfigError: a change is not of the form field=value, or a field is given twice.
    """
    name, *parts = (part.strip() for part in text.split(","))
    changes: dict[str, str] = {}
    for part in parts:
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not (field and equals and value):
            raise ConfigError(f"strategies: {text!r}: {part!r} is not of the form field=value")
        if field in changes:
            raise ConfigError(f"strategies: {text!r}: {field} is given twice; give it once")
        changes[field] = value
    return name, changes


def strategy(text: str, **changes: Any) -> Acquisition:
    """A strategy by its name, with fields changed in the text or beside it.

    Args:
        text: a name of `STRATEGIES` or `ALIASES`, with changes if wanted: `entropy+spatial,tau=64`.
        **changes: fields of `Acquisition`.

    Raises:
        ConfigError: the name or a field is not known (the message names the nearest that is), or a value cannot work.
    """
    name, written = split_changes(text)
    if name in ALIASES:
        base = strategy(ALIASES[name])
    elif name in STRATEGIES:
        base = STRATEGIES[name]
    else:
        hint = nearest(name, [*STRATEGIES, *ALIASES]) or "; raylab strategies lists them"
        raise ConfigError(f"strategy: {name!r} is not known{hint}")
    return replace(base, **(written | changes))


@functools.cache
def _own() -> dict[str, Acquisition]:
    """Raylab's own strategies under all their names."""
    return {name: strategy(name) for name in (*_ROWS, *ALIASES)}


def shortest_text(name: str, acquisition: Acquisition) -> str:
    """The text that stands for an acquisition in legends and folders, however it was written.

    It is the name that needs the fewest changes, of raylab's own or a plugin's that was used. Of two such, it is the
    one with the same terms above 0, then the first in the table.

    Args:
        name: of the strategy that was used; its changes are in the acquisition.
        acquisition: to be named.

    Example:
        >>> shortest_text("entropy", Acquisition(uncertainty=1, spatial=1, map="margin", tau=64.0))
        'margin+spatial,tau=64'
    """
    known = _own() if name in _own() else {name: strategy(name)}
    terms = [f.name for f in fields(Acquisition) if isinstance(f.default, float)]

    def distance(other: str) -> tuple[int, int]:
        base = known[other]
        return len(acquisition.changes(base)), sum(
            (getattr(acquisition, n) > 0) != (getattr(base, n) > 0) for n in terms
        )

    near = min(known, key=distance)
    return write_changes(near, acquisition.changes(known[near]))


def write_changes(name: str, changes: dict[str, Any]) -> str:
    """The text that `split_changes` reads; numbers exactly, and without a needless `.0`."""
    return ",".join([name, *(f"{field}={value_text(value)}" for field, value in changes.items())])


def value_text(value: Any) -> str:
    """A field's value as a command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def describe() -> list[str]:
    """The table of strategies for people, a line each: what differs from the defaults, other names, and the fields."""
    lines = ["strategies, by what differs from the defaults below:"]
    for name, row in STRATEGIES.items():
        lines.append(f"  {name:<32} " + ", ".join(f"{k}={value_text(v)}" for k, v in row.changes().items()))
    lines += ["", "other names:", *(f"  {name:<32} {text}" for name, text in ALIASES.items())]
    lines += ["", "fields, each of which can be changed: entropy+spatial,tau=64,map=margin"]
    described = Acquisition.__pydantic_fields__  # type: ignore[attr-defined]
    for field in fields(Acquisition):
        default = "N" if field.default is None else value_text(field.default)
        text = (described[field.name].description or "").replace("\n", " ")
        lines += textwrap.wrap(
            f"{field.name:<15} {default:<10} {text}", 118, initial_indent="  ", subsequent_indent=" " * 29
        )
    return lines


def problems_of(error: ValidationError) -> list[str]:
    """A line a field that pydantic refused: the field, what is wrong, and the nearest that would do."""
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else "text"
        if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            lines.append(f"{name}: {no_such_field(name, FIELDS)}")
        else:
            lines.append(f"{name}: {what_is_wrong(problem)}")
    return lines
