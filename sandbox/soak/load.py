"""Users who write texts, and what they get for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox import Sandbox
from sandbox.faults import Fault

# The agent to run the sandbox with: it repeats the number it is told.
ECHO = Path(__file__).with_name("echo.toml")
# How many webhooks are posted at the same time.
POSTS = 50
PATIENCE = 120.0
# Seconds that a provider lets each call wait meanwhile, times the number of users: shorter than the
# timeout of the typing indicator, and long enough for many more calls at once than later.
DAWDLE_SECONDS = 0.005
DAWDLING = (
    ("agentforce", "session"),
    ("agentforce", "ask"),
    ("twilio", "typing"),
    ("twilio", "send"),
)


class Unanswered(Exception):
    """Something else came than one answer to each text; the message says what."""


class Load:
    """``users`` who write in turn, a number each time, through Twilio's signed webhook."""

    def __init__(self, *, sandbox: Sandbox, users: int) -> None:
        self._sandbox = sandbox
        self._users = [f"whatsapp:+1415{number:07}" for number in range(users)]
        # What nobody has checked yet.
        self._numbers: list[int] = []

    def write(self, numbers: Iterable[int], *, at_once: int) -> None:
        """Have the numbers written, ``at_once`` unanswered at a time; return once all are answered.

        Raises ``Unanswered``.
        """
        with ThreadPoolExecutor(POSTS) as pool:
            for number in numbers:
                self._wait_until_unanswered(at_once - 1)
                self._numbers.append(number)
                pool.submit(self._say, number)
        self._wait_until_unanswered(0)

    def write_together(self, numbers: Sequence[int]) -> None:
        """Write them at once while providers dawdle, so that every pool grows to its limit.

        Raises ``Unanswered``.
        """
        for service, call in DAWDLING:
            seconds = len(numbers) * DAWDLE_SECONDS
            self._sandbox.faults.add(Fault(service, call, "hang", seconds=seconds, times=None))
        self._numbers += numbers
        with ThreadPoolExecutor(POSTS) as pool:
            list(pool.map(self._say, numbers))
        self._wait_until_unanswered(0)
        self._sandbox.faults.clear()

    def check(self) -> None:
        """Raise ``Unanswered`` unless each number got one answer since the last check."""
        twilio, recorder = self._sandbox.twilio, self._sandbox.recorder
        self._wait_for(lambda: {message.status for message in twilio.messages()} == {"delivered"})
        given = Counter((each.to, each.body.partition(".")[0]) for each in twilio.messages())
        wanted = Counter((self._user(each), f"You said *number {each}*") for each in self._numbers)
        _refuse("not answered", wanted - given)
        _refuse("answered once too often, or by something else", given - wanted)
        _refuse("against a contract", (breach.rule for breach in recorder.violations))
        # Nobody looks at them again, and they would make every look at the next ones slower.
        twilio.forget_messages()
        recorder.clear()
        self._numbers.clear()

    def _say(self, number: int) -> None:
        self._sandbox.twilio.say(self._user(number), f"number {number}")

    def _user(self, number: int) -> str:
        return self._users[number % len(self._users)]

    def _wait_until_unanswered(self, number: int) -> None:
        """Until no more than ``number`` texts are."""
        answered = len(self._numbers) - number
        self._wait_for(lambda: len(self._sandbox.twilio.messages()) >= answered)

    def _wait_for(self, found: Callable[[], bool]) -> None:
        try:
            self._sandbox.recorder.wait_for(found, PATIENCE)
        except TimeoutError:
            raise Unanswered(f"Nothing was answered for {PATIENCE:.0f} s") from None


def _refuse(what: str, wrong: Iterable[object]) -> None:
    found = list(wrong)
    if found:
        raise Unanswered(f"{len(found)} {what}, like {found[0]}")
