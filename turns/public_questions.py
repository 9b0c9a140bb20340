"""The questions that the operator declares public: everybody may get the same answer to them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import regex
import structlog

from core.errors import SettingsError
from core.settings import Settings

log = structlog.get_logger(__name__)

# The time limit for one pattern. A pattern that takes longer is badly written.
MATCH_SECONDS = 0.1

# In characters. Questions that many people ask are shorter, and normalising a text with many
# combining characters takes quadratic time.
MAX_QUESTION_CHARACTERS = 1000

# Punctuation and blanks without a meaning. It has one between digits ("1.5") and in "C#", "50%",
# "R&D" and "@home".
_PUNCTUATION = regex.compile(r"(?V1)(?:(?<!\d)[\p{P}--[#%&@]]|[\p{P}--[#%&@]](?!\d)|[\s\p{C}])+")


def normalize_question(question: str) -> str:
    """The question in NFKC and case-folded, with single blanks for punctuation and white space.

    Empty if the question is longer than ``MAX_QUESTION_CHARACTERS``.
    """
    if len(question) > MAX_QUESTION_CHARACTERS:
        return ""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", question).casefold())
    return _PUNCTUATION.sub(" ", folded).strip()


class PublicQuestions:
    """Questions whose normalised text matches a pattern as a whole.

    With ``first`` the first question of each session is public as well.
    """

    def __init__(self, *, first: bool, patterns: Sequence[regex.Pattern[str]]) -> None:
        self._first = first
        self._patterns = patterns

    def include(self, words: str, *, first: bool) -> bool:
        """Whether the normalised question is public; ``first``: it is the session's first one.

        An empty text is never public, because very different questions could become empty.
        """
        if not words:
            return False
        return (first and self._first) or any(_matches(each, words) for each in self._patterns)


def public_questions(settings: Settings) -> PublicQuestions:
    """The public questions of the settings.

    Raises ``SettingsError`` if the answer cache is on, but no question is public.
    """
    first, file = settings.ANSWER_CACHE_FIRST, settings.ANSWER_CACHE_PATTERNS
    patterns = _read(Path(file)) if file else []
    if settings.ANSWER_CACHE_SECONDS and not first and not patterns:
        raise SettingsError(
            "Cannot start: ANSWER_CACHE_SECONDS is set, but no question is public "
            "(set ANSWER_CACHE_FIRST, or name patterns in ANSWER_CACHE_PATTERNS)."
        )
    return PublicQuestions(first=first, patterns=patterns)


def _read(file: Path) -> list[regex.Pattern[str]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _invalid(f"{str(file)!r} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"{str(file)!r} is not UTF-8") from error
    patterns = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            patterns.append(_compile(line, f"line {number} of {str(file)!r}"))
    return patterns


def _compile(pattern: str, where: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern, regex.IGNORECASE)
    except regex.error as error:
        raise _invalid(f"{where} is no regular expression ({error})") from error


def _invalid(what: str) -> SettingsError:
    return SettingsError(f"ANSWER_CACHE_PATTERNS: {what}")


def _matches(pattern: regex.Pattern[str], words: str) -> bool:
    try:
        return bool(pattern.fullmatch(words, timeout=MATCH_SECONDS))
    except TimeoutError:
        log.warning("Pattern too slow; the question counts as personal", pattern=pattern.pattern)
        return False
