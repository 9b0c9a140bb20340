"""What the service says in its own name, and the words it obeys, in each language."""

from __future__ import annotations

import tomllib
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from core.errors import SettingsError

CATALOGUE = Path(__file__).with_name("phrases.toml")

Command = Literal["voice_on", "voice_off", "new_conversation"]

# In characters; signs and blanks around a command may make it longer than it is.
LONGEST_COMMAND = 200

# What people type for one another at the end of a word, and the stroke that only lengthens it.
_ARABIC_SPELLINGS = str.maketrans({"ة": "ه", "ى": "ي", "ـ": None})


@dataclass(frozen=True)
class Language:
    """One table of the catalogue; ``code`` is ISO 639-1."""

    code: str
    script: str
    phrases: dict[str, str]
    commands: dict[str, Command]


class Phrases:
    """The catalogue ``phrases.toml``.

    Raises ``SettingsError`` where a language lacks a phrase that ``default`` has.
    """

    def __init__(self, *, default: str = "en", catalogue: Path = CATALOGUE) -> None:
        self._languages = _read(catalogue)
        if default not in self._languages:
            raise SettingsError(f"DEFAULT_LANGUAGE {default!r} is not in {catalogue.name}.")
        self._default = self._languages[default]
        for language in self._languages.values():
            missing = self._default.phrases.keys() - language.phrases.keys()
            if missing:
                raise SettingsError(f"{catalogue.name}: [{language.code}] lacks {min(missing)!r}.")

    def translate(self, key: str, language: str | None, **values: str) -> str:
        """The phrase ``key`` in ``language``, or in the default one if that is not listed."""
        chosen = self._languages.get(language or "", self._default)
        return chosen.phrases[key].format(**values)

    def command(self, text: str) -> Command | None:
        """What the user orders the service itself to do, if the text is nothing else."""
        # Folding a text of many combining signs takes quadratic time.
        words = _plain(text) if len(text) <= LONGEST_COMMAND else ""
        for language in self._languages.values():
            if words in language.commands:
                return language.commands[words]
        return None

    def detect_language(self, text: str, known: str | None = None) -> str | None:
        """The language of a typed text, by its script (ISO 639-1); ``None`` where it can't be told.

        ``known`` is what the sender was last heard speaking or seen writing. It decides where the
        text has no letters, or where its script is shared by several languages.
        """
        script = _script(text)
        if script is None:
            return known
        candidates = [code for code, entry in self._languages.items() if entry.script == script]
        unlisted = known is not None and known not in self._languages
        if known in candidates or (unlisted and script == self._default.script):
            return known
        return candidates[0] if candidates else None


def _read(catalogue: Path) -> dict[str, Language]:
    try:
        tables = tomllib.loads(catalogue.read_text(encoding="utf-8"))
        return {
            code: Language(
                code=code,
                script=table["script"],
                phrases=table["phrases"],
                commands={
                    _plain(wording): command
                    for command in get_args(Command)
                    for wording in table["commands"].get(command, [])
                },
            )
            for code, table in tables.items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{catalogue.name} cannot be read: {error}.") from error


def _plain(text: str) -> str:
    """Case, marks, Arabic vowel signs and hamza carriers folded away; single spaces."""
    decomposed = unicodedata.normalize("NFKD", text).casefold().translate(_ARABIC_SPELLINGS)
    letters = "".join(
        character if character.isalnum() else " "
        for character in decomposed
        if not unicodedata.combining(character)
    )
    return " ".join(letters.split())


def _script(text: str) -> str | None:
    """The first word of the Unicode name of most letters: LATIN, ARABIC, …"""
    scripts = Counter(
        unicodedata.name(character, "").split(" ")[0] for character in text if character.isalpha()
    )
    return scripts.most_common(1)[0][0] if scripts else None
