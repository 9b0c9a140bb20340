"""Workers that cannot reach the database for a while, or do not run: nothing is done twice by it.

What users and providers saw is counted at the stand-ins. At most twice an agent is asked the same,
for nobody knows whether a question was heard whose asker vanished.
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
from sandbox.faults import Fault
from sandbox.postgres import Postgres
from storage.database import Database
from storage.engine import connect_postgres, open_postgres
from storage.store import StoreError
from storage.turn_queue import CLAIM_SECONDS
from tests.e2e.conftest import ECHO_AGENT, StartCluster
from tests.e2e.deployment import Deployment
from tests.e2e.test_cluster import worker_that_calls
from tests.sandbox.waiting import wait_until

WORKERS = 3
# What Twilio would have waited for, had it not been acknowledged.
ACKNOWLEDGED_SECONDS = 2.0


@dataclass(frozen=True)
class Site:
    """A cluster of which each worker has a way of its own to the database."""

    deployment: Deployment
    cluster: Cluster
    ways: list[DatabaseProxy]

    def way_of(self, worker: Process) -> DatabaseProxy:
        workers = zip(self.cluster.workers, self.ways, strict=True)
        return next(way for each, way in workers if each is worker)


@pytest.fixture
def site(start_cluster: StartCluster, oldest_server: Postgres) -> Iterator[Site]:
    with ExitStack() as stack:
        ways = [stack.enter_context(DatabaseProxy(oldest_server.socket)) for _ in range(WORKERS)]
        deployment, cluster = stack.enter_context(
            start_cluster(
                webs=1,
                workers=WORKERS,
                # The web process comes first.
                ways=dict(enumerate(ways, 1)),
                postgres=oldest_server,
                helpdesk_file=ECHO_AGENT,
            )
        )
        yield Site(deployment, cluster, ways)


def say_all(deployment: Deployment, users: list[str], number: int) -> None:
    """Message ``number`` of each of them."""
    with ThreadPoolExecutor(len(users)) as pool:
        for said in pool.map(
            lambda user: deployment.twilio.say(user, f"{number} of {user}"), users
        ):
            assert said.status == 200


def check_answers(deployment: Deployment, users: list[str], numbers: int) -> None:
    """Each got an answer to each message, in order and once, and each question was asked once.

    Or twice, by two workers.
    """
    for user in users:
        bodies = [message.body for message in deployment.answers(user, numbers, timeout=120)]
        for number, body in enumerate(bodies):
            assert f"{number} of {user}" in body, bodies
    asked = Counter(question.text for question in deployment.sandbox.agentforce.questions)
    assert max(asked.values()) <= 2, asked
    for user in users:
        assert len(deployment.twilio.messages(user)) == numbers, user


@pytest.mark.parametrize("seconds", [CLAIM_SECONDS + 8])
def test_a_worker_that_is_cut_off_while_the_agent_answers_slowly(
    site: Site, seconds: float
) -> None:
    deployment = site.deployment
    users = [deployment.user() for _ in range(9)]
    deployment.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=seconds / 2, times=9))
    say_all(deployment, users, 0)
    way = site.way_of(worker_that_calls(deployment, site.cluster, "agentforce", "ask"))
    way.cut()
    time.sleep(seconds)
    way.restore()
    check_answers(deployment, users, 1)
    assert "until it is, nothing more is asked or sent" in site.cluster.log()


def test_a_worker_that_is_cut_off_asks_nothing_new(site: Site) -> None:
    """While it hears a recording another worker takes over, and is the only one to ask."""
    deployment = site.deployment
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Hello"))
    deployment.answers(user, 2)
    slow = Fault("elevenlabs", "transcribe", "hang", seconds=CLAIM_SECONDS + 4)
    deployment.sandbox.faults.add(slow)
    deployment.sandbox.recorder.clear()
    deployment.twilio.speak(user, deployment.note("Where is my order?"))
    worker = worker_that_calls(deployment, site.cluster, "elevenlabs", "transcribe")
    way, heard = site.way_of(worker), worker.log().count("STT time")
    way.cut()
    deployment.answers(user, 4, timeout=60)
    wait_until(lambda: worker.log().count("STT time") > heard, "that the first hears it too")
    way.restore()
    wait_until(lambda: "taken over by another" in worker.log(), "that it learns of it")
    assert len(deployment.asked(user)) == 2
    assert len(deployment.twilio.messages(user)) == 4


def test_the_only_worker_goes_on_with_its_own_turns(
    start_cluster: StartCluster, server: Postgres
) -> None:
    """It was cut off for so long that others would have taken them."""
    with (
        DatabaseProxy(server.socket) as way,
        start_cluster(webs=1, workers=1, ways={1: way}) as (deployment, cluster),
    ):
        user = deployment.user()
        slow = Fault("agentforce", "ask", "hang", seconds=CLAIM_SECONDS)
        deployment.sandbox.faults.add(slow)
        deployment.twilio.say(user, "hello")
        worker_that_calls(deployment, cluster, "agentforce", "ask")
        way.cut()
        wait_until(lambda: "Turn held up" in cluster.log(), "that the answer cannot be kept")
        way.restore()
        deployment.answers(user, 1, timeout=60)
        assert len(deployment.asked(user)) == 1
        deployment.expect_no_more(user, 1)


def test_a_worker_that_is_cut_off_under_load(site: Site) -> None:
    deployment = site.deployment
    users = [deployment.user() for _ in range(20)]
    for number in range(8):
        if number == 2:
            site.ways[0].cut()
        if number == 6:
            site.ways[0].restore()
            site.ways[0].drop()
        say_all(deployment, users, number)
        time.sleep(1)
    check_answers(deployment, users, 8)


def test_a_worker_that_is_paused_under_load(site: Site) -> None:
    """For so long that others take its turns; then it is to touch nothing of theirs."""
    deployment = site.deployment
    users = [deployment.user() for _ in range(20)]
    deployment.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=0.3, times=None))
    for number in range(4):
        say_all(deployment, users, number)
        if number == 1:
            site.cluster.workers[0].pause()
    time.sleep(CLAIM_SECONDS + 2)
    site.cluster.workers[0].resume()
    say_all(deployment, users, 4)
    check_answers(deployment, users, 5)


def test_sessions_that_start_slowly_are_started_once(site: Site) -> None:
    """However long Agentforce refuses them, nobody loses the session the question is asked in."""
    deployment = site.deployment
    users = [deployment.user() for _ in range(11)]
    busy = Fault("agentforce", "session", status=429, headers={"Retry-After": "2"}, times=80)
    deployment.sandbox.faults.add(busy)
    say_all(deployment, users, 0)
    check_answers(deployment, users, 1)
    say_all(deployment, users, 1)
    check_answers(deployment, users, 2)
    agent = deployment.sandbox.agentforce
    started = {session.session_id for session in agent.sessions}
    assert len(started) == len(users)
    assert {question.session_id for question in agent.questions} == started


@pytest.mark.parametrize("delay", [0.3])
def test_slow_statements_do_not_hold_up_twilio(
    start_cluster: StartCluster, server: Postgres, delay: float
) -> None:
    with (
        DatabaseProxy(server.socket) as way,
        start_cluster(webs=1, workers=1, ways={0: way}) as (deployment, _),
    ):
        way.delay = delay
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


def test_a_database_that_is_replaced_by_an_empty_one(
    start_cluster: StartCluster, server: Postgres
) -> None:
    """All end with one sentence, and start anew where somebody starts them."""
    with start_cluster(webs=1, workers=1) as (deployment, cluster):
        user = deployment.user()
        deployment.twilio.say(user, "hello")
        deployment.answers(user, 1)
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
        deployment.twilio.say(user, "thanks")
        deployment.answers(user, 2)
        # The web process may not have looked before the worker made the tables anew.
        assert 1 <= cluster.log().count("has lost its tables") <= 2
        assert "Traceback" not in cluster.log()


def test_what_a_connection_locked_that_vanished_is_free_in_time(server: Postgres) -> None:
    """Whose client is gone without a word, its transaction is ended before its claims are."""
    url = server.database("vanished")
    database = open_postgres(url, connections=1)
    change = text("UPDATE leases SET until = 2 WHERE name = 'ana'")
    database.change(text("INSERT INTO leases (name, until) VALUES ('ana', 1)"))
    with DatabaseProxy(server.socket) as way:
        locked, vanished = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            connection.execute(change)
            locked.set()
            vanished.wait()

        theirs = connect_postgres(way.url("vanished"), connections=1)
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(theirs.run, hold)
            assert locked.wait(10)
            way.cut()
            try:
                what = "that the row is free"
                wait_until(lambda: _changes(database, change), what, CLAIM_SECONDS)
            finally:
                way.drop()
                vanished.set()
            with pytest.raises(StoreError):
                holding.result()
    database.close()


def _changes(database: Database, change: Executable) -> bool:
    try:
        return database.change(change) == 1
    except StoreError:
        return False
