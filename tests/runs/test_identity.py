"""What makes two runs the same run, and two that look alike different ones."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest
from pydantic import BaseModel

from raylab.acquisition import STRATEGIES, Acquisition
from raylab.config import RunConfig, StrategyConfig, StudyConfig, TrainingConfig
from raylab.runs import Inputs, ResolvedRun, resolve, resolve_study
from raylab.runs.identity import SCHEMA, default_facts, facts_of, supervised_folder
from tests.configs import other_values

INPUTS = Inputs(data="d" * 64)
FILE = Inputs(data="d" * 64, weights="f" * 64)

SAME = {
    "plugins": ("mine",),
    "name": "mine",
    "compute.backend": "local",
    "compute.device": "cpu",
    "compute.grace": 5.0,
    "compute.takeover": 5.0,
    "compute.workers": 4,
    "compute.cpus_per_worker": 2.0,
    "compute.scorers": 3,
    "compute.cpus_per_scorer": 2.0,
    "compute.readers": 2,
    "compute.selectors": 2,
    "compute.expect.cpus": 8,
    "compute.expect.gpus": 8,
    "compute.expect.minutes": 1.0,
    "compute.max_failures": 1,
    "compute.checkpoint_seconds": 60.0,
    "compute.threads": 2,
    "compute.loader_workers": 2,
    "compute.compile": True,
    "storage": "s3://elsewhere",
    "tracking": "http://localhost:5000",
    "experiment": "other",
    "training.checkpoint_every": 7,
    "data.name": "camvid",
    "data.root": "/b",
    "data.max_pixels": 2**20,
    "data.max_decoded_bytes": 2**20,
    "data.tile": 64,
    "data.synthetic.train_images": 49,
    "data.synthetic.val_images": 17,
    "data.synthetic.height": 160,
    "data.synthetic.width": 160,
    "data.synthetic.seed": 1,
    "data.train_list": "train_aug",
}
OTHER = {
    "regions.size": 16,
    "regions.shape": "superpixels",
    "model.architecture": "fpn",
    "model.backbone": "xception41",
    "model.weights": "random",
    "model.output_stride": 8,
    "model.atrous_rates": (12, 24, 36),
    "model.channels": 64,
    "model.dropout": 0.1,
    "model.aspp_dropout": 0.1,
    "training.iterations": 5,
    "training.epochs": 5,
    "training.batch_size": 8,
    "training.crop": 257,
    "training.crop_tries": 2,
    "training.scale": (0.5, 1.5),
    "training.learning_rate": 0.02,
    "training.head_rate_factor": 10.0,
    "training.momentum": 0.8,
    "training.weight_decay": 0.0,
    "training.power": 1.0,
    "training.frozen_backbone": True,
    "training.norm_images": 16,
    "training.precision": "bf16",
    "training.channels_last": False,
    "training.ensemble": 3,
    "pretraining.iterations": 100,
    "scoring.dropout": 0.5,
    "scoring.pca": 64,
    "scoring.batch_size": 8,
    "budget.unit": "pixels",
    "budget.initial": 500,
    "budget.rounds": (1000,),
    "strategy.name": "random",
    **{f"strategy.{name}": value for name, value in other_values().items()},
    "strategy.pca": 64,
    "seed": 1,
}


def change(model: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    return model.model_copy(update={first: change(getattr(model, first), rest, value) if rest else value})


def fields_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= fields_of(kind, f"{prefix}{name}.") if nested else {prefix + name}
    return found


def run_of(inputs: Inputs = INPUTS, **values: Any) -> ResolvedRun:
    return resolve(RunConfig.model_validate(values), inputs)


PRETRAINED = {"pretraining": {"iterations": 100}}
GTA5 = dataclasses.replace(INPUTS, pretraining_data="e" * 64)


def frozen() -> dict[str, str]:
    """Identities of runs, and of what runs share."""
    runs = {
        "defaults": run_of(),
        "a seed": run_of(seed=3),
        "random": run_of(strategy={"name": "random"}),
        "a neighbourhood": run_of(strategy={"name": "entropy+spatial", "tau": 64, "p": 2}),
        "a set function": run_of(strategy={"name": "entropy+feature-maxsum", "pca": 64}),
        "another map": run_of(strategy={"name": "bald"}, model={"dropout": 0.1}, training={"ensemble": 3}),
        "superpixels": run_of(regions={"size": 16, "shape": "superpixels", "compactness": 5}),
        "a file of weights": run_of(FILE, model={"weights": "w.safetensors", "backbone": "xception41"}),
        "clicks": run_of(budget={"unit": "clicks", "initial": 500, "rounds": [500, 1000]}),
        "other data": run_of(Inputs(data="c" * 64)),
        "pre-trained": run_of(GTA5, **PRETRAINED),
    }
    found = {name: run.identity for name, run in runs.items()}
    found["round 0"] = runs["defaults"].round0_identity
    found["round 0 of superpixels"] = runs["superpixels"].round0_identity
    found["the pre-training"] = str(runs["pre-trained"].pretrained_folder)
    found["the bound"] = supervised_folder(runs["defaults"], None)
    found["the bound, measured norms"] = supervised_folder(run_of(training={"norm_images": 8}), 30_000)
    return found


FROZEN = {
    "defaults": "706875390200",
    "a seed": "2c679b722a3e",
    "random": "667eb8ca1ef3",
    "a neighbourhood": "a1d9c5c1f66d",
    "a set function": "9f730f871c53",
    "another map": "a106cb2630f4",
    "superpixels": "b682b4b9dd1c",
    "a file of weights": "f8b0dda2e836",
    "clicks": "19915eb8ee1d",
    "other data": "e59a87b0a10e",
    "pre-trained": "0c380a2a7267",
    "round 0": "8b9be38e5336",
    "round 0 of superpixels": "b47ecc97401f",
    "the pre-training": "pretrained/18a00a564ce8",
    "the bound": "supervised/59d02fbf4141-as-round",
    "the bound, measured norms": "supervised/b3f434107286-30000",
}


def test_identities_are_what_they_were() -> None:
    """Fails when a default, a meaning or the hash changes: then all that lies on somebody's disk begins anew.

    That may be wanted; if so, raise `SCHEMA`, say it in the changelog and write the new values here. A new optional
    field is no reason.
    """
    assert SCHEMA == 3
    assert frozen() == FROZEN


DEFAULTS: dict[str, Any] = {
    "regions": {"size": 32, "shape": "grid", "compactness": 10.0},
    "model": {
        "architecture": "deeplabv3+",
        "backbone": "tf_efficientnet_lite0",
        "output_stride": 16,
        "atrous_rates": [6, 12, 18],
        "channels": 256,
        "dropout": 0.0,
    },
    "training": {
        "iterations": None,
        "epochs": 100,
        "batch_size": 16,
        "crop": 513,
        "crop_tries": 1,
        "scale": [0.5, 2.0],
        "learning_rate": 0.01,
        "head_rate_factor": 1.0,
        "momentum": 0.9,
        "weight_decay": 4e-05,
        "power": 0.9,
        "frozen_backbone": False,
        "norm_images": 0,
        "precision": "fp32",
        "channels_last": True,
        "ensemble": 1,
    },
    "scoring": {"passes": 10, "pca": 128, "batch_size": 4},
    "budget": {"unit": "regions", "initial": 1000, "rounds": [1000, 2000, 4000, 8000, 16000]},
    "seed": 0,
    "pca": 128,
    "acquisition": {
        "uncertainty": 0.0,
        "feature": 0.0,
        "spatial": 0.0,
        "random": 0.0,
        "distance": "piecewise",
        "tau": None,
        "a": 1.0,
        "b": 2.0,
        "c": 2.0,
        "p": "inf",
        "set_function": "max_min",
        "map": "entropy",
        "class_balanced": False,
    },
}


def test_defaults_are_what_they_were() -> None:
    """An identity names no default, so a default that changes would make a run another one under its old name.

    A new field is no reason to fail; for a changed default raise `SCHEMA`.
    """
    now = default_facts(RunConfig())
    for section, values in DEFAULTS.items():
        there = {key: now[section][key] for key in values} if isinstance(values, dict) else now[section]
        assert there == values, section


class NewTraining(TrainingConfig):
    new: float = 0.5
    """A field of a later version."""


class NewRun(RunConfig):
    training: NewTraining = NewTraining()
    newer: bool = False
    """Another."""


def test_a_new_optional_field_changes_no_identity() -> None:
    values = {"seed": 3, "training": {"epochs": 5, "norm_images": 8}, **PRETRAINED}
    old, new = resolve(RunConfig.model_validate(values), GTA5), resolve(NewRun.model_validate(values), GTA5)
    assert (new.label, new.round0_identity, new.pretrained_folder) == (
        old.label,
        old.round0_identity,
        old.pretrained_folder,
    )
    assert supervised_folder(new, None) == supervised_folder(old, None)
    used = resolve(NewRun.model_validate({**values, "newer": True}), GTA5)
    assert used.identity != old.identity
    assert used.round0_identity != old.round0_identity


def test_a_run_is_named_by_its_strategys_text_and_known_by_its_numbers() -> None:
    label = run_of(strategy={"name": "entropy+spatial", "tau": 64}).label
    assert label.startswith("entropy+spatial,tau=64-N32-seed0-")
    spelled = [{"name": "entropy+spatial"}, {"name": "entropy+spatial", "tau": 32, "b": 2, "pca": 128}]
    assert len({run_of(strategy=one).identity for one in spelled}) == 1
    assert run_of(regions={"size": 16}, strategy=spelled[1]).identity != run_of(regions={"size": 16}).identity


def test_an_edited_row_of_the_table_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_of()
    monkeypatch.setitem(
        STRATEGIES._rows, "entropy+spatial", dataclasses.replace(STRATEGIES["entropy+spatial"], spatial=0.5)
    )
    after = run_of()
    assert after.identity != before.identity
    assert (after.round0_identity, after.acquisition.spatial) == (before.round0_identity, 0.5)


def test_content_decides_not_where_it_lies() -> None:
    def weights(path: str, digest: str) -> ResolvedRun:
        return run_of(Inputs("d" * 64, weights=digest), model={"weights": path})

    assert weights("/a/w.safetensors", "1" * 64).identity == weights("s3://b/v.safetensors", "1" * 64).identity
    assert weights("/a/w.safetensors", "1" * 64).identity != weights("/a/w.safetensors", "2" * 64).identity
    assert run_of(Inputs("1" * 64)).identity != run_of(Inputs("2" * 64)).identity


def test_every_field_is_known_to_decide_the_result_or_not_to() -> None:
    # What decides only under another field's value is looked at below.
    sometimes = {f"pretraining.{name}" for name in fields_of(RunConfig) if name.startswith("data.")}
    assert fields_of(RunConfig) == set(SAME) | set(OTHER) | sometimes | {"regions.compactness", "scoring.passes"}


@pytest.mark.parametrize("path", SAME)
def test_identity_does_not_change_with_where_and_how(path: str) -> None:
    changed = change(RunConfig(), path, SAME[path])
    assert changed != RunConfig()
    assert resolve(changed, INPUTS).identity == run_of().identity
    assert resolve(changed, INPUTS).round0_identity == run_of().round0_identity


@pytest.mark.parametrize("path", OTHER)
def test_identity_changes_with_what_decides_the_result(path: str) -> None:
    changed = resolve(change(RunConfig(), path, OTHER[path]), INPUTS)
    assert changed.identity != run_of().identity
    shares = path.startswith("strategy") or path in ("budget.rounds", "scoring.pca")
    assert (changed.round0_identity == run_of().round0_identity) == shares


def test_compactness_decides_where_there_are_superpixels() -> None:
    grid, cut = RunConfig(), RunConfig.model_validate({"regions": {"shape": "superpixels"}})
    for config, decides in ((grid, False), (cut, True)):
        changed = change(config, "regions.compactness", 1.0)
        assert (resolve(changed, INPUTS).identity != resolve(config, INPUTS).identity) == decides


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"strategy": "entropy"}, {"strategy": "entropy,tau=64,p=2,distance=linear,b=1"}),
        ({"strategy": "entropy+spatial-linear"}, {"strategy": "entropy+spatial-linear,tau=64,a=2"}),
        ({"strategy": "random"}, {"strategy": "random,uncertainty=1,map=margin,class_balanced=true"}),
        ({"strategy": "core-set"}, {"strategy": "core-set,map=margin,tau=64"}),
        ({"scoring": {"passes": 5}}, {}),
        ({"training": {"iterations": 5, "epochs": 50}}, {"training": {"iterations": 5}}),
        ({"scoring": {"pca": 64}}, {"strategy": "entropy+spatial,pca=64"}),
    ],
)
def test_what_a_run_does_not_use_is_no_part_of_it(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = run_of(**one), run_of(**other)
    assert (first.identity, first.round0_identity) == (second.identity, second.round0_identity)


def test_passes_decide_where_there_is_dropout() -> None:
    assert run_of(model={"dropout": 0.1}, scoring={"passes": 5}).identity != run_of(model={"dropout": 0.1}).identity


def test_epochs_do_not_decide_a_training_on_all_masks_with_iterations() -> None:
    runs = [run_of(training={"epochs": epochs}) for epochs in (50, 100)]
    assert len({supervised_folder(run, 30_000) for run in runs}) == 1
    assert len({supervised_folder(run, None) for run in runs}) == 2


def test_the_pretrained_model_is_shared_by_whatever_trains_alike() -> None:
    config = RunConfig.model_validate(PRETRAINED)
    folder = resolve(config, GTA5).pretrained_folder
    for path in ("seed", "budget.rounds", "strategy.name", "training.epochs", "regions.size"):
        assert resolve(change(config, path, OTHER[path]), GTA5).pretrained_folder == folder, path
    for path in ("model.channels", "training.crop", "pretraining.iterations"):
        assert resolve(change(config, path, 2 * OTHER[path]), GTA5).pretrained_folder != folder, path
    assert resolve(config, dataclasses.replace(GTA5, pretraining_data="0" * 64)).pretrained_folder != folder
    assert run_of().pretrained_folder is None


def test_identity_is_of_values_not_of_how_they_were_given() -> None:
    one = RunConfig.model_validate({"training": {"learning_rate": 1, "scale": [1, 2]}, "budget": {"rounds": [1, 2]}})
    two = RunConfig.model_validate(
        {"budget": {"rounds": (1, 2)}, "training": {"scale": (1.0, 2.0), "learning_rate": "1.0"}}
    )
    three = RunConfig.model_validate_json(one.model_dump_json())
    assert len({resolve(config, INPUTS).label for config in (one, two, three)}) == 1


def test_what_a_run_is_pickles_small_and_is_plain_json() -> None:
    run = run_of(strategy={"name": "entropy+spatial", "tau": 64})
    assert pickle.loads(pickle.dumps(run)) == run
    assert len(pickle.dumps(run)) < 5000
    facts = facts_of(run)
    assert json.loads(json.dumps(facts, allow_nan=False))["acquisition"]["p"] == "inf"
    changed = {key: value for key, value in facts["acquisition"].items() if run.acquisition.to_json().get(key) == value}
    assert changed == run.acquisition.to_json()
    assert set(facts["acquisition"]) == {field.name for field in dataclasses.fields(Acquisition)}


def test_what_was_not_read_is_no_run_that_was() -> None:
    values = {"model": {"weights": "w.safetensors"}, **PRETRAINED}
    unread = Inputs.unread(RunConfig.model_validate(values))
    assert [text.split()[0] for text in dataclasses.astuple(unread)] == ["unread"] * 3
    assert resolve(RunConfig(), Inputs.unread(RunConfig())).identity != run_of().identity


def test_a_study_of_one_run_has_its_name() -> None:
    config = StudyConfig(name="", strategies=("random",), run=RunConfig(strategy=StrategyConfig(name="random")))
    study = resolve_study(config, INPUTS)
    assert study.name == study.runs[0].label
    assert resolve_study(config.model_copy(update={"name": "mine"}), INPUTS).name == "mine"
