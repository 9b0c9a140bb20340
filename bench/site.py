"""A bridge that is measured, with the providers around it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import imageio_ffmpeg
import psycopg
import requests

from bench.arrivals import Webhook, signed
from bench.providers import VOICE_HZ, instant_providers
from sandbox import Sandbox
from sandbox.bridge import Bridge, Process
from sandbox.cluster import Cluster
from sandbox.postgres import Postgres
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine

Providers = Callable[[], AbstractContextManager[Sandbox]]

# How many people write; each has a session from their first message on.
SENDERS = 200
# Answered by the sandbox's help desk with 61 characters.
TEXT = "hello"
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 300.0

_strangers = itertools.count()
_names = (f"bench{number}" for number in itertools.count(1))
# All voice notes get the same answer, which is to be spoken each time.
_settings = {
    "STILL_WORKING_AFTER": "600",
    "SPEECH_CACHE_BYTES": "0",
    "SENDER_TURNS_PER_MINUTE": "0",
    "SENDER_TURNS_PER_DAY": "0",
}


@dataclass(frozen=True)
class Site:
    """The bridge at ``url``; ``database_url`` is empty where it uses SQLite."""

    sandbox: Sandbox
    url: str
    webs: Sequence[Process]
    workers: Sequence[Process] = ()
    database_url: str = ""
    users: Sequence[str] = field(
        default_factory=lambda: [f"whatsapp:+1415555{number:04}" for number in range(SENDERS)]
    )

    def texts(self, count: int) -> list[Webhook]:
        """Texts of all users in turn."""
        return self._webhooks(count, lambda user: self.sandbox.twilio.forms.text(user, TEXT))

    def voice_notes(self, count: int, *, seconds: float = 1.5) -> list[Webhook]:
        """Voice notes of all users in turn."""
        note = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe()).note(sine(VOICE_HZ, seconds), "ogg")
        return self._webhooks(count, lambda user: self.sandbox.twilio.forms.voice(user, note))

    def with_strangers(self, count: int) -> Site:
        """The same with as many users of whom nobody has written yet."""
        users = [f"whatsapp:+1416{next(_strangers):07}" for _ in range(count)]
        return replace(self, users=users)

    def figures(self) -> dict[str, Any]:
        """``GET /metrics``."""
        return dict(requests.get(f"{self.url}/metrics", timeout=10).json())

    def unfinished(self) -> int:
        """How many turns wait or run."""
        report = requests.get(f"{self.url}/health", timeout=10).json()
        return int(report["waiting"]) + int(report["running"])

    def wait_until_done(self) -> float:
        """Wait until no turn is left; when that was, in monotonic seconds."""
        wait_until(lambda: self.unfinished() == 0)
        return time.monotonic()

    def select(self, query: LiteralString) -> int:
        """The number that a query to the database gives."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def change(self, statement: LiteralString) -> None:
        """Change the database by hand."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement)

    def _webhooks(self, count: int, form: Callable[[str], dict[str, str]]) -> list[Webhook]:
        users = itertools.islice(itertools.cycle(self.users), count)
        return [self._signed(form(user)) for user in users]

    def _signed(self, form: dict[str, str]) -> Webhook:
        # Twilio knows what it will post: answers and the typing indicator are refused otherwise.
        self.sandbox.twilio._messages.receive(form)
        return signed(f"{self.url}/", form)


def wait_until(true: Callable[[], bool]) -> None:
    """Raises ``TimeoutError``."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


@contextmanager
def one_process(
    folder: Path,
    *,
    providers: Providers = instant_providers,
    command: Sequence[str] | None = None,
    **settings: str,
) -> Iterator[Site]:
    """One process with SQLite, or another bot that ``command`` runs with the same settings."""
    bridge = Bridge(log_file=folder / next(_names) / "web.log", command=command)
    with providers() as sandbox:
        sandbox.connect(bridge.url)
        bridge.settings = sandbox.environment(bridge.url) | _settings | settings
        try:
            bridge.start()
            yield Site(sandbox, bridge.url, [bridge])
        finally:
            bridge.kill()


@contextmanager
def many_processes(
    folder: Path, server: Postgres, *, workers: int, **settings: str
) -> Iterator[Site]:
    """One web process and ``workers`` on a database of their own."""
    name = next(_names)
    url = server.database(name)
    cluster = Cluster(folder=folder / name, database_url=url, webs=1, workers=workers)
    with instant_providers() as sandbox:
        (web,) = cluster.webs
        # Past the front, which runs in this process and would be measured as well.
        sandbox.connect(web.url)
        cluster.settings = sandbox.environment(web.url) | _settings | settings
        cluster.start()
        try:
            yield Site(sandbox, web.url, cluster.webs, cluster.workers, url)
        finally:
            cluster.kill()


def database_name(site: Site) -> str:
    return urlsplit(site.database_url).path.strip("/")
