"""One ElevenLabs account: its key, plan, credits and concurrent requests.

docs/providers/elevenlabs.md, "Limits".
"""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack
from typing import Any

from werkzeug.datastructures import Headers

from sandbox.elevenlabs import errors
from sandbox.elevenlabs.catalogue import GROUPS, Plan, allows
from sandbox.slots import NoSlotFree, Slots

TRANSCRIPTION_GROUP = "scribe"
# What a key may do, as its page in the console names it; each call needs one of them.
PERMISSIONS = frozenset(
    {"speech_to_text", "text_to_speech", "models_read", "voices_read", "user_read"}
)


class Account:
    """An account with its limits.

    ``plan``, ``credits``, ``concurrency`` and ``permissions`` may be set at any time. With
    ``credits`` None they are unlimited. Each concurrency group serves ``concurrency`` requests at
    the same time; another request waits up to ``queue`` seconds and is then refused.
    """

    def __init__(
        self, *, api_key: str, plan: Plan, credits: int | None, concurrency: int, queue: float
    ) -> None:
        self.plan: Plan = plan
        self.credits = credits
        self.permissions = PERMISSIONS
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
    def concurrency(self, requests: int) -> None:
        for slots in self._slots.values():
            slots.limit = requests

    def authenticate(self, headers: Headers, permission: str) -> None:
        """Raises ``Refusal`` without a valid API key that has the permission."""
        key = headers.get("xi-api-key")
        if key is None and "Authorization" in headers:
            raise errors.invalid_authorization_header()
        if key is None:
            raise errors.needs_authorization()
        if key != self._api_key:
            raise errors.invalid_api_key()
        if permission not in self.permissions:
            raise errors.missing_permissions(permission)

    def subscription(self) -> dict[str, Any]:
        """The response to GET /v1/user/subscription."""
        used = 0 if self.credits is None else self._quota - self.credits
        return {
            "tier": self.plan,
            "character_count": used,
            "character_limit": self._quota,
            "can_extend_character_limit": False,
            "status": "active",
        }

    def check_output_format(self, output_format: str) -> None:
        """Raises ``Refusal`` if the plan does not include the format."""
        if not allows(self.plan, output_format):
            raise errors.output_format_not_allowed(output_format)

    def check_credits(self, cost: int) -> None:
        """Raises ``Refusal`` if too few credits are left; without credits nothing is allowed."""
        if self.credits is not None and self.credits < max(cost, 1):
            raise errors.quota_exceeded(self._quota, self.credits, cost)

    def charge(self, cost: int) -> None:
        with self._lock:
            if self.credits is not None:
                self.credits -= cost

    def acquire_slot(self, stack: ExitStack, group: str) -> None:
        """Occupy a slot of the concurrency group until ``stack`` is closed.

        Raises ``Refusal``.
        """
        slots = self._slots[group]
        try:
            stack.enter_context(slots.acquire())
        except NoSlotFree:
            raise errors.concurrent_limit_exceeded(slots.limit) from None

    def headers(self, group: str) -> dict[str, str]:
        """The headers of a success (docs/providers/elevenlabs.md, "Response headers").

        That responses with transcripts have them too is an assumption.
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
