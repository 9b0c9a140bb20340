"""The database of a process with all of its tables."""

from __future__ import annotations

from typing import IO

from core.settings import Settings
from storage.agent_sessions import AgentSessionTable
from storage.answers import AnswerTable
from storage.claims import Claims
from storage.database import Database
from storage.engine import connect_postgres, lock_state_dir, open_postgres, open_sqlite
from storage.leases import DatabaseLeases, InMemoryLeases, Leases
from storage.metrics_history import MetricsHistory
from storage.outbound_messages import OutboundMessages
from storage.preferences import PreferenceTable
from storage.processes import Processes
from storage.quotas import Quotas, build_quotas
from storage.resend_queue import ResendQueue
from storage.speech import SpeechTable
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from storage.user_ids import UserIds

# How many connections a process opens for its turns.
CONNECTIONS = 4
# The database keeps this many times the audio that one process caches in memory.
SHARED_AUDIO_FACTOR = 8
# For how long Twilio can fetch a voice note. It does that within seconds, or after a few retries.
MEDIA_SECONDS = 3600.0


class Storage:
    """Opens PostgreSQL if DATABASE_URL is set, which several processes share, otherwise SQLite.

    ``reserved_connections`` are PostgreSQL connections that running turns cannot use up. A call on
    them may take ``reserved_seconds``. Raises ``SettingsError``.
    """

    def __init__(
        self, settings: Settings, *, reserved_connections: int, reserved_seconds: float
    ) -> None:
        self.is_shared = bool(settings.DATABASE_URL)
        self._state_dir_lock: IO[str] | None = None
        self.leases: Leases
        if self.is_shared:
            self.database = open_postgres(settings.DATABASE_URL, connections=CONNECTIONS)
            self.reserved = connect_postgres(
                settings.DATABASE_URL,
                connections=reserved_connections,
                ping=False,
                seconds=reserved_seconds,
            )
            self.reserved.open(reserved_connections)
            self.leases = DatabaseLeases(database=self.reserved)
        else:
            # Two processes on one file would both resume the turns of a process that died.
            self._state_dir_lock = lock_state_dir(settings.STATE_DIR)
            self.database = self.reserved = open_sqlite(settings.STATE_DIR)
            self.leases = InMemoryLeases()
        self._add_tables(settings, self.database)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
        self.reserved.close()

    def _add_tables(self, settings: Settings, database: Database) -> None:
        alone = not self.is_shared
        self.turns = TurnTable(database=database)
        self.queue = TurnQueue(database=database, single_process=alone)
        renewals = TurnQueue(database=self.reserved, single_process=alone)
        self.claims = Claims(queue=self.queue, renewals=renewals)
        self.quotas = Quotas(database=database, quotas=build_quotas(settings))
        self.accepted_turns = TurnTable(
            database=self.reserved, admission=self.quotas.admission_condition()
        )
        self.user_ids = UserIds(database=self.reserved)
        self.sessions = AgentSessionTable(
            database=database, tracks_privacy=settings.ANSWER_CACHE_SECONDS > 0
        )
        self.preferences = PreferenceTable(database=database)
        self.outbound_messages = OutboundMessages(database=database, note_lifetime=MEDIA_SECONDS)
        self.resends = ResendQueue(database=database)
        self.answers = AnswerTable(database=database, lifetime=settings.ANSWER_CACHE_SECONDS)
        max_bytes = SHARED_AUDIO_FACTOR * settings.SPEECH_CACHE_BYTES
        self.speech = SpeechTable(database=database, max_bytes=max_bytes)
        self.processes = Processes(database=database)
        self.metrics_history = MetricsHistory(database=database)
