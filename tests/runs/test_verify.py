"""A study in an object store: every damaged file is named, moved aside, and made again as it was."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from raylab.cli.verify import VerifyOptions, verify
from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.runs.verify import ASIDE, verify_study
from raylab.study import run_study
from tests.configs import resolved_runs
from tests.s3 import S3Server
from tests.studies import Finished


@pytest.fixture
def config(finished: Finished, s3: S3Server, tmp_path: Path) -> StudyConfig:
    """The finished study, its files copied into a bucket."""
    s3.make_bucket(bucket := f"bucket-{uuid4().hex}")
    changes = {"storage": s3.uri(f"{bucket}/re sults"), "tracking": f"sqlite:///{tmp_path}/mlflow.db"}
    store = Folder(changes["storage"])
    for path in finished.store.walk()[0]:
        if not path.startswith("mlflow"):
            store.write_bytes(path, finished.store.read_bytes(path))
    return finished.config.model_copy(update={"run": finished.config.run.model_copy(update=changes)})


def damage(config: StudyConfig) -> set[str]:
    """Flip a bit of a file, delete another and cut a third, each of another run; their URIs."""
    store = Folder(config.run.storage)
    first, second, third = (RunStore(store, run).round(2) for run in resolved_runs(config))
    flipped, gone, cut = first.path("ledger.parquet"), second.path("ledger.parquet"), third.path("model.safetensors")
    data = bytearray(store.read_bytes(flipped))
    data[len(data) // 2] ^= 1
    store.write_bytes(flipped, bytes(data))
    store.delete(gone)
    store.write_bytes(cut, store.read_bytes(cut)[:1000])
    return {store.uri_of(path) for path in (flipped, gone, cut)}


def repair(config: StudyConfig) -> None:
    verify(VerifyOptions(name=config.name, storage=config.run.storage, repair=True))


def test_what_is_damaged_in_a_bucket_is_named_and_moved_aside(
    config: StudyConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Folder(config.run.storage)
    verify(options := VerifyOptions(name=config.name, storage=config.run.storage))
    assert capsys.readouterr().out.endswith(" files are what was committed\n")
    damaged = damage(config)
    with pytest.raises(SystemExit) as stop:
        verify(options)
    assert stop.value.code == 1
    named = {line.split(": ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {line for line in named if line.startswith("s3://")} == damaged
    repair(config)
    moved = [line for line in capsys.readouterr().out.splitlines() if line.startswith("moved ")]
    assert len(store.walk(ASIDE)[0]) == len(moved) > len(damaged)
    assert not verify_study(store, config.name).damages


@pytest.mark.slow
def test_a_study_repaired_in_a_bucket_goes_on_to_what_it_was(config: StudyConfig) -> None:
    store = Folder(config.run.storage)
    runs = [RunStore(store, run) for run in resolved_runs(config)]
    files, ledgers = verify_study(store, config.name).files, [run.ledger(3) for run in runs]
    damage(config)
    repair(config)
    run_study(config, say=lambda line: None)
    found = verify_study(store, config.name)
    assert (found.damages, found.files) == ([], files)
    assert [run.ledger(3) for run in runs] == ledgers
