"""Executors that run tasks when a test wants them to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class ImmediateExecutor(Executor):
    """Runs each task inside ``submit``; its future holds the result or the exception."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class ManualExecutor(Executor):
    """Keeps tasks until ``run_all``."""

    def __init__(self) -> None:
        self._tasks: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        self._tasks.append(run)
        return future

    def run_all(self) -> int:
        """Run the tasks in order, with those that they submit meanwhile; returns how many."""
        number = 0
        while self._tasks:
            self._tasks.pop(0)()
            number += 1
        return number
