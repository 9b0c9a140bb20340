"""Connections, tokens and sessions that are ready before a message comes."""

from __future__ import annotations

from tests.e2e.conftest import StartCluster, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

ONE_SPARE = {"AGENTFORCE_SPARE_SESSIONS": "1"}


def wait_for_sessions(deployment: Deployment, number: int) -> list[str]:
    """Wait for ``number`` spare sessions; returns the ids of all sessions so far, oldest first."""
    wait_until(
        lambda: deployment.counter("sessions_spare_kept") >= number, f"{number} spare sessions"
    )
    return [session.session_id for session in deployment.sandbox.agentforce.sessions]


def test_a_new_sender_is_answered_in_a_spare_session(
    start_deployment: StartDeployment,
) -> None:
    """No other session can start before the answer."""
    with start_deployment(**ONE_SPARE) as deployment:
        (spare,) = wait_for_sessions(deployment, 1)
        deployment.add_fault("agentforce", "session", "hang", seconds=60, times=None)
        user = deployment.user()
        deployment.ask("hello", user)
        assert [question.session_id for question in deployment.asked(user)] == [spare]
        assert wait_for_sessions(deployment, 1) == [spare]
        assert deployment.counter("sessions_spare_used") == 1
        deployment.check()


def test_a_spare_session_is_replaced_for_the_next_one(start_deployment: StartDeployment) -> None:
    with start_deployment(**ONE_SPARE) as deployment:
        for number in range(1, 4):
            newest = wait_for_sessions(deployment, number)[-1]
            user = deployment.user()
            deployment.ask("hello", user)
            assert deployment.asked(user)[-1].session_id == newest
        deployment.check()


def test_a_spare_session_that_agentforce_forgot_costs_no_answer(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(**ONE_SPARE) as deployment:
        (spare,) = wait_for_sessions(deployment, 1)
        deployment.sandbox.agentforce.forget_sessions()
        user = deployment.user()
        assert deployment.ask("hello", user).body.startswith("Hello!")
        assert deployment.asked(user)[-1].session_id != spare
        deployment.expect_no_more(user, 1)
        deployment.check()


def test_a_spare_session_is_ended_at_a_clean_stop(start_deployment: StartDeployment) -> None:
    with start_deployment(**ONE_SPARE) as deployment:
        (spare,) = wait_for_sessions(deployment, 1)
        assert deployment.bridge.stop() == 0
        ended = [(end.session_id, end.reason) for end in deployment.sandbox.agentforce.ended]
        assert ended == [(spare, "Other")]


def test_only_processes_that_run_turns_keep_spare_sessions(
    start_cluster: StartCluster,
) -> None:
    with start_cluster(webs=1, workers=1, **ONE_SPARE) as (deployment, _):
        (spare,) = wait_for_sessions(deployment, 1)
        user = deployment.user()
        deployment.ask("hello", user)
        assert [question.session_id for question in deployment.asked(user)] == [spare]
        # It is replaced; nobody else has kept one.
        assert len(wait_for_sessions(deployment, 2)) == 2


def test_nothing_is_prewarmed_if_keep_warm_is_off(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(KEEP_WARM="false", **ONE_SPARE) as deployment:
        deployment.ask("hello")
        calls = [call.name for call in deployment.calls("agentforce")]
        assert calls == ["session", "ask"]
        assert len(deployment.calls("agentforce", "token")) == 1
        assert deployment.sandbox.agentforce.connections <= 2


def test_the_connection_of_a_streamed_answer_is_reused(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(KEEP_WARM="false") as deployment:
        user = deployment.user()
        for turn in range(1, 7):
            deployment.twilio.say(user, "thanks")
            deployment.answers(user, turn)
        assert len(deployment.asked(user)) == 6
        assert deployment.sandbox.agentforce.connections <= 3
        deployment.check()


def test_no_session_is_started_ahead_while_all_threads_run_turns(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(TURN_THREADS="1", AGENTFORCE_SPARE_SESSIONS="0") as deployment:
        hang = deployment.add_fault("agentforce", "ask", "hang", seconds=60, times=None)
        users = [deployment.user() for _ in range(3)]
        for user in users:
            deployment.twilio.say(user, "hello")
        deployment.sandbox.recorder.wait_for(
            lambda: len(deployment.sandbox.agentforce.sessions) >= 1
        )
        assert deployment.log().count("Pre-warming Agentforce session") == 1
        deployment.sandbox.faults.remove(hang)
        for user in users:
            deployment.answers(user, 1)
        assert len(deployment.sandbox.agentforce.sessions) == 3
        deployment.check()
