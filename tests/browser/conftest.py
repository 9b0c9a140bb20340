"""Pages in a real headless Chromium, which Debian's package ``chromium`` brings."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / ".state" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Chromium looks for updates and uses QUIC by default; here nothing leaves the machine. The
# microphone is a file, and notes may play without a click.
OPTIONS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-gpu",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
# The impacts of axe-core that a page must not have.
SERIOUS = ("serious", "critical")

OpenBrowser = Callable[..., Browser]
CheckAccessibility = Callable[[Page], None]
TakeScreenshot = Callable[[Page], None]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser; without one the tests are skipped, but never in CI."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and not os.environ.get("CI"):
        pytest.skip("no Chromium: apt-get install chromium")
    assert found, "no Chromium: apt-get install chromium"
    return found


# Not for the session: as long as Playwright runs, nothing else in the process can use asyncio.
@pytest.fixture(scope="module")
def open_browser(chromium: str) -> Iterator[OpenBrowser]:
    """Starts a browser; with ``microphone``, a WAV file that the microphone hears once."""
    with sync_playwright() as playwright:
        opened: list[Browser] = []

        def start(*, microphone: Path | None = None) -> Browser:
            options = list(OPTIONS)
            if microphone:
                options.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
            opened.append(
                playwright.chromium.launch(
                    executable_path=chromium,
                    args=options,
                    # The sandbox of Chromium does not work for root.
                    chromium_sandbox=os.geteuid() != 0,
                )
            )
            return opened[-1]

        yield start
        for browser in opened:
            browser.close()


@pytest.fixture(scope="module")
def browser(open_browser: OpenBrowser) -> Browser:
    """The browser that the tests of a module share."""
    return open_browser()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile: no cookies, no storage, nothing cached."""
    with browser.new_context(permissions=["microphone"]) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must report no error of its own: no exception, nothing that the CSP refuses."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: (
            faults.append(message.text)
            if message.type == "error" and "Content Security Policy" in message.text
            else None
        ),
    )
    yield page
    assert not faults


@pytest.fixture
def check_accessibility() -> CheckAccessibility:
    """Fails if axe-core finds something serious on a page."""

    def check(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in SERIOUS]
        assert not serious, [(each["id"], each["nodes"][0]["html"]) for each in serious]

    return check


@pytest.fixture
def take_screenshot(request: pytest.FixtureRequest) -> TakeScreenshot:
    """Keeps what a person would see as ``.state/screenshots/<test>.png``."""

    def take(page: Page) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return take
