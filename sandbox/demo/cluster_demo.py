"""What the demo tells where many processes answer, and one is killed in the middle of a turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.bridge import Process
from sandbox.cluster import Cluster
from sandbox.demo.endpoints import report
from sandbox.demo.findings import Finding, asked, counted, sent, workers
from sandbox.demo.single_demo import SingleDemo, shown
from sandbox.demo.timeline import Stage, stages_of
from sandbox.demo.turn import Exchange, Turn
from sandbox.faults import Fault

# Time to find who asks; and over, with the session free again, before another takes the turn up.
SLOW_SECONDS = 8.0
# Longer than any of it takes: a silent process is missed after 15 s.
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Death:
    """Whose it was, and when, in monotonic seconds."""

    name: str
    at: float


class ClusterDemo(SingleDemo):
    """Like ``Story``, but the worker that asks the agent the first question does not survive it."""

    log_name = "*.log"

    def __init__(self, *, bridge: Cluster, **deployment: Any) -> None:
        super().__init__(bridge=bridge, **deployment)
        self._cluster = bridge

    def tell(self, recording: Path) -> bool:
        """Send a recording and kill the worker that asks; False unless the answer comes once."""
        self._list_processes()
        note = self._read(recording)
        if note is None:
            return False
        before = self._health_with(len(self._cluster.workers))
        self._sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=SLOW_SECONDS))
        exchange = self._exchange()
        with self._screen.step(f"Sending {shown(recording)}"):
            turn = exchange.send(*note)
        worker = None if turn.failure else self._worker_that_asks()
        if worker is None:
            return self._tell_of_no_death(exchange, turn)
        complete = self._tell_of_death(worker, exchange, turn)
        return self._tell_of_return(worker, before) and complete

    def say_how_to_go_on(self) -> None:
        self._screen.line()
        self._screen.text("These run; kill one, and write to the agent meanwhile:")
        self._list_processes()
        self._command(f"kill -9 {self._cluster.workers[0].pid}")
        self._screen.text(
            f"{self._cluster.url}/health says whether messages get answered, and by how many."
        )
        super().say_how_to_go_on()

    def _tell_of_no_death(self, exchange: Exchange, turn: Turn) -> bool:
        exchange.finish(turn)
        self._show(turn, stages_of(turn))
        return self._complain("No worker was found that asks the agent, so none was killed.")

    def _tell_of_death(self, worker: Process, exchange: Exchange, turn: Turn) -> bool:
        name = self._name(worker)
        self._screen.text(
            f"{name.capitalize()} asks the agent, which takes {SLOW_SECONDS:.0f} seconds."
        )
        pid = worker.pid
        worker.kill()
        death = Death(name, time.monotonic())
        self._screen.text(f"kill -9 {pid}: {name} is dead, in the middle of the turn.", "red")
        self._screen.text(
            "Another has yet to notice its silence; the user sees that the bot is typing."
        )
        with self._screen.step("Waiting for the answer") as so_far:
            exchange.finish(turn, meanwhile=so_far)
        return self._show(turn, stages_around(turn, death))

    def _tell_of_return(self, worker: Process, before: dict[str, Any]) -> bool:
        """Start it again, as a platform would; whether all is as if it had never died."""
        all_ = len(self._cluster.workers)
        self._screen.line()
        during = self._health_with(all_ - 1)
        with self._screen.step(f"Starting {self._name(worker)} again"):
            worker.start()
        after = self._health_with(all_)
        self._wait(
            "/metrics of the webs agree", lambda: all(each.holds for each in self._counted())
        )
        findings = [
            *sent(self._sandbox.twilio.messages(self._user)),
            asked(len(self._sandbox.agentforce.questions)),
            workers([before, during, after], [all_, all_ - 1, all_]),
            *self._counted(),
        ]
        self._screen.line()
        for finding in findings:
            self._tell_finding(finding)
        return all(finding.holds for finding in findings)

    def _tell_finding(self, finding: Finding) -> None:
        told = f"{finding.found}, {finding.why}" if finding.why else finding.found
        self._screen.labelled(finding.subject, told, "green" if finding.holds else "red")
        if not finding.holds:
            self._complain(f"It should be {finding.expected}.")

    def _worker_that_asks(self) -> Process | None:
        """The worker in whose turn the agent is being asked."""
        recorder = self._sandbox.recorder
        try:
            calls = recorder.wait_for(lambda: recorder.calls("agentforce", "ask"), PATIENCE_SECONDS)
        except TimeoutError:
            return None
        asking = (
            worker for worker in self._cluster.workers if worker.has_connection_from(calls[-1].port)
        )
        return next(asking, None)

    def _counted(self) -> list[Finding]:
        return [
            counted(self._name(web), report(f"{web.url}/metrics")) for web in self._cluster.webs
        ]

    def _health(self) -> dict[str, Any]:
        return report(f"{self._cluster.url}/health")

    def _health_with(self, number: int) -> dict[str, Any]:
        """``/health`` once it counts so many workers, or at the end of patience."""
        what = f"/health counts {number} worker{'s' if number > 1 else ''}"
        found: dict[str, Any] = {}

        def counts() -> bool:
            # The next web process that is asked may still say what it found a second ago.
            found.update(self._health())
            return found.get("workers") == number

        self._wait(what, counts)
        return found

    def _wait(self, what: str, happened: Callable[[], bool]) -> None:
        """Until that happened, or for as long as there is patience."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._screen.step(what) as so_far:
            while not happened() and time.monotonic() < deadline:
                so_far()
                time.sleep(LOOK_SECONDS)

    def _list_processes(self) -> None:
        for process in self._cluster.processes:
            self._screen.line(f"  {self._name(process):<8}  PID {process.pid}")

    def _name(self, process: Process) -> str:
        fellows = [each for each in self._cluster.processes if each.kind == process.kind]
        return f"{process.kind} {fellows.index(process) + 1}"


def stages_around(turn: Turn, death: Death) -> list[Stage]:
    """The stages of both attempts, with the silence between them."""
    former = [call for call in turn.calls if call.at < death.at]
    later = [call for call in turn.calls if call.at >= death.at]
    died = stages_of(replace(turn, calls=former, texts=[], voice=None))
    # The webhook was acknowledged once.
    survived = stages_of(replace(turn, calls=later))[1:]
    start = death.at - turn.sent
    end = survived[0].start if survived else start
    return [*died, Stage(f"Silence of {death.name}", start, end - start), *survived]
