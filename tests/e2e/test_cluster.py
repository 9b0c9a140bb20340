"""Two web processes and two workers on one database, as users and operators see them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.bridge import Bridge, Process
from sandbox.cluster import Cluster
from sandbox.postgres import Postgres
from sandbox.twilio.messages import Outbound
from sandbox.twilio.webhook import post
from tests.e2e.conftest import StartCluster
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
# Longer than any test takes: what hangs is still hanging when the process dies.
FOR_EVER = 60.0
# The connections of the smallest plan, for one web process and two workers (docs/scaling.md).
SMALLEST_PLAN = 20

# Takes a silent worker for dead after 5 s instead of 12.
SHORT_CLAIMS = """
from storage import claims, turn_queue
from turns import heartbeat

turn_queue.CLAIM_SECONDS, claims.SAFE_SECONDS = 5.0, 3.0
heartbeat.INTERVAL_SECONDS = 0.5
"""
# Health counts a worker as gone after 3 s without a heartbeat instead of 15.
SHORT_SILENCE = "from turns import health; health.SILENCE_SECONDS = 3.0"


@pytest.fixture(scope="module")
def common_cluster(start_cluster: StartCluster) -> Iterator[tuple[Deployment, Cluster]]:
    with start_cluster() as both:
        yield both


@pytest.fixture
def deployment(common_cluster: tuple[Deployment, Cluster]) -> Iterator[Deployment]:
    deployment, _ = common_cluster
    deployment.begin()
    yield deployment
    deployment.check()


@pytest.fixture
def cluster(common_cluster: tuple[Deployment, Cluster]) -> Cluster:
    return common_cluster[1]


def test_text_and_voice_are_answered(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    text, _ = deployment.answers(user, 2)
    assert text.body.startswith(ANSWER)
    assert deployment.hear(voice).startswith(ANSWER)
    deployment.expect_no_more(user, 2)


def test_every_web_process_serves_every_voice_note(
    deployment: Deployment, cluster: Cluster
) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    assert voice.media_url
    path = urlsplit(voice.media_url).path
    for web in cluster.webs:
        assert requests.get(web.url + path, timeout=10).content == voice.audio


def test_a_voice_note_that_twilio_cannot_use_is_sent_again_as_mp3(
    deployment: Deployment, cluster: Cluster
) -> None:
    """Either web gets the callbacks; a worker sends the MP3, which either web serves."""
    user = deployment.user()
    deployment.add_fault("twilio", "callback", "twice", times=None)
    deployment.add_fault("twilio", "voice", "undelivered", code=63019)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    assert (voice.audio_type, voice.media_url is None) == ("audio/mpeg", False)
    path = urlsplit(voice.media_url or "").path
    for web in cluster.webs:
        assert requests.get(web.url + path, timeout=10).content == voice.audio
    deployment.expect_no_more(user, 3)


def test_a_message_delivered_to_both_web_processes_is_answered_once(
    deployment: Deployment, cluster: Cluster
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    signed = deployment.twilio.signer.headers(f"{cluster.url}/", form)
    webs = itertools.islice(itertools.cycle(cluster.webs), 49)
    with ThreadPoolExecutor(50) as pool:
        first = pool.submit(deployment.twilio.deliver, form)
        # Signed for the public address, posted to each web itself.
        others = list(pool.map(lambda web: post(f"{web.url}/", form, signature=signed), webs))
    assert [first.result().status, *(other.status_code for other in others)] == [200] * 50
    deployment.answers(user, 1)
    deployment.expect_no_more(user, 1)


def test_messages_of_a_sender_keep_their_order_over_all_processes(deployment: Deployment) -> None:
    """The next turn starts as soon as the lock is free, not when a worker polls again."""
    user = deployment.user()
    for text in ("hello", "What are the tax codes?", "thanks") * 4:
        assert deployment.twilio.say(user, text).status == 200
    bodies = [message.body[:6] for message in deployment.answers(user, 12)]
    assert bodies == ["Hello!", "Most l", "You're"] * 4


def test_every_web_process_reports_metrics_and_health_of_the_cluster(
    deployment: Deployment, cluster: Cluster
) -> None:
    deployment.ask("hello")

    def answered(web: Bridge) -> tuple[int, int]:
        metrics = requests.get(f"{web.url}/metrics", timeout=10).json()
        return metrics["counters"]["messages_received"], metrics["counters"]["turns_answered"]

    def all_agree() -> bool:
        received, answered_ = zip(*map(answered, cluster.webs), strict=True)
        return len({*received, *answered_}) == 1 and received[0] > 0

    wait_until(all_agree, "the same figures everywhere, with a turn answered for each message")
    for web in cluster.webs:
        health = requests.get(f"{web.url}/health", timeout=10)
        assert (health.status_code, health.json()["workers"]) == (200, 2)
    text = requests.get(f"{cluster.url}/metrics?format=prometheus", timeout=10).text
    assert 'process="worker-' in text


def test_a_session_is_started_once_for_each_sender(deployment: Deployment) -> None:
    """Even if the start takes long."""
    deployment.add_fault("agentforce", "session", "hang", seconds=0.5, times=None)
    users = [deployment.user() for _ in range(10)]
    for user in users:
        deployment.twilio.say(user, "hello")
    for user in users:
        deployment.answers(user, 1)
    assert len(deployment.calls("agentforce", "session")) == len(users)


def test_no_sessions_are_prewarmed_during_a_backlog(start_cluster: StartCluster) -> None:
    """While all threads run turns, Agentforce's concurrent requests are left to these."""
    with start_cluster(webs=1, workers=1, TURN_THREADS="2") as (deployment, _):
        deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
        users = [deployment.user() for _ in range(12)]
        for user in users:
            assert deployment.twilio.say(user, "hello").status == 200
        recorder = deployment.sandbox.recorder
        recorder.wait_for(lambda: len(recorder.calls("agentforce", "ask")) == 2)
        assert len(recorder.calls("agentforce", "session")) < 6


def test_the_smallest_database_plan_is_enough(
    start_cluster: StartCluster, server: Postgres
) -> None:
    """One web process and two workers stay below its number of connections under load."""
    with start_cluster(webs=1, workers=2) as (deployment, cluster):
        name = urlsplit(cluster.database_url).path.strip("/")
        users = [deployment.user() for _ in range(60)]
        most = 0
        with ThreadPoolExecutor(20) as pool:
            posts = [pool.submit(deployment.twilio.say, user, "hello") for user in users]
            while not all(each.done() for each in posts):
                most = max(most, server.connections(name))
        for user in users:
            deployment.answers(user, 1)
        assert 0 < max(most, server.connections(name)) < SMALLEST_PLAN


def test_another_worker_answers_once_what_a_killed_worker_ran(start_cluster: StartCluster) -> None:
    with start_cluster(worker_command=planted(SHORT_CLAIMS, "worker")) as (deployment, cluster):
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER)
        deployment.twilio.speak(user, deployment.note(QUESTION))
        deployment.twilio.say(user, "thanks")
        asking = worker_that_calls(deployment, cluster, "agentforce", "ask")
        asking.kill()
        deployment.sandbox.agentforce.forget_sessions()
        first, *_ = deployment.answers(user, 3)
        assert first.body.startswith(ANSWER)
        assert [message.body[:6] for message in texts(deployment, user)] == ["To reg", "You're"]


def test_a_paused_worker_does_not_answer_as_well(start_cluster: StartCluster) -> None:
    """Another worker takes over its turn; after it wakes up it serves new turns as before."""
    with start_cluster(worker_command=planted(SHORT_CLAIMS, "worker")) as (deployment, cluster):
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=3)
        deployment.twilio.say(user, "hello")
        asking = worker_that_calls(deployment, cluster, "agentforce", "ask")
        asking.pause()
        deployment.sandbox.agentforce.forget_sessions()
        deployment.answers(user, 1)
        asking.resume()
        wait_until(lambda: "taken over by another" in asking.log(), "that it learns of it")
        deployment.expect_no_more(user, 1)
        for worker in cluster.workers:
            if worker is not asking:
                worker.kill()
        deployment.ask("hello", user)


def test_a_worker_that_is_stopped_finishes_what_it_runs(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=1) as (deployment, cluster):
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=1)
        deployment.twilio.say(user, "hello")
        deployment.twilio.say(user, "thanks")
        deployment.wait_for_call("agentforce", "ask")
        (worker,) = cluster.workers
        assert worker.stop() == 0
        assert [message.body[:6] for message in texts(deployment, user)] == ["Hello!"]
        health = requests.get(f"{cluster.url}/health", timeout=10).json()
        assert (health["waiting"], health["running"]) == (1, 0)
        worker.start()
        assert deployment.answers(user, 2)[1].body.startswith("You're")


def test_without_a_worker_messages_wait_and_health_says_so(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=1, web_command=planted(SHORT_SILENCE)) as (
        deployment,
        cluster,
    ):
        (worker,) = cluster.workers
        worker.kill()
        user = deployment.user()
        assert deployment.twilio.say(user, "hello").status == 200

        def status() -> int:
            return requests.get(f"{cluster.url}/health", timeout=10).status_code

        assert status() == 200
        wait_until(lambda: status() == 503, "that health notices")
        worker.start()
        deployment.answers(user, 1)
        assert status() == 200


def test_a_database_that_restarts_loses_nothing(
    start_cluster: StartCluster, server: Postgres
) -> None:
    with start_cluster() as (deployment, _):
        users = [deployment.user() for _ in range(5)]
        deployment.add_fault("agentforce", "ask", "hang", seconds=1, times=None)
        for user in users:
            deployment.twilio.say(user, "hello")
        deployment.wait_for_call("agentforce", "ask")
        server.restart()
        deployment.sandbox.faults.clear()
        for user in users:
            deployment.answers(user, 1)
            deployment.expect_no_more(user, 1)


def worker_that_calls(deployment: Deployment, cluster: Cluster, service: str, call: str) -> Process:
    """Wait for a call to a provider, and return the worker that made it."""
    port = deployment.wait_for_call(service, call).port
    return next(worker for worker in cluster.workers if worker.has_connection_from(port))


def texts(deployment: Deployment, user: str) -> list[Outbound]:
    return [message for message in deployment.twilio.messages(user) if not message.media_url]
