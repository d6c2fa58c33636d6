"""A broken link is found, and there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.check_links import anchors, main, problems

ROOT = Path(__file__).parents[2]


def test_every_link_of_the_repository_leads_somewhere() -> None:
    assert main(ROOT) == 0


@pytest.mark.parametrize(
    "text",
    [
        "[gone](docs/gone.md)",
        "[gone](README.md#no-such-heading)",
        "[above](../other/README.md)",
        "![picture](docs/gone.png 'a title')",
        "[odd](https://nowhere)",
        "[odd](mailto://nowhere.org)",
        "see https://nowhere for more",
    ],
)
def test_a_bad_link_is_found(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# A heading\n")
    assert len(list(problems(readme, text, tmp_path))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[here](README.md#a-heading)",
        "[here](#a-heading)",
        "`[no](link.md)`",
        "```\n[no](link.md)\n```\n",
        "https://ray.io",
    ],
)
def test_a_good_link_passes(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# A heading\n")
    assert not list(problems(readme, text, tmp_path))


def test_docstrings_name_files_that_are_there(tmp_path: Path) -> None:
    script = tmp_path / "experiments" / "a.py"
    assert list(problems(script, "Starts from experiments/gone.yaml.", tmp_path))


def test_headings_are_named_as_github_names_them(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("# Potential (Eq. 4)\n## `code` & more\n## Twice\n## Twice\n```\n# no heading\n```\n")
    assert anchors(file) == {"potential-eq-4", "code--more", "twice", "twice-1"}
