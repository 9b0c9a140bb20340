"""The target of a benchmark: a running bridge with the stand-ins that it calls."""

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

from bench.load_generator import Webhook, signed_webhook
from bench.providers import QUESTION_TONE_HZ, instant_providers
from sandbox import Sandbox
from sandbox.bridge import Bridge, Process
from sandbox.cluster import Cluster
from sandbox.postgres import Postgres
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine

StartProviders = Callable[[], AbstractContextManager[Sandbox]]

# Number of different senders. Each has an agent session after the first message.
SENDERS = 200
# The sandbox's help desk answers it with 61 characters.
TEXT = "hello"
POLL_SECONDS = 0.05
TIMEOUT_SECONDS = 300.0

_new_user_numbers = itertools.count()
_names = (f"bench{number}" for number in itertools.count(1))
_SETTINGS = {
    "STILL_WORKING_AFTER": "600",
    # All voice notes get the same answer; it must be synthesized each time.
    "SPEECH_CACHE_BYTES": "0",
    "SENDER_TURNS_PER_MINUTE": "0",
    "SENDER_TURNS_PER_DAY": "0",
}


@dataclass(frozen=True)
class Target:
    """The bridge at ``url``; ``database_url`` is empty if it uses SQLite."""

    sandbox: Sandbox
    url: str
    webs: Sequence[Process]
    workers: Sequence[Process] = ()
    database_url: str = ""
    users: Sequence[str] = field(
        default_factory=lambda: [f"whatsapp:+1415555{number:04}" for number in range(SENDERS)]
    )

    def texts(self, count: int) -> list[Webhook]:
        """``count`` text messages, from the users in turn."""
        return self._webhooks(count, lambda user: self.sandbox.twilio.forms.text(user, TEXT))

    def voice_notes(self, count: int, *, seconds: float = 1.5) -> list[Webhook]:
        """``count`` voice notes of that length, from the users in turn."""
        codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
        recording = codec.note(sine(QUESTION_TONE_HZ, seconds))
        return self._webhooks(count, lambda user: self.sandbox.twilio.forms.voice(user, recording))

    def with_new_users(self, count: int) -> Target:
        """The same target with ``count`` users who have not written before."""
        users = [f"whatsapp:+1416{next(_new_user_numbers):07}" for _ in range(count)]
        return replace(self, users=users)

    def metrics(self) -> dict[str, Any]:
        """``GET /metrics``."""
        return dict(requests.get(f"{self.url}/metrics", timeout=10).json())

    def unfinished_turns(self) -> int:
        """How many turns wait or run."""
        health = requests.get(f"{self.url}/health", timeout=10).json()
        return int(health["waiting"]) + int(health["running"])

    def wait_until_idle(self) -> float:
        """Wait until no turn waits or runs; returns that moment in monotonic seconds."""
        wait_until(lambda: self.unfinished_turns() == 0)
        return time.monotonic()

    def select(self, query: LiteralString) -> int:
        """The single number that ``query`` returns."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def execute(self, statement: LiteralString) -> None:
        """Run a statement that changes the database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement)

    def _webhooks(self, count: int, form: Callable[[str], dict[str, str]]) -> list[Webhook]:
        users = itertools.islice(itertools.cycle(self.users), count)
        return [self._webhook(form(user)) for user in users]

    def _webhook(self, form: dict[str, str]) -> Webhook:
        # The stand-in refuses answers and typing indicators for messages that it does not know.
        self.sandbox.twilio.register_inbound(form)
        return signed_webhook(f"{self.url}/", form)


def wait_until(condition: Callable[[], bool]) -> None:
    """Raises ``TimeoutError``."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIMEOUT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


@contextmanager
def single_process(
    folder: Path,
    *,
    providers: StartProviders = instant_providers,
    command: Sequence[str] | None = None,
    **settings: str,
) -> Iterator[Target]:
    """One process with SQLite; ``command`` runs another bot with the same settings instead."""
    bridge = Bridge(log_file=folder / next(_names) / "web.log", command=command)
    with providers() as sandbox:
        sandbox.connect(bridge.url)
        bridge.settings = sandbox.environment(bridge.url) | _SETTINGS | settings
        try:
            bridge.start()
            yield Target(sandbox, bridge.url, [bridge])
        finally:
            bridge.kill()


@contextmanager
def web_and_workers(
    folder: Path, server: Postgres, *, workers: int, **settings: str
) -> Iterator[Target]:
    """One web process and ``workers`` worker processes with a new database."""
    name = next(_names)
    url = server.database(name)
    cluster = Cluster(folder=folder / name, database_url=url, webs=1, workers=workers)
    with instant_providers() as sandbox:
        (web,) = cluster.webs
        # Bypasses the load balancer, which runs in this process and would distort the times.
        sandbox.connect(web.url)
        cluster.settings = sandbox.environment(web.url) | _SETTINGS | settings
        cluster.start()
        try:
            yield Target(sandbox, web.url, cluster.webs, cluster.workers, url)
        finally:
            cluster.kill()


def database_name(target: Target) -> str:
    return urlsplit(target.database_url).path.strip("/")
