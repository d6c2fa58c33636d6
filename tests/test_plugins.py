"""Rows that users add from outside the package: found, loaded once, known before names are checked, and in workers."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylab import plugins
from raylab.acquisition import STRATEGIES, Acquisition, register_strategy, strategy
from raylab.config import (
    BudgetConfig,
    ComputeConfig,
    ModelConfig,
    RunConfig,
    ScoringConfig,
    StrategyConfig,
    StudyConfig,
)
from raylab.config.load import read_yaml
from raylab.config.options import parse
from raylab.data import DATASETS, DatasetRow
from raylab.errors import ConfigError, MismatchError, StoreError
from raylab.files import Folder
from raylab.models import ARCHITECTURES
from raylab.plugins import Registry, load
from raylab.runs import Inputs, ResolvedStudy, resolve, resolve_study, stored_study
from raylab.runs.identity import supervised_folder
from raylab.runs.studies import begin_study, study_path
from raylab.scoring.uncertainty import MAPS, UncertaintyMap, entropy
from raylab.sealed import read_sealed, write_sealed
from tests.configs import resolved, resolved_runs, tiny_run

ROOT = Path(__file__).parents[1]
ROW = """
from raylab.acquisition import Acquisition, register_strategy
register_strategy("half-spatial", Acquisition(uncertainty=1, spatial=0.5))
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Write modules into a folder that is the current one; what they registered is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known, tables = set(sys.modules), [table._rows for table in (STRATEGIES, MAPS, DATASETS, ARCHITECTURES)]
    before = [dict(table) for table in tables]

    def save(text: str, path: str = "my_rows.py") -> Path:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path / path

    yield save
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    for table, rows in zip(tables, before, strict=True):
        table.clear()  # type: ignore[attr-defined]
        table.update(rows)  # type: ignore[arg-type]


def test_a_registry_refuses_another_row_of_the_same_name() -> None:
    registry = Registry("number", {"one": 1})
    registry.register("one", 1)
    with pytest.raises(ConfigError, match="number: 'one' is registered already, as something else"):
        registry.register("one", 2)
    assert dict(registry) == {"one": 1}
    with pytest.raises(ConfigError, match="number: 'ten' is not known; there are one"):
        registry.find("ten")


def test_a_registry_tells_its_own_rows_from_those_of_plugins() -> None:
    registry = Registry("number", {"one": 1})
    registry.register("two", 2)
    assert [registry.is_shipped(name) for name in ("one", "two", "three")] == [True, False, False]


def made_in(file: str | None, name: str, text: str) -> Any:
    """Something that a module's text defines, as a reload of the module or a notebook's cell makes it."""
    space: dict[str, Any] = {"__name__": "__main__"} if file is None else {"__name__": "mine", "__file__": file}
    exec(text, space)
    return space[name]


@pytest.mark.parametrize("file", [None, "mine.py"])
def test_what_is_made_anew_takes_the_place_of_a_plugin_s_row(file: str | None) -> None:
    old, new = (made_in(file, "risk", f"def risk(logits):\n return {sign}logits.amax(1)") for sign in ("", "-"))
    registry = Registry("map", {"entropy": UncertaintyMap(entropy)})
    registry.register("risk", UncertaintyMap(old))
    registry.register("risk", UncertaintyMap(new))
    assert registry["risk"].function is new
    for other in (made_in(file, "f", "def f(logits): 0"), made_in("other.py", "risk", "def risk(logits): 0")):
        with pytest.raises(ConfigError, match=r"map: 'risk' is registered already.*, or free .*remove\('ri"):
            registry.register("risk", UncertaintyMap(other))
    with pytest.raises(ConfigError, match="map: 'risk' is registered already"):
        registry.register("risk", UncertaintyMap(new, committee=True))
    registry.remove("risk")
    registry.register("risk", UncertaintyMap(new, committee=True))
    for change in (lambda: registry.register("entropy", UncertaintyMap(new)), lambda: registry.remove("entropy")):
        with pytest.raises(ConfigError, match=r"'entropy' is .*another name$"):
            change()
    shipped = registry["entropy"]
    registry.register("entropy", UncertaintyMap(entropy))
    assert registry["entropy"] is shipped


@pytest.mark.parametrize(
    ("module", "table"),
    [
        ("my_dataset", "raylab.data.DATASETS"),
        ("my_model", "raylab.models.ARCHITECTURES"),
        ("my_map", "raylab.scoring.uncertainty.MAPS"),
        ("my_strategy", "raylab.acquisition.STRATEGIES"),
    ],
)
def test_a_module_can_be_reloaded(write: Any, module: str, table: str) -> None:
    package, name = table.rsplit(".", 1)
    rows = getattr(importlib.import_module(package), name)
    before = set(rows)
    write((ROOT / "docs/examples" / f"{module}.py").read_text(), f"{module}.py")
    load([module])
    (new,) = set(rows) - before
    first = rows[new]
    importlib.reload(sys.modules[module])
    assert rows[new] is not first
    assert set(rows) - before == {new}


@pytest.mark.parametrize("name", ["", "a,b", "a=b", "a/b", "+a", "a b"])
def test_names_that_texts_and_folders_cannot_hold(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        register_strategy(name, Acquisition(uncertainty=1))


def test_a_strategy_keeps_its_name() -> None:
    register_strategy("entropy", Acquisition(uncertainty=1.0))
    with pytest.raises(ConfigError, match="'entropy' is registered already"):
        register_strategy("entropy", Acquisition(uncertainty=2.0))
    with pytest.raises(ConfigError, match="'margin\\+spatial' is another name of"):
        register_strategy("margin+spatial", Acquisition(uncertainty=1.0))


@pytest.mark.parametrize("plugin", ["my_rows", "my_rows.py", "./my_rows", "{folder}/my_rows", "{folder}/my_rows.py"])
def test_a_module_of_the_current_folder(write: Any, tmp_path: Path, plugin: str) -> None:
    write(ROW)
    with pytest.raises(ConfigError, match="'half-spatial' is not known"):
        strategy("half-spatial")
    found = load([plugin.format(folder=tmp_path)])
    assert found == (f"{tmp_path}/my_rows",)
    assert strategy("half-spatial,tau=8") == Acquisition(uncertainty=1, spatial=0.5, tau=8)
    os.chdir("/")
    assert load(found) == found, "found again from elsewhere, and not run twice"


def test_modules_of_packages(write: Any, tmp_path: Path) -> None:
    write("", "lib/my_package/__init__.py")
    write(ROW, "lib/my_package/rows.py")
    assert load(["lib/my_package.rows"]) == (f"{tmp_path}/lib/my_package.rows",)
    assert "half-spatial" in STRATEGIES
    assert load(["json"]) == ("json",), "an installed module is known by its name alone"


@pytest.mark.parametrize(
    ("text", "plugin", "message"),
    [
        (ROW, "my_rowz", "plugins: my_rowz: no module 'my_rowz' is installed or in that folder"),
        (ROW, "gone/my_rows2", "plugins: gone/my_rows2: there is no folder {folder}/gone; correct the path"),
        (ROW, "my rows", "plugins: 'my rows' is not the name of a module"),
        ("import torch\n\nmissing", "my_rows", "NameError: name 'missing' is not defined ({file}, line 3)"),
        ("import no_such_library", "my_rows", "could not be imported: ModuleNotFoundError: No module named 'no_such"),
        (
            "def f(:",
            "my_rows",
            "plugins: my_rows could not be imported: SyntaxError: invalid syntax (my_rows.py, line 1)",
        ),
        (
            ROW.replace("half-spatial", "random"),
            "my_rows",
            "plugins: my_rows: strategy: 'random' is registered already",
        ),
        (ROW.replace("0.5", "-1"), "my_rows", "plugins: my_rows: acquisition.spatial: must be greater"),
    ],
)
def test_modules_that_cannot_be_imported(write: Any, text: str, plugin: str, message: str) -> None:
    file = write(text)
    with pytest.raises(ConfigError) as caught:
        RunConfig(plugins=(plugin,))
    assert message.format(file=file, folder=file.parent) in str(caught.value)


def test_two_modules_of_one_name_are_not_taken_for_one_another(write: Any) -> None:
    write(ROW, "one/my_rows.py")
    write(ROW.replace("0.5", "0.25"), "two/my_rows.py")
    load(["one/my_rows"])
    with pytest.raises(ConfigError, match=r"another module 'my_rows', of .*one, comes before it"):
        load(["two/my_rows"])


def test_plugins_are_loaded_before_names_are_checked(write: Any, tmp_path: Path) -> None:
    write(ROW)
    where = (f"{tmp_path}/my_rows",)
    write("strategies: ['half-spatial,tau=8']\nplugins: [my_rows]\n", "study.yaml")
    study = read_yaml(StudyConfig, "study.yaml")
    (run,) = study.runs()
    assert (study.plugins, study.run.plugins, run.plugins) == (where, where, where)
    assert run.strategy.label == "half-spatial,tau=8", "a plugin's name stays"
    again = StudyConfig.model_validate(study.model_dump(mode="json"))
    assert again == study
    alone = parse(RunConfig, ["--plugins", "my_rows", "--strategy.name", "half-spatial"], "x")
    assert alone.plugins == where
    assert alone.strategy.acquisition().spatial == 0.5
    same = {"plugins": (), "strategy": StrategyConfig(name="entropy+spatial", spatial=0.5)}
    assert resolved(alone).identity == resolved(alone.model_copy(update=same)).identity


def program(folder: Path, *args: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"}
    return subprocess.run([sys.executable, *args], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_an_installed_package_needs_no_option(write: Any, tmp_path: Path) -> None:
    """Its entry point names the module; a package that does not import is named in one line."""
    write(ROW, "site/my_installed.py")
    write("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n", "site/my_package-1.0.dist-info/METADATA")
    write("[raylab.plugins]\nrows = my_installed\n", "site/my_package-1.0.dist-info/entry_points.txt")
    code = "from raylab.acquisition import strategy; print(strategy('half-spatial').spatial)"
    done = program(tmp_path, "-c", code, path=f"{tmp_path}/site")
    assert (done.stdout, done.stderr) == ("0.5\n", "")
    write("1 / 0", "site/my_installed.py")
    code = "from raylab.errors import exit_cleanly\nwith exit_cleanly():\n " + code.replace("; ", "\n ")
    done = program(tmp_path, "-c", code, path=f"{tmp_path}/site")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith(
        "error: entry point 'rows' of the installed package my-package could not be imported: ZeroDivisionError"
    )


@pytest.mark.parametrize(
    "first",
    [
        "raylab --version",
        "raylab.backends.selector_actor",
        "raylab.scoring.uncertainty",
        "raylab.data",
        "raylab.models",
    ],
)
def test_entry_points_of_every_kind_whatever_is_imported_first(write: Any, tmp_path: Path, first: str) -> None:
    kinds = ("dataset", "model", "map", "strategy")
    for kind in kinds:
        write((ROOT / "docs/examples" / f"my_{kind}.py").read_text(), f"site/my_{kind}.py")
    write("from raylab.config import RunConfig\n", "site/my_reader.py")
    write("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n", "site/my_package-1.0.dist-info/METADATA")
    lines = "".join(f"{kind} = my_{kind}\n" for kind in (*kinds, "reader"))
    write(f"[raylab.plugins]\n{lines}", "site/my_package-1.0.dist-info/entry_points.txt")
    if first == "raylab --version":
        done = program(tmp_path, "-m", "raylab", "--version", path=f"{tmp_path}/site")
        assert (done.returncode, done.stderr) == (0, "")
        return
    code = f"""import {first}
from raylab.acquisition import STRATEGIES
from raylab.data import DATASETS
from raylab.models import ARCHITECTURES
from raylab.scoring.uncertainty import MAPS
print("idd" in DATASETS, "two-levels" in ARCHITECTURES, "gini" in MAPS, "margin+half-spatial" in STRATEGIES)"""
    done = program(tmp_path, "-c", code, path=f"{tmp_path}/site")
    assert (done.stdout, done.stderr) == ("True True True True\n", "")


def test_a_folder_that_lacks_the_module_is_not_made_up_for_by_an_installed_one(write: Any, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with pytest.raises(ConfigError, match=f"plugins: gone/json: no module 'json' is in the folder {tmp_path}/gone"):
        load(["gone/json"])


def test_a_script_may_name_itself(write: Any, tmp_path: Path) -> None:
    script = "print('run')\n" + ROW + "if __name__ == '__main__':\n from raylab.config import RunConfig\n"
    write(script + " print(RunConfig(plugins=['my_rows']).plugins)\n")
    done = program(tmp_path, "my_rows.py")
    assert (done.stdout, done.stderr) == (f"run\n('{tmp_path}/my_rows',)\n", "")


RISK = """
from raylab import register_map

def sign():
    return 1

def risk(logits):
    return sign() * logits.amax(1)

register_map("risk", risk)
"""
ASK = """
from raylab.runs import Inputs, resolve
from raylab.config import RunConfig
print(resolve(RunConfig(plugins=("risks",), strategy={"name": "entropy", "map": "risk"}), Inputs("d")).identity)
"""


def with_risk(write: Any, text: str, strategy: str = "entropy,map=risk") -> ResolvedStudy:
    """A study of a plugin as it is now."""
    sys.modules.pop("risks", None)
    write(text, "risks.py")
    os.utime("risks.py", (len(text), sum(text.encode())))
    return resolve_study(StudyConfig(plugins=("risks",), strategies=(strategy,)), Inputs("d"))


@pytest.mark.parametrize(
    ("old", "new"), [("sign() *", "-sign() *"), ("return 1", "return -1"), ("risk(logits):", "risk(logits, k=2):")]
)
def test_a_map_of_other_code_makes_another_run(write: Any, tmp_path: Path, old: str, new: str) -> None:
    store = Folder(str(tmp_path / "results"))
    first = with_risk(write, RISK)
    begin_study(store, first)
    begin_study(store, with_risk(write, RISK.replace("risk(logits):", "risk(logits):  # remarks are no code")))
    changed = with_risk(write, RISK.replace(old, new))
    (one,), (other,) = first.runs, changed.runs
    assert one.identity != other.identity
    assert one.round0_identity == other.round0_identity, "round 0 has no map"
    assert one.scores_name != other.scores_name, "its scores have"
    plain = with_risk(write, RISK, "margin").runs[0]
    assert (plain.plugin_rows, plain.scores_name) == ({}, "pca-128"), "what is not used is no part"
    changed = with_risk(write, RISK.replace(old, new))
    with pytest.raises(
        MismatchError, match=r"study\.json: map risk: its code changed since the study 'study' began; re"
    ):
        begin_study(store, changed)


def test_a_study_is_read_back_without_its_plugin(write: Any, tmp_path: Path) -> None:
    store = Folder(str(tmp_path / "results"))
    study = with_risk(write, RISK)
    begin_study(store, study)
    (tmp_path / "risks.py").unlink()
    del sys.modules["risks"]
    assert stored_study(store, "study") == study
    assert "risks" not in sys.modules, "nothing of a plugin runs for a look at what is stored"
    stored = read_sealed(store, study_path("study"))
    write_sealed(store, study_path("study"), {**stored, "config": {**stored["config"], "newer": 1}})
    with pytest.raises(StoreError, match=r"no study of this version of raylab \(newer: [^\n]*\); choose") as caught:
        stored_study(store, "study")
    assert "pydantic" not in str(caught.value)


def test_the_digest_of_a_row_is_that_of_every_process(write: Any, tmp_path: Path) -> None:
    here = with_risk(write, RISK).runs[0].identity
    assert [program(tmp_path, "-c", ASK).stdout for _ in range(2)] == [f"{here}\n"] * 2


def test_the_builder_of_a_model_and_the_reader_of_data_are_part_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_run()
    monkeypatch.setattr(ARCHITECTURES, "_rows", dict(ARCHITECTURES._rows))
    monkeypatch.setattr(DATASETS, "_rows", dict(DATASETS._rows))
    config = config.model_copy(
        update={
            "model": config.model.model_copy(update={"architecture": "mine"}),
            "data": config.data.model_copy(update={"name": "mine"}),
        }
    )
    found = []
    for model, data in (("1", "1"), ("2", "1"), ("2", "2"), ("2", "2")):
        ARCHITECTURES.register("mine", made_in(None, "build", f"def build(config, n_classes): return {model}"))
        DATASETS.register("mine", DatasetRow("x", generator=made_in(None, "draw", f"def draw(config): return {data}")))
        found.append(resolve(config, Inputs("d")))
    assert len({run.identity for run in found}) == len({run.round0_identity for run in found}) == 3
    assert len({supervised_folder(run, None) for run in found}) == 3


WITH_A_MAP = """
import os
from pathlib import Path

from raylab import Acquisition, register_map, register_strategy

def variation_ratio(committee):
    return 1 - committee.votes.amax(1)

register_map("variation_ratio", variation_ratio, committee=True)
register_strategy("doubtful+spatial", Acquisition(uncertainty=1, spatial=1, map="variation_ratio"))
title = Path(f"/proc/{os.getpid()}/cmdline").read_text().split("\\0")[0].strip()
(Path(__file__).parent / f"{os.getpid()} {title.replace('/', '|')}").touch()
"""


@pytest.mark.ray
def test_a_study_of_a_strategy_and_a_map_from_outside(write: Any, ray_session: Any, tmp_path: Path) -> None:
    from raylab.pool import known_regions
    from raylab.runs import RunStore
    from raylab.runs.replay import replay_runs
    from raylab.study import run_study

    write(WITH_A_MAP, "plugin/my_rows.py")
    run = tiny_run(
        str(tmp_path / "results"),
        model=ModelConfig(weights="random", channels=16, dropout=0.5),
        scoring=ScoringConfig(batch_size=4, pca=8, passes=2),
        budget=BudgetConfig(initial=12, rounds=(12,)),
        compute=ComputeConfig(workers=1),
    )
    config = StudyConfig(name="outside", plugins=("plugin/my_rows",), run=run, strategies=("doubtful+spatial",))
    run_study(config, say=lambda _: None)
    store = Folder(run.storage)
    (one,) = resolved_runs(config)
    assert RunStore(store, one).finished()
    table = store.read_table(RunStore(store, one).scores(0).path("regions.parquet"))
    halves = table["variation_ratio"].to_numpy() * 512  # a pixel of 16 x 16 counts a half where two members differ
    assert halves.any(), "two passes of dropout nowhere differ"
    np.testing.assert_array_equal(halves, halves.round())
    assert replay_runs(store, [one], None, lambda _: None, known_regions)
    titles = " ".join(file.name for file in (tmp_path / "plugin").iterdir())
    for worker in ("ImplicitFunc.train", "RayTrainWorker", "Map(PoolReader)", "MapWorker", "SelectorActor"):
        assert worker in titles, f"{worker} did not load the plugin: {titles}"


def test_a_map_that_is_not_known_is_refused_before_ray_starts() -> None:
    from raylab.study.checks import check_grid

    config = StudyConfig(run=tiny_run(), strategies=("entropy,map=margn",))
    with pytest.raises(ConfigError, match=r"strategies: entropy,map=margn: map: 'margn' is not known; did you mean 'm"):
        check_grid(config)


def test_entry_points_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(plugins, "_installed", {"loaded": False})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: calls.append(group) or ())
    assert "entropy" in STRATEGIES
    assert calls == [], "raylab's own names need no plugin"
    assert "entropi" not in STRATEGIES
    assert "randon" not in STRATEGIES
    assert calls == ["raylab.plugins"]
