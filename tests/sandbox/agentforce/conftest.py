"""Fixtures of a running stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.sandbox.agentforce.provider import (
    Provider,
    Start,
)


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a stand-in with options; all are stopped at the end."""
    with ExitStack() as providers:

        def started(**options: Any) -> Provider:
            provider = Provider(**options)
            providers.callback(provider.standin.stop)
            return provider

        yield started


@pytest.fixture
def provider(start: Start) -> Provider:
    return start()
