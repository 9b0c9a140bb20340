"""The catalogue of phrases and commands."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.errors import SettingsError
from text.phrases import CATALOGUE, Command, Phrases

TABLES = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
KEYS = sorted(TABLES["en"]["phrases"])


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    return Phrases()


def placeholders(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", TABLES)
@pytest.mark.parametrize("key", KEYS)
def test_every_language_says_everything_with_the_same_placeholders(language: str, key: str) -> None:
    said = TABLES[language]["phrases"][key]
    assert said == said.strip() != ""
    assert placeholders(said) == placeholders(TABLES["en"]["phrases"][key])


@pytest.mark.parametrize("language", TABLES)
def test_no_language_has_phrases_or_commands_of_its_own(language: str) -> None:
    assert sorted(TABLES[language]["phrases"]) == KEYS
    assert set(TABLES[language]["commands"]) == set(get_args(Command))


def test_every_error_has_a_phrase() -> None:
    """Whatever fails, the user can be told in each language."""
    leaves = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind.phrase for kind in leaves if issubclass(kind, errors.BridgeError)} <= set(KEYS)


def test_no_wording_orders_two_things() -> None:
    seen: dict[str, str] = {}
    for table in TABLES.values():
        for command, wordings in table["commands"].items():
            for wording in wordings:
                assert seen.setdefault(wording.casefold(), command) == command


@pytest.mark.parametrize(
    ("wording", "command"),
    [
        (wording, command)
        for table in TABLES.values()
        for command, wordings in table["commands"].items()
        for wording in wordings
    ],
)
@pytest.mark.parametrize(
    "form", ["{}", "  {}! ", "«{}».", "{} 🔊", "\u200f{}\u200f", "*{}*", "{}\n"]
)
def test_every_listed_command_is_obeyed_however_it_is_set_off(
    phrases: Phrases, wording: str, command: str, form: str
) -> None:
    assert phrases.command(form.format(wording)) == command
    assert phrases.command(form.format(wording.upper())) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("VOICE ON", "voice_on"),
        ("Voice-on", "voice_on"),
        ("voice   on", "voice_on"),
        ("Ｖｏｉｃｅ ｏｎ", "voice_on"),
        ("vóice on", "voice_on"),
        ("voice\u00a0off", "voice_off"),
        ("ايقاف الصوت", "voice_off"),
        ("إيقافُ الصّوتِ", "voice_off"),
        ("إيقـــاف الصوت", "voice_off"),
        ("اوقف الصوت", "voice_off"),
        ("الغاء الصوت؟", "voice_off"),
        ("محادثه جديده", "new_conversation"),
        ("ابدا من جديد", "new_conversation"),
        ("إبدأ من جديد", "new_conversation"),
    ],
)
def test_spelling_variants_are_obeyed(phrases: Phrases, text: str, command: str) -> None:
    assert phrases.command(text) == command


@pytest.mark.parametrize(
    "text",
    ["", " ", "!", "voice", "voiceon", "how do I turn voice on?", "voice on please", "الصوت", "1"],
)
def test_a_question_that_mentions_a_command_is_none(phrases: Phrases, text: str) -> None:
    assert phrases.command(text) is None


@given(st.text())
def test_any_text_can_be_judged(text: str) -> None:
    phrases = Phrases()
    assert phrases.command(text) in (None, *get_args(Command))
    assert phrases.detect_language(text, None) in (None, *TABLES)


@pytest.mark.parametrize(
    ("text", "known", "language"),
    [
        ("Hello", None, "en"),
        ("مرحبا", None, "ar"),
        ("مرحبا, I need help with my invoice", None, "en"),
        ("ما هو API؟", None, "ar"),
        ("Hello", "ar", "en"),
        ("مرحبا", "en", "ar"),
        ("123 👍", "ar", "ar"),
        ("", "ar", "ar"),
        ("", None, None),
        ("?", None, None),
        ("Привет", None, None),
        ("Привет", "en", None),
        ("Bonjour", "fr", "fr"),
        ("مرحبا", "fr", "ar"),
    ],
)
def test_language_of_a_typed_text(
    phrases: Phrases, text: str, known: str | None, language: str | None
) -> None:
    assert phrases.detect_language(text, known) == language


def test_say_falls_back_to_the_default_language(phrases: Phrases) -> None:
    english, arabic = (TABLES[code]["phrases"]["failed"] for code in ("en", "ar"))
    assert phrases.translate("failed", "en") == phrases.translate("failed", "fr") == english
    assert phrases.translate("failed", None) == english
    assert (
        phrases.translate("failed", "ar")
        == Phrases(default="ar").translate("failed", None)
        == arabic
    )


def test_say_fills_the_place_in_and_leaves_braces_in_it_alone(phrases: Phrases) -> None:
    assert phrases.translate("location", "en", place="{x} 1, 2") == "My location is {x} 1, 2."
    assert "{x}" in phrases.translate("location", "ar", place="{x}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "DEFAULT_LANGUAGE 'en'"),
        ("[en", "cannot be read"),
        ("en = 1", "cannot be read"),
        ("[en]\nscript = 'LATIN'", "cannot be read"),
        (
            "[en]\nscript='LATIN'\n[en.phrases]\nfailed='x'\n[en.commands]\n"
            "[fr]\nscript='LATIN'\n[fr.phrases]\n[fr.commands]",
            "[fr] lacks 'failed'",
        ),
    ],
)
def test_a_broken_catalogue_stops_the_start(tmp_path: Path, content: str, complaint: str) -> None:
    catalogue = tmp_path / "phrases.toml"
    catalogue.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        Phrases(catalogue=catalogue)
    assert complaint in str(caught.value)


def test_an_unknown_default_language_is_named() -> None:
    with pytest.raises(SettingsError, match="DEFAULT_LANGUAGE 'xx'"):
        Phrases(default="xx")


def test_a_language_that_shares_a_script_is_kept_once_heard(tmp_path: Path) -> None:
    catalogue = tmp_path / "phrases.toml"
    table = "[{0}]\nscript='LATIN'\n[{0}.phrases]\n[{0}.commands]\n"
    catalogue.write_text(table.format("en") + table.format("fr"), encoding="utf-8")
    phrases = Phrases(catalogue=catalogue)
    assert phrases.detect_language("Bonjour") == "en"
    assert phrases.detect_language("Bonjour", "fr") == "fr"
