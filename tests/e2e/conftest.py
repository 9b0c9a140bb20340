from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.speech.fixture import FixtureSpeech
from tests.e2e.world import World

StartWorld = Callable[..., AbstractContextManager[World]]


@pytest.fixture(scope="session")
def start_world(tmp_path_factory: pytest.TempPathFactory) -> StartWorld:
    """Starts a sandbox and a bridge with settings of the test's own."""

    @contextmanager
    def start(**settings: str) -> Iterator[World]:
        speech = FixtureSpeech()
        log_file: Path = tmp_path_factory.mktemp("bridge") / "log"
        with Sandbox(speech=speech) as sandbox:
            bridge = Bridge(log_file=log_file)
            sandbox.connect(bridge.url)
            bridge.settings = sandbox.environment(bridge.url) | settings
            bridge.start()
            try:
                world = World(sandbox=sandbox, speech=speech, bridge=bridge)
                world.begin()
                yield world
            finally:
                # A clean stop waits for kept-alive connections; one test sees it through.
                bridge.kill()

    return start


@pytest.fixture(scope="session")
def common_world(start_world: StartWorld) -> Iterator[World]:
    with start_world() as world:
        yield world


@pytest.fixture
def world(common_world: World) -> Iterator[World]:
    """A bridge with default settings; the test fails where a contract was broken."""
    common_world.begin()
    yield common_world
    common_world.check()
