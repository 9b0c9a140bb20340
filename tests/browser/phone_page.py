"""What a person does on the page of the phone, by the names that a screen reader says."""

from __future__ import annotations

import wave
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from sandbox.speech import tone


class PhonePage:
    """One tab of the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.log = page.get_by_role("log", name="Messages")
        self.mine = self.log.locator("article.mine")
        self.answers = self.log.locator("article.theirs")
        self.composer = page.get_by_role("textbox", name="Message")
        self.hint = page.locator("#hint")

    def open(self, url: str) -> PhonePage:
        self.page.goto(url)
        expect(self.page.get_by_text("You write as")).to_be_visible()
        return self

    @property
    def number(self) -> str:
        """The WhatsApp address of this tab's user."""
        number = self.page.evaluate("sessionStorage.getItem('number')")
        return f"whatsapp:{number}"

    def become(self, visibility: str) -> None:
        """Be visible or hidden: each page of a headless browser thinks that it is visible."""
        script = """(visibility) => {
            const state = { visibilityState: visibility, hidden: visibility === "hidden" };
            for (const [name, value] of Object.entries(state))
                Object.defineProperty(document, name, { value, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        self.page.evaluate(script, visibility)

    def write(self, text: str) -> None:
        self.composer.fill(text)
        self.page.get_by_role("button", name="Send", exact=True).click()

    def attach_picture(self, file: Path) -> None:
        self.page.get_by_role("button", name="Attach").click()
        self.page.get_by_label("Picture").set_input_files(file)

    def speak(self, seconds: float) -> None:
        """Hold the microphone for so long."""
        button = self.page.get_by_role("button", name="Record a voice note")
        button.hover()
        self.page.mouse.down()
        expect(self.page.get_by_text("Release to send")).to_be_visible()
        self.page.wait_for_timeout(seconds * 1000)
        self.page.mouse.up()

    def switch(self, name: str) -> Locator:
        """The row of a switch: its box, and what the service did."""
        return self.page.locator(".switch", has=self.page.get_by_role("switch", name=name))

    def turn_on(self, name: str) -> Locator:
        row = self.switch(name)
        row.get_by_role("switch").check()
        return row

    def stages(self) -> list[str]:
        return self.page.locator("#stages th").all_inner_texts()

    def is_wider_than_its_window(self) -> bool:
        """Whether the page, or a part of it that scrolls, must be scrolled to the side."""
        script = """() => ["html", "#log", "#inside"].map((part) => document.querySelector(part))
            .some((part) => part.scrollWidth > part.clientWidth)"""
        return bool(self.page.evaluate(script))


def write_tone(path: Path, frequency_hz: int, seconds: float) -> Path:
    """A WAV file with a tone, from which Chromium's fake microphone is fed."""
    return write_pcm(path, tone.sine(frequency_hz, seconds, margin=0.0))


def write_pcm(path: Path, pcm: bytes) -> Path:
    """A WAV file of 16 kHz mono s16le PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(tone.RATE)
        file.writeframes(pcm)
    return path
