"""What is built: wheel and sdist carry the experiments, the demonstration and the docs; a wheel works on its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SCRIPTS = {f"experiments/{path.name}" for path in (CHECKOUT / "experiments").iterdir() if path.is_file()}
PAGES = {f"docs/{path.name}" for path in (CHECKOUT / "docs").glob("*.md")}


def run(*command: str | Path, cwd: Path, path: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is made of it: what pip does with a download."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "hatchling", "build", "-d", folder)
    run(*build, "-t", "sdist", cwd=CHECKOUT, path=CHECKOUT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    run(*build, "-t", "wheel", cwd=source, path=source)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "installed")
    return folder


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def package_files() -> set[str]:
    files = below(CHECKOUT / "raylab")
    return {f"raylab/{name}" for name in files if "__pycache__" not in name and not name.endswith(".pyc")}


def test_the_sdist_has_all_that_it_is_made_from(built: Path) -> None:
    (source,) = (built / "source").iterdir()
    found = below(source)
    assert package_files() | SCRIPTS | PAGES <= found
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "tests/conftest.py"} <= found


def test_the_wheel_has_the_package_and_what_its_commands_read(built: Path) -> None:
    found = below(built / "installed")
    assert package_files() | {f"raylab/{name}" for name in SCRIPTS | PAGES} <= found
    assert {name.split("/")[0] for name in found} == {"raylab", next(built.glob("installed/*.dist-info")).name}
    text = next(built.glob("installed/*.dist-info/METADATA")).read_text()
    assert "Classifier: Typing :: Typed" in text
    assert "Project-URL" not in text


def test_the_wheel_works_outside_of_the_repository(built: Path, tmp_path: Path) -> None:
    raylab = (sys.executable, "-m", "raylab")
    installed = built / "installed"
    where = run(sys.executable, "-c", "import raylab; print(raylab.__file__)", cwd=tmp_path, path=installed)
    assert Path(where.strip()).parent == installed / "raylab"
    listed = run(*raylab, "experiment", cwd=tmp_path, path=installed)
    assert all(f"  {Path(name).stem}" in listed for name in SCRIPTS if name.endswith(".py"))
    assert "study demo: 3 runs" in run(*raylab, "demo", "--plan", cwd=tmp_path, path=installed)
    plan = run(
        *raylab, "experiment", "reproduce-paper", "--parts", "ablation-tau", "--plan", cwd=tmp_path, path=installed
    )
    assert "study ablation-tau-cityscapes: 12 runs" in plan
    help_ = run(*raylab, "experiment", "selection_runtime", "--help", cwd=tmp_path, path=installed)
    assert help_.startswith("usage: selection_runtime.py [-h] [OPTIONS]\n")
    assert not list(tmp_path.iterdir())
