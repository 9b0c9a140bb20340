"""What is not paid for twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import psycopg
import pytest

from sandbox.cluster import Cluster
from tests.e2e.conftest import StartCluster, StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
CODES = "What are the tax codes?"
# Where pieces wait in line they are cut longer, and are others then.
ROOM = 100
ROOMY = {"ELEVENLABS_CONCURRENCY": str(ROOM)}


def hear(world: World) -> str:
    """What somebody new hears in answer to the question."""
    world.sandbox.elevenlabs.account.concurrency = ROOM
    user = world.user()
    world.twilio.speak(user, world.note(QUESTION))
    return world.hear(world.twilio.wait_for_voice(user))


@pytest.mark.parametrize(("size", "times"), [(None, 1), ("0", 2)], ids=["default", "off"])
def test_each_piece_of_an_answer_is_spoken_once(
    start_world: StartWorld, size: str | None, times: int
) -> None:
    """Unless that is switched off; both hear the whole answer."""
    settings = {"SPEECH_CACHE_BYTES": size} if size else {}
    with start_world(**ROOMY, **settings) as world:
        first = hear(world)
        assert first.startswith(ANSWER)
        assert hear(world) == first
        spoken = [each.text for each in world.spoken_since()]
        assert set(Counter(spoken).values()) == {times}
        assert world.counter("speech_characters") == sum(map(len, spoken))
        pieces = len(set(spoken))
        hits, misses = (world.counter(f"speech_cache_{each}") for each in ("hits", "misses"))
        assert (hits, misses) == ((pieces, pieces) if times == 1 else (0, 0))
        world.check()


def test_what_one_worker_spoke_another_does_not_pay_for(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=2, **ROOMY) as (world, cluster):
        first = hear(world)
        spoken = world.spoken_since()
        wait_until(lambda: kept(cluster) == len(spoken), "that the pieces are shared")
        speaker = next(worker for worker in cluster.workers if "TTS time" in worker.log())
        speaker.kill()
        assert hear(world) == first
        assert world.spoken_since() == spoken
        world.check()


def kept(cluster: Cluster) -> int:
    """How many pieces the workers share."""
    with psycopg.connect(cluster.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM spoken_pieces").fetchone()
    return int(row[0]) if row else 0


def test_the_agent_is_asked_each_time_by_default(world: World) -> None:
    bodies = []
    for _ in range(2):
        user = world.user()
        world.twilio.say(user, CODES)
        bodies.append(world.answers(user, 1)[0].body)
    assert bodies[0] == bodies[1]
    assert len(world.sandbox.ledger.calls("agentforce", "ask")) == 2
    assert (world.counter("answer_cache_hits"), world.counter("answer_cache_misses")) == (0, 0)


def test_a_public_question_is_asked_once(start_world: StartWorld, tmp_path: Path) -> None:
    """However it is put, in one language, and by people who have said nothing else before."""
    patterns = tmp_path / "public.txt"
    patterns.write_text("# What anybody may know\nwhat are the tax codes\n", encoding="utf-8")
    cache = {"ANSWER_CACHE_SECONDS": "600", "ANSWER_CACHE_PATTERNS": str(patterns)}
    with start_world(**cache) as world:

        def asked() -> int:
            return len(world.sandbox.ledger.calls("agentforce", "ask"))

        writes, writes_too, speaks, spanish, personal = (world.user() for _ in range(5))
        world.twilio.say(writes, CODES)
        answer = world.answers(writes, 1)[0].body
        world.twilio.say(writes_too, f"  {CODES.upper()}!")
        assert world.answers(writes_too, 1)[0].body == answer
        world.twilio.speak(speaks, world.note(CODES))
        assert world.answers(speaks, 1)[0].body == answer
        assert asked() == 1
        world.twilio.speak(spanish, world.note(CODES, "spa"))
        world.answers(spanish, 1)
        assert asked() == 2
        world.twilio.say(personal, "hello")
        world.twilio.say(personal, CODES)
        assert world.answers(personal, 2)[1].body == answer
        assert asked() == 4
        assert (world.counter("answer_cache_hits"), world.counter("answer_cache_misses")) == (2, 2)
        figures = world.metrics()
        assert figures["answer_cache_age"]["count"] == 2
        # What took no agent does not make it look quicker.
        assert figures["agentforce_time"]["count"] == 4
        world.check()
