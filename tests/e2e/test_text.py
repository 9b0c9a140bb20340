"""Typed messages, from Twilio's webhook to the message that Twilio is given."""

from __future__ import annotations

import concurrent.futures
import re

import pytest

from tests.e2e.deployment import Deployment
from text.markdown import clean
from text.splitting import MESSAGE_LIMIT

ARABIC = re.compile(r"[\u0600-\u06ff]")


def test_a_question_gets_the_agents_answer_as_text(deployment: Deployment) -> None:
    user = deployment.user()
    delivery = deployment.twilio.say(user, "How do I register an electronic invoice?")
    (answer,) = deployment.answers(user, 1)
    assert delivery.status == 200
    assert answer.body.startswith("To register an electronic invoice, log in")
    assert answer.media_url is None


def test_a_question_in_arabic_is_answered_in_arabic(deployment: Deployment) -> None:
    answer = deployment.ask("كيف أسجل فاتورة إلكترونية؟")
    assert ARABIC.search(answer.body)


def test_a_long_answer_comes_in_parts_that_read_as_one(deployment: Deployment) -> None:
    """Three messages in order, none over the limit, no Markdown, links whole."""
    user = deployment.user()
    deployment.twilio.say(user, "Please send me the complete guide with all steps in detail")
    parts = [message.body for message in deployment.answers(user, 3)]
    whole = "\n".join(parts)
    assert all(len(part) <= MESSAGE_LIMIT for part in parts)
    assert parts[0].startswith("*Electronic invoicing, step by step*")
    assert whole.index("1. Before you start") < whole.index("8. Frequent questions")
    assert "https://example.com/e-invoicing/format" in whole
    assert "**" not in whole
    assert "](" not in whole
    assert "- *Code:* S, *Meaning:* Standard rate, *Rate:* 15 %" in whole


def test_several_messages_of_the_agent_are_one_answer(deployment: Deployment) -> None:
    answer = deployment.ask("Which documents do I need before I start?")
    assert answer.body.startswith("Before you register")
    assert "\n\nFirst, " in answer.body
    assert "\n\nThird, " in answer.body


def test_a_person_taking_over_is_announced_and_counted(deployment: Deployment) -> None:
    before = deployment.counter("escalations")
    answer = deployment.ask("I want to talk to a human")
    assert "contact our team" in answer.body
    assert deployment.counter("escalations") == before + 1


def test_a_confirmation_is_answered_in_the_same_session(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.ask("Please cancel my invoice", user)
    deployment.twilio.say(user, "yes")
    answers = deployment.answers(user, 2)
    assert "Shall I do that?" in answers[0].body
    assert answers[1].body.startswith("Done.")
    assert len({question.session_id for question in deployment.asked(user)}) == 1


def test_an_inquiry_is_answered_with_what_the_user_says_next(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.ask("Check the status of my invoice", user)
    deployment.twilio.say(user, "2041")
    assert "“2041”" in deployment.answers(user, 2)[1].body


def test_a_failed_action_is_told_in_our_words(deployment: Deployment) -> None:
    answer = deployment.ask("Download an export report")
    assert answer.body == "Sorry, I couldn't finish that. Please try again in a moment."


def test_a_session_that_the_agent_ends_is_followed_by_a_new_one(deployment: Deployment) -> None:
    user = deployment.user()
    assert "This conversation has ended" in deployment.ask("Goodbye", user).body
    deployment.ask("hello", user)
    assert len({question.session_id for question in deployment.asked(user)}) == 2


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("test validation failure", "The standard rate of the tax is 15 %."),
        ("test validation failure without inform", "You need a signing certificate."),
        ("test inform without message", "Sorry, I have no answer to that."),
        ("test empty", "Sorry, I have no answer to that."),
        ("test error", "Sorry, I couldn't get an answer."),
        ("test bare error", "Sorry, I couldn't get an answer."),
        ("test error after text", "Sorry, I couldn't get an answer."),
        ("test unknown type", "This came after two messages of an unknown type."),
        ("test messages envelope", "This came in a list of messages."),
        ("test escalation failure", "Sorry, I can't help with this here."),
        ("test session ended", "This conversation has ended."),
    ],
)
def test_unusual_answers_of_the_agent_give_one_useful_message(
    deployment: Deployment, question: str, answer: str
) -> None:
    user = deployment.user()
    deployment.twilio.say(user, question)
    (sent,) = deployment.answers(user, 1)
    assert sent.body.startswith(answer)
    deployment.expect_no_more(user, 1)


def test_messages_of_one_sender_are_answered_one_at_a_time_in_order(
    deployment: Deployment,
) -> None:
    """The stand-in records a violation if two questions meet in a session."""
    user = deployment.user()
    questions = ["hello", "Goodbye", "What are the tax codes?", "thanks"]
    for question in questions:
        deployment.twilio.say(user, question)
    deployment.answers(user, 4)
    assert [question.text for question in deployment.asked(user)] == questions


def test_a_message_delivered_many_times_is_answered_once(deployment: Deployment) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        deliveries = list(pool.map(lambda _: deployment.twilio.deliver(form), range(50)))
    assert {delivery.status for delivery in deliveries} == {200}
    deployment.answers(user, 1)
    assert len(deployment.asked(user)) == 1
    deployment.expect_no_more(user, 1)


def test_the_documented_curl_is_answered(deployment: Deployment) -> None:
    """Unsigned and with MessageSid=test123, from this machine."""
    user = deployment.user()
    deployment.twilio.open_window(user)
    form = {"MessageSid": "test123", "From": user, "Body": "hello"}
    assert deployment.twilio.deliver(form, signed=False).status == 200
    assert deployment.answers(user, 1)[0].body.startswith("Hello!")


def test_new_conversation_ends_the_session_at_agentforce(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.ask("hello", user)
    assert deployment.ask("New conversation!", user).body.startswith("Let's start afresh")
    deployment.ask("thanks", user)
    first, second = (question.session_id for question in deployment.asked(user))
    assert first != second
    assert any(ended.session_id == first for ended in deployment.sandbox.agentforce.ended)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("a\x00b\x1b[2J\u202ec\u2066d\ufeff\r\ne\x85", "ab[2Jcd\ne"),
        ("नमस्ते, 你好, שלום, สวัสดี, ԲԱՐԵՎ, 𐎧𐏁, 👩‍👩‍👧", "नमस्ते, 你好, שלום, สวัสดี, ԲԱՐԵՎ, 𐎧𐏁, 👩‍👩‍👧"),
        ("ل" * 4096, "ل" * 4096),
    ],
    ids=["control characters", "scripts", "the longest that WhatsApp takes"],
)
def test_a_text_reaches_the_agent_without_control_characters(
    deployment: Deployment, written: str, asked: str
) -> None:
    user = deployment.user()
    assert deployment.twilio.say(user, written).status == 200
    (answer,) = deployment.answers(user, 1)
    assert [question.text for question in deployment.asked(user)] == [asked]
    assert answer.body == clean(answer.body)
