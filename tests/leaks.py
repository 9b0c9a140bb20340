"""Finds private texts, numbers and secrets in what the service writes: logs, metrics, pages."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlsplit

from sandbox import CREDENTIALS, Sandbox

# So many words of a private text in a row are a quotation.
QUOTED_WORDS = 5
# Shorter texts, like "hello" or "voice on", occur in the log by themselves.
SHORTEST = 8
# The part of a line that a report quotes.
LONGEST = 300

SECRET_SETTINGS = re.compile(r"TOKEN$|SECRET$|KEY$")
# What must never be written, wherever it comes from.
FORBIDDEN = re.compile(
    r"whatsapp:\s?\S+"
    r"|\+\d{8,15}"
    r"|\b1415555\d{4}\b"
    r"|eyJ[\w-]{10,}"
    r"|(?:Bearer|Basic) \S+"
    r"|/media/[\w-]{16,}"
    r"|\bsending=[\w-]+"
    r"|\b(?:Signature|Policy|Key-Pair-Id|X-Amz-\w+)=[^\s\"']+"
    r"|://[^\s/@]+@"
)
# The service's own number is public, and one line says which it is.
OWN_NUMBER = re.compile(r"Ready: answers whatsapp:\+\d+")
WORD = re.compile(r"\w+")


class Known:
    """Secrets, found literally, and texts, found by any QUOTED_WORDS words in a row."""

    def __init__(self, *, secrets: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        self._secrets = {form for secret in secrets if secret for form in (secret, quote(secret))}
        self._quotations: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for text in set(texts):
            for run in _runs(_words(text)):
                self._quotations[run[0]].add(run)

    def leaks_in(self, written: str) -> list[str]:
        """The first leak of each line, quoted with the line."""
        return [
            f"{found!r} in {line[:LONGEST]!r}"
            for line in written.splitlines()
            if (found := next(self._found_in(line), None))
        ]

    def _found_in(self, line: str) -> Iterator[str]:
        line = OWN_NUMBER.sub("", line)
        yield from FORBIDDEN.findall(line)
        yield from (secret for secret in self._secrets if secret in line)
        yield from map(" ".join, self._quoted(_words(line)))

    def _quoted(self, words: list[str]) -> Iterator[tuple[str, ...]]:
        for place, word in enumerate(words):
            for run in self._quotations.get(word, ()):
                if tuple(words[place : place + len(run)]) == run:
                    yield run


def secrets_of(settings: dict[str, str]) -> set[str]:
    """Every secret of the settings, also in the encoding of HTTP Basic authentication."""
    secrets = {value for name, value in settings.items() if SECRET_SETTINGS.search(name)}
    account = f"{settings.get('TWILIO_ACCOUNT_SID')}:{settings.get('TWILIO_AUTH_TOKEN')}"
    password = urlsplit(settings.get("DATABASE_URL", "")).password
    return secrets | {base64.b64encode(account.encode()).decode(), password or ""}


def known_to(sandbox: Sandbox, settings: dict[str, str]) -> Known:
    """The secrets, numbers and texts that the stand-ins and the settings hold."""
    messages = sandbox.twilio._messages.newest_first()
    addresses = {message.sender for message in messages} | {message.to for message in messages}
    files = {message.media_url or "" for message in sandbox.twilio.messages()}
    texts = {message.body for message in messages}
    texts |= {question.text for question in sandbox.agentforce.questions}
    texts |= {each.transcript.text for each in sandbox.elevenlabs.transcriptions}
    texts |= {spoken.text for spoken in sandbox.elevenlabs.syntheses}
    return Known(
        secrets=secrets_of(settings)
        | {address.partition(":")[2].strip(" +") for address in addresses}
        | {url.rpartition("/")[2].partition(".")[0] for url in files},
        texts=texts,
    )


def static_leaks(written: str) -> list[str]:
    """Leaks that can be found without knowing what was said."""
    return _SANDBOX.leaks_in(written)


_SANDBOX = Known(secrets=secrets_of(CREDENTIALS))


def _words(text: str) -> list[str]:
    # Line ends may be written as two characters.
    return WORD.findall(text.replace("\\n", " ").casefold())


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    length = min(len(words), QUOTED_WORDS)
    for place in range(len(words) - length + 1):
        run = tuple(words[place : place + length])
        if sum(map(len, run)) >= SHORTEST:
            yield run
