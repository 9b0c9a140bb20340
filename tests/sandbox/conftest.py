"""Fixtures of a running sandbox, and of one stand-in, whose class a test module or folder names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.speech.fixture import FixtureSpeech


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def start(provider_class: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """A function that starts a stand-in with options; all are stopped at the end."""
    with ExitStack() as providers:

        def started(**options: Any) -> Any:
            provider = provider_class(**options)
            providers.callback(provider.standin.stop)
            return provider

        yield started


@pytest.fixture
def provider(start: Callable[..., Any]) -> Any:
    return start()
