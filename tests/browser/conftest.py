"""A headless Chromium of this machine, and a page whose requests and errors are written down."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Visit:
    """A page, and what it did.

    Attributes:
        page: of Playwright.
        elsewhere: addresses outside this machine that it asked for; none of them is let through.
        refused: addresses on this machine that answered with an error.
        errors: what its console says of errors, and exceptions of its scripts.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.elsewhere: list[str] = []
        self.refused: list[str] = []
        self.errors: list[str] = []
        page.route("**/*", self._route)
        page.on("response", lambda answer: self.refused.append(answer.url) if answer.status >= 400 else None)
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _route(self, route: Any) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in ("127.0.0.1", "localhost"):
            self.elsewhere.append(route.request.url)
            route.abort()
        else:
            route.continue_()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    yield Visit(page)
    page.close()
