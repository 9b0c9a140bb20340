"""The agent of the Agentforce stand-in: a help desk that answers from a TOML file."""

from __future__ import annotations

import re
import threading
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.agentforce.wording import has_arabic, normalise, similarity, words

Json = dict[str, Any]
Language = Literal["en", "ar"]
Kind = Literal["Inform", "Inquire", "Confirm", "Failure", "Escalate", "SessionEnded"]

DEFAULT_FILE = Path(__file__).with_name("helpdesk.toml")
# A question must score at least this to match an entry; see ``_KeywordIndex``.
_LEAST_SCORE = 0.5


class HelpdeskError(ValueError):
    """The file of answers is missing or wrong; the message says why and in which line."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ScriptedMessage(BaseModel):
    """A message of any type; other keys are sent to the client unchanged."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: str
    text: str | None = None

    def as_json(self, question: str) -> Json:
        """With ``text`` under its name in the API, in which ``{said}`` is the question."""
        message = self.model_dump(exclude={"text"})
        if self.text is not None:
            message["message"] = self.text.strip().replace("{said}", question.strip())
        return message


class Message(ScriptedMessage):
    """A message of a type that agents usually send."""

    type: Kind


Messages = Sequence[ScriptedMessage]


class Entry(_Table):
    """An answer and the keywords of its questions.

    ``yes`` and ``no`` answer the reply to a Confirm, ``then`` answers any reply to an Inquire.
    """

    id: str
    language: Language
    keywords: list[str] = Field(min_length=1)
    messages: list[Message]
    yes: list[Message] = []
    no: list[Message] = []
    then: list[Message] = []


class Scripted(_Table):
    """An unusual answer, which is given to one exact question."""

    question: str
    messages: list[ScriptedMessage]


class _PerLanguage(_Table):
    en: str
    ar: str


class Answers(_Table):
    """The content of the file."""

    greeting: _PerLanguage
    unknown: _PerLanguage
    yes: list[str]
    no: list[str]
    entry: list[Entry]
    scripted: list[Scripted] = []


class Helpdesk:
    """Answers questions from the TOML file at ``path``, and reloads it when it changes.

    All methods raise :class:`HelpdeskError` if the file is missing or wrong.
    """

    def __init__(self, path: Path = DEFAULT_FILE) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._index: _AnswerIndex
        # By session id, the entry that waits for the user's reply.
        self._pending: dict[str, Entry] = {}
        self._load()

    def greeting(self, language: str) -> str:
        """The greeting in ``language`` (two letters), in English for an unknown language."""
        greeting = self._load().answers.greeting
        return greeting.ar if language == "ar" else greeting.en

    def answer(self, session_id: str, text: str) -> list[Json]:
        """The messages that answer ``text``, without ids."""
        index = self._load()
        with self._lock:
            pending = self._pending.pop(session_id, None)
        messages = self._choose(index, session_id, text, pending)
        return [message.as_json(text) for message in messages]

    def _choose(
        self, index: _AnswerIndex, session_id: str, text: str, pending: Entry | None
    ) -> Messages:
        scripted = index.find_scripted(text)
        if scripted is not None:
            return scripted
        if pending and (follow_up := index.find_follow_up(pending, text)):
            return follow_up
        if entry := index.find_entry(text):
            if entry.yes or entry.no or entry.then:
                with self._lock:
                    self._pending[session_id] = entry
            return entry.messages
        return (pending and pending.then) or [index.unknown(text)]

    def forget(self, session_id: str) -> None:
        """Expect no reply from this session any more."""
        with self._lock:
            self._pending.pop(session_id, None)

    def _load(self) -> _AnswerIndex:
        """The index of the file, read again if the file has changed."""
        with self._lock:
            version = _file_version(self._path)
            if version is None or version != self._version:
                self._index = _AnswerIndex(load_answers(self._path))
                self._version = version
            return self._index


@dataclass(frozen=True)
class _KeywordIndex:
    """The entries of one language with their keywords, and in how many entries a keyword is."""

    entries: list[tuple[Entry, frozenset[str]]]
    frequencies: Counter[str]

    @classmethod
    def of(cls, entries: list[Entry]) -> _KeywordIndex:
        pairs = [(entry, frozenset(words(" ".join(entry.keywords)))) for entry in entries]
        return cls(pairs, Counter(word for _, keywords in pairs for word in keywords))

    def best(self, question: list[str]) -> Entry | None:
        """The entry with the highest score for the words of a question, if it is high enough."""
        scores = [(self._score(keywords, question), entry) for entry, keywords in self.entries]
        score, entry = max(scores, key=lambda scored: scored[0], default=(0.0, None))
        return entry if score >= _LEAST_SCORE else None

    def _score(self, keywords: frozenset[str], question: list[str]) -> float:
        """Add up the best match of each word; keywords of many entries count less."""
        return sum(
            max(similarity(keyword, word) / self.frequencies[keyword] for keyword in keywords)
            for word in question
        )


class _AnswerIndex:
    """Finds the answer to a question in ``answers``."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._entries = {
            language: _KeywordIndex.of(
                [entry for entry in answers.entry if entry.language == language]
            )
            for language in get_args(Language)
        }
        self._scripted = {normalise(each.question): each.messages for each in answers.scripted}
        self._yes = [normalise(phrase) for phrase in answers.yes]
        self._no = [normalise(phrase) for phrase in answers.no]

    def find_scripted(self, text: str) -> Messages | None:
        return self._scripted.get(normalise(text))

    def find_follow_up(self, pending: Entry, text: str) -> Messages:
        """The messages of ``pending`` for yes or no; empty if ``text`` is neither."""
        padded = f" {normalise(text)} "
        # No comes first, because "no, I'm not sure" contains both.
        for follow_up, phrases in ((pending.no, self._no), (pending.yes, self._yes)):
            if follow_up and any(f" {phrase} " in padded for phrase in phrases):
                return follow_up
        return []

    def find_entry(self, text: str) -> Entry | None:
        question = list(dict.fromkeys(words(text)))
        return self._entries[_language(text)].best(question) if question else None

    def unknown(self, text: str) -> Message:
        """The answer to a question without an entry, in the question's language."""
        unknown = self.answers.unknown
        return Message(type="Inform", text=unknown.ar if has_arabic(text) else unknown.en)


def _file_version(path: Path) -> tuple[int, int] | None:
    """Modification time and size; None if the file is missing or inaccessible."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _language(text: str) -> Language:
    return "ar" if has_arabic(text) else "en"


def load_answers(path: Path) -> Answers:
    """Read and validate a file; raises :class:`HelpdeskError` with the line of the error."""
    try:
        text = path.read_text(encoding="utf-8")
        answers = Answers.model_validate(tomllib.loads(text))
    except OSError as error:
        raise HelpdeskError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise HelpdeskError(f"{path.name}: not UTF-8 (at line {line})") from error
    except tomllib.TOMLDecodeError as error:
        raise HelpdeskError(f"{path.name}: {error}") from error
    except ValidationError as error:
        raise HelpdeskError(_error_message(path.name, text, error)) from error
    _check_unique(path.name, text, answers)
    return answers


def _error_message(name: str, text: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    path = ".".join(str(step) for step in location)
    line = _line_number(text, location)
    return f"{name}: {path}: {first['msg']} (in what begins at line {line})"


def _line_number(text: str, location: tuple[int | str, ...]) -> int:
    """The line of the ``[[table]]`` or ``[table]`` that contains ``location``; 1 if unknown."""
    if not location:
        return 1
    index = location[1] if len(location) > 1 and isinstance(location[1], int) else 0
    header = re.compile(rf"^[ \t]*\[+[ \t]*{re.escape(str(location[0]))}[ \t]*\]", re.MULTILINE)
    lines = [text.count("\n", 0, match.start()) + 1 for match in header.finditer(text)]
    return lines[index] if index < len(lines) else 1


def _check_unique(name: str, text: str, answers: Answers) -> None:
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(answers.entry):
        if (entry.id, entry.language) in seen:
            line = _line_number(text, ("entry", index))
            raise HelpdeskError(
                f"{name}: entry.{index}: a second {entry.id!r} in {entry.language!r} "
                f"(in what begins at line {line})"
            )
        seen.add((entry.id, entry.language))
