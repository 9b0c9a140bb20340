"""Workers that lose the database for a while, or are paused: no answer is lost or sent twice.

Answers and questions are counted at the stand-ins. The agent may get a question twice, because
nobody knows whether it heard the one of a worker that vanished.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import Connection, Executable, text

from sandbox.bridge import Process
from sandbox.cluster import Cluster
from sandbox.database_proxy import DatabaseProxy
from sandbox.postgres import Postgres
from storage.database import Database, StorageError
from storage.engine import connect_postgres, open_postgres
from storage.turn_queue import CLAIM_SECONDS
from tests.e2e.conftest import ECHO_AGENT, StartCluster
from tests.e2e.deployment import Deployment
from tests.e2e.test_cluster import worker_that_calls
from tests.sandbox.waiting import wait_until

WORKERS = 3
# Far within the 15 s for which Twilio waits.
ACKNOWLEDGED_SECONDS = 2.0


@dataclass(frozen=True)
class ProxiedCluster:
    """A cluster whose workers each reach the database through a proxy of their own."""

    deployment: Deployment
    cluster: Cluster
    proxies: list[DatabaseProxy]

    def proxy_of(self, worker: Process) -> DatabaseProxy:
        workers = zip(self.cluster.workers, self.proxies, strict=True)
        return next(proxy for each, proxy in workers if each is worker)


@pytest.fixture
def proxied(start_cluster: StartCluster, oldest_server: Postgres) -> Iterator[ProxiedCluster]:
    with ExitStack() as stack:
        proxies = [stack.enter_context(DatabaseProxy(oldest_server.socket)) for _ in range(WORKERS)]
        deployment, cluster = stack.enter_context(
            start_cluster(
                webs=1,
                workers=WORKERS,
                # The web process comes first.
                proxies=dict(enumerate(proxies, 1)),
                postgres=oldest_server,
                helpdesk_file=ECHO_AGENT,
            )
        )
        yield ProxiedCluster(deployment, cluster, proxies)


def say_all(deployment: Deployment, users: list[str], number: int) -> None:
    """Post message ``number`` of each user."""
    with ThreadPoolExecutor(len(users)) as pool:
        for said in pool.map(
            lambda user: deployment.twilio.say(user, f"{number} of {user}"), users
        ):
            assert said.status == 200


def check_answers(deployment: Deployment, users: list[str], numbers: int) -> None:
    """Raise unless each message got one answer, in order, and no question was asked three times."""
    for user in users:
        bodies = [message.body for message in deployment.answers(user, numbers, timeout=120)]
        for number, body in enumerate(bodies):
            assert f"{number} of {user}" in body, bodies
    asked = Counter(question.text for question in deployment.sandbox.agentforce.questions)
    assert max(asked.values()) <= 2, asked
    for user in users:
        assert len(deployment.twilio.messages(user)) == numbers, user


@pytest.mark.slow
def test_a_worker_that_is_cut_off_while_the_agent_answers_slowly(proxied: ProxiedCluster) -> None:
    deployment, seconds = proxied.deployment, CLAIM_SECONDS + 8
    users = [deployment.user() for _ in range(9)]
    deployment.add_fault("agentforce", "ask", "hang", seconds=seconds / 2, times=9)
    say_all(deployment, users, 0)
    proxy = proxied.proxy_of(worker_that_calls(deployment, proxied.cluster, "agentforce", "ask"))
    proxy.cut()
    time.sleep(seconds)
    proxy.restore()
    check_answers(deployment, users, 1)
    assert "until it is, nothing more is asked or sent" in proxied.cluster.log()


@pytest.mark.slow
def test_a_worker_that_is_cut_off_asks_nothing_new(proxied: ProxiedCluster) -> None:
    """Another worker takes over while the first one still transcribes, and only that one asks."""
    deployment = proxied.deployment
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Hello"))
    deployment.answers(user, 2)
    deployment.add_fault("elevenlabs", "transcribe", "hang", seconds=CLAIM_SECONDS + 4)
    deployment.sandbox.recorder.clear()
    deployment.twilio.speak(user, deployment.note("Where is my order?"))
    worker = worker_that_calls(deployment, proxied.cluster, "elevenlabs", "transcribe")
    proxy, heard = proxied.proxy_of(worker), worker.log().count("STT time")
    proxy.cut()
    deployment.answers(user, 4, timeout=60)
    wait_until(lambda: worker.log().count("STT time") > heard, "that the first hears it too")
    proxy.restore()
    wait_until(lambda: "taken over by another" in worker.log(), "that it learns of it")
    assert len(deployment.asked(user)) == 2
    assert len(deployment.twilio.messages(user)) == 4


@pytest.mark.slow
def test_the_only_worker_goes_on_with_its_own_turns(
    start_cluster: StartCluster, server: Postgres
) -> None:
    """Even if it was cut off for so long that another worker would have taken them."""
    with (
        DatabaseProxy(server.socket) as proxy,
        start_cluster(webs=1, workers=1, proxies={1: proxy}) as (deployment, cluster),
    ):
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=CLAIM_SECONDS)
        deployment.twilio.say(user, "hello")
        worker_that_calls(deployment, cluster, "agentforce", "ask")
        proxy.cut()
        wait_until(
            lambda: "A step of the turn failed" in cluster.log(), "that the answer cannot be kept"
        )
        proxy.restore()
        deployment.answers(user, 1, timeout=60)
        assert len(deployment.asked(user)) == 1
        deployment.expect_no_more(user, 1)


@pytest.mark.slow
def test_a_worker_that_is_cut_off_under_load(proxied: ProxiedCluster) -> None:
    deployment = proxied.deployment
    users = [deployment.user() for _ in range(20)]
    for number in range(8):
        if number == 2:
            proxied.proxies[0].cut()
        if number == 6:
            proxied.proxies[0].restore()
            proxied.proxies[0].drop()
        say_all(deployment, users, number)
        time.sleep(1)
    check_answers(deployment, users, 8)


@pytest.mark.slow
def test_a_worker_that_is_paused_under_load(proxied: ProxiedCluster) -> None:
    """Others take its turns meanwhile, and it must not touch these after it wakes up."""
    deployment = proxied.deployment
    users = [deployment.user() for _ in range(20)]
    deployment.add_fault("agentforce", "ask", "hang", seconds=0.3, times=None)
    for number in range(4):
        say_all(deployment, users, number)
        if number == 1:
            proxied.cluster.workers[0].pause()
    time.sleep(CLAIM_SECONDS + 2)
    proxied.cluster.workers[0].resume()
    say_all(deployment, users, 4)
    check_answers(deployment, users, 5)


@pytest.mark.slow
def test_sessions_that_start_slowly_are_started_once(proxied: ProxiedCluster) -> None:
    """However long Agentforce refuses new sessions, each sender keeps one session."""
    deployment = proxied.deployment
    users = [deployment.user() for _ in range(11)]
    deployment.add_fault(
        "agentforce", "session", status=429, headers={"Retry-After": "2"}, times=80
    )
    say_all(deployment, users, 0)
    check_answers(deployment, users, 1)
    say_all(deployment, users, 1)
    check_answers(deployment, users, 2)
    agent = deployment.sandbox.agentforce
    started = {session.session_id for session in agent.sessions}
    assert len(started) == len(users)
    assert {question.session_id for question in agent.questions} == started


@pytest.mark.slow
def test_webhooks_are_answered_in_time_while_every_statement_is_slow(
    start_cluster: StartCluster, server: Postgres
) -> None:
    with (
        DatabaseProxy(server.socket) as proxy,
        start_cluster(webs=1, workers=1, proxies={0: proxy}) as (deployment, _),
    ):
        proxy.delay = 0.3
        users = [deployment.user() for _ in range(12)]
        longest = 0.0

        def say(user: str) -> float:
            began = time.monotonic()
            assert deployment.twilio.say(user, "hello").status == 200
            return time.monotonic() - began

        with ThreadPoolExecutor(len(users)) as pool:
            for _ in range(3):
                longest = max(longest, *pool.map(say, users[:4]))
            longest = max(longest, *pool.map(say, users[4:10]))
        assert longest < ACKNOWLEDGED_SECONDS
        for user in users[:10]:
            deployment.answers(user, 1)


@pytest.mark.slow
def test_a_database_that_is_replaced_by_an_empty_one(
    start_cluster: StartCluster, server: Postgres
) -> None:
    """Each process logs one sentence, ends, and works after its next start."""
    with start_cluster(webs=1, workers=1) as (deployment, cluster):
        user = deployment.user()
        deployment.ask("hello", user)
        server.database(urlsplit(cluster.database_url).path.strip("/"))
        (worker,) = cluster.workers
        wait_until(worker.has_ended, "the end of the worker")
        worker.start()

        def is_served() -> bool:
            try:
                return requests.get(f"{cluster.url}/health", timeout=10).status_code == 200
            except requests.RequestException:
                return False

        wait_until(is_served, "that the web process is back")
        deployment.ask("thanks", user)
        # The web process may not have looked before the worker made the tables anew.
        assert 1 <= cluster.log().count("has lost its tables") <= 2
        assert "Traceback" not in cluster.log()


def test_the_lock_of_a_vanished_connection_is_released_before_its_claims_end(
    server: Postgres,
) -> None:
    url = server.database("vanished")
    database = open_postgres(url, connections=1)
    change = text("UPDATE leases SET until = 2 WHERE name = 'ana'")
    database.change(text("INSERT INTO leases (name, until) VALUES ('ana', 1)"))
    with DatabaseProxy(server.socket) as proxy:
        locked, vanished = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            connection.execute(change)
            locked.set()
            vanished.wait()

        theirs = connect_postgres(proxy.url("vanished"), connections=1)
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(theirs.run, hold)
            assert locked.wait(10)
            proxy.cut()
            try:
                what = "that the row is free"
                wait_until(lambda: _changes(database, change), what, CLAIM_SECONDS)
            finally:
                proxy.drop()
                vanished.set()
            with pytest.raises(StorageError):
                holding.result()
    database.close()


def _changes(database: Database, change: Executable) -> bool:
    try:
        return database.change(change) == 1
    except StorageError:
        return False
