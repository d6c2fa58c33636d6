"""What a user can get wrong, and what the message says then."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest

from raylab.acquisition import STRATEGIES, Acquisition, strategy
from raylab.errors import ConfigError
from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector, array_namespace, select
from raylab.selection.arrays import Blocks
from raylab.selection.features import grid_bits

GRID = RegionGrid([(32, 48)] * 3, 16)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"uncertainty": -1.0}, "acquisition.uncertainty"),
        ({"feature": math.nan}, "acquisition.feature"),
        ({"spatial": math.inf}, "acquisition.spatial"),
        ({"uncertainty": 1.0, "random": 1.5}, "acquisition.random"),
        ({"uncertainty": 1.0, "tau": -1.0}, "acquisition.tau"),
        ({"uncertainty": 1.0, "p": 0.5}, "acquisition.p"),
        ({"uncertainty": 1.0, "b": 0.0, "c": 0.0}, "acquisition.b"),
        ({"uncertainty": 1.0, "distance": "cosine"}, "acquisition.distance"),
        ({"uncertainty": 1.0, "set_function": "max"}, "acquisition.set_function"),
        ({}, "all weights are 0"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Acquisition(**fields)


def test_no_metric_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="no metric"):
        Acquisition(spatial=1.0, b=3.0)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'entropy\+spatial'"):
        strategy("entropy+spacial")
    with pytest.raises(ConfigError, match="'spatial'"):
        strategy("entropy", spacial=1.0)
    assert strategy("entropy+spatial", tau=64.0).tau == 64.0


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("entropy", {"uncertainty": None}, "uncertainty: .* none is given"),
        ("entropy", {"uncertainty": np.zeros(5)}, "uncertainty: shape"),
        ("entropy", {"uncertainty": np.full(18, np.nan)}, "uncertainty: region 0"),
        ("entropy+spatial", {"uncertainty": np.r_[np.zeros(17), np.inf]}, "uncertainty: region 17"),
        ("core-set", {"features": None}, "features: .* none are given"),
        ("core-set", {"features": np.zeros((17, 3), np.float32)}, "features: shape"),
        ("core-set", {"features": np.zeros((18, 0), np.float32)}, "features: shape"),
        ("core-set", {"features": np.full((18, 3), np.nan, np.float32)}, "features: not all"),
        ("core-set", {"features": np.full((18, 3), -np.inf, np.float32)}, "features: not all"),
        ("entropy", {"labelled": [18]}, "labelled: 18"),
        ("entropy", {"labelled": [3, -1]}, "labelled: -1"),
        ("entropy", {"labelled": [0.5]}, "labelled: .* whole numbers"),
        ("entropy-balanced", {}, "predicted_class: shape"),
        ("entropy", {"block_bytes": 0}, "block_bytes"),
        ("entropy", {"k": -1}, "k: -1"),
    ],
)
def test_a_bad_argument_is_named(name: str, arguments: dict[str, Any], named: str) -> None:
    good = {"k": 2, "labelled": [1], "uncertainty": np.arange(18.0), "features": np.ones((18, 3), np.float32)}
    with pytest.raises(ConfigError, match=named):
        select(GRID, strategy(name), **{**good, **arguments})


def test_what_a_strategy_does_not_need_is_not_looked_at() -> None:
    assert len(select(GRID, STRATEGIES["random"], 4, labelled=[])) == 4
    assert len(select(GRID, STRATEGIES["entropy"], 4, labelled=[], uncertainty=np.arange(18.0))) == 4


def test_inputs_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    u, f = rng.random(18), rng.normal(size=(18, 3)).astype(np.float32)
    classes = np.arange(18) % 5
    u.flags.writeable = f.flags.writeable = classes.flags.writeable = (
        False  # as arrays from Arrow and from Ray's object store are
    )
    for q in STRATEGIES.values():
        select(
            GRID,
            q,
            5,
            labelled=np.array([3], np.int32),
            uncertainty=u,
            features=f,
            predicted_class=classes,
            seed=[1, 2],
        )


def test_selecting_labels_nothing() -> None:
    selector = GreedySelector(GRID, STRATEGIES["entropy+spatial"])
    selector.label([2, 2, 7])
    first = selector.select(5, uncertainty=np.arange(18.0))
    assert selector.labelled.tolist() == [2, 7]
    again = selector.select(5, uncertainty=np.arange(18.0))
    assert first.region_id.tolist() == again.region_id.tolist()
    assert not {2, 7} & set(first.region_id.tolist())


def test_an_odd_batch_takes_one_more_by_entropy() -> None:
    picks = select(GRID, STRATEGIES["entropy+random"], 7, labelled=[], uncertainty=np.arange(18.0), seed=3)
    assert picks.region_id[:4].tolist() == [17, 16, 15, 14]
    assert set(picks.region_id[4:].tolist()) < set(range(14))
    assert (picks.phi[4:] == 0).all()


def test_a_draw_depends_on_the_seed_alone() -> None:
    draws = [select(GRID, STRATEGIES["random"], 6, labelled=[4], seed=s).region_id.tolist() for s in (0, 0, 1, [0, 1])]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) == 3


def test_the_grid_of_the_features() -> None:
    assert grid_bits(128) == 22
    for d in (1, 2, 3, 128, 129, 2048):
        assert d * (2 * 2 ** grid_bits(d)) ** 2 <= 2**53


def test_a_block_that_does_not_fit_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def work(start: int, stop: int) -> None:
        if stop - start > 3:
            raise MemoryError
        done.extend(range(start, stop))

    blocks = Blocks(100)
    with caplog.at_level(logging.WARNING):
        blocks.run(25, 10, work)
    assert done == list(range(25))
    assert blocks.block_bytes < 40
    assert "out of memory" in caplog.text

    def never(start: int, stop: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        blocks.run(2, 10, never)


def test_numpy_where_no_gpu_is_asked_for() -> None:
    assert array_namespace(prefer_gpu=False) is np
    assert array_namespace() is array_namespace()
