"""What mkdocs does not do by itself: README.md as the first page, and mathematics as MathML when the site is built."""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

log = logging.getLogger("mkdocs.hooks.raylab")  # a warning here fails a strict build
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add README.md as index.md: links into docs/ become links between pages, those to other files their text."""
    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_LINK.sub(_relinked, readme)))
    return files


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Write every formula that `pymdownx.arithmatex` marked as MathML, which browsers show without a script."""

    def formula(found: re.Match[str]) -> str:
        tex = html.unescape(found[2]).strip()
        try:
            return convert(tex, display="block" if found[1] == "div" else "inline")
        except Exception as error:  # latex2mathml raises many kinds
            log.warning("%s: the formula %r could not be read (%r)", page.file.src_path, tex, error)
            return found[0]

    return _FORMULA.sub(formula, content)


def _relinked(found: re.Match[str]) -> str:
    text, target, anchor = found[1], found[2], found[3] or ""
    if target.startswith("docs/") or not target:
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    return text
