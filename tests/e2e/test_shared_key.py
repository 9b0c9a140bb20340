"""An account whose webhooks Twilio signs with a shared key.

docs/providers/twilio.md, "Signatures".
"""

from __future__ import annotations

from tests.e2e.conftest import StartWorld

SIGNED_WITH = "a-shared-key-of-the-test"
TOLD = "Twilio signs with a shared key"


def test_webhooks_and_callbacks_are_taken_with_the_shared_key(start_world: StartWorld) -> None:
    with start_world(TWILIO_SHARED_KEY=SIGNED_WITH, UNSIGNED_LOCAL_WEBHOOKS="false") as world:
        world.twilio.signer.shared_key = SIGNED_WITH
        user = world.user()
        assert world.twilio.say(user, "hello").status == 200
        world.answers(user, 1)
        # Until all of Twilio has changed over, the token may sign as well.
        world.twilio.signer.shared_key = ""
        world.expect_no_more(user, 1)
        world.check()
        assert world.counter("signatures_rejected") == 0


def test_without_it_the_log_says_what_to_set(start_world: StartWorld) -> None:
    with start_world(UNSIGNED_LOCAL_WEBHOOKS="false") as world:
        world.twilio.signer.shared_key = SIGNED_WITH
        assert world.twilio.say(world.user(), "hello").status == 403
        assert f"{TOLD}; set TWILIO_SHARED_KEY to its secret" in world.log()


def test_with_another_one_the_log_says_so(start_world: StartWorld) -> None:
    with start_world(TWILIO_SHARED_KEY="another", UNSIGNED_LOCAL_WEBHOOKS="false") as world:
        world.twilio.signer.shared_key = SIGNED_WITH
        assert world.twilio.say(world.user(), "hello").status == 403
        assert f"{TOLD} whose secret is not TWILIO_SHARED_KEY" in world.log()
