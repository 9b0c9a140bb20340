"""An account whose webhooks Twilio signs with a shared key.

docs/providers/twilio.md, "Signatures".
"""

from __future__ import annotations

from tests.e2e.conftest import StartDeployment

SIGNED_WITH = "a-shared-key-of-the-test"
TOLD = "Twilio signs with a shared key"


def test_webhooks_and_callbacks_are_taken_with_the_shared_key(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(
        TWILIO_SHARED_KEY=SIGNED_WITH, UNSIGNED_LOCAL_WEBHOOKS="false"
    ) as deployment:
        deployment.twilio.signer.shared_key = SIGNED_WITH
        user = deployment.user()
        assert deployment.twilio.say(user, "hello").status == 200
        deployment.answers(user, 1)
        # Until all of Twilio has changed over, the token may sign as well.
        deployment.twilio.signer.shared_key = ""
        deployment.expect_no_more(user, 1)
        deployment.check()
        assert deployment.counter("signatures_rejected") == 0


def test_without_it_the_log_says_what_to_set(start_deployment: StartDeployment) -> None:
    with start_deployment(UNSIGNED_LOCAL_WEBHOOKS="false") as deployment:
        deployment.twilio.signer.shared_key = SIGNED_WITH
        assert deployment.twilio.say(deployment.user(), "hello").status == 403
        assert f"{TOLD}; set TWILIO_SHARED_KEY to its secret" in deployment.log()


def test_with_another_one_the_log_says_so(start_deployment: StartDeployment) -> None:
    with start_deployment(
        TWILIO_SHARED_KEY="another", UNSIGNED_LOCAL_WEBHOOKS="false"
    ) as deployment:
        deployment.twilio.signer.shared_key = SIGNED_WITH
        assert deployment.twilio.say(deployment.user(), "hello").status == 403
        assert f"{TOLD} whose secret is not TWILIO_SHARED_KEY" in deployment.log()
