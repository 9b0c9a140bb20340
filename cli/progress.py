"""What can be seen of a message that was posted, told as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.own_sentences import is_interim
from cli.sent_messages import ListUnavailable, SentMessage, SentMessages
from cli.service_metrics import Figures, ServiceMetrics
from cli.terminal import printable
from whatsapp.error_codes import advice

SHOWN_CHARACTERS = 160
# What whoever sends a test message can do about it.
_OWN_ADVICE = {
    63015: "this phone has not joined Twilio's sandbox, or joined it over three days ago; send its "
    "“join …” from that phone first",
    63016: "this phone has not written to the service within 24 h; write anything from it first",
}


class Progress:
    """The answer as far as it has come.

    ``messages`` are what Twilio lists for the phone. ``figures`` are what the service has counted
    since, if it shows its figures. ``say`` gets a line for each thing that happens.
    """

    def __init__(
        self, *, sent: SentMessages, metrics: ServiceMetrics, say: Callable[[str], None]
    ) -> None:
        self.messages: list[SentMessage] = []
        self.figures = Figures()
        self._sent = sent
        self._metrics = metrics
        self._say = say
        self._before = metrics.read()
        self._started = time.monotonic()
        self._seen: dict[str, float] = {}
        self._last_new = 0.0

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def tell(self, line: str, *, about: str = "") -> None:
        """Say a line with the time, unless one was said about the same."""
        if (about or line) not in self._seen:
            self._seen[about or line] = self.elapsed()
            self._say(f"{self.elapsed():6.1f} s  {printable(line)}")

    def first_seen(self, about: str) -> float | None:
        """When something was seen first, in seconds after the start."""
        return self._seen.get(about)

    def since_last_message(self) -> float:
        """Seconds since a message was seen that had not been listed before."""
        return self.elapsed() - self._last_new

    def look(self) -> None:
        """Read what has changed, and tell it."""
        try:
            messages = self._sent.new()
            if len(messages) > len(self.messages):
                self._last_new = self.elapsed()
            self.messages = messages
        except ListUnavailable as error:
            self.tell(str(error))
        # Read after the messages, so that they hold what led to them.
        if self.shows_figures:
            self._read_figures()
        for message in self.messages:
            self._tell_message(message)

    @property
    def shows_figures(self) -> bool:
        """Whether the service lets us see what it counts."""
        return self._before is not None

    def _read_figures(self) -> None:
        figures = self._metrics.read()
        if self._before and figures:
            self.figures = figures.since(self._before)
        for stage, seconds in self.figures.stage_times().items():
            self.tell(f"{stage} took {seconds:.1f} s", about=stage)
        for error_name in self.figures.errors:
            self._seen.setdefault("error", self.elapsed())
            self.tell(f"the service counts {error_name}")

    def _tell_message(self, message: SentMessage) -> None:
        kind = "voice note" if message.spoken else "text"
        if not is_interim(message.text):
            self._seen.setdefault(kind, self.elapsed())
        if message.text:
            self.tell(f"“{_shorten(message.text)}”", about=message.sid)
        code = f" ({message.code})" if message.code else ""
        self.tell(f"{kind} {message.status}{code}", about=f"{message.sid} {message.status}")


def explain(message: SentMessage) -> str:
    """Why a message was not delivered, as half a sentence."""
    known = _OWN_ADVICE.get(message.code or 0) or advice(message.code)
    return f"{known} ({message.code})" if message.code else known


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
