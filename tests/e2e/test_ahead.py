"""What is ready before a message comes: connections, the token, a session."""

from __future__ import annotations

from sandbox.faults import Fault
from tests.e2e.conftest import StartCluster, StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until

ONE_SPARE = {"AGENTFORCE_SPARE_SESSIONS": "1"}


def wait_for_sessions(world: World, number: int) -> list[str]:
    """The ids of all sessions ever started, the oldest first, once so many were kept as spare."""
    wait_until(lambda: world.counter("sessions_spare_kept") >= number, f"{number} spare sessions")
    return [session.session_id for session in world.sandbox.agentforce.sessions]


def test_whoever_writes_first_is_answered_in_a_session_that_was_there(
    start_world: StartWorld,
) -> None:
    """However long a start takes: no other is finished before the answer."""
    with start_world(**ONE_SPARE) as world:
        (spare,) = wait_for_sessions(world, 1)
        hang = Fault("agentforce", "session", "hang", seconds=60, times=None)
        world.sandbox.faults.add(hang)
        user = world.user()
        world.twilio.say(user, "hello")
        world.answers(user, 1)
        assert [question.session_id for question in world.asked(user)] == [spare]
        assert wait_for_sessions(world, 1) == [spare]
        assert world.counter("sessions_spare_used") == 1
        world.check()


def test_a_spare_session_is_replaced_for_the_next_one(start_world: StartWorld) -> None:
    with start_world(**ONE_SPARE) as world:
        for number in range(1, 4):
            newest = wait_for_sessions(world, number)[-1]
            user = world.user()
            world.twilio.say(user, "hello")
            world.answers(user, 1)
            assert world.asked(user)[-1].session_id == newest
        world.check()


def test_a_spare_session_that_agentforce_forgot_costs_no_answer(start_world: StartWorld) -> None:
    with start_world(**ONE_SPARE) as world:
        (spare,) = wait_for_sessions(world, 1)
        world.sandbox.agentforce.forget_sessions()
        user = world.user()
        world.twilio.say(user, "hello")
        assert world.answers(user, 1)[0].body.startswith("Hello!")
        assert world.asked(user)[-1].session_id != spare
        world.expect_no_more(user, 1)
        world.check()


def test_a_spare_session_is_ended_at_a_clean_stop(start_world: StartWorld) -> None:
    with start_world(**ONE_SPARE) as world:
        (spare,) = wait_for_sessions(world, 1)
        assert world.bridge.stop() == 0
        ended = [(end.session_id, end.reason) for end in world.sandbox.agentforce.ended]
        assert ended == [(spare, "Other")]


def test_of_several_processes_those_keep_one_that_run_turns(
    start_cluster: StartCluster,
) -> None:
    with start_cluster(webs=1, workers=1, **ONE_SPARE) as (world, _):
        (spare,) = wait_for_sessions(world, 1)
        user = world.user()
        world.twilio.say(user, "hello")
        world.answers(user, 1)
        assert [question.session_id for question in world.asked(user)] == [spare]
        # It is replaced; nobody else has kept one.
        assert len(wait_for_sessions(world, 2)) == 2


def test_nothing_is_done_ahead_where_that_is_switched_off(start_world: StartWorld) -> None:
    with start_world(KEEP_WARM="false", **ONE_SPARE) as world:
        user = world.user()
        world.twilio.say(user, "hello")
        world.answers(user, 1)
        calls = [call.name for call in world.sandbox.ledger.calls("agentforce")]
        assert calls == ["token", "session", "ask"]
        assert world.sandbox.agentforce.connections <= 2


def test_answers_that_stream_leave_their_connection_open_for_the_next(
    start_world: StartWorld,
) -> None:
    with start_world(KEEP_WARM="false") as world:
        user = world.user()
        for turn in range(1, 7):
            world.twilio.say(user, "thanks")
            world.answers(user, turn)
        assert len(world.asked(user)) == 6
        assert world.sandbox.agentforce.connections <= 3
        world.check()


def test_no_session_is_started_ahead_while_all_threads_run_turns(start_world: StartWorld) -> None:
    with start_world(TURN_THREADS="1", AGENTFORCE_SPARE_SESSIONS="0") as world:
        hang = Fault("agentforce", "ask", "hang", seconds=60, times=None)
        world.sandbox.faults.add(hang)
        users = [world.user() for _ in range(3)]
        for user in users:
            world.twilio.say(user, "hello")
        world.sandbox.ledger.wait_for(lambda: len(world.sandbox.agentforce.sessions) >= 1)
        assert world.log().count("Pre-warming Agentforce session") == 1
        world.sandbox.faults.remove(hang)
        for user in users:
            world.answers(user, 1)
        assert len(world.sandbox.agentforce.sessions) == 3
        world.check()
