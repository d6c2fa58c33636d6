"""Every map against a plain NumPy computation from the same logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from raylab.acquisition import PREDICTED_CLASS
from raylab.config import ModelConfig
from raylab.data import open_dataset
from raylab.errors import ConfigError
from raylab.models import Segmenter, build_model
from raylab.regions import RegionGrid
from raylab.regions.table import columns_of
from raylab.scoring.predict import Predictor, scoring_job
from raylab.scoring.uncertainty import MAPS, Committee, bald, register_map, vote_entropy
from tests.configs import tiny_run

MEMBERS = torch.randn(5, 2, 7, 6, 9, generator=torch.Generator().manual_seed(0)) * 3


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy_of(p: np.ndarray) -> np.ndarray:
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=1)


def vote_share(members: np.ndarray) -> np.ndarray:
    return np.mean([np.eye(members.shape[2])[m.argmax(axis=1)].transpose(0, 3, 1, 2) for m in members], axis=0)


PLAIN = {
    "entropy": lambda m: entropy_of(softmax(m[0])),
    "margin": lambda m: 1 - (np.sort(softmax(m[0]), axis=1)[:, -1] - np.sort(softmax(m[0]), axis=1)[:, -2]),
    "least_confidence": lambda m: 1 - softmax(m[0]).max(axis=1),
    "bald": lambda m: entropy_of(np.mean([softmax(x) for x in m], axis=0)) - np.mean(
        [entropy_of(softmax(x)) for x in m], axis=0),
    "vote_entropy": lambda m: entropy_of(vote_share(m)),
}  # fmt: skip


def committee_of(members: Any) -> Committee:
    committee = Committee()
    for logits in members:
        committee.add(logits)
    return committee


@pytest.mark.parametrize("name", PLAIN)
def test_map_is_the_plain_one(name: str) -> None:
    got = MAPS[name].function(committee_of(MEMBERS) if MAPS[name].committee else MEMBERS[0])
    assert got.shape == (2, 6, 9)
    np.testing.assert_allclose(got.numpy(), PLAIN[name](MEMBERS.numpy()), rtol=1e-4, atol=1e-5)


def test_every_map_is_tested() -> None:
    assert set(PLAIN) == set(MAPS)


@pytest.mark.parametrize(
    ("name", "function", "committee", "message"),
    [
        ("Mine", lambda x: x[:, 0], False, "'Mine' cannot be a name; use lower-case letters"),
        ("feature", lambda x: x[:, 0], False, "'feature' cannot be a name"),
        (
            "mine",
            lambda x: x.mean(),
            False,
            "must give a float tensor (B, H, W) = (2, 4, 5) here, and gave torch.float32 ()",
        ),
        ("mine", lambda x: x.argmax(1), False, "gave torch.int64 (2, 4, 5)"),
        ("mine", lambda x: 1.0, False, "and gave float"),
        ("mine", lambda x: (x * 0).log().sum(1), False, "not finite"),
        ("mine", lambda x: x.votes[:, 0], False, "failed on three classes: AttributeError: 'Tensor' object has no"),
        ("entropy", lambda x: x[:, 0], False, "'entropy' is registered already, as something else"),
    ],
)
def test_maps_that_are_refused(name: str, function: Any, committee: bool, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        register_map(name, function, committee)
    assert message in str(caught.value)
    assert set(PLAIN) == set(MAPS)


def test_registering_the_same_map_again_changes_nothing() -> None:
    register_map("bald", bald, committee=True)
    assert list(MAPS) == list(PLAIN)


def test_a_committee_that_agrees_has_nothing_to_tell() -> None:
    committee = committee_of([MEMBERS[0]] * 4)
    assert float(bald(committee).abs().max()) < 1e-5
    assert float(vote_entropy(committee).max()) == 0


@pytest.fixture(scope="module")
def pool() -> Any:
    config = tiny_run(model=ModelConfig(weights="random", channels=16, dropout=0.3))
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    maps = ("bald", "entropy", "vote_entropy", PREDICTED_CLASS)
    job = scoring_job(config, regions, len(dataset.classes), maps, features=True)
    models = [build_model(config.model, len(dataset.classes), seed).eval() for seed in (1, 2)]
    return config, dataset, regions, job, models


def rows_of(pool: Any, models: list[Segmenter]) -> Any:
    _, dataset, _, job, _ = pool
    table = Predictor(job, models, torch.device("cpu"))([0, 1], [dataset.read_image("train", i) for i in (0, 1)])
    return table


def test_region_rows_are_the_means_of_the_maps(pool: Any) -> None:
    _, dataset, _, _, models = pool
    table = rows_of(pool, models[:1])
    assert table.column_names == ["region_id", "bald", "entropy", "vote_entropy", PREDICTED_CLASS, "feature"]
    images = torch.from_numpy(np.stack([dataset.read_image("train", i) for i in (0, 1)])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        logits = models[0](images).numpy()
    entropies = PLAIN["entropy"](logits[None])
    winners = logits.argmax(axis=1)
    for row in range(4):
        for col in range(6):
            box = np.s_[1, row * 16 : row * 16 + 16, col * 16 : col * 16 + 16]
            at = 24 + row * 6 + col
            np.testing.assert_allclose(table["entropy"][at].as_py(), entropies[box].mean(), rtol=1e-4)
            assert table[PREDICTED_CLASS][at].as_py() == np.bincount(winners[box].reshape(-1)).argmax()


def test_stochastic_passes_are_repeated_exactly_and_differ_from_one_another(pool: Any) -> None:
    _, _, _, _, models = pool
    first, again, both = rows_of(pool, models[:1]), rows_of(pool, models[:1]), rows_of(pool, models)
    assert first.equals(again)
    maps, _ = columns_of(first.set_column(0, "region_id", first["region_id"]), 48)
    assert maps["bald"].min() > 0
    more, _ = columns_of(both, 48)
    assert (more["bald"] > maps["bald"]).mean() > 0.9  # two models with different heads agree less
    np.testing.assert_array_equal(more["entropy"], maps["entropy"])


def test_passes_leave_the_global_generator_alone(pool: Any) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    rows_of(pool, pool[-1])
    assert torch.equal(torch.random.get_rng_state(), before)
