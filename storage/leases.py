"""Leases: work that only one of several processes may do at a time."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import structlog
from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError

from storage.database import Database
from storage.schema import leases

log = structlog.get_logger(__name__)

# A lease that was not renewed for this time is free again: its process is considered dead.
LEASE_SECONDS = 12.0


class Leases(Protocol):
    """Thread-safe; all methods raise ``StorageError``. ``purge`` deletes leases that have ended."""

    def acquire(self, name: str, seconds: float) -> bool:
        """Take a lease for so many seconds; ``False`` if it is taken. It cannot be released."""

    def hold(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lease during the block; the value is ``False`` if somebody else holds it."""

    def renew(self) -> None:
        """Extend the leases that this process holds."""

    def purge(self) -> None: ...


class InMemoryLeases:
    """The leases of a single process, for its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._until: dict[str, float] = {}

    def acquire(self, name: str, seconds: float) -> bool:
        now = time.time()
        with self._lock:
            free = self._until.get(name, 0.0) < now
            if free:
                self._until[name] = now + seconds
        return free

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        with self._lock:
            ours = name not in self._held
            self._held.add(name)
        try:
            yield ours
        finally:
            if ours:
                with self._lock:
                    self._held.remove(name)

    def renew(self) -> None:
        """Not needed: no other process could take them."""

    def purge(self) -> None:
        now = time.time()
        with self._lock:
            self._until = {name: until for name, until in self._until.items() if until >= now}


class DatabaseLeases:
    """The leases of all processes that share a database, by the clock of its server."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._upsert = database.upsert
        self._lock = threading.Lock()
        # A random owner for each lease that this process holds.
        self._held: set[str] = set()

    def acquire(self, name: str, seconds: float) -> bool:
        return self._acquire(name, seconds, owner=None)

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        owner = secrets.token_hex(16)
        ours = self._acquire(name, LEASE_SECONDS, owner=owner)
        if not ours:
            yield False
            return
        with self._lock:
            self._held.add(owner)
        try:
            yield True
        finally:
            with self._lock:
                self._held.remove(owner)
            self._release(owner)

    def renew(self) -> None:
        with self._lock:
            held = list(self._held)
        if held:
            until = self._database.now + LEASE_SECONDS
            self._database.change(
                update(leases).where(leases.c.owner.in_(held)).values(until=until)
            )

    def purge(self) -> None:
        self._database.change(delete(leases).where(leases.c.until < self._database.now))

    def _acquire(self, name: str, seconds: float, *, owner: str | None) -> bool:
        now = self._database.now
        row = {"owner": owner, "until": now + seconds}
        statement = (
            self._upsert(leases)
            .values(name=name, **row)
            .on_conflict_do_update(index_elements=["name"], set_=row, where=leases.c.until < now)
            .returning(leases.c.name)
        )
        return self._database.row(statement) is not None

    def _release(self, owner: str) -> None:
        """Release the lease, unless it had ended and another owner has taken it."""
        try:
            self._database.change(delete(leases).where(leases.c.owner == owner))
        except SQLAlchemyError as error:
            log.warning("Lease not released; it will end by itself", error=type(error).__name__)
