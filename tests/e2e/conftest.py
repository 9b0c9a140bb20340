from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.cluster import Cluster
from sandbox.database_proxy import DatabaseProxy
from sandbox.latency import INSTANT, LatencyProfile
from sandbox.postgres import Postgres
from sandbox.speech.fixture import FixtureSpeech
from tests.e2e.deployment import Deployment

StartDeployment = Callable[..., AbstractContextManager[Deployment]]
StartCluster = Callable[..., AbstractContextManager[tuple[Deployment, Cluster]]]

# An agent whose answer quotes the question.
ECHO_AGENT = Path(__file__).with_name("echo_agent.toml")

# For tests that wait for a restart or a takeover, during which no “still working” line is wanted.
PATIENT = {"STILL_WORKING_AFTER": "300"}
# Tests count the session starts of turns and make them fail.
NO_SPARE = {"AGENTFORCE_SPARE_SESSIONS": "0"}

_names = (f"cluster{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def start_deployment(tmp_path_factory: pytest.TempPathFactory) -> StartDeployment:
    """Starts a sandbox and a service with the given settings."""

    @contextmanager
    def start(
        *,
        helpdesk_file: Path | None = None,
        latency: LatencyProfile = INSTANT,
        command: Sequence[str] | None = None,
        **settings: str,
    ) -> Iterator[Deployment]:
        speech = FixtureSpeech()
        log_file: Path = tmp_path_factory.mktemp("bridge") / "log"
        with Sandbox(speech=speech, helpdesk_file=helpdesk_file, latency=latency) as sandbox:
            bridge = Bridge(log_file=log_file, command=command)
            sandbox.connect(bridge.url)
            bridge.settings = sandbox.environment(bridge.url) | NO_SPARE | settings
            bridge.start()
            try:
                deployment = Deployment(sandbox=sandbox, speech=speech, bridge=bridge)
                deployment.begin()
                yield deployment
                deployment.check_leaks(log_file.read_text(encoding="utf-8"))
            finally:
                # A clean stop would wait for connections that are kept alive.
                bridge.kill()

    return start


@pytest.fixture(scope="session")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """The service that tests share; a module that needs other settings overrides this fixture."""
    # Without the cache, tests that make speech synthesis fail do not find the audio of others. With
    # debug logs, everything that libraries log is searched for leaks at the end.
    with start_deployment(SPEECH_CACHE_BYTES="0", LOG_LEVEL="DEBUG") as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Iterator[Deployment]:
    """The shared service; the test fails if a rule of a provider was broken meanwhile."""
    shared_deployment.begin()
    yield shared_deployment
    shared_deployment.check()


@pytest.fixture(scope="session")
def start_cluster(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> StartCluster:
    """Starts a sandbox and a service of several processes on a database of its own."""

    @contextmanager
    def start(
        *,
        webs: int = 2,
        workers: int = 2,
        helpdesk_file: Path | None = None,
        worker_command: Sequence[str] | None = None,
        web_command: Sequence[str] | None = None,
        proxies: Mapping[int, DatabaseProxy] | None = None,
        postgres: Postgres = server,
        **settings: str,
    ) -> Iterator[tuple[Deployment, Cluster]]:
        speech = FixtureSpeech()
        name = next(_names)
        cluster = Cluster(
            folder=tmp_path_factory.mktemp("cluster"),
            database_url=postgres.database(name),
            webs=webs,
            workers=workers,
            web_command=web_command,
            worker_command=worker_command,
            database_urls={place: proxy.url(name) for place, proxy in (proxies or {}).items()},
        )
        with Sandbox(speech=speech, helpdesk_file=helpdesk_file) as sandbox:
            # Every process fetches a token of its own, and so does each that replaces it.
            sandbox.agentforce.token_clients = 100
            sandbox.connect(cluster.url)
            cluster.settings = sandbox.environment(cluster.url) | PATIENT | NO_SPARE | settings
            cluster.start()
            try:
                deployment = Deployment(sandbox=sandbox, speech=speech, bridge=cluster.webs[0])
                deployment.begin()
                yield deployment, cluster
                deployment.check_leaks(cluster.log())
            finally:
                cluster.kill()

    return start
