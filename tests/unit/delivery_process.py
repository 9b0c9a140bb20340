"""The parts that send a turn's messages and follow up on them, wired as in one process."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import imageio_ffmpeg

from audio.ffmpeg import Ffmpeg
from core.models import Inbound, Kind, Turn
from metrics import Metrics
from sandbox.faults import Faults
from sandbox.twilio.standin import TwilioStandIn
from storage.database import Database
from storage.outbound_messages import OutboundMessage, OutboundMessages
from storage.resend_queue import ResendQueue
from storage.turns import TurnTable
from tests.unit.claiming import Unclaimed, begin
from turns.redelivery import Redelivery
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery
from whatsapp.delivery_status import DeliveryStatuses
from whatsapp.status_callbacks import State, Status

if TYPE_CHECKING:
    from tests.unit.conftest import Clock

USER = "whatsapp:+14155550100"
NOTE_LIFETIME_SECONDS = 300.0
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


class DeliveryProcess:
    """One process with a running turn of ``USER``; Twilio and the clock are the test's."""

    def __init__(
        self,
        *,
        database: Database,
        metrics: Metrics,
        clock: Clock,
        twilio: TwilioStandIn,
        faults: Faults,
        whatsapp: WhatsApp,
    ) -> None:
        self.database = database
        self.metrics = metrics
        self.clock = clock
        self.twilio = twilio
        self.faults = faults
        self.whatsapp = whatsapp
        self._numbers = itertools.count(1)
        self._build()
        self.turn = begin(database, self.new_turn())

    def _build(self) -> None:
        database, metrics = self.database, self.metrics
        self.store = TurnTable(database=database)
        self.outbound_messages = OutboundMessages(
            database=database, note_lifetime=NOTE_LIFETIME_SECONDS
        )
        self.delivery_statuses = DeliveryStatuses(database=database, metrics=metrics, log_key="key")
        self.resends = ResendQueue(database=database)
        self.redelivery = Redelivery(
            queue=self.resends,
            outbound_messages=self.outbound_messages,
            whatsapp=self.whatsapp,
            ffmpeg=Ffmpeg(path=FFMPEG, max_seconds=60),
            metrics=metrics,
            log_key="",
        )
        self.delivery = Delivery(
            claims=Unclaimed(),
            whatsapp=self.whatsapp,
            outbound_messages=self.outbound_messages,
            metrics=metrics,
        )

    def restart(self) -> None:
        """Replace every part by that of a new process on the same database."""
        self.database.close()
        self._build()

    def new_turn(self) -> Turn:
        """Admit another message of ``USER``; its turn is not claimed."""
        sid = f"SM{next(self._numbers)}"
        message = Inbound(sid=sid, sender=USER, kind=Kind.TEXT, received_at=self.clock.now)
        turn = self.store.insert(message)
        assert turn
        return turn

    def find(self, part: str) -> OutboundMessage:
        """The record of a part of the turn's answer, which must exist."""
        found = self.outbound_messages.find(self.turn, part)
        assert found
        return found

    def report(self, sent: OutboundMessage, *states: State, code: int | None = None) -> None:
        """Let Twilio call back about a message, once for each state."""
        for state in states:
            self.delivery_statuses.record(Status(sent.callback, sent.sid or "SM-out", state, code))

    def sent_texts(self) -> list[str]:
        return [message.body for message in self.twilio.messages() if not message.media_url]

    def counter(self, name: str) -> int:
        return self.metrics.snapshot().counters[name]
