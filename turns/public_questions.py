"""Which questions the operator declares public: their answers depend on nothing but their words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import regex
import structlog

from core.errors import SettingsError
from core.settings import Settings

log = structlog.get_logger(__name__)

# A pattern that takes longer on a text of a stranger's is a badly written one.
MATCH_SECONDS = 0.1

# In characters; what many people ask is shorter, and folding a text of many combining signs takes
# quadratic time.
LONGEST_QUESTION = 1000

# Between digits ("1.5"), and in "C#", "50%", "R&D" and "@home", punctuation is meant.
_SET_OFF = regex.compile(r"(?V1)(?:(?<!\d)[\p{P}--[#%&@]]|[\p{P}--[#%&@]](?!\d)|[\s\p{C}])+")


def normalised(question: str) -> str:
    """NFKC, case folded; punctuation and white space collapsed to single blanks.

    Empty where the question is longer than ``LONGEST_QUESTION``.
    """
    if len(question) > LONGEST_QUESTION:
        return ""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", question).casefold())
    return _SET_OFF.sub(" ", folded).strip()


class PublicQuestions:
    """Those that a pattern matches as a whole, normalised; ``first``: also a session's first."""

    def __init__(self, *, first: bool, patterns: Sequence[regex.Pattern[str]]) -> None:
        self._first = first
        self._patterns = patterns

    def include(self, words: str, *, first: bool) -> bool:
        """Whether the normalised question is public; ``first``: nothing was asked before it.

        An empty one is not: it has no words by which it could be known again.
        """
        if not words:
            return False
        return (first and self._first) or any(_matches(each, words) for each in self._patterns)


def public_questions(settings: Settings) -> PublicQuestions:
    """As the settings say. Raises ``SettingsError`` where the answer cache is on without any."""
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
        raise _unusable(f"{str(file)!r} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _unusable(f"{str(file)!r} is not UTF-8") from error
    patterns = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            patterns.append(_compiled(line, f"line {number} of {str(file)!r}"))
    return patterns


def _compiled(pattern: str, where: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern, regex.IGNORECASE)
    except regex.error as error:
        raise _unusable(f"{where} is no regular expression ({error})") from error


def _unusable(what: str) -> SettingsError:
    return SettingsError(f"Cannot start: ANSWER_CACHE_PATTERNS: {what}.")


def _matches(pattern: regex.Pattern[str], words: str) -> bool:
    try:
        return bool(pattern.fullmatch(words, timeout=MATCH_SECONDS))
    except TimeoutError:
        log.warning("Pattern too slow; the question counts as personal", pattern=pattern.pattern)
        return False
