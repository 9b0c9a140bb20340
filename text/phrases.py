"""The service's own sentences and its commands, in each language (``phrases.toml``)."""

from __future__ import annotations

import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from core.errors import SettingsError
from text.language_detection import detect_language

CATALOGUE = Path(__file__).with_name("phrases.toml")

Command = Literal["voice_on", "voice_off", "new_conversation"]

# Longer than any command, because a message may have punctuation and spaces around the command.
MAX_COMMAND_CHARACTERS = 200

# Letters that people type in place of each other: at the end of Arabic words, on Arabic keyboards
# for Urdu, and the Turkish dotless i. The stroke that only lengthens an Arabic word is removed.
_SPELLINGS = str.maketrans(
    {"ة": "ه", "ى": "ي", "ـ": None, "ی": "ي", "ک": "ك", "ہ": "ه", "ھ": "ه", "ı": "i"}
)


@dataclass(frozen=True)
class Language:
    """One table of the catalogue; ``code`` is ISO 639-1. Messages and commands are normalised."""

    code: str
    phrases: dict[str, str]
    commands: dict[str, Command]
    short_messages: frozenset[str]


class Phrases:
    """The catalogue ``phrases.toml``.

    Raises ``SettingsError`` if a language lacks a phrase that ``default`` has.
    """

    def __init__(self, *, default: str = "en", catalogue: Path = CATALOGUE) -> None:
        self._languages = _read(catalogue)
        if default not in self._languages:
            raise SettingsError(f"DEFAULT_LANGUAGE {default!r} is not in {catalogue.name}")
        self._default = self._languages[default]
        for language in self._languages.values():
            missing = self._default.phrases.keys() - language.phrases.keys()
            if missing:
                raise SettingsError(f"{catalogue.name}: [{language.code}] lacks {min(missing)!r}")

    def translate(self, key: str, language: str | None, **values: str) -> str:
        """The phrase ``key`` in ``language``, or in the default one if that is not listed."""
        chosen = self._languages.get(language or "", self._default)
        return chosen.phrases[key].format(**values)

    def find_key(self, text: str) -> str | None:
        """The key of the phrase that ``text`` is, in any language; ``None`` if it is none."""
        for language in self._languages.values():
            for key, phrase in language.phrases.items():
                if phrase == text:
                    return key
        return None

    def command(self, text: str) -> Command | None:
        """The command, if the whole ``text`` is one."""
        wording = _normalize(text)
        for language in self._languages.values():
            if wording in language.commands:
                return language.commands[wording]
        return None

    def detect_language(self, text: str, known: str | None = None) -> str | None:
        """The language of a message (ISO 639-1); ``known`` if it cannot be detected.

        ``known`` is the language that the sender used last. Commands and greetings of the catalogue
        are recognised although they are short.
        """
        return self._language_of_wording(_normalize(text)) or detect_language(text, known)

    def _language_of_wording(self, wording: str) -> str | None:
        for language in self._languages.values():
            if wording in language.commands or wording in language.short_messages:
                return language.code
        return None


def _read(catalogue: Path) -> dict[str, Language]:
    try:
        tables = tomllib.loads(catalogue.read_text(encoding="utf-8"))
        return {
            code: Language(
                code=code,
                phrases=table["phrases"],
                commands={
                    _normalize(wording): command
                    for command in get_args(Command)
                    for wording in table["commands"].get(command, [])
                },
                short_messages=frozenset(map(_normalize, table.get("short_messages", []))),
            )
            for code, table in tables.items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{catalogue.name} cannot be read: {error}") from error


def _normalize(text: str) -> str:
    """Lower case without accents, vowel signs and punctuation, single spaces; "" if too long."""
    # Decomposing a text of many combining marks takes quadratic time.
    if len(text) > MAX_COMMAND_CHARACTERS:
        return ""
    decomposed = unicodedata.normalize("NFKD", text).casefold().translate(_SPELLINGS)
    letters = "".join(
        character if _is_part_of_word(character) else " "
        for character in decomposed
        if not unicodedata.combining(character)
    )
    return " ".join(letters.split())


def _is_part_of_word(character: str) -> bool:
    """Whether a character is a letter, a digit, or a vowel sign, as in Hindi."""
    return character.isalnum() or unicodedata.category(character) in ("Mc", "Mn")
