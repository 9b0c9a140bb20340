from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from operator import attrgetter
from typing import TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, settings

from sandbox.bridge import Process
from sandbox.postgres import Postgres
from sandbox.postgres_programs import Programs, bundled_server, installed_servers
from tests.leaks import static_leaks

T = TypeVar("T")

# No test fails because its machine is slow: the first text of a run alone takes seconds where
# Hypothesis has yet to build its table of characters. What is left out here is as Hypothesis
# chooses, so that under CI examples are not random.
settings.register_profile(
    "any-machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cells", default="", help="cells of docs/failures.md, as ask-503 (regex)")


@pytest.fixture(scope="session", autouse=True)
def leaking() -> Iterator[list[str]]:
    """What the bridges that ended so far have let out; whoever looks at it empties it."""
    found: list[str] = []

    def scanning(end: Callable[[Process], T]) -> Callable[[Process], T]:
        def end_and_scan(process: Process) -> T:
            try:
                return end(process)
            finally:
                with suppress(FileNotFoundError):
                    found.extend(static_leaks(process.log()))

        return end_and_scan

    with pytest.MonkeyPatch.context() as patch:
        for name in ("stop", "kill"):
            patch.setattr(Process, name, scanning(getattr(Process, name)))
        yield found
    assert not found[:10]


@pytest.fixture(autouse=True)
def _nothing_leaks(leaking: list[str]) -> Iterator[None]:
    yield
    found = leaking[:]
    leaking.clear()
    assert not found[:10]


@pytest.fixture(autouse=True)
def _logs_are_plain() -> None:
    """structlog by itself draws tracebacks where it finds rich, which takes most of some tests."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ]
        )


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Programs], Postgres]]:
    """The run's own PostgreSQL server of each version; it is started when first asked for."""
    with ExitStack() as stack:

        @cache
        def started(programs: Programs) -> Postgres:
            return stack.enter_context(Postgres(tmp_path_factory.mktemp(programs.name), programs))

        yield started


@pytest.fixture(scope="session")
def server(servers: Callable[[Programs], Postgres]) -> Postgres:
    """A PostgreSQL server of the run's own."""
    return servers(bundled_server())


@pytest.fixture(scope="session")
def oldest_server(servers: Callable[[Programs], Postgres]) -> Postgres:
    """The run's own PostgreSQL server of the oldest version that this machine has."""
    return servers(installed_servers()[-1])


@pytest.fixture(scope="session", params=installed_servers(), ids=attrgetter("name"))
def each_server(
    request: pytest.FixtureRequest, servers: Callable[[Programs], Postgres]
) -> Postgres:
    """The run's own PostgreSQL server of each version that this machine has, one after another."""
    return servers(request.param)
