"""The catalogue of phrases and commands."""

from __future__ import annotations

import re
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
from text.splitting import MESSAGE_LIMIT

TABLES = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
KEYS = sorted(TABLES["en"]["phrases"])


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    return Phrases()


def placeholders(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", TABLES)
def test_every_language_says_everything_with_the_same_placeholders(language: str) -> None:
    for key in KEYS:
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


def test_no_line_is_too_long_for_one_message() -> None:
    contact = "https://help.example.com/" + "x" * 500
    for table in TABLES.values():
        for line in table["phrases"].values():
            assert len(line.format(place="1, 2", contact=contact)) <= MESSAGE_LIMIT


def test_each_line_is_written_in_its_own_language(phrases: Phrases) -> None:
    """One that was pasted into the wrong table, or left in English, is noticed."""
    for language, table in TABLES.items():
        for key, line in table["phrases"].items():
            if key != "location":
                assert phrases.detect_language(line) == language, line


@pytest.mark.parametrize("language", ["ar", "ur", "he"])
def test_a_phone_number_keeps_its_order_where_people_read_from_right_to_left(
    language: str,
) -> None:
    assert "\u200e{contact}\u200e" in TABLES[language]["phrases"]["escalated_contact"]


def test_nobody_is_promised_a_person(phrases: Phrases) -> None:
    """The service hands nobody over: it says whom to ask."""
    said = phrases.translate("escalated_contact", "de", contact="+44 20 7946 0018")
    assert said.endswith("Bitte wenden Sie sich an unser Team: +44 20 7946 0018")
    assert phrases.translate("escalated", "en").endswith("Please contact our team.")


@pytest.mark.parametrize("language", TABLES)
def test_the_command_that_undoes_another_is_quoted_as_it_is_obeyed(
    phrases: Phrases, language: str
) -> None:
    for key, quoted in (("voice_on", "voice_off"), ("voice_off", "voice_on")):
        line = TABLES[language]["phrases"][key]
        (wording,) = re.findall(r"[«“„”\"]\s?([^«»“”„\"]+?)\s?[»”“\"]", line)
        assert phrases.command(wording) == quoted


def test_no_wording_is_of_two_languages_or_orders_two_things(phrases: Phrases) -> None:
    for language, table in TABLES.items():
        wordings = [wording for several in table["commands"].values() for wording in several]
        for wording in wordings + table["short_messages"]:
            assert phrases.detect_language(wording) == language
        for command, several in table["commands"].items():
            for wording in several:
                assert phrases.command(wording) == command


@pytest.mark.parametrize("language", TABLES)
@pytest.mark.parametrize(
    "form", ["{}", "  {}! ", "«{}».", "{} 🔊", "\u200f{}\u200f", "*{}*", "{}\n"]
)
def test_every_listed_command_is_obeyed_however_it_is_set_off(
    phrases: Phrases, language: str, form: str
) -> None:
    for command, wordings in TABLES[language]["commands"].items():
        for wording in wordings:
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
        ("SESİ AÇ", "voice_on"),
        ("SESI AÇ", "voice_on"),
        ("sesi aç", "voice_on"),
        ("nueva conversacion", "new_conversation"),
        ("Sprache an!", "voice_on"),
        ("désactiver la voix", "voice_off"),
        ("desactiver la voix", "voice_off"),
        ("आवाज बंद", "voice_off"),
        ("نئی گفتگو", "new_conversation"),
        ("نئي گفتگو", "new_conversation"),
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
    language = phrases.detect_language(text, None)
    assert language is None or 2 <= len(language) <= 3


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
        ("Hola", None, "es"),
        ("Hola", "en", "es"),
        ("Grazie!", "de", "it"),
        ("Sprache an", "en", "de"),
        ("Wo ist meine Bestellung?", "en", "de"),
        ("¿Dónde está mi pedido?", None, "es"),
        ("Où est ma commande ?", "ar", "fr"),
        ("Onde está o meu pedido?", "es", "pt"),
        ("Dov'è il mio ordine?", "es", "it"),
        ("Siparişim nerede?", None, "tr"),
        ("Di mana pesanan saya?", None, "id"),
        ("मेरा ऑर्डर कहाँ है?", "en", "hi"),
        ("میرا آرڈر کہاں ہے؟", "ar", "ur"),
        ("איפה ההזמנה שלי?", None, "he"),
        ("مرحبا", "fr", "ar"),
        ("INV-2024-00123", "ar", "ar"),
        ("INV-2024-00123", None, None),
        ("ok", "hi", "hi"),
    ],
)
def test_language_of_a_typed_text(
    phrases: Phrases, text: str, known: str | None, language: str | None
) -> None:
    assert phrases.detect_language(text, known) == language


@pytest.mark.parametrize("default", ["en", "de", "es", "ar"])
@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola", "es"),
        ("Bonjour", "fr"),
        ("Hello", "en"),
        ("Hey", None),
        ("ok", None),
        ("Hej", None),
    ],
)
def test_a_new_sender_reads_the_language_of_a_greeting_or_the_default_one(
    default: str, text: str, language: str | None
) -> None:
    """Latin letters alone do not tell a language, English least of all."""
    phrases = Phrases(default=default)
    sentence = phrases.translate("failed", phrases.detect_language(text, None))
    assert sentence == TABLES[language or default]["phrases"]["failed"]


def test_a_greeting_in_a_language_that_is_not_listed_is_answered_in_the_default_one(
    tmp_path: Path,
) -> None:
    catalogue = tmp_path / "phrases.toml"
    catalogue.write_text(
        "".join(
            f"[{code}]\nshort_messages=['{greeting}']\n"
            f"[{code}.phrases]\nfailed='{code}'\n[{code}.commands]\n"
            for code, greeting in (("en", "hello"), ("de", "hallo"))
        ),
        encoding="utf-8",
    )
    phrases = Phrases(default="de", catalogue=catalogue)
    assert phrases.translate("failed", phrases.detect_language("Hola", None)) == "de"
    assert phrases.translate("failed", phrases.detect_language("Hello", None)) == "en"


def test_translation_falls_back_to_the_default_language(phrases: Phrases) -> None:
    english, arabic = (TABLES[code]["phrases"]["failed"] for code in ("en", "ar"))
    assert phrases.translate("failed", "en") == phrases.translate("failed", "nl") == english
    assert phrases.translate("failed", None) == english
    assert (
        phrases.translate("failed", "ar")
        == Phrases(default="ar").translate("failed", None)
        == arabic
    )


def test_translation_fills_the_place_in_and_leaves_braces_in_it_alone(phrases: Phrases) -> None:
    assert phrases.translate("location", "en", place="{x} 1, 2") == "My location is {x} 1, 2."
    assert "{x}" in phrases.translate("location", "ar", place="{x}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "DEFAULT_LANGUAGE 'en'"),
        ("[en", "cannot be read"),
        ("en = 1", "cannot be read"),
        ("[en]", "cannot be read"),
        (
            "[en.phrases]\nfailed='x'\n[en.commands]\n[fr.phrases]\n[fr.commands]",
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
