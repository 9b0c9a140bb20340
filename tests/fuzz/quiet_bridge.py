"""The service without its providers: messages are stored, and their turns end without an answer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from flask import Flask

import app
from core.models import Turn
from core.settings import Settings
from services import Role, Services
from speech.synthesis import Reply
from turns.runner import TurnRunner


class Silence:
    """A pipeline that answers nothing, and a prewarmer that starts no session."""

    def answer(self, turn: Turn) -> None:
        """No answer."""

    def deliver(self, turn: Turn, reply: Reply) -> None:
        """Nothing to send."""

    def apologise(self, turn: Turn, error: Exception) -> None:
        """No apology."""

    def may_have_sent(self, turn: Turn) -> bool:
        """Never."""
        return False

    def schedule(self, sender: str) -> None:
        """No session."""


class InlineWorker:
    """Runs all waiting turns at once, on the thread that accepts a message."""

    def __init__(self, services: Services) -> None:
        self._queue = services.storage.queue
        self._runner = TurnRunner(
            turns=services.storage.turns,
            handler=Silence(),
            notices=services.notices,
            metrics=services.metrics,
            log_key="key",
        )

    def start(self) -> None:
        """No thread to start."""

    def wake(self) -> None:
        """Run the turns that wait."""
        for turn in self._queue.claim(10):
            self._runner.run(turn)

    def close(self, timeout: float) -> bool:
        """Nothing runs."""
        return True


class QuietServices(Services):
    """The parts of a single process."""

    @cached_property
    def worker(self) -> Any:
        return InlineWorker(self)

    @cached_property
    def prewarmer(self) -> Any:
        return Silence()


def create_app() -> Flask:
    """As ``app.create_app``, for the environment's settings."""
    vars(app).update(build_web=build_quiet)
    return app.create_app()


def build_quiet(settings: Settings) -> Services:
    """The quiet services of a single process."""
    return QuietServices(settings, Role.SINGLE)
