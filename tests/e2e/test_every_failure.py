"""Each cell of docs/failures.md: one message, no repeated effect, and the next is answered."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.call_recorder import Violation
from sandbox.speech.fixture import FixtureSpeech
from tests.e2e.conftest import ECHO_AGENT
from tests.e2e.deployment import Deployment
from tests.e2e.failures import ANSWER, IF_TAKEN, TEXT, TURN_SECONDS, Cell, Scope, cells
from tests.e2e.failures_page import sentence
from tests.e2e.fault_injection import RETRY_AFTER, Host
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.scenario import Outcome, Scenarios

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Pace:
    """``patience`` is the part of the table's seconds; ``at_once`` cells are tried concurrently."""

    patience: float
    at_once: int


# What strikes others too is tried out cell by cell, on bridges that have little else to do.
FAST: dict[Scope, Pace] = {
    "user": Pace(0.05, 16),
    "newcomers": Pace(0.025, 1),
    "everybody": Pace(0.025, 1),
}
# Timeouts of a second may be too short on a busy machine even for calls that work. A cell that
# failed with them is tried again with these: a defect fails both times.
PATIENT: dict[Scope, Pace] = {
    scope: Pace(pace.patience * 4, max(pace.at_once // 4, 1)) for scope, pace in FAST.items()
}
# A turn may take that much longer than the table says.
SLACK = 15.0
MANY = 1000
# What no call has to do with is as slow as ever, and part of a turn.
BUSY_SECONDS = 5.0

# Flask compiles routes, which fails in several threads at once (CPython's gh-106905, up to 3.11.7).
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Result:
    """What became of a cell that was tried with this ``patience``."""

    cell: Cell
    outcome: Future[Outcome]
    patience: float

    def check(self) -> None:
        """Raise unless the cell ended as the table says."""
        outcome = self.outcome.result()
        check_messages(self.cell, outcome)
        check_effects(self.cell, outcome)
        check_tries(self.cell, outcome)
        check_time(self.cell, outcome, self.patience)

    @property
    def failed(self) -> bool:
        try:
            self.check()
        except Exception:
            return True
        return False


@dataclass(frozen=True)
class Results:
    """What became of each cell, and which rules of the providers were broken."""

    cells: Mapping[Cell, Result]
    violations: list[Violation]


@contextmanager
def start(
    scope: Scope, patience: float, folder: Path
) -> Iterator[tuple[Deployment, dict[Host, FaultProxy]]]:
    """A service with short timeouts; its providers are behind proxies where hosts must fail."""
    speech = FixtureSpeech()
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        with _BUILDING:
            sandbox = stack.enter_context(Sandbox(speech=speech, helpdesk_file=ECHO_AGENT))
        sandbox.elevenlabs.account.concurrency = 100
        # Who is in a hurry may give up on a token and fetch another.
        sandbox.agentforce.token_clients = 1000
        proxies = start_proxies(sandbox, folder, stack) if scope == "everybody" else {}
        bridge = Bridge(log_file=folder / "log")
        sandbox.connect(bridge.url)
        bridge.settings = sandbox.environment(bridge.url) | shorten_timeouts(patience)
        if proxies:
            bridge.settings |= addresses(proxies, sandbox, folder)
        bridge.start()
        stack.callback(bridge.kill)
        deployment = Deployment(sandbox=sandbox, speech=speech, bridge=bridge)
        deployment.begin()
        yield deployment, proxies


def shorten_timeouts(patience: float) -> dict[str, str]:
    return {
        "PROVIDER_TIMEOUT_FACTOR": str(patience),
        "TURN_DEADLINE": str(TURN_SECONDS * patience + BUSY_SECONDS),
        # Cells are not to notice each other.
        "BREAKER_FAILURES": "0",
        "SPEECH_CACHE_BYTES": "0",
        "AGENTFORCE_SPARE_SESSIONS": "0",
        "KEEP_WARM": "false",
        "ELEVENLABS_CONCURRENCY": "100",
        "STILL_WORKING_AFTER": "300",
    }


def start_proxies(sandbox: Sandbox, folder: Path, stack: ExitStack) -> dict[Host, FaultProxy]:
    """Put a proxy before each host; ``ca.pem`` in the folder is the authority to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    ports: dict[Host, int] = {
        "login": sandbox.agentforce.port,
        "agent": sandbox.agentforce.port,
        "twilio": sandbox.twilio.port,
        "cdn": sandbox.twilio.cdn.port,
        "elevenlabs": sandbox.elevenlabs.port,
    }
    proxies = {
        host: stack.enter_context(FaultProxy(authority=authority, target=port))
        for host, port in ports.items()
    }
    sandbox.agentforce.public_url = proxies["login"].url
    sandbox.twilio.public_url = proxies["twilio"].url
    sandbox.twilio.cdn.public_url = proxies["cdn"].url
    return proxies


def addresses(proxies: Mapping[Host, FaultProxy], sandbox: Sandbox, folder: Path) -> dict[str, str]:
    return {
        "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
        "AGENTFORCE_API_URL": proxies["agent"].url,
        "ELEVENLABS_API_URL": proxies["elevenlabs"].url,
        "TWILIO_MEDIA_HOSTS": proxies["cdn"].host,
        # The typing indicator, which may fail, needs none.
        "TWILIO_MESSAGING_URL": f"http://127.0.0.1:{sandbox.twilio.port}",
    }


def try_cells(chosen: Collection[Cell], paces: Mapping[Scope, Pace], folder: Path) -> Results:
    """Try cells of all scopes. The scopes run concurrently, as they mostly wait."""

    def try_scope(scope: Scope) -> Results:
        these = [cell for cell in chosen if cell.scope == scope]
        return try_cells_of(scope, these, paces[scope], folder / scope)

    with ThreadPoolExecutor(len(paces)) as pool:
        results = list(pool.map(try_scope, paces))
    return Results(
        {cell: result for each in results for cell, result in each.cells.items()},
        [violation for each in results for violation in each.violations],
    )


def try_cells_of(scope: Scope, these: list[Cell], pace: Pace, folder: Path) -> Results:
    """Try cells that are all of this scope."""
    if not these:
        return Results({}, [])
    with start(scope, pace.patience, folder) as (deployment, proxies):
        scenarios = Scenarios(deployment=deployment, proxies=proxies, patience=pace.patience)
        results: dict[Cell, Result] = {}
        # A limit that one turn met makes the others of the process wait in line.
        for limited in (False, True):
            now = [cell for cell in these if cell.fault.startswith("429") == limited]
            now.sort(key=lambda cell: -cell.row.seconds)
            with ThreadPoolExecutor(pace.at_once) as pool:
                for cell in now:
                    outcome = pool.submit(scenarios.run, cell)
                    results[cell] = Result(cell, outcome, pace.patience)
        return Results(results, deployment.sandbox.recorder.violations)


def test_every_failure_ends_as_the_table_says(
    tmp_path: Path, pytestconfig: pytest.Config, subtests: pytest.Subtests
) -> None:
    """``--cells`` chooses some."""
    wanted = re.compile(pytestconfig.getoption("cells"))
    chosen = [cell for cell in cells() if wanted.search(cell.id)]
    fast = try_cells(chosen, FAST, tmp_path / "fast")
    failed = [cell for cell, result in fast.cells.items() if result.failed]
    patient = try_cells(failed, PATIENT, tmp_path / "patient")
    results = {**fast.cells, **patient.cells}
    assert len(results) == len(chosen) > 0
    for cell, result in results.items():
        with subtests.test(cell.id):
            result.check()
    assert not fast.violations
    assert not patient.violations


def check_messages(cell: Cell, outcome: Outcome) -> None:
    """Raise unless each question got exactly one message."""
    first, second = outcome.first, outcome.second
    answered = cell.row.reads in (ANSWER, TEXT, IF_TAKEN)
    assert first.texts == [first.answer if answered else sentence(cell.row.reads)]
    assert second.texts == [second.answer]


def check_effects(cell: Cell, outcome: Outcome) -> None:
    """Raise if a question was asked twice or a voice note sent twice."""
    first, second = outcome.first, outcome.second
    answered = cell.row.reads in (ANSWER, TEXT, IF_TAKEN)
    assert first.asked == 1 if answered else first.asked <= 1
    assert second.asked == 1
    lost = cell.step.name == "fetch"
    assert first.notes == (
        2 if lost else int(cell.row.reads == IF_TAKEN and cell.accepted_without_answer)
    )
    assert second.notes == (2 if lost else int(outcome.aloud))


def check_tries(cell: Cell, outcome: Outcome) -> None:
    """Raise if there were too many tries; ``check_time`` shows whether there were enough."""
    struck = outcome.first.struck
    assert struck is None or len(struck) in expected_tries(cell)


def check_time(cell: Cell, outcome: Outcome, patience: float) -> None:
    """Raise if the turn ended before its pauses were over, or much later than the table says."""
    tries = cell.row.tries
    retry_after_seconds = RETRY_AFTER * patience if tries.pause else 0.0
    pauses = sum(max(delay * patience, retry_after_seconds) for delay in tries.delays)
    assert outcome.first.seconds >= max(pauses, tries.patience * patience)
    assert outcome.first.seconds <= cell.row.seconds * patience + SLACK


def expected_tries(cell: Cell) -> Collection[int]:
    """The possible numbers of tries: on a busy machine some time out before they are sent."""
    tries = cell.row.tries
    if cell.strikes:
        return {cell.strikes} if cell.fault not in ("tls", "stalled") else range(1, MANY)
    if cell.step.name in ("token", "session"):
        # The webhook has one started; where that failed before the turn began, the turn does too.
        return range(1, 2 * tries.least + 1 if not tries.patience else MANY)
    if tries.patience:
        return range(1, MANY)
    return range(1, tries.least + 1) if tries.delays else {tries.least}
