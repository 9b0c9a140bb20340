"""The page of a service without PUBLIC_URL, as an operator sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Page

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.speech.fixture import FixtureSpeech
from tests.browser.conftest import CheckAccessibility, TakeScreenshot


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a service runs that nobody has told its address."""
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        bridge = Bridge(log_file=tmp_path_factory.mktemp("bridge") / "log")
        bridge.settings = sandbox.environment(bridge.url) | {
            "PUBLIC_URL": "",
            "UNSIGNED_LOCAL_WEBHOOKS": "false",
        }
        bridge.start()
        yield bridge.url
        bridge.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_reads_well_on_each_screen(
    address: str,
    page: Page,
    width: int,
    scheme: Literal["light", "dark"],
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    heading = page.get_by_role("heading", name="One setting is missing: PUBLIC_URL")
    assert heading.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessibility(page)
    take_screenshot(page)
