"""What a run is: its configuration with every name resolved to the numbers and bytes it stands for, and a hash over it.

A row of the strategy table may be edited and a file replaced; a name would not tell. So the identity is over numbers
and contents, over those fields alone that differ from their default (a new optional field makes no run another), and
over nothing of where a run lies or how it is computed (docs/definitions.md, "Identity").
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from raylab.acquisition import Acquisition
from raylab.config import DataConfig, RunConfig
from raylab.plugins import plugin_digest

SCHEMA = 3
"""Part of every identity. Raise it when a default or the meaning of a field changes: then every run is another one."""

_ELSEWHERE = {"name", "compute", "storage", "tracking", "experiment", "plugins", "data", "strategy", "pretraining"}
"""Fields of a run that decide nothing, or whose resolved form takes their place."""

ROWS = "plugin_rows"
_ARCHITECTURE, _DATA, _MAP, _PRETRAINING = "architecture", "data set", "map", "pre-training data set"


@dataclass(frozen=True)
class Inputs:
    """What a run reads beside its configuration, by content.

    Attributes:
        data: fingerprint of the data set.
        weights: hexadecimal SHA-256 of the file that `model.weights` names; None where weights are asked for by name
            (`imagenet`, `hub:NAME`, `random`).
        pretraining_data: fingerprint of the data set of the pre-training; None where there is none.
    """

    data: str
    weights: str | None = None
    pretraining_data: str | None = None

    @classmethod
    def unread(cls, config: RunConfig) -> Inputs:
        """Stand-ins for data and weights that were not read: the identities they give are those of no stored run."""
        other = config.pretraining
        return cls(
            f"unread {_name_of(config.data)}",
            None if config.model.weights_by_name else f"unread {config.model.weights}",
            f"unread {_name_of(other.data)}" if other.iterations else None,
        )


@dataclass(frozen=True)
class ResolvedRun:
    """A run and what it is; pickles small and is handed to everything that computes or reads a run.

    Attributes:
        config: of the run.
        acquisition: the strategy's numbers.
        inputs: what it reads.
        label: its name for people, in MLflow and of a new folder, e.g. `entropy+spatial-N32-seed0-1f2e3d4c5b6a`; what
            lies on disk is found by the identity at its end.
        round0_identity: 12 hexadecimal digits over what decides round 0, which all strategies of a (data, N, seed)
            share.
        pretrained_folder: where the model lies that every round starts from; None where there is no pre-training.
        plugin_rows: digests of the rows of plugins that it uses, by what they are: `map risk`, `architecture mine`.
    """

    config: RunConfig
    acquisition: Acquisition
    inputs: Inputs
    label: str
    round0_identity: str
    pretrained_folder: str | None
    plugin_rows: Mapping[str, str] = field(default_factory=dict)

    @property
    def scores_name(self) -> str:
        """Folder of its scores in a round 0 that it shares: those of one PCA and the same maps of plugins."""
        maps = _of_kind(self.plugin_rows, _MAP)
        digest = hashlib.sha256(json.dumps(maps, sort_keys=True).encode()).hexdigest()[:12]
        return f"pca-{self.config.pca}{f'-{digest}' if maps else ''}"

    @property
    def strategy(self) -> str:
        """The strategy's text, as the study named it."""
        return self.label.rpartition(f"-N{self.config.regions.size}-seed")[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What people vary: data, strategy, region_size and seed; tau, a, b, c and p where they count, else None."""
        config, acquisition = self.config, self.acquisition
        spatial = acquisition.needs_spatial
        piecewise = spatial and acquisition.distance == "piecewise"
        tau = config.regions.size if acquisition.tau is None else acquisition.tau
        return {
            "data": config.data.name,
            "strategy": self.strategy,
            "region_size": config.regions.size,
            "seed": config.seed,
            "tau": tau if piecewise else None,
            **{name: getattr(acquisition, name) if piecewise else None for name in ("a", "b", "c")},
            "p": acquisition.p if spatial else None,
        }

    @property
    def identity(self) -> str:
        """12 hexadecimal digits over everything that decides the run's result."""
        return self.label.rpartition("-")[2]


def resolve(config: RunConfig, inputs: Inputs) -> ResolvedRun:
    """Say what a run is.

    Args:
        config: of the run.
        inputs: what it reads.

    Raises:
        ConfigError: the strategy is unknown or has a value that cannot work.
    """
    acquisition = config.acquisition()
    rows = _plugin_rows(config, acquisition)
    facts = run_facts(config, acquisition, inputs, rows)
    identity = _hash_facts("run", facts, config)
    pretraining = _hash_facts("pretraining", pretraining_facts(facts), config)
    return ResolvedRun(
        config=config,
        acquisition=acquisition,
        inputs=inputs,
        label=f"{config.strategy.label}-N{config.regions.size}-seed{config.seed}-{identity}",
        round0_identity=_hash_facts("round0", round0_facts(facts), config),
        pretrained_folder=f"pretrained/{pretraining}" if config.pretraining.iterations else None,
        plugin_rows=rows,
    )


def _plugin_rows(config: RunConfig, acquisition: Acquisition) -> dict[str, str]:
    """Digests of the rows that a run uses and raylab does not ship, as they are now."""
    used = [
        (_ARCHITECTURE, "architecture", config.model.architecture),
        (_DATA, "data set", config.data.name),
        *((_MAP, "map", name) for name in acquisition.maps),
    ]
    if config.pretraining.iterations:
        used.append((_PRETRAINING, "data set", config.pretraining.data.name))
    digests = {f"{what} {name}": plugin_digest(kind, name) for what, kind, name in used}
    return {what: digest for what, digest in digests.items() if digest is not None}


def supervised_folder(run: ResolvedRun, iterations: int | None) -> str:
    """Where the training on all masks lies that starts as the rounds of a run do.

    Args:
        run: whose data, model, training and seed it has.
        iterations: optimiser steps; None are those of a round.
    """
    key = _hash_facts("supervised", supervised_facts(facts_of(run), iterations), run.config)
    return f"supervised/{key}-{iterations or 'as-round'}"


def facts_of(run: ResolvedRun) -> dict[str, Any]:
    """Everything that decides a run's result, as plain JSON values."""
    return run_facts(run.config, run.acquisition, run.inputs, run.plugin_rows)


def run_facts(
    config: RunConfig, acquisition: Acquisition, inputs: Inputs, plugin_rows: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that decides the result of a run, as plain JSON values.

    Args:
        config: of the run.
        acquisition: the strategy's numbers.
        inputs: what it reads.
        plugin_rows: digests of the rows of plugins that it uses.
    """
    facts = _settings(config)
    if config.regions.shape == "grid":
        facts["regions"].pop("compactness")
    if config.training.iterations is not None:
        facts["training"].pop("epochs")
    facts["scoring"]["dropout"] = config.pass_dropout
    if config.passes == 1:
        facts["scoring"].pop("passes")
    # A strategy may have a PCA of its own.
    facts["scoring"].pop("pca")
    facts["pca"] = config.pca
    facts["acquisition"] = _numbers(asdict(acquisition))
    facts["data_fingerprint"] = inputs.data
    facts["weights"] = config.model.weights if inputs.weights is None else f"sha256:{inputs.weights}"
    if config.pretraining.iterations:
        facts["pretraining"] = {
            "iterations": config.pretraining.iterations,
            "data_fingerprint": inputs.pretraining_data,
        }
    return {**facts, ROWS: dict(plugin_rows)}


def round0_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides round 0: everything but the strategy and the later rounds."""
    shared = {key: value for key, value in facts.items() if key not in ("acquisition", "pca")}
    rows = _of_kind(facts[ROWS], _ARCHITECTURE, _DATA, _PRETRAINING)
    return {**shared, "budget": _without(facts["budget"], "rounds"), ROWS: rows}


def pretraining_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the model that every round starts from."""
    shared = {key: facts[key] for key in ("pretraining", "weights", "model") if key in facts}
    rows = _of_kind(facts[ROWS], _ARCHITECTURE, _PRETRAINING)
    training = _without(facts["training"], "iterations", "epochs", "ensemble")
    return {**shared, "training": training, **_norms(facts), ROWS: rows}


def supervised_facts(facts: Mapping[str, Any], iterations: int | None) -> dict[str, Any]:
    """What decides a training on all masks, but for iterations of its own; None are those of a round."""
    unused = ("ensemble",) if iterations is None else ("ensemble", "iterations", "epochs")
    keys = ("data_fingerprint", "pretraining", "weights", "model", "seed")
    shared = {key: facts[key] for key in keys if key in facts}
    rows = _of_kind(facts[ROWS], _ARCHITECTURE, _DATA, _PRETRAINING)
    return {**shared, "training": _without(facts["training"], *unused), **_norms(facts), ROWS: rows}


def default_facts(config: RunConfig) -> dict[str, Any]:
    """The same of a run whose every field has its default: what a stored run means by a field it does not name."""
    plain = type(config)()
    unset = {field.name: field.default for field in fields(Acquisition) if field.default is not MISSING}
    return {**_settings(plain), "pca": plain.scoring.pca, "acquisition": _numbers(unset), ROWS: {}}


def _settings(config: RunConfig) -> dict[str, Any]:
    """The fields that decide a result by themselves."""
    dump = config.model_dump(mode="json", exclude=_ELSEWHERE)
    dump["training"].pop("checkpoint_every")
    dump["model"].pop("weights")
    return dump


def _norms(facts: Mapping[str, Any]) -> dict[str, int]:
    """The size of the batches in which batch norm is measured, where it is."""
    return {"norm_batch": facts["scoring"]["batch_size"]} if facts["training"]["norm_images"] else {}


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """A strategy's whole row as JSON values, for a reader who may have other defaults; see `Acquisition.to_json`."""
    return {key: "inf" if value == math.inf else value for key, value in row.items()}


def _of_kind(rows: Mapping[str, str], *kinds: str) -> dict[str, str]:
    return {what: digest for what, digest in rows.items() if what.startswith(tuple(f"{kind} " for kind in kinds))}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _changes(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not the defaults."""
    changes: dict[str, Any] = {}
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            if nested := _changes(value, default):
                changes[key] = nested
        elif key not in defaults or value != default:
            changes[key] = value
    return changes


def _hash_facts(kind: str, facts: Mapping[str, Any], config: RunConfig) -> str:
    what = {"schema": SCHEMA, "kind": kind, **_changes(facts, default_facts(config))}
    text = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _name_of(data: DataConfig) -> str:
    return data.name if data.name != "folder" else f"folder {data.root}"
