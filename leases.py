"""What one of several processes at a time may do."""

from __future__ import annotations

import time

from sqlalchemy import Engine, delete, update

from database import upsert_of
from schema import leases


class Leases:
    """Every method may raise ``StoreError``."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine
        self._upsert = upsert_of(engine)

    def take(self, name: str, seconds: float) -> bool:
        """Take what one process at a time may do; ``False`` while another one has it."""
        now = time.time()
        statement = (
            self._upsert(leases)
            .values(name=name, until=now + seconds)
            .on_conflict_do_update(
                index_elements=["name"], set_={"until": now + seconds}, where=leases.c.until < now
            )
            .returning(leases.c.name)
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).first() is not None

    def extend(self, name: str, seconds: float) -> None:
        """Keep a lease that was taken for so long from now on."""
        with self._engine.begin() as connection:
            connection.execute(
                update(leases).where(leases.c.name == name).values(until=time.time() + seconds)
            )

    def release(self, name: str) -> None:
        """Give a lease back."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases).where(leases.c.name == name))

    def void(self) -> None:
        """Take all leases away: nobody else is there any more who could have one."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases))

    def purge(self) -> None:
        """Forget those that ended, of processes that died."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases).where(leases.c.until < time.time()))
