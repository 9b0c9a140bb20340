"""One ElevenLabs customer: key, plan, credits, requests in flight.

docs/providers/elevenlabs.md, "Limits".
"""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack

from werkzeug.datastructures import Headers

from sandbox.elevenlabs import errors
from sandbox.elevenlabs.catalogue import GROUPS, Plan, allows
from sandbox.slots import NoSlotFree, Slots

TRANSCRIPTION_GROUP = "scribe"


class Account:
    """What the service knows of its customer.

    ``plan``, ``credits`` and ``concurrency`` may be set at any time. ``credits`` None is without
    end. Each concurrency group has ``concurrency`` places of its own; a request above that
    waits up to ``queue`` seconds and is refused then.
    """

    def __init__(
        self, *, api_key: str, plan: Plan, credits: int | None, concurrency: int, queue: float
    ) -> None:
        self.plan: Plan = plan
        self.credits = credits
        self._quota = credits or 10_000
        self._api_key = api_key
        self._lock = threading.Lock()
        self._slots = {
            group: Slots(limit=concurrency, timeout=queue)
            for group in {TRANSCRIPTION_GROUP, *GROUPS}
        }

    @property
    def concurrency(self) -> int:
        return self._slots[TRANSCRIPTION_GROUP].limit

    @concurrency.setter
    def concurrency(self, places: int) -> None:
        for slots in self._slots.values():
            slots.limit = places

    def authenticate(self, headers: Headers) -> None:
        key = headers.get("xi-api-key")
        if key is None and "Authorization" in headers:
            raise errors.invalid_authorization_header()
        if key is None:
            raise errors.needs_authorization()
        if key != self._api_key:
            raise errors.invalid_api_key()

    def allow(self, output_format: str) -> None:
        if not allows(self.plan, output_format):
            raise errors.output_format_not_allowed(output_format)

    def afford(self, cost: int) -> None:
        """Refuse what costs more credits than are left; nothing is free to who has none."""
        if self.credits is not None and self.credits < max(cost, 1):
            raise errors.quota_exceeded(self._quota, self.credits, cost)

    def pay(self, cost: int) -> None:
        with self._lock:
            if self.credits is not None:
                self.credits -= cost

    def hold(self, stack: ExitStack, group: str) -> None:
        """Take a place until ``stack`` is closed."""
        slots = self._slots[group]
        try:
            stack.enter_context(slots.acquire())
        except NoSlotFree:
            raise errors.concurrent_limit_exceeded(slots.limit) from None

    def headers(self, group: str) -> dict[str, str]:
        """The headers of a success (docs/providers/elevenlabs.md, "Response headers").

        That transcripts have them too is inferred.
        """
        slots = self._slots[group]
        return {
            "request-id": uuid.uuid4().hex,
            "x-trace-id": uuid.uuid4().hex,
            "x-region": "europe-west4",
            "current-concurrent-requests": str(slots.in_use),
            "maximum-concurrent-requests": str(slots.limit),
            "workspace-concurrent-requests": str(slots.in_use),
        }
