"""What became of what was sent, as Twilio calls back: kept, counted, told to the operator."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from core.logs import turn_context
from core.models import Turn
from metrics import Metrics
from storage.database import Database, StorageError
from storage.outbound_messages import PART, SAVE_SID, TEXT, VOICE, new_callback
from storage.schema import outbound_messages, turns
from storage.turns import STALE_SECONDS, turn_from_row
from whatsapp.error_codes import RATE_LIMITED, UNPLAYABLE, advice
from whatsapp.status_callbacks import State, Status

log = structlog.get_logger(__name__)

# Twilio says that a limit was met, not for how long.
LIMIT_SECONDS = 60.0
# How long a message is left to whoever claimed it, longer than a voice note takes to become an MP3,
# and what was surely not sent to itself: what keeps it from being sent may pass meanwhile.
CLAIM_SECONDS = 60.0
# Lines beside an answer are not worth it later, and a second try is the last.
REPEATABLE = re.compile(rf"{VOICE}|{TEXT} \d+")
# What a failing database may leave to be written later, and how often that is tried.
LATE_LIMIT = 1000
RETRY_SECONDS = 2.0

COUNTED = (State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED)

# The sending that a callback is about, held until the end of the transaction.
_CALLED = (
    select(turns.c.message_sid, turns.c.sender)
    .add_columns(outbound_messages.c.turn_id, outbound_messages.c.part, outbound_messages.c.sid)
    .add_columns(outbound_messages.c.state.label("progress"))
    .join(outbound_messages)
    .where(outbound_messages.c.callback == bindparam("name"))
    .with_for_update(of=outbound_messages)
)
_REACHED = (
    update(outbound_messages)
    .where(*PART)
    .values(
        state=bindparam("reached"), error_code=bindparam("code"), retry_at=bindparam("again_at")
    )
)
_CLAIMED = update(outbound_messages).where(*PART).values(retry_at=bindparam("again_at"))
# So long as nobody else has claimed it since.
_OURS = _CLAIMED.where(outbound_messages.c.retry_at == bindparam("claimed"))
_AGAIN = ("turn_id", "part", "begun_at", "callback")
_BEGUN = insert(outbound_messages).values({name: bindparam(name) for name in _AGAIN})
# One that a callback has named was sent.
_UNSENT = delete(outbound_messages).where(
    *PART, outbound_messages.c.sid.is_(None), outbound_messages.c.state.is_(None)
)


@dataclass(frozen=True)
class Undelivered:
    """A message that did not arrive and is to be sent again, as ``again`` with that ``callback``.

    ``note`` is the token of the voice note that it was. Until ``claimed_until`` (epoch seconds)
    nobody else gets it.
    """

    turn: Turn
    part: str
    code: int | None
    voice_note_token: str | None
    resend_part: str
    callback: str
    claimed_until: float


class DeliveryStatuses:
    """Thread-safe. ``log_key`` makes the hashes that stand for senders in the log."""

    def __init__(self, *, database: Database, metrics: Metrics, log_key: str) -> None:
        self._database = database
        self._metrics = metrics
        self._log_key = log_key
        # Twilio does not repeat a callback, so those that meet a failing database wait here.
        self._late = ThreadPoolExecutor(1, thread_name_prefix="late status")
        self._failing = threading.Event()
        self._places = threading.BoundedSemaphore(LATE_LIMIT)
        self._stopped = threading.Event()

    def record(self, status: Status) -> bool:
        """Write down what a callback says, later where the database fails.

        ``False`` where too much waits for that already.
        """
        if not self._failing.is_set():
            try:
                self._write(status)
            except StorageError as error:
                log.warning("What became of a message is noted later", error=type(error).__name__)
            else:
                return True
        return self._postpone(status)

    def stop(self) -> None:
        """Give up what waits for the database."""
        self._stopped.set()

    def _postpone(self, status: Status) -> bool:
        if not self._places.acquire(blocking=False):
            log.error("What became of a message is lost: too much waits for the database")
            return False
        # The next ones need not find out for themselves, which may take as long as Twilio waits.
        self._failing.set()
        self._late.submit(self._retry_until_ok, status, time.time() + STALE_SECONDS)
        return True

    def _retry_until_ok(self, status: Status, until: float) -> None:
        try:
            while time.time() < until and not self._stopped.is_set():
                with suppress(StorageError):
                    self._write(status)
                    self._failing.clear()
                    return
                self._stopped.wait(RETRY_SECONDS)
            log.error("What became of a message is lost: the database failed for too long")
        finally:
            self._places.release()

    def _write(self, status: Status) -> None:
        """The sending was noted under its name before Twilio got it: no callback is too early."""
        row, news = self._database.run(partial(_noted, status))
        if row is None:
            log.debug("Nothing to note of a message", sid=status.sid)
        else:
            self._tell(row, news, status.code)

    def claim_undelivered(self) -> Undelivered | None:
        """A message that it is time to send again, and which nobody else gets for a minute.

        Then it is due again, unless it was begun or let go, for ten minutes from its turn's
        message. All of these raise ``StorageError``.
        """
        now = time.time()
        due = (
            select(turns, outbound_messages.c.turn_id, outbound_messages.c.part)
            .add_columns(outbound_messages.c.error_code, outbound_messages.c.note)
            .join(outbound_messages)
            .where(outbound_messages.c.retry_at <= now, turns.c.received_at > now - STALE_SECONDS)
            .order_by(outbound_messages.c.retry_at)
            .limit(1)
            .with_for_update(of=outbound_messages, skip_locked=True)
        )

        def claim(connection: Connection) -> Undelivered | None:
            row = connection.execute(due).first()
            if row is None:
                return None
            lost = _lost(row, now + CLAIM_SECONDS)
            connection.execute(_CLAIMED, _which(row) | {"again_at": lost.claimed_until})
            return lost

        return self._database.run(claim)

    def begin_resend(self, lost: Undelivered) -> bool:
        """Note that it is about to be sent, which nobody does once more.

        ``False`` where it is somebody else's by now.
        """
        again = {"turn_id": lost.turn.id, "part": lost.resend_part}
        again |= {"begun_at": time.time(), "callback": lost.callback}

        def begin(connection: Connection) -> bool:
            ours = connection.execute(_OURS, _claim(lost)).rowcount > 0
            if ours:
                connection.execute(_BEGUN, again)
            return ours

        return self._database.run(begin)

    def postpone(self, lost: Undelivered) -> None:
        """Have it sent later: it was begun, and surely not sent."""
        begun = {"turn": lost.turn.id, "which": lost.resend_part}
        later = {"turn": lost.turn.id, "which": lost.part, "again_at": time.time() + CLAIM_SECONDS}

        def give_back(connection: Connection) -> None:
            if connection.execute(_UNSENT, begun).rowcount:
                connection.execute(_CLAIMED, later)

        self._database.run(give_back)

    def drop(self, lost: Undelivered) -> None:
        """Have it never sent again."""
        self._database.change(_OURS, _claim(lost))

    def _tell(self, row: Row[Any], news: list[State], code: int | None) -> None:
        for state in news:
            if state in COUNTED:
                self._metrics.count(f"messages_{state.value}")
        if news and news[-1].is_failure:
            self._metrics.count_undelivered(code)
            with turn_context(row.message_sid, row.sender, key=self._log_key):
                log.warning(f"Not delivered ({code}): {advice(code)}", part=row.part)


def _noted(status: Status, connection: Connection) -> tuple[Row[Any] | None, list[State]]:
    """The sending, unless there is nothing to note of one, and what the callback says new."""
    row = connection.execute(_CALLED, {"name": status.callback}).first()
    if row is None or status.state is None:
        return None, []
    news = status.state.new_states_after(State(row.progress) if row.progress else None)
    if not row.sid:
        connection.execute(SAVE_SID, _which(row) | {"named": status.sid})
    if news:
        reached, code = news[-1], status.code
        again_at = _retry_at(row, reached, code)
        progress = {"reached": reached.value, "code": code, "again_at": again_at}
        connection.execute(_REACHED, _which(row) | progress)
    return row, news


def _which(row: Row[Any]) -> dict[str, Any]:
    return {"turn": row.turn_id, "which": row.part}


def _retry_at(row: Row[Any], state: State, code: int | None) -> float | None:
    """When to send it again, if that may help."""
    if not state.is_failure:
        return None
    if row.part == VOICE and code in UNPLAYABLE:
        return time.time()
    if code == RATE_LIMITED and REPEATABLE.fullmatch(row.part):
        return time.time() + LIMIT_SECONDS
    return None


def _claim(lost: Undelivered) -> dict[str, Any]:
    """The parameters of ``_OURS``, to end it."""
    part = {"turn": lost.turn.id, "which": lost.part}
    return part | {"claimed": lost.claimed_until, "again_at": None}


def _lost(row: Row[Any], claimed_until: float) -> Undelivered:
    return Undelivered(
        turn=turn_from_row(row),
        part=row.part,
        code=row.error_code,
        voice_note_token=row.note,
        resend_part=f"{row.part} again",
        callback=new_callback(),
        claimed_until=claimed_until,
    )
