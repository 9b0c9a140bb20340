"""The whole service, except that its turns call no provider and send no answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Flask

import app
from core.models import Turn
from core.settings import Settings
from services.processes import WebServices, build_web
from speech.synthesis import Reply
from tests.unit.executors import ImmediateExecutor
from turns.intake import Intake
from turns.runner import TurnRunner


class Silence:
    """A turn handler and pre-warmer that do nothing."""

    def answer(self, turn: Turn) -> None:
        """Call no agent."""

    def deliver(self, turn: Turn, reply: Reply) -> None:
        """Send nothing."""

    def apologise(self, turn: Turn, error: Exception) -> None:
        """Send nothing."""

    def was_sent(self, turn: Turn) -> bool:
        """Return ``False``: nothing is ever sent."""
        return False

    def schedule(self, sender: str) -> None:
        """Start no session."""


def create_app() -> Flask:
    """Build the application of ``app.create_app`` with ``build_quiet`` in place of its services."""
    vars(app).update(build_web=build_quiet)
    return app.create_app()


def build_quiet(settings: Settings) -> WebServices:
    """Build the services of a single process that stores messages and finishes their turns."""
    parts: Any = build_web(settings)
    base, silence = parts.base, Silence()
    runner = TurnRunner(store=base.store, handler=silence, notices=base.notices, log_key="key")

    def run_turns() -> None:
        for turn in base.queue.claim(10):
            runner.run(turn)

    intake = Intake(
        store=base.store, quotas=base.quotas, limit=settings.INBOX_LIMIT, wake=run_turns
    )
    base = replace(base, prewarmer=silence, background=ImmediateExecutor())
    quiet: WebServices = replace(parts, base=base, intake=intake, worker=None)
    return quiet
