from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raylab.config import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ModelConfig,
    PretrainingConfig,
    RegionConfig,
    ScoringConfig,
    StudyConfig,
    TrainingConfig,
)
from raylab.data import DATASETS
from raylab.errors import BudgetError, ConfigError
from raylab.files import Folder
from raylab.models import build_model
from raylab.runs import RunStore
from raylab.study import Plan, check_study, plan_studies
from tests.configs import resolved_runs, tiny_run

SCENES_N16 = 8 * 4 * 6
"""Regions of eight scenes of 64x96 at N = 16."""


def study(run: dict[str, Any] | None = None, **changes: Any) -> StudyConfig:
    return StudyConfig(run=tiny_run(**(run or {})), **changes)


def plan_study(config: StudyConfig) -> Plan:
    return plan_studies([config])


@pytest.fixture(scope="module")
def model_bytes() -> int:
    model = build_model(tiny_run().model, 19, seed=0)
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def test_numbers_by_hand(model_bytes):
    """Three strategies and two seeds; round 0 once a seed, scored because two of the strategies need it."""
    plan = plan_study(study(seeds=(0, 1)))
    assert (plan.runs, plan.trainings_saved) == (6, 4)
    assert plan.trainings == 2 + 6 * 2
    assert plan.iterations == 14 * 4
    assert plan.crops == 14 * 4 * 4
    # Round 0 of either seed, and round 1 of the four runs that are not random; the last round is not scored.
    scorings = 2 + 4
    assert plan.images_scored == scorings * 8
    assert plan.images_evaluated == 14 * 3
    assert (plan.pool_images, plan.pool_regions, plan.labelled) == (8, {16: SCENES_N16}, {16: 48})
    assert plan.disk_bytes == 14 * model_bytes + scorings * SCENES_N16 * (8 + 4)


def test_random_alone_is_never_scored():
    plan = plan_study(study(strategies=("random",)))
    assert (plan.runs, plan.trainings, plan.trainings_saved, plan.images_scored) == (1, 3, 0, 0)


def test_features_of_one_strategy_are_in_the_shared_table(model_bytes):
    plan = plan_study(study(strategies=("random", "entropy", "core-set")))
    row, row_with_features = 12, 12 + 4 * 8
    assert plan.images_scored == 3 * 8
    # Round 0 for both, round 1 for each: Core-Set needs no uncertainty.
    assert plan.disk_bytes == plan.trainings * model_bytes + SCENES_N16 * (2 * row_with_features - 4 + row)


def test_pca_is_never_above_the_features_own_dimension(model_bytes):
    config = study({"scoring": ScoringConfig(pca=128)}, strategies=("core-set",))
    assert plan_study(config).disk_bytes == 3 * model_bytes + 2 * SCENES_N16 * (8 + 4 * 16)


def test_several_sizes_share_nothing_and_keep_their_pixels():
    plan = plan_study(study(strategies=("random", "entropy"), region_sizes=(16, 32)))
    assert plan.pool_regions == {16: SCENES_N16, 32: 8 * 2 * 3}
    assert plan.labelled == {16: 48, 32: 12}
    assert (plan.runs, plan.trainings, plan.trainings_saved) == (4, 2 + 4 * 2, 2)


def test_the_supervised_training_is_counted():
    plan = plan_study(study(strategies=("random",), supervised=True, supervised_iterations=50))
    assert (plan.trainings, plan.iterations, plan.images_evaluated) == (4, 3 * 4 + 50, 4 * 3)
    assert plan_study(study(strategies=("random",), supervised=True)).iterations == 4 * 4


def test_epochs_count_no_more_images_than_regions_are_labelled():
    training = TrainingConfig(epochs=10, batch_size=4)
    run = {"training": training, "budget": BudgetConfig(initial=3, rounds=(2, 20))}
    # 3, 5 and all 8 images, 10 epochs, 4 a step, rounded up.
    assert plan_study(study(run, strategies=("random",))).iterations == 8 + 13 + 20


def test_a_study_of_round_0_alone():
    plan = plan_study(study({"budget": BudgetConfig(initial=3, rounds=())}))
    assert (plan.runs, plan.trainings, plan.trainings_saved, plan.images_scored) == (3, 1, 2, 0)


def test_lines_for_a_person():
    text = "\n".join(plan_study(study(region_sizes=(16, 32))).lines())
    for part in (
        "runs               6",
        "  entropy+spatial                      N = 32   1 seed",
        "trainings          14 (4 saved by sharing); 14 remain",
        "iterations         at most 56 (224 crops)",
        "pool               8 images, 192 of 16x16, 48 of 32x32 regions",
        "labelled by a run  48, 12 regions",
        " MiB",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("name", "train_list"),
    [(name, one) for name, row in DATASETS.items() if row.nominal for one in row.nominal.train_images],
)
def test_a_set_that_is_not_there_is_planned_by_its_official_sizes(name, train_list):
    nominal = DATASETS[name].nominal
    plan = plan_study(study({"data": DataConfig(name=name, train_list=train_list)}, strategies=("random",)))
    assert plan.nominal
    assert plan.pool_images == nominal.train_images[train_list]
    regions = -(-nominal.height // 16) * -(-nominal.width // 16)
    assert plan.pool_regions == {16: plan.pool_images * regions}
    assert plan.images_evaluated == 3 * nominal.val_images
    assert "official sizes: the data is not there" in "\n".join(plan.lines())


def test_names_are_looked_up_before_anything_starts():
    for run, line in (
        ({"data": DataConfig(name="camvit")}, "data.name: no data set 'camvit'; did you mean 'camvid'?"),
        ({"model": ModelConfig(architecture="fpm")}, "model.architecture: no architecture 'fpm'; did you mean 'fpn'?"),
        ({"pretraining": PretrainingConfig(iterations=1, data=DataConfig(name="gta"))},
         "pretraining.data.name: no data set 'gta'; did you mean 'gta5'?"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            check_study(study(run))
        assert str(caught.value) == line


def test_batches_that_cannot_be_shared():
    run = {"training": TrainingConfig(batch_size=3), "compute": ComputeConfig(workers=4)}
    with pytest.raises(ConfigError, match=r"training\.batch_size: 3 crops cannot be shared by 4 workers"):
        check_study(study(run))


def test_every_size_is_checked_against_pool_and_budget():
    with pytest.raises(BudgetError, match=r"budget: 193 regions are to be labelled in all, but the pool .* holds 192"):
        check_study(study({"budget": BudgetConfig(initial=193, rounds=())}))


def test_images_smaller_than_n_are_a_region_each():
    config = study({"regions": RegionConfig(size=128), "budget": BudgetConfig(initial=8, rounds=())})
    assert plan_study(config).pool_regions == {128: 8}
    check_study(config)


def test_a_plan_reads_no_data_to_tell_what_is_done(tmp_path, monkeypatch):
    """Something lies under the root, and no hashes of the set are kept: all remains, and a line says so."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shape in (("images", (64, 96, 3)), ("masks", (64, 96))):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
            for name in "abcd":
                pixels = rng.integers(0, 2, shape).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / kind / split / f"{name}.png")
    (tmp_path / "data/dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}]\n")
    storage = Folder(str(tmp_path / "results"))
    storage.write_json("round0/0123456789ab/identity.json", {})

    def read(*args: Any) -> Any:
        raise AssertionError(f"{args[1]} was read")

    monkeypatch.setattr("raylab.data.fingerprint.FileDigests.find", read)
    data = DataConfig(name="folder", root=str(tmp_path / "data"))
    plan = plan_study(study({"data": data, "storage": storage.uri}, strategies=("random",)))
    assert (plan.looked_up, plan.trainings, plan.trainings_done) == (False, 3, 0)
    assert sum("what is done here is not known" in line for line in plan.lines()) == 1
    assert not storage.exists("fingerprints")


def test_what_is_done_needs_no_more_disk(tmp_path: Path) -> None:
    config = study({"storage": str(tmp_path)}, strategies=("random",))
    before = plan_study(config)
    (run,) = resolved_runs(config)
    RunStore(Folder(str(tmp_path)), run).round(0).commit("train", {"seconds_train": 1.0, "iterations": 4})
    after = plan_study(config)
    assert (before.trainings, after.trainings_done) == (3, 1)
    assert after.disk_bytes == before.disk_bytes * 2 / 3  # models alone: random needs no region table
