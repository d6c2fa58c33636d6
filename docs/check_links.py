"""Checks the links of what is read outside the site: pages of the root and of cluster/, docstrings of experiments.

A link into the repository must name a file that is there and, after a #, a heading of it; a link to another host is
checked for its form alone, so that no network is needed. The pages of docs/ are checked by `mkdocs build --strict`.

    python docs/check_links.py
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*([^)\s]*)[^)]*\)")
_BARE = re.compile(r"(?<![(\w])https?://[^\s)>\]]+")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_PATH = re.compile(r"`?((?:docs|experiments|benchmarks|raylab|cluster|tests)/[\w./-]+\.\w+)`?")


def main(root: Path) -> int:
    """Print every bad link below `root`; 1 where there is one, 0 where there is none."""
    bad = [
        f"{file.relative_to(root)}: {problem}" for file, text in texts(root) for problem in problems(file, text, root)
    ]
    print("\n".join(bad) if bad else "links: all good", file=sys.stderr if bad else sys.stdout)
    return bool(bad)


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """What is checked: Markdown files of the root and of cluster/, and the docstrings of the scripts."""
    for file in sorted([*root.glob("*.md"), *root.glob("cluster/*.md")]):
        yield file, file.read_text(encoding="utf-8")
    for file in sorted((root / "experiments").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        nodes = [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.ClassDef, ast.FunctionDef)))]
        yield file, "\n".join(ast.get_docstring(node) or "" for node in nodes)


def problems(file: Path, text: str, root: Path) -> Iterator[str]:
    """What is wrong with the links of a text that stands in `file`."""
    prose = _FENCE.sub("", text)
    for target in _LINK.findall(_CODE.sub("", prose)):
        if "://" in target:
            yield from external(target)
        elif problem := internal(file, target, root):
            yield problem
    for target in _BARE.findall(_CODE.sub("", prose)):
        yield from external(target)
    if file.suffix == ".py":
        # A docstring names files of the repository as paths below its root.
        for path in _PATH.findall(prose):
            if not (root / path).exists():
                yield f"{path} is no file of the repository"


def internal(file: Path, target: str, root: Path) -> str | None:
    """What is wrong with a link into the repository, if anything."""
    path, _, anchor = unquote(target).partition("#")
    there = (file.parent / path).resolve() if path else file
    if not there.is_relative_to(root.resolve()) or not there.exists():
        return f"{target} is no file of the repository"
    if anchor and anchor not in anchors(there):
        return f"{target}: {there.name} has no heading #{anchor}"
    return None


def external(target: str) -> Iterator[str]:
    """What is wrong with the form of a link to another host."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or "." not in (parts.hostname or ""):
        yield f"{target} is no address"


def anchors(file: Path) -> set[str]:
    """The headings of a Markdown file, as GitHub names them in links."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", file.read_text(encoding="utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        n = 1
        while (name := slug if n == 1 else f"{slug}-{n - 1}") in found:
            n += 1
        found.add(name)
    return found


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
