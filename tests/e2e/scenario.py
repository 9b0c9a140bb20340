"""Runs one cell of the failure table with a user of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.faults import Fault
from sandbox.twilio.messages import Outbound
from tests.e2e.deployment import Deployment
from tests.e2e.failures import ANSWER, IF_TAKEN, TEXT, UNREACHABLE, Cell
from tests.e2e.fault_injection import (
    FOR_EVER,
    HOSTS,
    Broken,
    FaultInjection,
    Host,
    Shut,
    fault_of,
)
from tests.e2e.fault_proxy import FaultProxy
from tests.sandbox.waiting import wait_until

SPOKEN = ("media", "transcribe")
ALOUD = ("speak", "voice", "fetch")
SECONDS = 60.0
# Many threads search a log that gets long.
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Exchange:
    """A question and its effects.

    ``texts`` are the messages to the user, ``notes`` the number of voice notes that Twilio took,
    ``asked`` how often the agent got the question, ``struck`` when the fault occurred, ``seconds``
    the time from the message to its last effect.
    """

    said: str
    texts: list[str]
    notes: int
    asked: int
    struck: list[float] | None
    seconds: float

    @property
    def answer(self) -> str:
        return f"You said {self.said}."


@dataclass(frozen=True)
class Outcome:
    """A question during a fault, and one after it.

    If ``repeated``, the second question met the fault once; if ``aloud``, it was answered by voice.
    """

    first: Exchange
    second: Exchange
    repeated: bool
    aloud: bool


@dataclass(frozen=True)
class _Message:
    """A message. The fault applies to calls with ``about``; ``known`` counts earlier answers."""

    user: str
    said: str
    form: dict[str, str]
    about: str
    known: int


class Scenarios:
    """Tries cells out in one deployment whose providers are behind these ``proxies``.

    ``patience`` is its ``PROVIDER_TIMEOUT_FACTOR``.
    """

    _numbers = itertools.count(1)

    def __init__(
        self, *, deployment: Deployment, proxies: Mapping[Host, FaultProxy], patience: float
    ) -> None:
        self._deployment = deployment
        self._patience = patience
        self._sandbox = deployment.sandbox
        self._proxies = proxies

    def run(self, cell: Cell) -> Outcome:
        """Ask during the fault and after it; a fault that is retried occurs once more."""
        user, case = self._deployment.user(), f"case{next(self._numbers):03}"
        self._prepare(cell, user)
        first = self._first(cell, user, f"{case} first")
        repeated = cell.row.tries.least > 1 and cell.fault not in UNREACHABLE
        aloud = cell.step.name in ALOUD or (repeated and cell.step.name in SPOKEN)
        second = self._second(cell, user, f"{case} second", repeated=repeated, aloud=aloud)
        return Outcome(first, second, repeated, aloud)

    def _prepare(self, cell: Cell, user: str) -> None:
        if cell.step.name == "token":
            self._sandbox.agentforce.forget_tokens()
        # Asking is to fail, not starting a session.
        greeting = "voice on" if cell.step.name in ALOUD else "hello"
        if cell.step.name in (*ALOUD, "ask"):
            self._deployment.twilio.say(user, greeting)
            self._deployment.answers(user, 1, SECONDS)

    def _first(self, cell: Cell, user: str, said: str) -> Exchange:
        message = self._message(cell, user, said, spoken=cell.step.name in SPOKEN)
        began = time.monotonic()
        if cell.step.name == "voice" and cell.fault in UNREACHABLE:
            broken = self._shut_behind_the_text(cell, message)
        else:
            broken = self._broken(cell, message, times=cell.strikes)
            self._deployment.twilio.deliver(message.form)
        try:
            self._wait_for_end(cell, message)
        finally:
            struck = broken.mend()
        self._wait_for_texts(message)
        return self._exchange(message, struck, began)

    def _second(self, cell: Cell, user: str, said: str, *, repeated: bool, aloud: bool) -> Exchange:
        message = self._message(cell, user, said, spoken=repeated and cell.step.name in SPOKEN)
        if cell.step.name == "token" and repeated:
            self._sandbox.agentforce.forget_tokens()
        began = time.monotonic()
        broken = self._broken(cell, message, times=1) if repeated else None
        self._deployment.twilio.deliver(message.form)
        self._wait_for_texts(message)
        if aloud:
            wait_until(lambda: any(each.audio for each in self._got(message)), said, SECONDS)
        return self._exchange(message, broken.mend() if broken else [], began)

    def _message(self, cell: Cell, user: str, said: str, *, spoken: bool) -> _Message:
        forms = self._deployment.twilio.forms
        note = forms.voice(user, self._deployment.note(said)) if spoken else None
        form = note or forms.text(user, said)
        about = said
        if cell.step.name in ("token", "session"):
            about = ""
        elif cell.step.name in ("text", "voice", "fetch"):
            about = user.removeprefix("whatsapp:+")
        elif cell.step.name == "media" and note:
            # Its address at the API and at the CDN.
            about = form["MediaUrl0"].rpartition("/ME")[2]
        return _Message(user, said, form, about, len(self._deployment.twilio.messages(user)))

    def _broken(self, cell: Cell, message: _Message, *, times: int | None) -> FaultInjection:
        if cell.fault in UNREACHABLE:
            return Shut(self._proxies[HOSTS[cell.step.name]], cell.fault)
        fault = fault_of(cell, message.about, times=times, patience=self._patience)
        return Broken(self._sandbox.faults, fault)

    def _shut_behind_the_text(self, cell: Cell, message: _Message) -> FaultInjection:
        hang = Fault("elevenlabs", "speak", "hang", seconds=FOR_EVER, about=message.said)
        held = Broken(self._sandbox.faults, hang)
        self._deployment.twilio.deliver(message.form)
        self._wait_for_log(message, "Total processing time")
        broken = self._broken(cell, message, times=None)
        held.mend()
        return broken

    def _wait_for_end(self, cell: Cell, message: _Message) -> None:
        """Wait until the turn has ended as the cell says."""
        if cell.step.name == "fetch":
            wait_until(lambda: self._lost(message) == 2, message.said, SECONDS)
        elif cell.row.reads in (TEXT, IF_TAKEN):
            self._wait_for_log(message, "Voice note not sent")
        elif cell.row.reads == ANSWER:
            step_failed = cell.fault in UNREACHABLE
            self._wait_for_log(
                message, "A step of the turn failed" if step_failed else "Total processing time"
            )
        else:
            self._wait_for_texts(message)

    def _lost(self, message: _Message) -> int:
        return sum(each.status == "undelivered" for each in self._got(message))

    def _wait_for_texts(self, message: _Message) -> None:
        self._deployment.twilio.wait_for_messages(message.user, message.known + 1, SECONDS)

    def _wait_for_log(self, message: _Message, line: str) -> None:
        turn = f"turn={message.form['MessageSid']}"

        def is_logged() -> bool:
            lines = self._deployment.log().splitlines()
            return any(line in each and turn in each for each in lines)

        wait_until(is_logged, f"{message.said}: {line}", SECONDS, every=LOOK_SECONDS)

    def _got(self, message: _Message) -> list[Outbound]:
        return self._deployment.twilio.messages(message.user)[message.known :]

    def _exchange(self, message: _Message, struck: list[float] | None, began: float) -> Exchange:
        got = self._got(message)
        return Exchange(
            said=message.said,
            texts=[each.body for each in got if not each.media_url],
            notes=sum(each.media_url is not None for each in got),
            asked=sum(message.said in each.text for each in self._sandbox.agentforce.questions),
            struck=struck,
            seconds=time.monotonic() - began,
        )
