"""One genuine signature, and other fields that fit it.

Twilio signs names and values joined without anything in between. Whoever learns the signature of a
message whose text they chose can put the borders between the fields elsewhere.
"""

from __future__ import annotations

import requests

from sandbox.twilio.webhook import sign
from tests.e2e.world import World

FAKE_SID = "SM" + "f" * 32
VICTIM = "whatsapp:+19995550100"


def signed(world: World, form: dict[str, str]) -> dict[str, str]:
    token = world.bridge.settings["TWILIO_AUTH_TOKEN"]
    return {"X-Twilio-Signature": sign(f"{world.bridge.url}/", form, token)}


def joined(fields: list[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(fields))


def post(world: World, fields: list[tuple[str, str]], signature: dict[str, str]) -> int:
    return requests.post(world.bridge.url, data=fields, headers=signature, timeout=10).status_code


def test_a_message_is_not_taken_again_under_a_longer_sid(world: World) -> None:
    user = world.user()
    form = dict(world.twilio.forms.text(user, "hello"))
    world.twilio._messages.receive(form)
    signature = signed(world, form)
    assert post(world, list(form.items()), signature) == 200
    kind = form.pop("MessageType")
    form["MessageSid"] += f"MessageType{kind}"
    assert joined(list(form.items())).count("MessageTypetext")
    assert post(world, list(form.items()), signature) == 403
    world.expect_no_more(user, 1)


def test_a_text_does_not_become_the_message_of_somebody_else(world: World) -> None:
    """Behind its first word the attacker's text goes on with fields, and swallows the true ones."""
    user = world.user()
    evil = f"From{VICTIM}MessageSid{FAKE_SID}ProfileName"
    form = dict(world.twilio.forms.text(user, f"Cancel my order{evil}"))
    signature = signed(world, form)
    true = sorted((name, value) for name, value in form.items() if name > "Body")
    before = [(name, value) for name, value in form.items() if name < "Body"]
    forged = [
        *before,
        ("Body", "Cancel my order"),
        ("From", VICTIM),
        ("MessageSid", FAKE_SID),
        ("ProfileName", joined(true)),
    ]
    assert joined(forged) == joined(list(form.items()))
    assert post(world, forged, signature) == 403
    assert not world.twilio.messages(VICTIM)
    # Which of the two Twilio signed, nobody can tell.
    assert post(world, list(form.items()), signature) == 403
    assert not world.sandbox.ledger.calls("agentforce", "ask")


def test_nor_does_it_with_the_sid_that_twilio_gave_it(world: World) -> None:
    """That is the same message again, whoever it says it is from."""
    user = world.user()
    form = dict(world.twilio.forms.text(user, f"helloFrom{VICTIM}Fromage"))
    world.twilio._messages.receive(form)
    signature = signed(world, form)
    assert post(world, list(form.items()), signature) == 200
    world.answers(user, 1)
    swallowed = sorted(
        (name, form.pop(name)) for name in list(form) if "Body" < name < "MessageSid"
    )
    form |= {"Body": "hello", "From": VICTIM, "Fromage": joined(swallowed)}
    assert post(world, list(form.items()), signature) == 200
    world.expect_no_more(user, 1)
    assert not world.twilio.messages(VICTIM)


def test_a_field_that_is_there_twice_is_refused(world: World) -> None:
    """Which of the two counts is a matter of whoever reads them."""
    form = dict(world.twilio.forms.text(world.user(), "hello"))
    twice = [*form.items(), ("From", VICTIM)]
    token = world.bridge.settings["TWILIO_AUTH_TOKEN"]
    once = form | {"From": [form["From"], VICTIM]}
    signature = {"X-Twilio-Signature": sign(f"{world.bridge.url}/", once, token)}
    assert post(world, twice, signature) == 403
