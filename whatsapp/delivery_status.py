"""Stores, counts and logs the delivery statuses of Twilio's status callbacks."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, Row, bindparam, select, update

from core.logs import turn_context
from metrics import Metrics
from storage.database import Database, StorageError
from storage.outbound_messages import PART, SAVE_SID, TEXT, VOICE
from storage.schema import outbound_messages, turn_sender, turns
from storage.turns import STALE_SECONDS
from whatsapp.error_codes import TRANSIENT, UNPLAYABLE, advice
from whatsapp.status_callbacks import State, Status

log = structlog.get_logger(__name__)

# Twilio does not tell when sending may succeed after a rate limit or an internal error
# (docs/providers/twilio.md, "Error codes"). There is only one more try, so it must not be too
# early; but an answer to a chat message must not come much later either.
RESEND_SECONDS = 60.0
# The parts of an answer. Other lines would come too late, and a resend is not sent again.
RESENDABLE = re.compile(rf"{VOICE}|{TEXT} \d+")
# While the database fails, so many statuses can wait, and they are tried again this often.
LATE_LIMIT = 1000
RETRY_SECONDS = 2.0

COUNTED = (State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED)

# The message that a callback is about, locked until the end of the transaction.
_FIND = (
    select(turns.c.message_sid, turn_sender.label("sender"))
    .add_columns(outbound_messages.c.turn_id, outbound_messages.c.part, outbound_messages.c.sid)
    .add_columns(outbound_messages.c.state.label("progress"))
    .join(outbound_messages)
    .where(outbound_messages.c.callback == bindparam("name"))
    .with_for_update(of=outbound_messages)
)
_SET_STATE = (
    update(outbound_messages)
    .where(*PART)
    .values(
        state=bindparam("reached"), error_code=bindparam("code"), retry_at=bindparam("again_at")
    )
)


class DeliveryStatuses:
    """Thread-safe. ``log_key`` is the key of the hashes that stand for senders in the log."""

    def __init__(self, *, database: Database, metrics: Metrics, log_key: str) -> None:
        self._database = database
        self._metrics = metrics
        self._log_key = log_key
        # Twilio does not repeat a callback, so statuses wait here while the database fails.
        self._late = ThreadPoolExecutor(1, thread_name_prefix="late status")
        self._failing = threading.Event()
        self._waiting_slots = threading.BoundedSemaphore(LATE_LIMIT)
        self._stopped = threading.Event()

    def record(self, status: Status) -> bool:
        """Store a status; if the database fails, it is stored later, in the background.

        ``False`` if too many statuses are waiting already.
        """
        if not self._failing.is_set():
            try:
                self._write(status)
            except StorageError as error:
                log.warning("Delivery status will be stored later", error=type(error).__name__)
            else:
                return True
        return self._postpone(status)

    def stop(self) -> None:
        """Give up the statuses that wait for the database."""
        self._stopped.set()

    def _postpone(self, status: Status) -> bool:
        if not self._waiting_slots.acquire(blocking=False):
            log.error("Delivery status not stored: too many are waiting for the database")
            return False
        # Later statuses wait as well, because each attempt may take as long as Twilio waits.
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
            log.error("Delivery status not stored: the database failed for too long")
        finally:
            self._waiting_slots.release()

    def _write(self, status: Status) -> None:
        """Store a status. Each message is stored before it is sent, so no status is too early."""
        row, new_states = self._database.run(partial(_store, status))
        if row is None:
            log.debug("Unknown delivery status, or one of an unknown message", sid=status.sid)
        else:
            self._report(row, new_states, status)

    def _report(self, row: Row[Any], new_states: list[State], status: Status) -> None:
        for state in new_states:
            if state in COUNTED:
                self._metrics.count(f"messages_{state.value}")
            if state is State.DELIVERED:
                self._metrics.note("delivered")
        if not new_states or not new_states[-1].is_failure:
            return
        self._metrics.count_undelivered(status.code)
        details = {"channel": status.detail} if status.detail else {}
        with turn_context(row.message_sid, row.sender, key=self._log_key):
            line = f"Not delivered ({status.code}): {advice(status.code)}"
            log.warning(line, part=row.part, **details)


def _store(status: Status, connection: Connection) -> tuple[Row[Any] | None, list[State]]:
    """Store a status; returns its message, if there is one, and the states that are new."""
    row = connection.execute(_FIND, {"name": status.callback}).first()
    if row is None or status.state is None:
        return None, []
    part = {"turn": row.turn_id, "which": row.part}
    new_states = status.state.new_states_after(State(row.progress) if row.progress else None)
    if not row.sid:
        connection.execute(SAVE_SID, part | {"named": status.sid})
    if new_states:
        state, code = new_states[-1], status.code
        again_at = _resend_time(row.part, state, code)
        values = {"reached": state.value, "code": code, "again_at": again_at}
        connection.execute(_SET_STATE, part | values)
    return row, new_states


def _resend_time(part: str, state: State, code: int | None) -> float | None:
    """When to send a message again (epoch seconds); ``None`` if that would not help."""
    if not state.is_failure:
        return None
    if part == VOICE and code in UNPLAYABLE:
        return time.time()
    if code in TRANSIENT and RESENDABLE.fullmatch(part):
        return time.time() + RESEND_SECONDS
    return None
