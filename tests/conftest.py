from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from sandbox.postgres import Postgres

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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server of the run's own."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
