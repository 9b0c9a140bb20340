"""The base class of everything in the sandbox that can be started and stopped."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Service:
    """Has ``start`` and ``stop``; as a context manager it calls both."""

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> object:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
