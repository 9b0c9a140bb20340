"""One genuine signature, and other fields that fit it.

Twilio signs names and values joined without anything in between. Whoever learns the signature of a
message whose text they chose can put the borders between the fields elsewhere.
"""

from __future__ import annotations

import requests

from sandbox.twilio.webhook import sign
from tests.e2e.deployment import Deployment

FAKE_SID = "SM" + "f" * 32
VICTIM = "whatsapp:+19995550100"


def signed(deployment: Deployment, form: dict[str, str]) -> dict[str, str]:
    token = deployment.bridge.settings["TWILIO_AUTH_TOKEN"]
    return {"X-Twilio-Signature": sign(f"{deployment.bridge.url}/", form, token)}


def joined(fields: list[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(fields))


def post(deployment: Deployment, fields: list[tuple[str, str]], signature: dict[str, str]) -> int:
    return requests.post(
        deployment.bridge.url, data=fields, headers=signature, timeout=10
    ).status_code


def test_a_message_is_not_taken_again_under_a_longer_sid(deployment: Deployment) -> None:
    user = deployment.user()
    form = dict(deployment.twilio.forms.text(user, "hello"))
    deployment.twilio.register_inbound(form)
    signature = signed(deployment, form)
    assert post(deployment, list(form.items()), signature) == 200
    kind = form.pop("MessageType")
    form["MessageSid"] += f"MessageType{kind}"
    assert joined(list(form.items())).count("MessageTypetext")
    assert post(deployment, list(form.items()), signature) == 403
    deployment.expect_no_more(user, 1)


def test_a_text_does_not_become_the_message_of_somebody_else(deployment: Deployment) -> None:
    """Behind its first word the attacker's text goes on with fields, and swallows the true ones."""
    user = deployment.user()
    evil = f"From{VICTIM}MessageSid{FAKE_SID}ProfileName"
    form = dict(deployment.twilio.forms.text(user, f"Cancel my order{evil}"))
    signature = signed(deployment, form)
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
    assert post(deployment, forged, signature) == 403
    assert not deployment.twilio.messages(VICTIM)
    # Which of the two Twilio signed, nobody can tell.
    assert post(deployment, list(form.items()), signature) == 403
    assert not deployment.sandbox.recorder.calls("agentforce", "ask")


def test_nor_does_it_with_the_sid_that_twilio_gave_it(deployment: Deployment) -> None:
    """That is the same message again, whoever it says it is from."""
    user = deployment.user()
    form = dict(deployment.twilio.forms.text(user, f"helloFrom{VICTIM}Fromage"))
    deployment.twilio.register_inbound(form)
    signature = signed(deployment, form)
    assert post(deployment, list(form.items()), signature) == 200
    deployment.answers(user, 1)
    swallowed = sorted(
        (name, form.pop(name)) for name in list(form) if "Body" < name < "MessageSid"
    )
    form |= {"Body": "hello", "From": VICTIM, "Fromage": joined(swallowed)}
    assert post(deployment, list(form.items()), signature) == 200
    deployment.expect_no_more(user, 1)
    assert not deployment.twilio.messages(VICTIM)


def test_a_field_that_is_there_twice_is_refused(deployment: Deployment) -> None:
    """Which of the two counts is a matter of whoever reads them."""
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    twice = [*form.items(), ("From", VICTIM)]
    token = deployment.bridge.settings["TWILIO_AUTH_TOKEN"]
    once = form | {"From": [form["From"], VICTIM]}
    signature = {"X-Twilio-Signature": sign(f"{deployment.bridge.url}/", once, token)}
    assert post(deployment, twice, signature) == 403
