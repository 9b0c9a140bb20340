"""What is started and stopped, by hand or as a context manager."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Service:
    """Base of the sandbox's parts; ``with`` starts and stops them."""

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
