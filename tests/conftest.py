from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from typing import TypeVar

import pytest
import structlog
from _pytest.mark.structures import ParameterSet
from hypothesis import HealthCheck, settings

from sandbox.bridge import Process
from sandbox.postgres import Postgres
from sandbox.postgres_programs import Programs, bundled_server, installed_servers
from tests.leaks import static_leaks

T = TypeVar("T")

# No test may fail because its machine is slow: the first text of a run alone takes seconds if
# Hypothesis still has to build its table of characters. Other options keep their defaults, which
# make examples deterministic under CI.
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
    """Leaks found in the logs of the services that have ended; each test that checks clears it."""
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
    """Keep structlog from formatting tracebacks with rich, which would dominate some tests."""
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
    """Starts this run's PostgreSQL server of a version when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def started(programs: Programs) -> Postgres:
            return stack.enter_context(Postgres(tmp_path_factory.mktemp(programs.name), programs))

        yield started


@pytest.fixture(scope="session")
def server(servers: Callable[[Programs], Postgres]) -> Postgres:
    """This run's PostgreSQL server."""
    return servers(bundled_server())


@pytest.fixture(scope="session")
def oldest_server(servers: Callable[[Programs], Postgres]) -> Postgres:
    """This run's PostgreSQL server of the oldest version that this machine has."""
    return servers(installed_servers()[-1])


def _older_is_slow(programs: Programs) -> ParameterSet:
    """Starting a server of each version takes seconds in each process of the run."""
    marks = () if programs == bundled_server() else pytest.mark.slow
    return pytest.param(programs, marks=marks, id=programs.name)


# The PostgreSQL versions that this machine has, newest first; the older ones are for slow tests.
SERVERS = [_older_is_slow(programs) for programs in installed_servers()]


@pytest.fixture(scope="session", params=SERVERS)
def each_server(
    request: pytest.FixtureRequest, servers: Callable[[Programs], Postgres]
) -> Postgres:
    """This run's PostgreSQL server, for each version that this machine has."""
    return servers(request.param)
