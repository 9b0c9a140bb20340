"""One genuine signature reused for other fields.

Twilio signs names and values joined without separators. An attacker who learns the signature of a
message whose text they chose can move the borders between the fields.
"""

from __future__ import annotations

from collections.abc import Mapping

import requests

from tests.e2e.deployment import Deployment

FAKE_SID = "SM" + "f" * 32
VICTIM = "whatsapp:+19995550100"


def signature_of(deployment: Deployment, form: Mapping[str, str | list[str]]) -> dict[str, str]:
    return deployment.signature(f"{deployment.bridge.url}/", form)


def join_fields(fields: list[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(fields))


def post(deployment: Deployment, fields: list[tuple[str, str]], signature: dict[str, str]) -> int:
    return requests.post(
        deployment.bridge.url, data=fields, headers=signature, timeout=10
    ).status_code


def test_a_message_is_not_taken_again_under_a_longer_sid(deployment: Deployment) -> None:
    user = deployment.user()
    form = dict(deployment.twilio.forms.text(user, "hello"))
    deployment.twilio.register_inbound(form)
    signature = signature_of(deployment, form)
    assert post(deployment, list(form.items()), signature) == 200
    kind = form.pop("MessageType")
    form["MessageSid"] += f"MessageType{kind}"
    assert join_fields(list(form.items())).count("MessageTypetext")
    assert post(deployment, list(form.items()), signature) == 403
    deployment.expect_no_more(user, 1)


def test_a_text_does_not_become_the_message_of_somebody_else(deployment: Deployment) -> None:
    """The attacker's text contains forged fields, and its last one swallows the true fields."""
    user = deployment.user()
    evil = f"From{VICTIM}MessageSid{FAKE_SID}ProfileName"
    form = dict(deployment.twilio.forms.text(user, f"Cancel my order{evil}"))
    signature = signature_of(deployment, form)
    true = sorted((name, value) for name, value in form.items() if name > "Body")
    before = [(name, value) for name, value in form.items() if name < "Body"]
    forged = [
        *before,
        ("Body", "Cancel my order"),
        ("From", VICTIM),
        ("MessageSid", FAKE_SID),
        ("ProfileName", join_fields(true)),
    ]
    assert join_fields(forged) == join_fields(list(form.items()))
    assert post(deployment, forged, signature) == 403
    assert not deployment.twilio.messages(VICTIM)
    # Which of the two Twilio signed, nobody can tell.
    assert post(deployment, list(form.items()), signature) == 403
    assert not deployment.calls("agentforce", "ask")


def test_a_text_does_not_change_the_sender_of_its_own_message(deployment: Deployment) -> None:
    """With the SID that Twilio gave it, it is a repetition of the same message."""
    user = deployment.user()
    form = dict(deployment.twilio.forms.text(user, f"helloFrom{VICTIM}Fromage"))
    deployment.twilio.register_inbound(form)
    signature = signature_of(deployment, form)
    assert post(deployment, list(form.items()), signature) == 200
    deployment.answers(user, 1)
    swallowed = sorted(
        (name, form.pop(name)) for name in list(form) if "Body" < name < "MessageSid"
    )
    form |= {"Body": "hello", "From": VICTIM, "Fromage": join_fields(swallowed)}
    assert post(deployment, list(form.items()), signature) == 200
    deployment.expect_no_more(user, 1)
    assert not deployment.twilio.messages(VICTIM)


def test_a_repeated_field_is_refused(deployment: Deployment) -> None:
    """Readers of a form may differ in which of two values they take."""
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    twice = [*form.items(), ("From", VICTIM)]
    signature = signature_of(deployment, form | {"From": [form["From"], VICTIM]})
    assert post(deployment, twice, signature) == 403
