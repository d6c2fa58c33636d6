"""A bit that flips, a file that is cut, emptied, deleted or swapped: told in one line, or without any effect."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raylab.backends.local import LocalBackend
from raylab.config import BudgetConfig, DataConfig, RegionConfig, StudyConfig
from raylab.data import open_dataset
from raylab.data.pack import pack_config
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.loop import Loop
from raylab.pool import known_regions
from raylab.runs import RunStore, resolve_study, stored_study
from raylab.runs.inputs import fingerprint_of, read_inputs
from raylab.runs.replay import replay_runs
from raylab.runs.studies import begin_study
from raylab.runs.verify import ASIDE, repair_study, verify_study
from tests.configs import tiny_run
from tests.faults.test_fuzz import region_table_alone
from tests.progress import Silent

pytestmark = pytest.mark.fault
FLIPS = int(os.environ.get("RAYLAB_FLIPS", "20"))
"""Of each kind of file; RAYLAB_FLIPS=100 takes two minutes."""
KINDS = {
    "ledger": "runs/*/round-01/ledger.parquet",
    "region table": "round0/*/pca-*/regions.parquet",
    "select.json": "runs/*/round-01/select.json",
    "train.json": "round0/*/train.json",
    "score.json": "round0/*/pca-*/score.json",
    "run.json": "runs/*/run.json",
    "identity.json": "round0/*/identity.json",
    "study.json": "studies/flips/study.json",
    "model": "runs/*/round-01/model.safetensors",
    "superpixel maps": "regions/*/maps-00000.parquet",
    "superpixel geometry": "regions/*/geometry.parquet",
    "superpixels.json": "regions/*/superpixels.json",
}
PACK = {"manifest": "raylab-pack.json", "index": "index.parquet", "shard": "shards/train-00000.parquet"}


def begin(root: Path) -> None:
    """A study of one run on superpixels, to its end; what lies there is not done again."""
    run = tiny_run(
        str(root), "entropy+spatial", regions=RegionConfig(size=16, shape="superpixels"),
        budget=BudgetConfig(initial=10, rounds=(10,)),
    )  # fmt: skip
    run = run.model_copy(update={"training": run.training.model_copy(update={"iterations": 1})})
    config = StudyConfig(name="flips", run=run, strategies=("entropy+spatial",))
    store = Folder(str(root))
    study = resolve_study(config, read_inputs(run, store))
    begin_study(store, study)
    Loop(study.runs[0], store, LocalBackend(study.runs[0], store), Silent()).run()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flips")
    begin(root)
    return root


def outcome(root: Path) -> list[Any]:
    """Everything that a study says and that a further round would be made of."""
    store = Folder(str(root), create=False)
    (run,) = stored_study(store, "flips").runs
    run_store = RunStore(store, run)
    run_store.open()
    found: list[Any] = [round_store.record(step) for round_store, step in run_store.steps()]
    for t in range(2):
        found.append(run_store.round(t).ledger().to_pydict())
        found += [hashlib.sha256(store.read_bytes(*model)).hexdigest() for model in run_store.round(t).models(1)]
    found.append(run_store.scores(0).regions().to_pydict())
    replay_runs(store, [run], None, found.append, known_regions)
    regions = known_regions(run, store)
    found += [hashlib.sha256(regions.label_map(i).tobytes()).hexdigest() for i in range(regions.n_images)]
    return found


def pack_outcome(root: Path) -> list[Any]:
    """Every image and mask of a packed set, and what tells it."""
    config = DataConfig(name="folder", root=str(root))
    dataset = open_dataset(config)
    found: list[Any] = [fingerprint_of(config), dataset.classes]
    for split in ("train", "val"):
        for index, name in enumerate(dataset.image_names(split)):
            image, mask = dataset.read_image(split, index), dataset.read_mask(split, index)
            found.append((name, image.tobytes(), mask.tobytes(), dataset.image_sizes(split)[index].tolist()))
    return found


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw, packed, rng = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("packed"), np.random.default_rng(0)
    for split, names in (("train", "abc"), ("val", "d")):
        for kind, shape, top in (("images", (16, 24, 3), 256), ("masks", (16, 24), 2)):
            (raw / kind / split).mkdir(parents=True)
            for name in names:
                Image.fromarray(rng.integers(0, top, shape).astype(np.uint8)).save(raw / kind / split / f"{name}.png")
    (raw / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}]\n")
    pack_config(DataConfig(name="folder", root=str(raw)), str(packed), lambda line: None)
    return packed


def flips(content: bytes, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(FLIPS):
        at, flipped = rng.randrange(8 * len(content)), bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        yield bytes(flipped)


def silently_different(file: Path, contents: Iterator[bytes], read: Callable[[], list[Any]]) -> tuple[int, int, int]:
    """How many contents of a file are told, have no effect, and change what is read without a word."""
    good, expected, counts = file.read_bytes(), read(), [0, 0, 0]
    try:
        for content in contents:
            file.write_bytes(content)
            try:
                counts[1 if read() == expected else 2] += 1
            except RaylabError:
                counts[0] += 1
    finally:
        file.write_bytes(good)
    return counts[0], counts[1], counts[2]


FLIPPED = "one bit of a file flips", "told in one line, or without any effect"
ALTERED = "a file is cut, empty, swapped or deleted", "told in one line, or written anew as it was"
REPAIRED = "a bit flips, then `raylab verify --repair`", "named, set aside; the study goes on to the same picks"


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_changes_a_study_in_silence(root: Path, kind: str, record_fault: Callable[..., None]) -> None:
    (file,) = root.glob(KINDS[kind])
    told, without, silent = silently_different(file, flips(file.read_bytes(), len(kind)), lambda: outcome(root))
    assert silent == 0
    assert told + without == FLIPS
    assert told > 0.8 * FLIPS
    seen = {"told": told, "without effect": without, "silently different": silent}
    record_fault(*FLIPPED, {"flips": FLIPS, "kinds of files": 1}, seen)


@pytest.mark.parametrize("kind", PACK)
def test_no_flipped_bit_changes_a_packed_set_in_silence(
    pack: Path, kind: str, record_fault: Callable[..., None]
) -> None:
    file = pack / PACK[kind]
    told, without, silent = silently_different(file, flips(file.read_bytes(), len(kind)), lambda: pack_outcome(pack))
    assert silent == 0
    assert told + without == FLIPS
    assert told > 0
    seen = {"told": told, "without effect": without, "silently different": silent}
    record_fault(*FLIPPED, {"flips": FLIPS, "kinds of files": 1}, seen)


def test_no_flipped_bit_of_a_table_without_a_manifest_changes_picks_in_silence(
    tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    parser = region_table_alone(tmp_path)
    good, seen = parser.good, {"told": 0, "without effect": 0, "silently different": 0}
    footer = int.from_bytes(good[-8:-4], "little") + 8
    picks, rng = parser.read(good), random.Random(1)
    for _ in range(10 * FLIPS):
        at, flipped = len(good) - 1 - rng.randrange(footer), bytearray(good)
        flipped[at] ^= 1 << rng.randrange(8)
        try:
            seen["without effect" if parser.read(bytes(flipped)) == picks else "silently different"] += 1
        except RaylabError:
            seen["told"] += 1
    assert seen["silently different"] == 0
    assert seen["told"] > 5 * FLIPS
    fault = "one bit flips in the footer of a region table that is given to `raylab select`"
    record_fault(fault, FLIPPED[1], {"flips": 10 * FLIPS}, seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["cut", "empty", "swapped", "deleted"])
def test_a_file_cut_emptied_swapped_or_deleted_is_told(
    root: Path, kind: str, how: str, record_fault: Callable[..., None]
) -> None:
    (file,) = root.glob(KINDS[kind])
    good, expected = file.read_bytes(), outcome(root)
    others = sorted(one for one in root.rglob(f"*{file.suffix}") if one != file and one.read_bytes() != good)
    try:
        if how == "deleted":
            file.unlink()
        else:
            content = {"cut": good[: len(good) // 2], "empty": b"", "swapped": others[0].read_bytes()}[how]
            file.write_bytes(content)
        written_anew = how == "deleted" and kind in ("run.json", "identity.json")
        seen = {"written anew": int(written_anew), "told": int(not written_anew), "silently different": 0}
        if written_anew:
            assert outcome(root) == expected
        else:
            with pytest.raises(RaylabError) as caught:
                outcome(root)
            assert "\n" not in str(caught.value)
            if (kind, how) != ("study.json", "deleted"):
                found = verify_study(Folder(str(root)), "flips")
                # Round 0 is shared, and scored again where a strategy needs it.
                assert found.damages or (kind, how) == ("score.json", "deleted") or kind == "superpixels.json"
    finally:
        file.write_bytes(good)
    assert outcome(root) == expected
    record_fault(*ALTERED, {"files": 1}, seen)


def test_a_whole_study_verifies(root: Path) -> None:
    found = verify_study(Folder(str(root)), "flips")
    assert not found.damages
    assert list(found.lines()) == [f"{found.files} files are what was committed"]
    assert found.files > 12


@pytest.mark.parametrize(
    ("kind", "steps"),
    [("ledger", "2 of its 5"), ("score.json", "3 of its 5"), ("superpixel maps", "5 of its 5"), ("run.json", None)],
)
def test_a_repaired_study_goes_on_to_the_same_picks(
    root: Path, tmp_path: Path, kind: str, steps: str | None, record_fault: Callable[..., None]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for one in root.rglob("*"):
        if one.is_file():
            (copy / one.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (copy / one.relative_to(root)).write_bytes(one.read_bytes())
    (file,) = copy.glob(KINDS[kind])
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    store, said = Folder(str(copy)), list[str]()
    found = verify_study(store, "flips")
    assert [damage.uri for damage in found.damages] == [str(file)]
    assert (f"{steps} steps are done again" if steps else "costs nothing") in found.costs[-1]
    repair_study(store, found, said.append)
    assert any(str(file) in line for line in said)
    assert [one for one in (copy / ASIDE).rglob("*") if one.name == file.name]
    begin(copy)
    assert not verify_study(store, "flips").damages
    (run,) = stored_study(store, "flips").runs
    there, here = (RunStore(Folder(str(one)), run).ledger(2) for one in (root, copy))
    assert here.equals(there)
    record_fault(*REPAIRED, {"repairs": 1}, {"same picks": 1}, again=int(steps[0]) if steps else 0)
