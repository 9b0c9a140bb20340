"""The service whose turns end without a word: all of it but the providers."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from flask import Flask

import app
from core.models import Turn
from core.settings import Settings
from services.processes import WebServices, build_web
from speech.synthesis import Reply
from turns.intake import Intake
from turns.runner import TurnRunner


class Silence:
    """A conversation in which nothing is answered, and no session is needed."""

    def answer(self, turn: Turn) -> None:
        """Nothing to say."""

    def deliver(self, turn: Turn, reply: Reply) -> None:
        """Nothing to send."""

    def apologise(self, turn: Turn, error: Exception) -> None:
        """Nothing to regret."""

    def was_sent(self, turn: Turn) -> bool:
        """Never."""
        return False

    def schedule(self, sender: str) -> None:
        """Nothing to warm."""


class AtOnce(Executor):
    """Runs tasks before it returns."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def create_app() -> Flask:
    """As ``app.create_app``, for the environment's settings."""
    vars(app).update(build_web=build_quiet)
    return app.create_app()


def build_quiet(settings: Settings) -> WebServices:
    """The parts of a process alone, which writes messages down and finishes their turns."""
    parts: Any = build_web(settings)
    base, silence = parts.base, Silence()
    runner = TurnRunner(store=base.store, handler=silence, notices=base.notices, log_key="key")

    def run_turns() -> None:
        for turn in base.queue.claim(10):
            runner.run(turn)

    intake = Intake(
        store=base.store, quotas=base.quotas, limit=settings.INBOX_LIMIT, wake=run_turns
    )
    base = replace(base, prewarmer=silence, background=AtOnce())
    quiet: WebServices = replace(parts, base=base, intake=intake, worker=None)
    return quiet
