"""The demo with several processes, in which a worker is killed in the middle of a turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sandbox.bridge import Process
from sandbox.cluster import Cluster
from sandbox.demo.bridge_metrics import get_json
from sandbox.demo.checks import (
    Check,
    check_answers,
    check_counters,
    check_questions,
    check_workers,
)
from sandbox.demo.progress import Progress
from sandbox.demo.single_demo import SingleDemo
from sandbox.demo.timeline import Stage, stages_of
from sandbox.demo.turn import Turn
from sandbox.demo.voice_notes import VoiceNote
from sandbox.faults import Fault

# Long enough to find the worker that asks, but shorter than the time until another worker takes
# over: the agent's session must be unlocked by then.
ASK_SECONDS = 8.0
# Longer than any step: a dead worker is detected after 15 s.
TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class KilledWorker:
    """The name of a killed worker, and when it was killed, in monotonic seconds."""

    name: str
    at: float


class ClusterDemo(SingleDemo):
    """Like ``SingleDemo``, but kills the worker that asks the agent the first question."""

    log_name = "*.log"

    def __init__(self, *, bridge: Cluster, **options: Any) -> None:
        super().__init__(bridge=bridge, **options)
        self._cluster = bridge

    def run(self, note: VoiceNote) -> bool:
        """Send a voice note and kill the worker that asks the agent.

        Returns whether all checks passed.
        """
        self._list_processes()
        health = self._wait_for_workers(len(self._cluster.workers))
        self._sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=ASK_SECONDS))
        self._screen.line()
        self._screen.labelled("You send", note.name)
        exchange, progress = self._start_exchange(), Progress(screen=self._screen)
        turn = exchange.speak(note.audio, note.content_type)
        worker = None if turn.failure else self._find_asking_worker()
        if worker is None:
            exchange.finish(turn, on_poll=progress)
            self._show_end(turn, stages_of(turn))
            return self._report_problem(
                "No worker was found that asks the agent, so none was killed."
            )
        exchange.update(turn)
        progress(turn)
        killed = self._kill(worker)
        exchange.finish(turn, on_poll=progress)
        answered = self._show_end(turn, stages_around(turn, killed))
        return self._restart_and_check(worker, health) and answered

    def show_next_steps(self) -> None:
        self._screen.line()
        self._screen.text("These processes run. Kill one, and write to the agent meanwhile:")
        self._list_processes()
        for worker in filter(Process.is_running, self._cluster.workers[:1]):
            self._screen.line(f"  kill -9 {worker.pid}")
        self._screen.text(
            f"{self._cluster.url}/health says whether messages get answered, and by how many"
            " workers."
        )

    def _list_processes(self) -> None:
        for process in self._cluster.processes:
            # It may have been killed on the page or from a terminal.
            state = f"PID {process.pid}" if process.is_running() else "dead"
            self._screen.line(f"  {self._name(process):<8}  {state}")

    def _kill(self, worker: Process) -> KilledWorker:
        name = self._name(worker)
        self._screen.text(
            f"{name.capitalize()} asks the agent, which takes {ASK_SECONDS:.0f} seconds."
        )
        pid = worker.pid
        worker.kill()
        killed = KilledWorker(name, time.monotonic())
        self._screen.text(f"kill -9 {pid}: {name} is dead, in the middle of the turn.", "red")
        self._screen.text(
            "Another worker takes over when it notices. Until then, the user sees that the bot is"
            " typing."
        )
        return killed

    def _restart_and_check(self, worker: Process, health_before: dict[str, Any]) -> bool:
        """Start the worker again, as a platform does; returns whether all checks passed."""
        count = len(self._cluster.workers)
        health_during = self._wait_for_workers(count - 1)
        with self._screen.step(f"Starting {self._name(worker)} again"):
            worker.start()
        health_after = self._wait_for_workers(count)
        self._wait(
            "/metrics of the webs agree",
            lambda: all(check.passed for check in self._check_metrics()),
        )
        checks = [
            *check_answers(self._sandbox.twilio.messages(self._user)),
            check_questions(len(self._sandbox.agentforce.questions)),
            check_workers([health_before, health_during, health_after], [count, count - 1, count]),
            *self._check_metrics(),
        ]
        self._screen.line()
        for check in checks:
            self._show_check(check)
        return all(check.passed for check in checks)

    def _show_check(self, check: Check) -> None:
        text = f"{check.actual}, {check.note}" if check.note else check.actual
        self._screen.labelled(check.name, text, "green" if check.passed else "red")
        if not check.passed:
            self._report_problem(f"Expected {check.expected}.")

    def _find_asking_worker(self) -> Process | None:
        """The worker whose connection carries the question to the agent."""
        recorder = self._sandbox.recorder
        try:
            calls = recorder.wait_for(lambda: recorder.calls("agentforce", "ask"), TIMEOUT_SECONDS)
        except TimeoutError:
            return None
        port = calls[-1].port
        workers = filter(Process.is_running, self._cluster.workers)
        return next((worker for worker in workers if worker.has_connection_from(port)), None)

    def _check_metrics(self) -> list[Check]:
        return [
            check_counters(self._name(web), get_json(f"{web.url}/metrics"))
            for web in self._cluster.webs
        ]

    def _wait_for_workers(self, count: int) -> dict[str, Any]:
        """Wait until ``/health`` reports ``count`` workers; returns the last report."""
        health: dict[str, Any] = {}

        def has_count() -> bool:
            # Each request may reach another web process, whose report may be a second old.
            health.update(get_json(f"{self._cluster.url}/health"))
            return health.get("workers") == count

        self._wait(f"/health counts {count} worker{'s' if count > 1 else ''}", has_count)
        return health

    def _wait(self, step: str, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``, at most ``TIMEOUT_SECONDS``."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self._screen.step(step):
            while not condition() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

    def _name(self, process: Process) -> str:
        same_kind = [each for each in self._cluster.processes if each.kind == process.kind]
        return f"{process.kind} {same_kind.index(process) + 1}"


def stages_around(turn: Turn, killed: KilledWorker) -> list[Stage]:
    """The stages of both attempts, and the time between them."""
    first_calls = [call for call in turn.calls if call.at < killed.at]
    later_calls = [call for call in turn.calls if call.at >= killed.at]
    first = stages_of(replace(turn, calls=first_calls, texts=[], voice=None))
    # Without the webhook, which was acknowledged before the first attempt.
    second = stages_of(replace(turn, calls=later_calls))[1:]
    start = killed.at - turn.sent
    end = second[0].start if second else start
    return [*first, Stage(f"Silence of {killed.name}", start, end - start), *second]
