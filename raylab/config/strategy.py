"""The section of a configuration that says which strategy, derived from the fields of an acquisition."""

from __future__ import annotations

from typing import Annotated, Any, Optional, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model, model_validator

from raylab.acquisition import FIELDS, Acquisition, problems_of, shortest_text, split_changes, strategy, write_changes
from raylab.config.sections import Frozen
from raylab.errors import ConfigError


class _Named(Frozen):
    name: str = "entropy+spatial"
    """A strategy's name, with changes if wanted: `entropy+spatial,tau=64`; `raylab strategies` lists them."""


def _changeable() -> dict[str, Any]:
    """Every field of an acquisition, of the same type and description, None where it is not changed."""
    hints = get_type_hints(Acquisition, include_extras=True)
    described = Acquisition.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: (Optional[hints[name]], Field(None, description=described[name].description)) for name in FIELDS}  # noqa: UP045


_Changes: Any = create_model("_Changes", __base__=_Named, **_changeable())


class StrategyConfig(_Changes, _Named):
    """An acquisition strategy: a row of the table in raylab.acquisition, and what to change in it.

    Every field of `raylab.acquisition.Acquisition` is a field here; None leaves it as the table has it.

    Example:
        >>> StrategyConfig(name="entropy+spatial", tau=64, map="margin").label
        'margin+spatial,tau=64'
        >>> StrategyConfig.model_validate("margin+spatial,tau=64.0").acquisition().tau
        64.0
    """

    model_config = ConfigDict(validate_default=False)

    pca: Annotated[int, Field(ge=0)] | None = None
    """Dimension of the region features, in place of `scoring.pca`."""

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, values: Any) -> Any:
        """Take `name,field=value` apart, whether it stands alone or for the name."""
        values = {"name": values} if isinstance(values, str) else values
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            return values
        name, changes = split_changes(values["name"])
        for field in changes:
            if field == "name":
                raise ConfigError(f"strategies: {values['name']!r}: the name comes first, without name=")
            if values.get(field) is not None:
                raise ConfigError(f"strategies: {values['name']!r}: {field} is given twice; give it once")
        return {**values, "name": name, **changes}

    def acquisition(self) -> Acquisition:
        """The row of numbers this names.

        Raises:
            ConfigError: the name is unknown or a value cannot work.
        """
        return strategy(self.name, **{name: value for name in FIELDS if (value := getattr(self, name)) is not None})

    def without_pca(self) -> Acquisition:
        """As `acquisition`, for a selection that takes the features as they are given.

        Raises:
            ConfigError: `pca` is set, or as `acquisition`.
        """
        if self.pca is not None:
            raise ConfigError(
                f"strategy: pca={self.pca} has no effect here: a study reduces the features where it computes them, "
                "and this selection takes them as they are; leave pca out, and reduce the features beforehand"
            )
        return self.acquisition()

    @property
    def label(self) -> str:
        """Name for legends and folders, e.g. `entropy+spatial,tau=64`: the same, however the acquisition is written.

        Reading it gives the same acquisition.

        Raises:
            ConfigError: as `acquisition`.
        """
        text = shortest_text(self.name, self.acquisition())
        return text if self.pca is None else write_changes(text, {"pca": self.pca})


def parse_strategy(text: str) -> StrategyConfig:
    """Read `name` or `name,tau=64,map=margin`.

    Raises:
        ConfigError: unknown name or field, or a value that cannot work.
    """
    try:
        config = StrategyConfig.model_validate(text)
    except ValidationError as error:
        raise ConfigError("\n".join(f"strategies: {text!r}: {line}" for line in problems_of(error))) from None
    config.acquisition()
    return config
