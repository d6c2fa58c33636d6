"""Whatever bytes a file holds that raylab reads, what comes out is a value or a RaylabError."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from raylab.acquisition import strategy
from raylab.config import DataConfig, StudyConfig
from raylab.config.load import read_yaml
from raylab.config.strategy import parse_strategy
from raylab.data import decode, find_problems, open_dataset
from raylab.data.coding import IdCoding
from raylab.data.image_file import read_size
from raylab.data.pack import pack_config
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.models.weights import _from_file
from raylab.regions.grid import RegionGrid
from raylab.regions.table import ledger_table, region_table, with_regions
from raylab.runs import RunStore, stored_study
from raylab.runs.manifest import read_manifest
from raylab.runs.studies import begin_study
from raylab.sealed import seal_bytes, unseal_bytes, write_sealed
from raylab.selection.files import read_labelled, select_to_file
from raylab.training.checkpoint import decode_state, encode_state
from tests.configs import resolved_study, tiny_run

pytestmark = pytest.mark.fault
EXAMPLES = int(os.environ.get("RAYLAB_FUZZ", "300"))
"""Of each parser in the slow run; the default run takes a few."""

_WORDS = (
    "\ufeff|\0|\n\n|\r\n|:|-|[|{|]}|&a|*a|!!python/object:|../|//|%|$HOME|1e999|-1|NaN|null|99999999999999999999|"
    "2026-13-45|=cmd|\u00ef|a.png|id:|classes:|,tau=|+spatial,|\udcff"
)
_PIECES = st.sampled_from(_WORDS.split("|")).map(lambda text: text.encode("utf-8", "surrogateescape"))
_EDIT = st.tuples(st.integers(0, 2**20), st.integers(0, 8), st.one_of(_PIECES, st.binary(max_size=6)))


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """Bytes with some pieces cut out or replaced by others, or other bytes altogether."""
    if draw(st.integers(0, 9)) == 0:
        return bytes(draw(st.binary(max_size=64)))
    result = content
    for at, cut, piece in draw(st.lists(_EDIT, min_size=1, max_size=4)):
        at %= len(result) + 1
        result = result[:at] + piece + result[at + cut :]
    return result[: len(result) // 2] if draw(st.integers(0, 9)) == 0 else result


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def edited(draw: Any, value: Any) -> Any:
    """A JSON value in which something, somewhere, is another or gone."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: draw(edited(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(edited(value[index])), *value[index + 1 :]]
    return draw(_JSON)


@dataclass(frozen=True)
class Parser:
    """A parser, and what it is fed.

    Attributes:
        good: bytes that it reads.
        read: has them read.
        sealed: what the file says is edited and sealed with a digest that fits, instead of its bytes.
    """

    good: bytes
    read: Callable[[bytes], object]
    sealed: bool = False


class Make(Protocol):
    def __call__(self, folder: Path) -> Parser: ...


def region_table_alone(folder: Path) -> Parser:
    grid, rng = RegionGrid([(64, 96), (50, 70)], 16), np.random.default_rng(5)
    n = grid.n_regions
    maps = {"uncertainty": rng.random(n).astype(np.float32)}
    table = with_regions(region_table(np.arange(n), maps, rng.normal(size=(n, 3)).astype(np.float32)), grid)
    file = folder / "regions.parquet"
    Folder(str(folder)).write_table(file.name, table)

    def read(content: bytes) -> object:
        file.write_bytes(content)
        return select_to_file(str(file), [], strategy("entropy+feature"), 3, 0, None)

    return Parser(file.read_bytes(), read)


def labelled_list(folder: Path) -> Parser:
    def read(content: bytes) -> object:
        (folder / "labelled.txt").write_bytes(content)
        return read_labelled(str(folder / "labelled.txt"))

    return Parser(b"1\n5\n17\n", read)


def ledger_alone(folder: Path) -> Parser:
    grid = RegionGrid([(64, 96)], 16)
    Folder(str(folder)).write_table("ledger.parquet", ledger_table(grid, ["a"], 0, np.array([3, 1])))
    file = folder / "ledger.parquet"

    def read(content: bytes) -> object:
        file.write_bytes(content)
        return read_labelled(str(file))

    return Parser(file.read_bytes(), read)


def manifest(folder: Path) -> Parser:
    store = Folder(str(folder))
    value = {
        "path": "select.json", "record": {"spent": 3.0}, "previous": None,
        "files": {"ledger.parquet": {"bytes": 3, "sha256": "0" * 64}},
    }  # fmt: skip

    def read(content: bytes) -> object:
        value = json.loads(content)
        write_sealed(store, "select.json", value if isinstance(value, dict) else {"value": value})
        return read_manifest(store, "select.json")

    return Parser(json.dumps(value).encode(), read, sealed=True)


def manifest_bytes(folder: Path) -> Parser:
    store = Folder(str(folder))
    write_sealed(store, "select.json", {"path": "select.json", "record": {}, "files": {}, "previous": None})

    def read(content: bytes) -> object:
        (folder / "select.json").write_bytes(content)
        return read_manifest(store, "select.json")

    return Parser((folder / "select.json").read_bytes(), read)


def study_file(folder: Path) -> Parser:
    store = Folder(str(folder))
    study = resolved_study(StudyConfig(name="fuzz", run=tiny_run(str(folder)), strategies=("entropy+spatial",)))
    begin_study(store, study)
    path = "studies/fuzz/study.json"
    good = store.read_json(path)
    del good["sha256"]

    def read(content: bytes) -> object:
        value = json.loads(content)
        write_sealed(store, path, value if isinstance(value, dict) else {"value": value})
        return [RunStore(store, run).done_rounds() for run in stored_study(store, "fuzz").runs]

    return Parser(json.dumps(good).encode(), read, sealed=True)


def own_folder(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, names in (("train", "ab"), ("val", "c")):
        for kind, shape, top in (("images", (16, 24, 3), 256), ("masks", (16, 24), 2)):
            (folder / kind / split).mkdir(parents=True)
            for name in names:
                array = rng.integers(0, top, shape).astype(np.uint8)
                Image.fromarray(array).save(folder / kind / split / f"{name}.png")
    (folder / "dataset.yaml").write_text(
        "classes:\n- {name: a, id: 0, colour: [1, 2, 3]}\n- {name: b, id: 1}\nignore: [255]\nval: 0.5\nbits: 12\n"
    )
    return folder


def dataset_yaml(folder: Path) -> Parser:
    root = own_folder(folder)

    def read(content: bytes) -> object:
        (root / "dataset.yaml").write_bytes(content)
        return find_problems(DataConfig(name="folder", root=str(root)))

    return Parser((root / "dataset.yaml").read_bytes(), read)


def split_list(folder: Path) -> Parser:
    lists = folder / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("c\n")
    for kind, ending, shape in (("JPEGImages", "jpg", (16, 24, 3)), ("SegmentationClass", "png", (16, 24))):
        (folder / kind).mkdir()
        for name in "abc":
            Image.fromarray(np.zeros(shape, np.uint8)).save(folder / kind / f"{name}.{ending}")

    def read(content: bytes) -> object:
        (lists / "train.txt").write_bytes(content)
        return find_problems(DataConfig(name="voc2012", root=str(folder)))

    return Parser(b"a\nb.jpg\n/JPEGImages/b.jpg /SegmentationClass/b.png\n", read)


def pack_file(name: str) -> Make:
    def make(folder: Path) -> Parser:
        source = own_folder(folder / "raw")
        (source / "dataset.yaml").write_text("classes: [{name: a, id: 0}, {name: b, id: 1}]\n")
        packed = folder / "packed"
        pack_config(DataConfig(name="folder", root=str(source)), str(packed), lambda line: None)

        def read(content: bytes) -> object:
            (packed / name).write_bytes(content)
            dataset = open_dataset(DataConfig(name="folder", root=str(packed)))
            return dataset.read_image("train", 0), dataset.read_mask("train", 0)

        return Parser((packed / name).read_bytes(), read)

    return make


def pack_manifest(folder: Path) -> Parser:
    parser = pack_file("raylab-pack.json")(folder)
    good = json.loads(parser.good)
    del good["sha256"]
    store = Folder(str(folder / "packed"))

    def read(content: bytes) -> object:
        value = json.loads(content)
        write_sealed(store, "raylab-pack.json", value if isinstance(value, dict) else {"value": value})
        return parser.read((folder / "packed/raylab-pack.json").read_bytes())

    return Parser(json.dumps(good).encode(), read, sealed=True)


def image(format: str, **options: Any) -> Make:
    def make(folder: Path) -> Parser:
        picture = np.random.default_rng(1).integers(0, 3, (9, 13) if format == "GIF" else (9, 13, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format, **options)
        file = Folder(str(folder)).file(f"image.{format.lower()}")

        def read(content: bytes) -> object:
            (folder / file.path).write_bytes(content)
            with suppress(RaylabError):
                decode.read_mask(file, IdCoding((0, 1, 2), (255,)))
            return read_size(file), decode.read_rgb(file)

        return Parser(buffer.getvalue(), read)

    return make


def strategy_text(folder: Path) -> Parser:
    return Parser(
        b"entropy+spatial,tau=64,spatial=0.5,set_function=max_sum,map=margin,pca=8,p=2",
        lambda content: parse_strategy(content.decode("utf-8", "surrogateescape")).label,
    )


def study_yaml(folder: Path) -> Parser:
    text = (
        "name: mine\nstrategies: [random, 'entropy+spatial,tau=80']\nseeds: [0, 1]\nrun:\n  data: {name: camvid, "
        "root: data}\n  budget: {initial: 10, rounds: [10, 20]}\n  training: {learning_rate: 1.0e-2, scale: [0.5, 2]}\n"
    )

    def read(content: bytes) -> object:
        (folder / "study.yaml").write_bytes(content)
        return [run.strategy.label for run in read_yaml(StudyConfig, str(folder / "study.yaml")).runs()]

    return Parser(text.encode(), read)


def weights(folder: Path) -> Parser:
    file = folder / "w.safetensors"

    def read(content: bytes) -> object:
        file.write_bytes(content)
        return _from_file(str(file))

    return Parser(save({"a": torch.zeros(2, 3), "b": torch.ones(4)}), read)


def checkpoint(folder: Path) -> Parser:
    good = unseal_bytes(encode_state({"done": 3, "losses": [0.5]}), "state.pt")
    return Parser(good, lambda content: decode_state(seal_bytes(content), "state.pt"))


PARSERS: dict[str, Make] = {
    "a region table": region_table_alone,
    "a ledger": ledger_alone,
    "a labelled list": labelled_list,
    "a manifest": manifest,
    "a manifest's bytes": manifest_bytes,
    "study.json": study_file,
    "dataset.yaml": dataset_yaml,
    "a split list": split_list,
    "a pack's manifest": pack_manifest,
    "a pack's index": pack_file("index.parquet"),
    "a pack's shard": pack_file("shards/train-00000.parquet"),
    "PNG": image("PNG"),
    "JPEG": image("JPEG"),
    "TIFF": image("TIFF", compression="tiff_lzw"),
    "WebP": image("WEBP", lossless=True),
    "BMP": image("BMP"),
    "GIF": image("GIF"),
    "a strategy": strategy_text,
    "a study's YAML": study_yaml,
    "weights": weights,
    "a checkpoint": checkpoint,
}


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """What it is fed: its good bytes damaged, or what they say edited."""
    if parser.sealed:
        return edited(json.loads(parser.good)).map(lambda value: json.dumps(value).encode())
    return damaged(parser.good)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("examples", [6, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PARSERS)
def test_only_errors_of_ours_come_out(
    name: str, examples: int, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    parser = PARSERS[name](tmp_path)
    parser.read(parser.good)
    seen = {"read": 0, "told": 0, "other errors": 0}

    @settings(
        max_examples=examples, database=None, derandomize=True, deadline=None,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs(parser))
    def check(content: bytes) -> None:
        try:
            parser.read(content)
        except RaylabError:
            seen["told"] += 1
        else:
            seen["read"] += 1

    check()
    done = {"inputs": seen["read"] + seen["told"], "parsers": 1 if examples == EXAMPLES else 0}
    record_fault("hostile bytes in any file that is read", "a typed error or a value, nothing else", done, seen)
