from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from raylab.config import BudgetConfig, RegionConfig
from raylab.errors import DamagedError, MismatchError, StoreError
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.regions.table import ledger_table
from raylab.runs import Inputs, RoundStore, RunStore
from raylab.runs.rounds import LEDGER, MODEL, REPAIR, STEPS, first_difference
from raylab.sealed import read_sealed, write_sealed
from tests.configs import resolved, tiny_run

GRID = RegionGrid([(64, 96)] * 8, 16)
NAMES = [f"image-{i}" for i in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


def picks(t: int, ids: list[int]):
    return ledger_table(GRID, NAMES, t, np.asarray(ids))


def test_a_step_is_done_when_its_manifest_is_there(store):
    round_store = RoundStore(store, "runs/x/round-01")
    assert round_store.record("select") is None
    store.write_table(round_store.path(LEDGER), picks(1, [3]))
    assert round_store.record("select") is None  # its files alone do not make a step
    round_store.commit("select", {"labelled_regions": 1}, {LEDGER: picks(1, [5, 4])})
    assert round_store.record("select") == {"labelled_regions": 1}
    assert round_store.ledger()["region_id"].to_pylist() == [5, 4]
    assert round_store.record("train") is None


def test_the_manifest_is_written_last(store, monkeypatch):
    round_store = RoundStore(store, "r")
    written = []
    create = Folder.create
    monkeypatch.setattr(Folder, "create", lambda self, path, data: (written.append(path), create(self, path, data)))
    round_store.commit("select", {}, {LEDGER: picks(1, [0])})
    assert written == ["r/ledger.parquet", "r/select.json"]


def test_a_manifest_that_later_ones_follow_is_said_to_be_missing(store):
    run_store = RunStore(store, resolved(tiny_run(strategy="random")))
    run_store.round(0).commit("select", {}, {LEDGER: picks(0, [3])})
    assert run_store.done_rounds() == 0
    store.write_bytes(run_store.round(0).path(MODEL), b"weights")
    run_store.round(0).commit("train", {"miou": 0.5}, adopt=(MODEL,))
    run_store.round(1).commit("select", {}, {LEDGER: picks(1, [4])})
    assert run_store.done_rounds() == 1
    store.delete(run_store.round(0).path("train.json"))
    with pytest.raises(DamagedError, match=r"train\.json is damaged \(it is missing, and later steps follow it\)"):
        run_store.done_rounds()


def test_an_adopted_file_must_be_there(store):
    round_store = RoundStore(store, "r")
    with pytest.raises(StoreError, match=r"r/model\.safetensors is missing"):
        round_store.commit("train", {"miou": 0.5}, adopt=(MODEL,))
    assert round_store.record("train") is None
    store.write_bytes("r/model.safetensors", b"weights")
    round_store.commit("train", {"miou": 0.5}, adopt=(MODEL,))
    assert round_store.record("train") == {"miou": 0.5}
    assert store.read_json("r/train.json")["files"][MODEL]["bytes"] == 7


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_a_committed_file_gone_or_truncated_says_what_to_do(store, damage):
    round_store = RoundStore(store, "r")
    store.write_bytes("r/model.safetensors", b"weights")
    round_store.commit("train", {"miou": 0.5}, adopt=(MODEL,))
    if damage == "gone":
        store.delete("r/model.safetensors")
    else:
        store.write_bytes("r/model.safetensors", b"weigh")
    with pytest.raises(DamagedError) as caught:
        round_store.record("train")
    reason = "it is missing" if damage == "gone" else "it has 5 bytes, 7 were committed"
    assert str(caught.value) == f"{store.uri_of('r/model.safetensors')} is damaged ({reason}); {REPAIR}"
    store.delete("r/train.json")
    assert round_store.record("train") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is no JSON"),
        (b'{"record": {}', "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"record": {}}', "it carries no digest"),
        (b'{"record": {}, "sha256": "0"}', "what it says has changed"),
        (b'{"record": NaN, "sha256": "0"}', "what it says has changed"),
        (b"[]", "it carries no digest"),
    ],
)
def test_a_manifest_that_is_none_says_what_to_do(store, text, reason):
    store.write_bytes("r/train.json", text)
    with pytest.raises(DamagedError) as caught:
        RoundStore(store, "r").record("train")
    assert str(caught.value).startswith(f"{store.uri_of('r/train.json')} is damaged ({reason}")
    assert str(caught.value).endswith(f"; {REPAIR}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"more": 1}, "more"),
        ({"record": []}, "record"),
        ({"files": {"a": {"bytes": "7", "sha256": "0" * 64}}}, "files.a.bytes"),
        ({"files": {"a": {"bytes": 7, "sha256": "0"}}}, "files.a.sha256"),
        ({"previous": 1}, "previous"),
    ],
)
def test_a_manifest_of_another_shape_names_the_field(store, change, field):
    round_store = RoundStore(store, "r")
    round_store.commit("select", {"labelled_regions": 1})
    write_sealed(store, "r/select.json", {**read_sealed(store, "r/select.json"), **change})
    with pytest.raises(DamagedError, match=rf"r/select\.json is no manifest of a step \({field}: "):
        round_store.record("select")


def chain(store, *names):
    """Two rounds of a run, every step."""
    rounds = [RoundStore(store, "a"), RoundStore(store, "b", ("a/score.json",)), RoundStore(store, "other")]
    for round_store in rounds:
        for step in STEPS:
            round_store.commit(step, {"prefix": round_store.prefix}, {f"{step}.parquet": picks(0, [1])})
    return rounds


def test_manifests_form_a_chain(store):
    chain(store)
    before = {path: read_sealed(store, path)["previous"] for path in store.walk()[0] if path.endswith(".json")}
    assert {path: found and found["path"] for path, found in before.items()} == {
        "a/select.json": None, "a/train.json": "a/select.json", "a/score.json": "a/train.json",
        "b/select.json": "a/score.json", "b/train.json": "b/select.json", "b/score.json": "b/train.json",
        "other/select.json": None, "other/train.json": "other/select.json", "other/score.json": "other/train.json",
    }  # fmt: skip


def test_another_steps_manifest_and_files_are_noticed(store):
    _, second, _ = chain(store)
    for name in ("train.json", "train.parquet"):
        store.write_bytes(f"b/{name}", store.read_bytes(f"other/{name}"))
    with pytest.raises(DamagedError, match=r"b/train\.json is another step's manifest \(it belongs at other/train"):
        second.record("train")


def test_a_manifest_written_anew_is_noticed_by_the_next_one(store):
    first, second, _ = chain(store)
    store.delete("a/train.json")
    first.commit("train", {"prefix": "edited"}, {"train.parquet": picks(0, [2])})
    assert first.record("train") == {"prefix": "edited"}
    with pytest.raises(DamagedError, match=r"a/train\.json: it is not the one that the next step followed, .*a/score"):
        first.record("score")
    store.delete("a/score.json")
    first.commit("score", {}, {"score.parquet": picks(0, [2])})
    with pytest.raises(DamagedError, match=r"a/score\.json: it is not the one that the next step followed, .*b/select"):
        second.record("select")


def test_a_table_that_changed_by_a_bit_is_not_read(store):
    round_store = RoundStore(store, "r")
    round_store.commit("select", {}, {LEDGER: picks(1, [5, 4])})
    content = bytearray(store.read_bytes("r/ledger.parquet"))
    content[len(content) // 2] ^= 1
    store.write_bytes("r/ledger.parquet", bytes(content))
    assert round_store.record("select") == {}
    with pytest.raises(DamagedError, match=r"r/ledger\.parquet is damaged \(its bytes are not those"):
        round_store.ledger()


def test_a_step_done_again_stays_readable_until_it_is_committed(store, monkeypatch):
    round_store = RoundStore(store, "r")
    round_store.commit("score", {"maps": ["entropy"]}, {"regions.parquet": picks(1, [5])})

    def killed(store, manifest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("raylab.runs.rounds.create_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            round_store.commit("score", {"maps": ["bald", "entropy"]}, {"regions.parquet": picks(1, [5, 4])})
    assert round_store.record("score") == {"maps": ["entropy"]}
    assert round_store.regions() == picks(1, [5])
    for ids in ([5, 4], [3], [2, 1]):
        round_store.commit("score", {"maps": ["bald", "entropy"]}, {"regions.parquet": picks(1, ids)})
        assert round_store.record("score") == {"maps": ["bald", "entropy"]}
        assert round_store.regions() == picks(1, ids)
        assert len([name for name in store.list("r") if name.startswith("regions")]) == 1


def test_the_first_to_commit_wins_and_the_others_take_what_is_there(store, monkeypatch):
    """Two processes do the same step with other results; the second has looked before the first commits."""
    first, second = RoundStore(store, "r"), RoundStore(store, "r")
    describe = RoundStore._describe

    def overtaken(self, name):
        monkeypatch.setattr(RoundStore, "_describe", describe)
        store.write_bytes("r/ledger.3.parquet", b"left by a process that was killed")
        assert first.commit("select", {"of": "first"}, {LEDGER: picks(1, [7])}) == {"of": "first"}
        return describe(self, name)

    monkeypatch.setattr(RoundStore, "_describe", overtaken)
    assert second.commit("select", {"of": "second"}, {LEDGER: picks(1, [5])}) == {"of": "first"}
    for round_store in (first, second):
        assert round_store.record("select") == {"of": "first"}
        assert round_store.ledger() == picks(1, [7])
    assert store.list("r") == ["ledger.2.parquet", "select.json"]
    # A process that comes later still, and one whose result is the same to the last bit.
    assert second.commit("select", {}, {LEDGER: picks(1, [4])}) == {"of": "first"}
    assert second.commit("select", {}, {LEDGER: picks(1, [7])}) == {"of": "first"}
    assert second.ledger() == picks(1, [7])
    assert store.list("r") == ["ledger.2.parquet", "select.json"]


def test_scores_that_others_replaced_meanwhile_stay(store, monkeypatch):
    first, second = RoundStore(store, "r"), RoundStore(store, "r")
    first.commit("score", {"maps": ["a"]}, {"regions.parquet": picks(1, [1])})
    describe = RoundStore._describe

    def overtaken(self, name):
        monkeypatch.setattr(RoundStore, "_describe", describe)
        first.commit("score", {"maps": ["a", "b"]}, {"regions.parquet": picks(1, [2])})
        first.commit("score", {"maps": ["a", "b", "d"]}, {"regions.parquet": picks(1, [3])})
        return describe(self, name)

    monkeypatch.setattr(RoundStore, "_describe", overtaken)
    assert second.commit("score", {"maps": ["a", "c"]}, {"regions.parquet": picks(1, [4])}) == {"maps": ["a", "b"]}
    assert second.record("score") == {"maps": ["a", "b", "d"]}
    assert second.regions() == picks(1, [3])


def test_a_table_that_is_replaced_while_it_is_read_is_read_anew(store, monkeypatch):
    round_store = RoundStore(store, "r")
    round_store.commit("score", {}, {"regions.parquet": picks(1, [5])})
    read = Folder.read_table

    def replaced(self, path, sha256=None, columns=None):
        monkeypatch.setattr(Folder, "read_table", read)
        round_store.commit("score", {}, {"regions.parquet": picks(1, [4])})
        return read(self, path, sha256)

    monkeypatch.setattr(Folder, "read_table", replaced)
    assert round_store.regions() == picks(1, [4])


def test_round_0_is_shared_by_strategies_and_by_nothing_else(store):
    def first(**changes):
        return RunStore(store, resolved(tiny_run(**changes))).round(0).prefix

    assert first(strategy="entropy") == first(strategy="random")
    assert first(budget=BudgetConfig(initial=12, rounds=(1,))) == first()
    assert len({first(), first(seed=1), first(regions=RegionConfig(size=32))}) == 3
    one, other = (RunStore(store, resolved(tiny_run(strategy=name))) for name in ("entropy", "random"))
    assert one.round(1).prefix != other.round(1).prefix
    assert one.round(1).prefix.startswith("runs/entropy-N16-seed0-")


def test_open_again_with_the_same_data_and_other_workers(store):
    RunStore(store, resolved(tiny_run())).open()
    changed = tiny_run().model_copy(update={"compute": tiny_run().compute.model_copy(update={"workers": 2})})
    RunStore(store, resolved(changed)).open()


@pytest.mark.parametrize(
    ("path", "field", "then", "now"),
    [
        ("run.json", ("acquisition", "spatial"), 0.5, 1.0),
        ("run.json", ("training", "learning_rate"), 0.1, 0.05),
        ("run.json", ("data_fingerprint",), "other", None),
        ("run.json", ("weights",), "sha256:00", "random"),
        ("identity.json", ("data_fingerprint",), "other", None),
        ("identity.json", ("model", "channels"), 8, 16),
    ],
)
def test_what_lies_there_and_is_another_run_names_file_and_field(store, path, field, then, now):
    run_store = RunStore(store, resolved(tiny_run()))
    run_store.open()
    path = run_store.round(0).path(path) if path == "identity.json" else f"{run_store.folder}/{path}"
    saved = read_sealed(store, path)
    inner = saved
    for part in field[:-1]:
        inner = inner[part]
    inner[field[-1]] = then
    write_sealed(store, path, saved)
    with pytest.raises(MismatchError) as caught:
        run_store.open()
    assert str(caught.value) == (
        f"{store.uri_of(path)}: {'.'.join(field)} was {then!r} when this began and is "
        f"{now or run_store.run.inputs.data!r} now; restore it, or choose another storage root"
    )
    assert read_sealed(store, path) == saved


def test_a_field_that_has_come_since_means_its_default(store):
    run_store = RunStore(store, resolved(tiny_run()))
    run_store.open()
    path = f"{run_store.folder}/run.json"
    saved = read_sealed(store, path)
    for section, field in (("training", "power"), ("acquisition", "class_balanced")):
        saved[section].pop(field)
    saved.pop("seed")
    write_sealed(store, path, saved)
    run_store.open()
    saved["training"].pop("crop")  # is 64 in this run, not the default
    write_sealed(store, path, saved)
    with pytest.raises(MismatchError, match=r"training\.crop was 513 .* and is 64 now"):
        run_store.open()


def test_what_a_round_started_from_is_told_by_file_pretraining_or_round_0(store):
    run = resolved(tiny_run())
    assert RunStore(store, run).start_sha256() is None
    RunStore(store, run).round(0).commit("train", {"weights_sha256": "abc"})
    assert RunStore(store, run).start_sha256() == "abc"
    of_file = dataclasses.replace(run, inputs=Inputs("data", "def"))
    assert RunStore(store, of_file).start_sha256() == "def"
    after = dataclasses.replace(of_file, pretrained_folder="pretrained/x")
    with pytest.raises(StoreError, match=r"pretrained/x/train\.json is missing"):
        RunStore(store, after).start_sha256()
    store.write_bytes("pretrained/x/model.safetensors", b"weights")
    RoundStore(store, "pretrained/x").commit("train", {}, adopt=(MODEL,))
    assert RunStore(store, after).start_sha256() == hashlib.sha256(b"weights").hexdigest()
    store.delete("pretrained/x/train.json")
    RoundStore(store, "pretrained/x").commit("train", {})
    with pytest.raises(StoreError, match=r"names no file model\.safetensors; restore it, or let raylab verify"):
        RunStore(store, after).start_sha256()


def test_the_ledger_of_several_rounds_is_in_order(store):
    run_store = RunStore(store, resolved(tiny_run()))
    for t, ids in enumerate(([9, 2], [4], [8, 1])):
        run_store.round(t).commit("select", {}, {LEDGER: picks(t, ids)})
    assert run_store.ledger(2)["region_id"].to_pylist() == [9, 2, 4]
    assert run_store.ledger(3)["round"].to_pylist() == [0, 0, 1, 2, 2]


def test_done_rounds_counts_whole_rounds(store):
    run_store = RunStore(store, resolved(tiny_run(strategy="random")))
    for t in range(3):
        assert run_store.done_rounds() == t
        run_store.round(t).commit("select", {})
        assert run_store.done_rounds() == t
        run_store.round(t).commit("train", {"miou": 0.1})
    assert run_store.done_rounds() == 3


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": {"b": [1, 2]}, "z": 0}, {"a": {"b": [1, 3]}, "z": 1}, ("a.b", [1, 2], [1, 3])),
        ({"a": 1}, {"a": 1, "b": 2}, ("b", None, 2)),
        ({"a": {"b": 1}}, {"a": 3}, ("a", {"b": 1}, 3)),
        (None, None, None),
    ],
)
def test_first_difference(then, now, expected):
    assert first_difference(then, now) == expected


def test_a_run_is_found_by_its_identity_under_whatever_label(store):
    one, other = resolved(tiny_run(strategy="entropy+spatial")), resolved(tiny_run(strategy="entropy+spatial,tau=16"))
    assert one.label != other.label
    RunStore(store, one).open()
    assert RunStore(store, other).folder == RunStore(store, one).folder == f"runs/{one.label}"
    RunStore(store, other).open()
    assert store.list("runs") == [one.label]
