"""The provider of the Agentforce tests."""

from __future__ import annotations

import pytest

from tests.sandbox.agentforce.provider import Provider


@pytest.fixture
def provider_class() -> type[Provider]:
    return Provider
