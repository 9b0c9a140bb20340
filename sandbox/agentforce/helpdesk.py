"""The agent behind the Agentforce stand-in: a help desk that answers from a file."""

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

from sandbox.agentforce.wording import has_arabic, normalised, resembles, words

Json = dict[str, Any]
Language = Literal["en", "ar"]
Kind = Literal["Inform", "Inquire", "Confirm", "Failure", "Escalate", "SessionEnded"]

DEFAULT_FILE = Path(__file__).with_name("helpdesk.toml")
# An entry whose words are shared with many others needs several of them to be meant.
_LEAST_SCORE = 0.5


class HelpdeskError(ValueError):
    """The file of answers cannot be used; says in which line and why."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ScriptedMessage(BaseModel):
    """A message of any type; keys that are not named here go to the caller as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: str
    text: str | None = None

    def for_the_wire(self, said: str) -> Json:
        """With ``text`` under its name in the API, and what the user ``said`` filled in."""
        message = self.model_dump(exclude={"text"})
        if self.text is not None:
            message["message"] = self.text.strip().replace("{said}", said.strip())
        return message


class Message(ScriptedMessage):
    """A message of a type that agents use."""

    type: Kind


Messages = Sequence[ScriptedMessage]


class Entry(_Table):
    """An answer and the words that call for it.

    ``yes`` and ``no`` follow a Confirm, ``then`` follows whatever is said to an Inquire.
    """

    id: str
    language: Language
    keywords: list[str] = Field(min_length=1)
    messages: list[Message]
    yes: list[Message] = []
    no: list[Message] = []
    then: list[Message] = []


class Scripted(_Table):
    """An answer to exactly one question, in a shape that agents seldom give."""

    question: str
    messages: list[ScriptedMessage]


class _PerLanguage(_Table):
    en: str
    ar: str


class Answers(_Table):
    """The whole file."""

    greeting: _PerLanguage
    unknown: _PerLanguage
    yes: list[str]
    no: list[str]
    entry: list[Entry]
    scripted: list[Scripted] = []


class Helpdesk:
    """Answers questions from the TOML file at ``path``, which is read again when it changes.

    Raises :class:`HelpdeskError` when the file is missing or broken, now or after a change.
    """

    def __init__(self, path: Path = DEFAULT_FILE) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[int, int] | None = None
        self._desk: _Desk
        self._pending: dict[str, Entry] = {}
        self._current()

    def greeting(self, language: str) -> str:
        """The welcome in ``language`` (two letters), in English for an unknown one."""
        greeting = self._current().answers.greeting
        return greeting.ar if language == "ar" else greeting.en

    def answer(self, session_id: str, text: str) -> list[Json]:
        """The messages for ``text``, without ids; an Inform's text is under ``message``."""
        desk = self._current()
        with self._lock:
            pending = self._pending.pop(session_id, None)
        chosen = self._chosen(desk, session_id, text, pending)
        return [message.for_the_wire(text) for message in chosen]

    def _chosen(self, desk: _Desk, session_id: str, text: str, pending: Entry | None) -> Messages:
        scripted = desk.scripted(text)
        if scripted is not None:
            return scripted
        if pending and (follow_up := desk.follow_up(pending, text)):
            return follow_up
        if entry := desk.entry(text):
            return self._open(session_id, entry)
        return (pending and pending.then) or [desk.unknown(text)]

    def forget(self, session_id: str) -> None:
        """Drop what a session was asked to confirm or to tell."""
        with self._lock:
            self._pending.pop(session_id, None)

    def _open(self, session_id: str, entry: Entry) -> Messages:
        if entry.yes or entry.no or entry.then:
            with self._lock:
                self._pending[session_id] = entry
        return entry.messages

    def _current(self) -> _Desk:
        with self._lock:
            stamp = _stamp(self._path)
            if stamp is None or stamp != self._read:
                self._desk = _Desk(read(self._path))
                self._read = stamp
            return self._desk


@dataclass(frozen=True)
class _Shelf:
    """The entries of one language, with the words each is known by."""

    entries: list[tuple[Entry, frozenset[str]]]
    shared: Counter[str]

    @classmethod
    def of(cls, entries: list[Entry]) -> _Shelf:
        known = [(entry, frozenset(words(" ".join(entry.keywords)))) for entry in entries]
        return cls(known, Counter(word for _, keywords in known for word in keywords))

    def best(self, asked: list[str]) -> Entry | None:
        scores = [(self._score(keywords, asked), entry) for entry, keywords in self.entries]
        score, entry = max(scores, key=lambda scored: scored[0], default=(0.0, None))
        return entry if score >= _LEAST_SCORE else None

    def _score(self, keywords: frozenset[str], asked: list[str]) -> float:
        """Each word that was asked counts once, and the less, the more entries have it."""
        return sum(
            max(resembles(keyword, word) / self.shared[keyword] for keyword in keywords)
            for word in asked
        )


class _Desk:
    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._shelves = {
            language: _Shelf.of([entry for entry in answers.entry if entry.language == language])
            for language in get_args(Language)
        }
        self._scripted = {normalised(one.question): one.messages for one in answers.scripted}
        self._yes = [normalised(phrase) for phrase in answers.yes]
        self._no = [normalised(phrase) for phrase in answers.no]

    def scripted(self, text: str) -> Messages | None:
        return self._scripted.get(normalised(text))

    def follow_up(self, pending: Entry, text: str) -> Messages:
        """What ``pending`` says to yes or no; nothing when it was neither."""
        said = f" {normalised(text)} "
        # No first: "no, I'm not sure" holds both.
        for follow_up, phrases in ((pending.no, self._no), (pending.yes, self._yes)):
            if follow_up and any(f" {phrase} " in said for phrase in phrases):
                return follow_up
        return []

    def entry(self, text: str) -> Entry | None:
        asked = list(dict.fromkeys(words(text)))
        return self._shelves[_language(text)].best(asked) if asked else None

    def unknown(self, text: str) -> Message:
        unknown = self.answers.unknown
        return Message(type="Inform", text=unknown.ar if has_arabic(text) else unknown.en)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when the file does; None when it cannot be seen."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _language(text: str) -> Language:
    return "ar" if has_arabic(text) else "en"


def read(path: Path) -> Answers:
    """The checked content of a file; raises :class:`HelpdeskError` with the line at fault."""
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
        raise HelpdeskError(_complaint(path.name, text, error)) from error
    _check_unique(path.name, text, answers)
    return answers


def _complaint(name: str, text: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = first["loc"]
    where = ".".join(str(step) for step in place)
    line = _line(text, place)
    return f"{name}: {where}: {first['msg']} (in what begins at line {line})"


def _line(text: str, place: tuple[int | str, ...]) -> int:
    """The line of the innermost ``[[table]]`` or ``[table]`` that holds ``place``, else 1."""
    if not place:
        return 1
    index = place[1] if len(place) > 1 and isinstance(place[1], int) else 0
    heads = re.compile(rf"^[ \t]*\[+[ \t]*{re.escape(str(place[0]))}[ \t]*\]", re.MULTILINE)
    found = [text.count("\n", 0, head.start()) + 1 for head in heads.finditer(text)]
    return found[index] if index < len(found) else 1


def _check_unique(name: str, text: str, answers: Answers) -> None:
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(answers.entry):
        if (entry.id, entry.language) in seen:
            line = _line(text, ("entry", index))
            raise HelpdeskError(
                f"{name}: entry.{index}: a second {entry.id!r} in {entry.language!r} "
                f"(in what begins at line {line})"
            )
        seen.add((entry.id, entry.language))
