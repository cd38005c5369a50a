"""A tab in a real Chromium, and what it complained about."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from screenshot import FLAGS

PAGE = Path(__file__).parents[2] / "service" / "dashboard" / "dist" / "index.html"
SECONDS = 60  # for whatever is expected; a page on a busy machine takes its time
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium): the page is not tested")
    if not PAGE.exists():
        pytest.fail("the page is not built: run `make page`")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@dataclass
class Tab:
    """One browser tab and the service that it looks at."""

    page: Page
    server: Any
    complaints: list[str] = field(default_factory=list)
    refusals_expected: bool = False
    """Chromium notes every answer of 400 and above, and every lost connection, as an error."""

    def show(self, path: str) -> None:
        """Go to a view, e.g. `/jobs?status=queued`."""
        self.page.goto(f"{self.server.url}/#{path}")

    def sign_in(self, key: str) -> None:
        """Let the server set the cookie of a session; whoever was signed in is so no longer."""
        headers = {"origin": self.server.url}
        answer = self.page.request.post(f"{self.server.url}/v1/session", data={"key": key}, headers=headers)
        assert answer.status == 201, answer.text()

    def heard(self, message: ConsoleMessage) -> None:
        network = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not (network and self.refusals_expected):
            self.complaints.append(message.text)


@pytest.fixture
def stranger(browser: Browser, server: Any) -> Iterator[Tab]:
    """A tab without a key. Nothing may be written to its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(1000 * SECONDS)
    tab = Tab(context.new_page(), server)
    tab.page.on("console", tab.heard)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    yield tab
    context.close()
    assert tab.complaints == []


@pytest.fixture
def tab(stranger: Tab) -> Tab:
    """A tab that is signed in."""
    stranger.sign_in(stranger.server.key)
    return stranger


@pytest.fixture
def evaluated(server: Any) -> Callable[..., dict[str, Any]]:
    """Submits a job of seconds that is also evaluated, so that it records responses."""

    def submit(**changes: Any) -> dict[str, Any]:
        data = {"source": "linear-algebra", "tasks": ["trace"], "size": 4, "style": "symbolic", "max_entry": 3}
        evaluation = {"every": 2, "max_completion_length": 8}
        blocks = {"eval_dataset": data | {"seed": 9}, "evaluation": evaluation, "rewards": [{"type": "exact"}]}
        return dict(server.submit(**(blocks | {"steps": 4, "checkpoint": {"every": 2}} | changes)))

    return submit
