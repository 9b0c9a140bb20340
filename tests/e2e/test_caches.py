"""Speech synthesis and answers that are reused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import psycopg
import pytest

from sandbox.cluster import Cluster
from tests.e2e.conftest import StartCluster, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
CODES = "What are the tax codes?"
# Where pieces wait in line they are cut longer, and are others then.
ROOM = 100
ROOMY = {"ELEVENLABS_CONCURRENCY": str(ROOM)}


def hear(deployment: Deployment) -> str:
    """The voice note that a new user gets for the question, as text."""
    deployment.sandbox.elevenlabs.account.concurrency = ROOM
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    return deployment.hear(deployment.twilio.wait_for_voice(user))


@pytest.mark.parametrize(("size", "times"), [(None, 1), ("0", 2)], ids=["default", "off"])
def test_each_piece_of_an_answer_is_synthesised_once(
    start_deployment: StartDeployment, size: str | None, times: int
) -> None:
    """Unless the cache is off; both users hear the whole answer."""
    settings = {"SPEECH_CACHE_BYTES": size} if size else {}
    with start_deployment(**ROOMY, **settings) as deployment:
        first = hear(deployment)
        assert first.startswith(ANSWER)
        assert hear(deployment) == first
        spoken = [each.text for each in deployment.synthesised()]
        assert set(Counter(spoken).values()) == {times}
        assert deployment.counter("speech_characters") == sum(map(len, spoken))
        pieces = len(set(spoken))
        hits, misses = (deployment.counter(f"speech_cache_{each}") for each in ("hits", "misses"))
        assert (hits, misses) == ((pieces, pieces) if times == 1 else (0, 0))
        deployment.check()


def test_workers_share_synthesised_audio(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=2, **ROOMY) as (deployment, cluster):
        first = hear(deployment)
        spoken = deployment.synthesised()
        wait_until(
            lambda: count_shared_pieces(cluster) == len(spoken), "that the pieces are shared"
        )
        speaker = next(worker for worker in cluster.workers if "TTS time" in worker.log())
        speaker.kill()
        assert hear(deployment) == first
        assert deployment.synthesised() == spoken
        deployment.check()


def count_shared_pieces(cluster: Cluster) -> int:
    """The number of pieces in the shared cache."""
    with psycopg.connect(cluster.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM spoken_pieces").fetchone()
    return int(row[0]) if row else 0


def test_answers_are_not_cached_by_default(deployment: Deployment) -> None:
    bodies = []
    for _ in range(2):
        user = deployment.user()
        deployment.twilio.say(user, CODES)
        bodies.append(deployment.answers(user, 1)[0].body)
    assert bodies[0] == bodies[1]
    assert len(deployment.calls("agentforce", "ask")) == 2
    assert (deployment.counter("answer_cache_hits"), deployment.counter("answer_cache_misses")) == (
        0,
        0,
    )


def test_a_public_question_is_answered_from_the_cache(
    start_deployment: StartDeployment, tmp_path: Path
) -> None:
    """In any spelling of one language, for senders who asked nothing personal before."""
    patterns = tmp_path / "public.txt"
    patterns.write_text("# What anybody may know\nwhat are the tax codes\n", encoding="utf-8")
    cache = {"ANSWER_CACHE_SECONDS": "600", "ANSWER_CACHE_PATTERNS": str(patterns)}
    with start_deployment(**cache) as deployment:

        def asked() -> int:
            return len(deployment.calls("agentforce", "ask"))

        writes, writes_too, speaks, spanish, personal = (deployment.user() for _ in range(5))
        deployment.twilio.say(writes, CODES)
        answer = deployment.answers(writes, 1)[0].body
        deployment.twilio.say(writes_too, f"  {CODES.upper()}!")
        assert deployment.answers(writes_too, 1)[0].body == answer
        deployment.twilio.speak(speaks, deployment.note(CODES))
        assert deployment.answers(speaks, 1)[0].body == answer
        assert asked() == 1
        deployment.twilio.speak(spanish, deployment.note(CODES, "spa"))
        deployment.answers(spanish, 1)
        assert asked() == 2
        deployment.twilio.say(personal, "hello")
        deployment.twilio.say(personal, CODES)
        assert deployment.answers(personal, 2)[1].body == answer
        assert asked() == 4
        assert (
            deployment.counter("answer_cache_hits"),
            deployment.counter("answer_cache_misses"),
        ) == (2, 2)
        figures = deployment.metrics()
        assert figures["answer_cache_age"]["count"] == 2
        # What took no agent does not make it look quicker.
        assert figures["agentforce_time"]["count"] == 4
        deployment.check()
