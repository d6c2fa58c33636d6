"""`raylab select` and `raylab replay`: the selector on files, and past rounds computed again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raylab import pool
from raylab.acquisition import STRATEGIES, strategy
from raylab.cli import main
from raylab.config import DataConfig, StudyConfig
from raylab.errors import ConfigError, StoreError
from raylab.files import Folder
from raylab.loop import Loop
from raylab.pool import known_regions
from raylab.regions.grid import RegionGrid
from raylab.regions.table import LEDGER_SCHEMA, ledger_table, region_table, with_regions
from raylab.runs import ResolvedRun, RunStore
from raylab.runs.replay import regions_of_run
from raylab.runs.rounds import MODEL, RoundStore
from raylab.runs.studies import begin_study
from raylab.scoring.parts import PartWriter, Written
from raylab.selection import Selection, select
from raylab.selection import files as selection_files
from raylab.selection.objective import selection_columns
from tests.configs import resolved_runs, resolved_study, tiny_run
from tests.selection.pools import irregular

GRID = RegionGrid([(64, 96), (50, 70), (33, 64)], 16)
RNG = np.random.default_rng(5)
N = GRID.n_regions
UNCERTAINTY, FEATURES = RNG.random(N).astype(np.float32), RNG.normal(size=(N, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 5, N).astype(np.int16)
TABLE = with_regions(
    region_table(np.arange(N), {"uncertainty": UNCERTAINTY, "predicted_class": CLASSES}, FEATURES), GRID
)
LABELLED = RNG.permutation(N)[:9]

Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def raylab(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; gives its exit status, its lines and its lines of error."""

    def run(*args: object) -> tuple[int, list[str], list[str]]:
        status = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A region table, a ledger of four regions and a text of the other labelled ones, one of them in both."""
    Folder(str(tmp_path)).write_table("regions.parquet", TABLE)
    pq.write_table(ledger_table(GRID, list("abc"), 0, LABELLED[:5]), tmp_path / "ledger.parquet")
    (tmp_path / "more.txt").write_text("\n".join(str(i) for i in LABELLED[4:]) + "\n")
    return tmp_path


def expected(name: str, k: int, **changes: Any) -> Selection:
    arguments = {"labelled": LABELLED, "uncertainty": UNCERTAINTY, "features": FEATURES, "seed": 0}
    arguments["predicted_class"] = CLASSES
    return select(GRID, strategy(name), k, **(arguments | changes))


# select


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_picks_are_those_of_the_selector(name: str) -> None:
    picks = selection_files.select_from_table(TABLE, "here", LABELLED, strategy(name), 12, seed=3)
    want = expected(name, 12, seed=3)
    assert picks.schema == LEDGER_SCHEMA
    assert picks["region_id"].to_pylist() == want.region_id.tolist()
    assert picks["order"].to_pylist() == list(range(12))
    for term in ("phi", "uncertainty", "feature", "spatial"):
        assert picks[term].to_numpy().tolist() == getattr(want, term).tolist()
    boxes = np.stack([picks[side].to_numpy() for side in ("top", "left", "height", "width")], axis=1)
    assert (boxes == GRID.boxes(want.region_id)).all()
    assert picks["image_index"].to_pylist() == GRID.image_of(want.region_id).tolist()


@pytest.mark.parametrize("name", ["entropy", "entropy+spatial", "feature+spatial-linear", "core-set-maxsum"])
def test_a_table_of_superpixels_is_selected_from_on_its_own(name: str, files: Path, raylab: Run) -> None:
    pool = irregular(RNG, [(64, 96), (50, 70), (33, 64)], 16, "maps")
    n = pool.n_regions
    u, f = RNG.random(n).astype(np.float32), RNG.normal(size=(n, 6)).astype(np.float32)
    table = with_regions(region_table(np.arange(n), {"entropy": u}, f), pool)
    Folder(str(files)).write_table("superpixels.parquet", table)
    output = files / "picks.parquet"
    status, *_ = raylab("select", files / "superpixels.parquet", "--strategy", name, "--count", 9, "--output", output)
    want = select(pool, strategy(name), 9, labelled=[], uncertainty=u, features=f)
    picks = pq.read_table(output)
    assert (status, picks["region_id"].to_pylist()) == (0, want.region_id.tolist())
    boxes = np.stack([picks[side].to_numpy() for side in ("top", "left", "height", "width")], axis=1)
    assert (boxes == pool.boxes(want.region_id)).all()


def test_select_writes_all_and_shows_the_first(files: Path, raylab: Run) -> None:
    output = files / "new/picks.parquet"
    lists = ("--labelled", files / "ledger.parquet", "--labelled", files / "more.txt")
    options = ("--strategy", "entropy+spatial+feature,tau=32", "--count", 14, "--output", output)
    status, lines, errors = raylab("select", files / "regions.parquet", *lists, *options)
    assert (status, errors) == (0, [])
    arguments = {"labelled": LABELLED, "uncertainty": UNCERTAINTY, "features": FEATURES}
    want = select(GRID, strategy("entropy+spatial+feature", tau=32.0), 14, **arguments)
    picks = pq.read_table(output)
    assert picks["region_id"].to_pylist() == want.region_id.tolist()
    assert want.region_id.tolist() != expected("entropy+spatial+feature", 14).region_id.tolist()
    assert len(lines) == 12
    first = lines[1].split()
    assert first[:2] == ["0", str(want.region_id[0])]
    terms = [want.phi[0], want.uncertainty[0], want.feature[0], want.spatial[0]]
    assert [float(cell) for cell in first[-4:]] == pytest.approx(terms, abs=1e-6)
    assert lines[-1] == f"All 14 picks: {output}"


def test_select_says_how_to_keep_the_rest(files: Path, raylab: Run) -> None:
    _, lines, _ = raylab("select", files / "regions.parquet", "--count", 14)
    assert lines[-1] == "4 more; --output FILE.parquet keeps them all"
    assert len(lines) == 12
    status, lines, _ = raylab("select", files / "regions.parquet", "--count", 0)
    assert (status, len(lines)) == (0, 1)


def test_select_takes_all_that_is_left(files: Path, raylab: Run) -> None:
    where = ("select", files / "regions.parquet", "--labelled", files / "more.txt", "--count")
    left = N - len(LABELLED[4:])
    status, lines, _ = raylab(*where, left)
    assert (status, lines[-1]) == (0, f"{left - 10} more; --output FILE.parquet keeps them all")
    status, lines, errors = raylab(*where, left + 1)
    assert (status, lines) == (2, [])
    assert errors == [f"error: count: {left + 1} regions cannot be picked; {left} of the pool's {N} are unlabelled"]


def test_files_may_lie_at_any_uri(files: Path, raylab: Run) -> None:
    uri = f"memory://{uuid4().hex}"
    store = Folder(f"{uri}/in", create=False)
    for name in ("regions.parquet", "ledger.parquet", "more.txt"):
        store.write_bytes(name, (files / name).read_bytes())
    lists = ("--labelled", f"{uri}/in/ledger.parquet", "--labelled", f"{uri}/in/more.txt")
    output = f"{uri}/out/picks.parquet"
    status, lines, _ = raylab("select", f"{uri}/in/regions.parquet", *lists, "--count", 7, "--output", output)
    assert (status, lines[-1]) == (0, f"All 7 picks: {output}")
    assert (
        selection_files.read_table(output)["region_id"].to_pylist() == expected("entropy+spatial", 7).region_id.tolist()
    )


def test_a_place_without_a_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    assert selection_files.read_table("regions.parquet").equals(TABLE)
    assert selection_files.read_labelled("more.txt").tolist() == LABELLED[4:].tolist()
    assert selection_files.read_labelled(str(files / "ledger.parquet")).tolist() == LABELLED[:5].tolist()
    assert selection_files.read_labelled(f"file://{files}/ledger.parquet").tolist() == LABELLED[:5].tolist()
    root, name = selection_files.open_at("/regions.parquet")
    assert (root.uri, name) == ("/", "regions.parquet")


def test_columns_that_a_strategy_does_not_need_may_be_missing() -> None:
    only = {"core-set": ["region_id", "feature"], "entropy": ["region_id", "uncertainty"], "random": ["region_id"]}
    for name, columns in only.items():
        picks = selection_files.select_from_table(TABLE.select(columns), "here", LABELLED, strategy(name), 8)
        assert picks["region_id"].to_pylist() == expected(name, 8).region_id.tolist()


def broken(name: str, value: pa.Array | None) -> pa.Table:
    at = TABLE.column_names.index(name)
    return TABLE.remove_column(at) if value is None else TABLE.set_column(at, name, value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.replace_schema_metadata(None), "here carries no regions"),
        (broken("uncertainty", None), "here has no column entropy, which this strategy needs; it has region_id"),
        (broken("feature", None), "here has no column feature"),
        (broken("region_id", None), "here has no column region_id"),
        (broken("uncertainty", pa.array(["x"] * N)), "column uncertainty holds string instead of floats"),
        (broken("uncertainty", pa.array([None] + [0.5] * (N - 1))), "column uncertainty holds double with nulls"),
        (broken("feature", pa.array([[0.5]] * N)), "column feature holds list"),
        (broken("region_id", pa.array(np.arange(N) / 2)), "column region_id holds double instead of integers"),
        (TABLE.slice(1), f"its {N - 1} rows are not the pool's {N} regions"),
        (TABLE.take(np.arange(N)[::-1]), "in their order"),
    ],
)
def test_a_table_that_does_not_do_is_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        selection_files.select_from_table(table, "here", LABELLED, STRATEGIES["entropy+feature"], 3)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("no.parquet", "--count", 3), "no.parquet is missing"),
        (("no/folder/no.parquet", "--count", 3), "no/folder/no.parquet is missing"),
        (("more.txt", "--count", 3), "more.txt is no readable Parquet file"),
        (("regions.parquet", "--count", 3, "--labelled", "no.txt"), "no.txt is missing"),
        (("regions.parquet", "--count", 3, "--labelled", "words.txt"), "words.txt: line 2 is no region id: 'two'"),
        (("regions.parquet", "--count", 3, "--labelled", "huge.txt"), "huge.txt: line 1 is no region id"),
        (("regions.parquet", "--count", 3, "--labelled", "other.parquet"), "has no column region_id"),
        (("regions.parquet", "--count", 3, "--labelled", "outside.txt"), f"labelled: {N} is no region of this pool"),
        (("regions.parquet", "--count", 3, "--strategy", "entropy+spacial"), "did you mean 'entropy+spatial'"),
        (("regions.parquet", "--count", 3, "--strategy", "entropy,tau"), "not of the form field=value"),
        (("regions.parquet", "--count", 3, "--strategy", "core-set,pca=8"), "strategy: pca=8 has no effect here"),
        (("regions.parquet", "--count", -1), "count: -1"),
        (("regions.parquet", "--count", N + 1), f"count: {N + 1}"),
        (("regions.parquet", "--count", 3, "--seed", -1), "seed: -1"),
        (("regions.parquet", "--count", 3, "--output", "regions.parquet"), "output: regions.parquet is the region"),
        (("regions.parquet", "--count", 3, "--output", "more.txt/picks.parquet"), "more.txt is a file"),
    ],
)
def test_bad_input_is_one_line(
    args: tuple[object, ...], message: str, files: Path, raylab: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    (files / "words.txt").write_text("1\ntwo\n")
    (files / "huge.txt").write_text("1" * 30)
    (files / "outside.txt").write_text(f"{N}\n")
    pq.write_table(pa.table({"id": [1]}), files / "other.parquet")
    before = sorted(files.rglob("*"))
    status, lines, errors = raylab("select", *args)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert sorted(files.rglob("*")) == before
    assert selection_files.read_table("regions.parquet").equals(TABLE)


def test_select_imports_neither_ray_nor_torch(files: Path) -> None:
    heavy = ("ray", "torch", "mlflow", "timm", "matplotlib")
    code = (
        "import sys; from raylab.cli import main; "
        "main('select regions.parquet --labelled ledger.parquet --strategy core-set --count 5'.split()); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=files, env=where, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    *_, last, imported = done.stdout.splitlines()
    assert int(last.split()[1]) == expected("core-set", 5, labelled=LABELLED[:5]).region_id[-1]
    assert imported == "[]"


# replay


class Backend:
    """Everything but the selection is made up."""

    def __init__(self, run: ResolvedRun) -> None:
        self.run = run

    def train(self, job: Any, round_store: Any, progress: Any) -> dict[str, Any]:
        round_store.store.write_bytes(round_store.path(MODEL), b"model")
        return {"model": MODEL, "confusion": np.eye(job.n_classes, dtype=int).tolist()}

    def score(
        self, job: Any, round_store: RoundStore, folder: str, progress: Any
    ) -> tuple[list[Written], dict[str, Any]]:
        n = job.regions.n_regions
        rng = np.random.default_rng(len(round_store.prefix))
        features = rng.normal(size=(n, 5)).astype(np.float32) if job.features else None
        table = region_table(np.arange(n), {"entropy": rng.random(n).astype(np.float32)}, features)
        write = PartWriter(round_store.store, folder, job.regions)
        return [write(part, None) for part in (table.slice(0, 48), table.slice(48))], {}

    def select(self, regions: RegionGrid, round_index: int, k: int) -> tuple[Selection, dict[str, Any]]:
        config = self.run.config
        run = RunStore(Folder(config.storage), self.run)
        columns: dict[str, Any] = {}
        if self.run.acquisition.maps or self.run.acquisition.needs_features:
            table = run.scores(round_index - 1).regions()
            columns = selection_columns(self.run.acquisition, *selection_files.columns_of(table, regions.n_regions))
        labelled = run.ledger(round_index)["region_id"].to_numpy()
        seed = [config.seed, round_index]
        return select(regions, self.run.acquisition, k, labelled=labelled, seed=seed, **columns), {}


class Silence:
    round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


@pytest.fixture
def study(tmp_path: Path) -> StudyConfig:
    """A finished study of three runs of three rounds, written by the loop."""
    strategies = ("random", "entropy+feature", "entropy+spatial,tau=32")
    config = StudyConfig(name="tiny", run=tiny_run(str(tmp_path)), strategies=strategies)
    store = Folder(str(tmp_path))
    begin_study(store, resolved_study(config))
    for run in resolved_runs(config):
        Loop(run, store, Backend(run), Silence()).run()
    return config


def run_of(study: StudyConfig, at: int) -> RunStore:
    return RunStore(Folder(study.run.storage), resolved_runs(study)[at])


def rewrite(run: RunStore, t: int, change: Callable[[list[int]], list[int]]) -> list[int]:
    """Commit a round's ledger again with other regions; gives those that were there."""
    regions = regions_of_run(run, known_regions)
    round_store = run.round(t)
    ids = round_store.ledger()["region_id"].to_pylist()
    table = ledger_table(regions, ["x"] * regions.n_images, t, np.array(change(list(ids))))
    record = round_store.record("select")
    round_store.store.delete(round_store.path("select.json"))
    round_store.commit("select", record, {"ledger.parquet": table})
    return ids


def test_every_round_is_the_same(study: StudyConfig, raylab: Run) -> None:
    status, lines, errors = raylab("replay", "tiny", "--storage", study.run.storage)
    assert (status, errors) == (0, [])
    assert lines[-1] == "9 of 9 rounds are the same"
    picks = ("12", "12", "24")
    want = [(run.label, str(t), picks[t]) for run in resolved_runs(study) for t in range(3)]
    assert [(label, t, k) for label, _, t, k, *_ in (line.split() for line in lines[:-1])] == want
    assert all(line.endswith("the same") for line in lines)


def test_one_run_or_one_round(study: StudyConfig, raylab: Run) -> None:
    storage = ("--storage", study.run.storage)
    label = resolved_runs(study)[1].label
    assert raylab("replay", label, *storage)[1][-1] == "3 of 3 rounds are the same"
    status, lines, _ = raylab("replay", "tiny", *storage, "--round", 2)
    assert (status, len(lines), lines[-1]) == (0, 4, "3 of 3 rounds are the same")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_changed_ledger_is_named(study: StudyConfig, raylab: Run, at: int) -> None:
    run = run_of(study, at)
    ids = rewrite(run, 2, lambda ids: [*ids[:7], ids[8], ids[7], *ids[9:]])
    status, lines, _ = raylab("replay", "tiny", "--storage", study.run.storage)
    assert status == 1
    different = [line for line in lines if "DIFFERENT" in line]
    assert len(different) == 1
    assert different[0].startswith(f"{run.run.label}  round  2")
    assert different[0].endswith(f"DIFFERENT from pick 8 on: region {ids[8]} in the ledger, {ids[7]} now")
    assert lines[-1] == "8 of 9 rounds are the same"


def test_a_shorter_ledger_and_another_draw_are_named(study: StudyConfig, raylab: Run) -> None:
    ids = rewrite(run_of(study, 2), 2, lambda ids: ids[:-1])
    _, lines, _ = raylab("replay", "tiny", "--storage", study.run.storage)
    assert f"DIFFERENT from pick 24 on: region none in the ledger, {ids[-1]} now" in lines[-2]
    ids = rewrite(run_of(study, 0), 0, lambda ids: ids[::-1])
    status, lines, _ = raylab("replay", "tiny", "--storage", study.run.storage, "--round", 0)
    assert status == 1
    assert all(f"DIFFERENT from pick 1 on: region {ids[-1]} in the ledger, {ids[0]} now" in line for line in lines[:-1])


def test_the_grid_is_found_in_tables_or_in_the_data(
    study: StudyConfig, raylab: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = ("--storage", study.run.storage)

    def no_data(config: DataConfig) -> None:
        raise AssertionError("the data set is opened")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "open_dataset", no_data)
        assert raylab("replay", "tiny", *storage)[0] == 0


def test_what_is_not_there_is_one_line(study: StudyConfig, raylab: Run) -> None:
    storage = ("--storage", study.run.storage)
    assert raylab("replay", "other", *storage)[2][0].endswith(
        "studies/other/study.json is missing; studies there: tiny"
    )
    status, _, errors = raylab("replay", "tiny", *storage, "--round", 9)
    assert (status, errors) == (2, [f"error: {study.run.storage}: no run has selected round 9 yet"])
    run = run_of(study, 2)
    (path,) = (run.round(1).path(name) for name in run.store.list(run.round(1).prefix) if name.endswith("48.parquet"))
    run.store.delete(path)
    status, _, errors = raylab("replay", run.run.label, *storage)
    assert (status, errors) == (
        2,
        [f"error: {run.store.uri_of(path)} is missing; restore it, or correct the path"],
    )


def test_a_run_in_progress_is_replayed_as_far_as_it_got(study: StudyConfig, raylab: Run) -> None:
    run = run_of(study, 2)
    run.store.delete(run.round(2).prefix)
    status, lines, _ = raylab("replay", run.run.label, "--storage", study.run.storage)
    assert (status, lines[-1]) == (0, "2 of 2 rounds are the same")


def test_select_from_table_names_a_bad_count() -> None:
    with pytest.raises(ConfigError, match="count: -3"):
        selection_files.select_from_table(TABLE, "here", LABELLED, STRATEGIES["entropy"], -3)
