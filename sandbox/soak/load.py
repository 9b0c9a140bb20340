"""A closed-loop load generator: users who write texts, and a check of their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox import Sandbox
from sandbox.faults import Fault

# The sandbox's agent for this load: it repeats the number in each question.
ECHO = Path(__file__).with_name("echo.toml")
# Webhooks that are posted at the same time.
CONCURRENT_POSTS = 50
TIMEOUT_SECONDS = 120.0
# In the warm-up, these calls hang for so many seconds per user: less than the timeout of the typing
# indicator, but long enough that many more calls run at the same time than later.
HANG_SECONDS_PER_USER = 0.005
HANGING_CALLS = (
    ("agentforce", "session"),
    ("agentforce", "ask"),
    ("twilio", "typing"),
    ("twilio", "send"),
)


class SoakFailed(Exception):
    """Not every text was answered exactly once, or a rule was broken; the message says which."""


class LoadGenerator:
    """``users`` who write in turn through Twilio's signed webhook; each text is a number."""

    def __init__(self, *, sandbox: Sandbox, users: int) -> None:
        self._sandbox = sandbox
        self._users = [f"whatsapp:+1415{number:07}" for number in range(users)]
        # The numbers that were written since the last check.
        self._numbers: list[int] = []

    def write(self, numbers: Iterable[int], *, at_once: int) -> None:
        """Write each number, with at most ``at_once`` unanswered ones; wait for all answers.

        Raises ``SoakFailed``.
        """
        with ThreadPoolExecutor(CONCURRENT_POSTS) as pool:
            for number in numbers:
                self._wait_for_answers(at_once - 1)
                self._numbers.append(number)
                pool.submit(self._write, number)
        self._wait_for_answers(0)

    def warm_up(self, numbers: Sequence[int]) -> None:
        """Write all numbers at once while providers hang, so that all pools grow to their limits.

        Raises ``SoakFailed``.
        """
        for service, call in HANGING_CALLS:
            seconds = len(numbers) * HANG_SECONDS_PER_USER
            self._sandbox.faults.add(Fault(service, call, "hang", seconds=seconds, times=None))
        self._numbers += numbers
        with ThreadPoolExecutor(CONCURRENT_POSTS) as pool:
            list(pool.map(self._write, numbers))
        self._wait_for_answers(0)
        self._sandbox.faults.clear()

    def check(self) -> None:
        """Raises ``SoakFailed`` unless each number got one answer since the last check."""
        twilio, recorder = self._sandbox.twilio, self._sandbox.recorder
        self._wait_for(lambda: {message.status for message in twilio.messages()} == {"delivered"})
        actual = Counter((each.to, each.body.partition(".")[0]) for each in twilio.messages())
        expected = Counter(
            (self._user(each), f"You said *number {each}*") for each in self._numbers
        )
        _fail_if_any("not answered", expected - actual)
        _fail_if_any("answered once too often, or by something else", actual - expected)
        _fail_if_any("against a contract", (violation.rule for violation in recorder.violations))
        # Otherwise they would make every later search slower.
        twilio.forget_messages()
        recorder.clear()
        self._numbers.clear()

    def _write(self, number: int) -> None:
        self._sandbox.twilio.say(self._user(number), f"number {number}")

    def _user(self, number: int) -> str:
        return self._users[number % len(self._users)]

    def _wait_for_answers(self, unanswered: int) -> None:
        """Wait until at most ``unanswered`` texts have no answer."""
        answered = len(self._numbers) - unanswered
        self._wait_for(lambda: len(self._sandbox.twilio.messages()) >= answered)

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        try:
            self._sandbox.recorder.wait_for(condition, TIMEOUT_SECONDS)
        except TimeoutError:
            raise SoakFailed(f"Nothing was answered for {TIMEOUT_SECONDS:.0f} s") from None


def _fail_if_any(problem: str, items: Iterable[object]) -> None:
    found = list(items)
    if found:
        raise SoakFailed(f"{len(found)} {problem}, like {found[0]}")
