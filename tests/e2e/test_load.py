"""Hundreds of turns while processes are killed and stopped: none lost, doubled or out of order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.bridge import Process
from tests.e2e.conftest import PATIENT, StartCluster, StartDeployment
from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.slow

End = Callable[[Process], object]

USERS = 50
MESSAGES = 10
PATIENCE = 120.0

HELPDESK = """
yes = ["yes"]
no = ["no"]
entry = []

[greeting]
en = "Hello!"
ar = "مرحبًا!"

[unknown]
en = "I don't know."
ar = "لا أعرف."
"""


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A help desk that repeats the number of the question."""
    file = tmp_path_factory.mktemp("helpdesk") / "numbers.toml"
    scripted = "".join(
        f'[[scripted]]\nquestion = "number {number}"\n'
        f'messages = [{{ type = "Inform", text = "You said {number}." }}]\n'
        for number in range(MESSAGES)
    )
    file.write_text(HELPDESK + scripted, encoding="utf-8")
    return file


class Load:
    """Users who write numbers in order, and repeat each until it is acknowledged."""

    def __init__(self, deployment: Deployment) -> None:
        self._twilio = deployment.twilio
        self._recorder = deployment.sandbox.recorder
        # Killed processes leave tokens behind, and each fetches a new one.
        deployment.sandbox.agentforce.token_clients = 100
        self._users = [deployment.user() for _ in range(USERS)]
        self._said: list[int] = []

    def survive(self, ends: Sequence[tuple[Process, End]]) -> None:
        """End and restart one process after the other, each while messages come and are answered.

        Raises where an answer is missing, doubled or out of order in the end.
        """
        for count, (process, end) in enumerate(ends):
            numbers = range(count * MESSAGES // len(ends), (count + 1) * MESSAGES // len(ends))
            with self._writing(numbers) as some_are_answered:
                some_are_answered()
                end(process)
                process.start()
        # Whatever else is to come has come before the answer to this.
        with self._writing([0]):
            pass
        expected = [f"You said {number}." for number in self._said]
        for user in self._users:
            messages = self._twilio.wait_for_messages(user, len(expected), PATIENCE)
            assert [message.body for message in messages] == expected

    @contextmanager
    def _writing(self, numbers: Iterable[int]) -> Iterator[Callable[[], object]]:
        """Let all users write the numbers; yields a function that waits for some answers."""
        self._said += numbers
        answered_before = len(self._twilio.messages())
        wanted = answered_before + USERS // 3

        def some_are_answered() -> object:
            return self._recorder.wait_for(lambda: len(self._twilio.messages()) >= wanted, PATIENCE)

        with ThreadPoolExecutor(10) as pool:
            posts = [pool.submit(self._write, user, numbers) for user in self._users]
            yield some_are_answered
        for each in posts:
            each.result()

    def _write(self, user: str, numbers: Iterable[int]) -> None:
        deadline = time.monotonic() + PATIENCE
        for number in numbers:
            form = self._twilio.forms.text(user, f"number {number}")
            # While a process is down its caller gets nothing, or has got through and not heard.
            while self._twilio.deliver(form).status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_one_process_that_is_killed_and_stopped(
    start_deployment: StartDeployment, numbers: Path
) -> None:
    with start_deployment(helpdesk_file=numbers, **PATIENT) as deployment:
        ends = (Process.kill, Process.stop, Process.kill, Process.stop, Process.kill)
        Load(deployment).survive([(deployment.bridge, end) for end in ends])


def test_many_processes_that_are_killed_and_stopped(
    start_cluster: StartCluster, numbers: Path
) -> None:
    with start_cluster(helpdesk_file=numbers) as (deployment, cluster):
        Load(deployment).survive(
            [
                (cluster.workers[0], Process.kill),
                (cluster.webs[0], Process.kill),
                (cluster.workers[1], Process.stop),
                (cluster.webs[1], Process.stop),
                (cluster.workers[0], Process.kill),
            ]
        )
