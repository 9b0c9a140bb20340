"""What an operator reads on a bad day."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page

from tests.browser.conftest import CheckAccessibility, TakeScreenshot
from web.handbook import PAGES, handbook_page

TEMPLATES = Path(__file__).resolve().parents[2] / "web" / "dashboard"


@pytest.mark.parametrize("name", PAGES)
def test_each_page_reads_well_on_a_phone_in_the_dark(
    name: str,
    page: Page,
    check_accessibility: CheckAccessibility,
    take_screenshot: TakeScreenshot,
) -> None:
    with Flask(__name__, template_folder=str(TEMPLATES)).test_request_context():
        content = handbook_page(name).get_data(as_text=True)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    page.set_content(content)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    check_accessibility(page)
    take_screenshot(page)
