"""The help desk: how it finds the answer to a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.agentforce.helpdesk import DEFAULT_FILE, Helpdesk, HelpdeskError, load_answers
from sandbox.agentforce.wording import normalise, similarity, words

FILE = """
yes = ["yes", "go ahead"]
no = ["no", "not"]

[greeting]
en = "Hello"
ar = "أهلا"

[unknown]
en = "I don't know."
ar = "لا أعرف."

[[entry]]
id = "register"
language = "en"
keywords = ["register invoice"]

[[entry.messages]]
type = "Inform"
text = "Log in."

[[entry]]
id = "cancel"
language = "en"
keywords = ["cancel invoice"]

[[entry.messages]]
type = "Confirm"
text = "Shall I?"

[[entry.yes]]
type = "Inform"
text = "Done."

[[entry.no]]
type = "Inform"
text = "It stays."
"""


@pytest.fixture(scope="module")
def desk() -> Helpdesk:
    return Helpdesk()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "answers.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def said(desk: Helpdesk, text: str, session: str = "s") -> list[str]:
    return [str(message.get("message")) for message in desk.answer(session, text)]


def identity(desk: Helpdesk, question: str) -> str:
    """The entry whose first message ``question`` gets, as "id language"; "" for none."""
    first = desk.answer("identity", question)[0]
    for entry in load_answers(DEFAULT_FILE).entry:
        if entry.messages[0].as_json(question) == first:
            return f"{entry.id} {entry.language}"
    return ""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How do I register an electronic invoice?", "register en"),
        ("how do i registar an electronic in voice", "register en"),
        ("How do I register and electronic invoices.", "register en"),
        ("How do I vegetate an electronic invoice?", "register en"),
        ("Electronic invoice: cancellation", "cancel en"),
        ("An invoice, an invoice, an invoice!", ""),
        ("I'd like to submit a new e-invoice", "register en"),
        ("Give me the complete guide to electronic invoicing", "guide en"),
        ("What documents do I need before I start?", "documents en"),
        ("Can I talk to a human, please?", "human en"),
        ("Please cancel my invoice", "cancel en"),
        ("What's the status of my invoice?", "status en"),
        ("Export all my invoices as a report", "export en"),
        ("My signing certificate has expired", "certificate en"),
        ("Which tax code do I use?", "tax-codes en"),
        ("Why was my invoice rejected?", "rejected en"),
        ("What is the QR code for?", "qr-code en"),
        ("How can I correct a mistake in an invoice?", "correct en"),
        ("Hello!", "hello en"),
        ("Thank you very much", "thanks en"),
        ("Goodbye", "goodbye en"),
        ("كيف أسجل فاتورة إلكترونية؟", "register ar"),
        ("كَيْفَ أُسَجِّلُ الفاتورةَ الإلكترونيّة", "register ar"),
        ("كيفا سجل فتوره الكترونيه", "register ar"),
        ("إلغاء فاتورة إلكترونية", "cancel ar"),
        ("أعطني الدليل الكامل خطوة بخطوة", "guide ar"),
        ("ما المستندات المطلوبة؟", "documents ar"),
        ("أريد التحدث إلى موظف", "human ar"),
        ("أريد إلغاء الفاتورة", "cancel ar"),
        ("ما حالة فاتورتي؟", "status ar"),
        ("أريد تنزيل تقرير بالفواتير", "export ar"),
        ("كيف أجدد شهادة التوقيع؟", "certificate ar"),
        ("ما رمز الضريبة الذي أستخدمه؟", "tax-codes ar"),
        ("لماذا رُفضت فاتورتي؟", "rejected ar"),
        ("ما هو رمز الاستجابة السريعة؟", "qr-code ar"),
        ("كيف أصحح فاتورة؟", "correct ar"),
        ("السلام عليكم", "hello ar"),
        ("شكرًا جزيلًا", "thanks ar"),
        ("مع السلامة", "goodbye ar"),
        ("What is the weather like in Paris?", ""),
        ("Who won the football match yesterday?", ""),
        ("ما الطقس اليوم في باريس؟", ""),
        ("?!", ""),
    ],
)
def test_a_question_finds_its_entry(desk: Helpdesk, question: str, expected: str) -> None:
    """As it is written, and as speech recognition may have transcribed it."""
    assert identity(desk, question) == expected


def test_unknown_questions_are_answered_in_their_language(desk: Helpdesk) -> None:
    """The script of the question decides."""
    assert said(desk, "What is the weather like?")[0].startswith("I'm sorry")
    assert said(desk, "ما الطقس؟")[0].startswith("عذرًا")


@pytest.mark.parametrize(
    "question", ["How do I register an electronic invoice?", "كيف أسجل فاتورة إلكترونية؟"]
)
def test_the_usual_answer_has_the_length_that_benchmarks_expect(
    desk: Helpdesk, question: str
) -> None:
    """About 400 characters in one Inform, without Markdown."""
    (text,) = said(desk, question)
    assert 400 <= len(text) <= 440
    assert not set(text) & set("*#_`|[")


@pytest.mark.parametrize("question", ["the complete guide", "الدليل الكامل"])
def test_the_long_answer_needs_three_messages_and_has_every_kind_of_markdown(
    desk: Helpdesk, question: str
) -> None:
    """More than two WhatsApp messages of 1,600 characters, at most three."""
    (text,) = said(desk, question)
    assert 3300 < len(text) < 4500
    for mark in (
        "# ",
        "\n## ",
        "**",
        "\n- ",
        "\n  - ",
        "\n1. ",
        "\n| ",
        "](https://",
        "\n```json\n",
    ):
        assert mark in text


def test_several_messages_and_their_fields_reach_the_caller(desk: Helpdesk) -> None:
    """In the order of the file, with the API's names and without ids."""
    inform, escalate = desk.answer("s", "a human please")
    assert inform.keys() == {"type", "message"}
    assert escalate["targets"][0]["type"] == "Salesforce:Core:Flow:Id"
    assert "message" not in escalate


def test_a_confirmation_is_followed_by_yes_or_no_in_its_own_session(file: Path) -> None:
    """Once, and in no other session; words that contain yes do not count."""
    desk = Helpdesk(file)
    assert said(desk, "cancel my invoice", "a") == ["Shall I?"]
    assert said(desk, "yes", "b") == ["I don't know."]
    assert said(desk, "Yes, please!", "a") == ["Done."]
    assert said(desk, "yes", "a") == ["I don't know."]
    said(desk, "cancel my invoice", "a")
    assert said(desk, "No, yes, I'm not sure", "a") == ["It stays."]
    said(desk, "cancel my invoice", "a")
    assert said(desk, "yesterday", "a") == ["I don't know."]


def test_a_new_question_cancels_a_confirmation(file: Path) -> None:
    """A later yes confirms nothing."""
    desk = Helpdesk(file)
    said(desk, "cancel my invoice")
    assert said(desk, "register an invoice") == ["Log in."]
    assert said(desk, "yes") == ["I don't know."]


def test_a_forgotten_session_has_nothing_to_confirm(file: Path) -> None:
    """forget cancels the confirmation."""
    desk = Helpdesk(file)
    said(desk, "cancel my invoice")
    desk.forget("s")
    assert said(desk, "yes") == ["I don't know."]


def test_the_reply_to_an_inquiry_is_its_answer(desk: Helpdesk) -> None:
    """Unless it is a question with its own answer."""
    desk.answer("s", "What is the status of my invoice?")
    assert "“it's 4 7 1”" in said(desk, "it's 4 7 1")[0]
    desk.answer("s", "What is the status of my invoice?")
    assert said(desk, "Thank you")[0].startswith("You're welcome")


def test_a_scripted_question_has_to_be_asked_word_for_word(desk: Helpdesk) -> None:
    """Case and punctuation do not matter."""
    assert desk.answer("s", "Test empty.") == []
    assert desk.answer("s", "test empty messages") != []


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    """Without a restart."""
    desk = Helpdesk(file)
    assert said(desk, "register an invoice") == ["Log in."]
    file.write_text(FILE.replace("Log in.", "Log in first."), encoding="utf-8")
    assert said(desk, "register an invoice") == ["Log in first."]
    assert desk.greeting("ar") == "أهلا"
    assert desk.greeting("fr") == "Hello"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('en = "Hello"', "en = Hello", r"answers\.toml: .*line 6"),
        ('language = "en"\nkeywords = ["cancel', 'language = "de"\nkeywords = ["cancel', "line 22"),
        ('type = "Confirm"', 'type = "Confrim"', r"entry\.1\.messages\.0\.type.*line 22"),
        ('id = "cancel"', 'id = "register"', r"second 'register' in 'en'.*line 22"),
        ('id = "cancel"\n', "", r"entry\.1\.id: Field required.*line 22"),
        ("[unknown]", "[unknwon]", "unknown: Field required"),
        ("[[entry.yes]]", "[[entry.yess]]", r"entry\.1\.yess.*line 22"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(
    file: Path, old: str, new: str, complaint: str
) -> None:
    """At the start and when it is broken later; a repaired file works again."""
    desk = Helpdesk(file)
    assert FILE.count(old) == 1
    file.write_text(FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(HelpdeskError, match=complaint):
        Helpdesk(file)
    with pytest.raises(HelpdeskError, match=complaint):
        desk.answer("s", "hello")
    file.write_text(FILE, encoding="utf-8")
    assert said(desk, "register an invoice") == ["Log in."]


def test_a_missing_or_undecodable_file_is_refused(file: Path) -> None:
    """With its path or its line."""
    with pytest.raises(HelpdeskError, match="No such file"):
        Helpdesk(file.with_name("none.toml"))
    file.write_bytes(b"# one\n# caf\xe9\n")
    with pytest.raises(HelpdeskError, match=r"not UTF-8 \(at line 2\)"):
        Helpdesk(file)


def test_words_are_normalised_before_they_are_compared() -> None:
    """Case, punctuation, vowel signs, hamza, tatweel and the article do not matter."""
    assert normalise("  E-Invoice, please! ") == "e invoice please"
    assert normalise("أُسَجِّلُ فـاتورة") == normalise("اسجل فاتوره")
    assert words("الفاتورة والفاتورة بالفاتورة للفاتورة") == ["فاتوره"] * 4


def test_short_words_must_be_the_same() -> None:
    """With another letter they are other words; long words may differ a little."""
    assert similarity("sign", "sign") == 1
    assert similarity("tax", "fax") == 0
    assert 0.8 <= similarity("invoice", "invoices") < 1
    assert similarity("invoice", "office") == 0
