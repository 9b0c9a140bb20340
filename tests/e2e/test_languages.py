"""In which language senders are answered, and what voice notes make of numbers and codes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from sandbox.speech import Transcript
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.e2e.test_settings import start_in_vain

GERMAN = "Ihr Paket hat unser Lager am Dienstag verlassen und kommt am Freitag bei Ihnen an."
SPANISH = "Su paquete salió de nuestro almacén el martes y llegará a su casa el viernes."
URDU = "آپ کا پارسل منگل کو ہمارے گودام سے نکل چکا ہے اور جمعہ کو آپ کے پاس پہنچ جائے گا۔"
PERSIAN = "بستهٔ شما روز سه‌شنبه از انبار ما خارج شده است و جمعه به دست شما می‌رسد."
ARABIC = "غادر طردك مستودعنا يوم الثلاثاء، وسيصلك يوم الجمعة إن شاء الله."
ENGLISH = "Your parcel left our warehouse on Tuesday evening. It should be with you on Friday."
FIRST_WORDS = "Ok."
CODE = "Your invoice INV-2024-00123 of 2024-03-01 is due: $1,234.50, less 15%."

# Each question gets the answer beside it, in whichever language that is.
ANSWERS = {
    "Wo ist meine Bestellung?": GERMAN,
    "Where is it in German?": GERMAN,
    "¿Dónde está mi pedido?": SPANISH,
    "میرا آرڈر کہاں ہے؟": URDU,
    "سفارش من کجاست؟": PERSIAN,
    "أين طلبي؟": ARABIC,
    "INV-2024-00123": ARABIC,
    "ORD-77-0815": FIRST_WORDS,
    "Where is my order?": ENGLISH,
    "Say it in two languages": f"{ENGLISH}\n\n{ARABIC} {ARABIC}",
    "When is my invoice due?": CODE,
}


def helpdesk() -> str:
    scripted = "".join(
        f'[[scripted]]\nquestion = "{question}"\n'
        f'messages = [{{ type = "Inform", text = """{answer}""" }}]\n'
        for question, answer in ANSWERS.items()
    )
    return (
        "yes = []\nno = []\nentry = []\n"
        '[greeting]\nen = "Hello!"\nar = "مرحبًا!"\n'
        '[unknown]\nen = "You said {said}."\nar = "قلت {said}."\n' + scripted
    )


@pytest.fixture(scope="module")
def start_speaking(
    start_deployment: StartDeployment, tmp_path_factory: pytest.TempPathFactory
) -> StartDeployment:
    """Starts a bridge that speaks every answer, with an agent that answers from ``ANSWERS``."""
    file = tmp_path_factory.mktemp("helpdesk") / "helpdesk.toml"
    file.write_text(helpdesk(), encoding="utf-8")

    return partial(
        start_deployment, helpdesk_file=file, VOICE_REPLIES="always", SPEECH_CACHE_BYTES="0"
    )


@pytest.fixture(scope="module")
def speaking(start_speaking: StartDeployment) -> Iterator[Deployment]:
    with start_speaking() as deployment:
        yield deployment


@pytest.fixture
def deployment(speaking: Deployment) -> Iterator[Deployment]:
    speaking.begin()
    yield speaking
    speaking.check()


def language_spoken(deployment: Deployment, user: str, question: str) -> str | None:
    """The language code that the answer to a typed ``question`` was spoken with."""
    before = len(deployment.synthesised())
    deployment.twilio.say(user, question)
    deployment.twilio.wait_for_voice(user)
    (code,) = {piece.language_code for piece in deployment.synthesised()[before:]}
    return code


def own_line(deployment: Deployment, user: str, before: int) -> str:
    """The service's own sentence about a sticker, after ``before`` other messages."""
    deployment.twilio.deliver(deployment.twilio.forms.sticker(user))
    texts = [one.body for one in deployment.answers(user, before + 1) if one.body]
    return texts[-1]


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("Wo ist meine Bestellung?", "de"),
        ("Where is it in German?", "de"),
        ("¿Dónde está mi pedido?", "es"),
        ("أين طلبي؟", "ar"),
        ("INV-2024-00123", "ar"),
        ("Where is my order?", "en"),
    ],
)
def test_an_answer_is_spoken_in_the_language_it_is_written_in(
    deployment: Deployment, question: str, code: str
) -> None:
    """The question, which may be in another language or a mere code, does not decide."""
    assert language_spoken(deployment, deployment.user(), question) == code


@pytest.mark.parametrize("question", ["میرا آرڈر کہاں ہے؟", "سفارش من کجاست؟"])
def test_a_language_that_the_model_does_not_speak_is_sent_without_a_code(
    deployment: Deployment, question: str
) -> None:
    """Urdu and Persian are no Arabic, though they are written in its letters."""
    assert language_spoken(deployment, deployment.user(), question) is None


def test_an_answer_too_short_to_tell_is_spoken_in_the_senders_language(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    assert language_spoken(deployment, user, "¿Dónde está mi pedido?") == "es"
    deployment.twilio.say(user, "ORD-77-0815")
    deployment.answers(user, 4)
    assert {piece.language_code for piece in deployment.synthesised()} == {"es"}


def test_each_part_of_an_answer_in_two_languages_has_its_own_code(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "Say it in two languages")
    deployment.twilio.wait_for_voice(user)
    codes = {
        (piece.language_code, "غادر" in piece.text or "الجمعة" in piece.text)
        for piece in deployment.synthesised()
    }
    assert codes == {("en", False), ("ar", True)}


@pytest.mark.parametrize("model", ["eleven_turbo_v2", "eleven_multilingual_v2"])
def test_models_without_a_language_code_get_none(
    start_speaking: StartDeployment, model: str
) -> None:
    with start_speaking(ELEVENLABS_TTS_MODEL=model) as deployment:
        assert language_spoken(deployment, deployment.user(), "Where is my order?") is None
        deployment.check()


def test_a_code_does_not_change_the_language_of_a_sender(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "أين طلبي؟")
    deployment.answers(user, 2)
    deployment.twilio.say(user, "INV-2024-00123")
    deployment.answers(user, 4)
    assert own_line(deployment, user, 4).startswith("عذرًا، يمكنني قراءة")


@pytest.mark.parametrize(
    ("first", "line"),
    [
        ("Wo ist meine Bestellung?", "Entschuldigung, ich kann nur Texte lesen"),
        ("Hola", "Lo siento, solo puedo leer textos"),
        ("میرا آرڈر کہاں ہے؟", "معذرت، یہاں صرف تحریر"),
        ("INV-2024-00123", "Sorry, I can only read text"),
    ],
)
def test_our_own_sentences_are_in_the_language_the_sender_writes(
    deployment: Deployment, first: str, line: str
) -> None:
    user = deployment.user()
    deployment.twilio.say(user, first)
    deployment.twilio.wait_for_voice(user)
    assert own_line(deployment, user, 2).startswith(line)


def test_what_is_spoken_changes_the_language_of_a_sender(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "Wo ist meine Bestellung?")
    deployment.answers(user, 2)
    deployment.twilio.speak(user, deployment.note(Transcript("¿Dónde está mi pedido?", "spa")))
    deployment.answers(user, 4)
    assert own_line(deployment, user, 4).startswith("Lo siento, solo puedo leer textos")


def test_a_spoken_code_does_not(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "Wo ist meine Bestellung?")
    deployment.answers(user, 2)
    deployment.twilio.speak(user, deployment.note(Transcript("INV 2024-00123.", "eng")))
    deployment.answers(user, 4)
    assert own_line(deployment, user, 4).startswith("Entschuldigung, ich kann nur Texte lesen")


@pytest.mark.parametrize(
    ("wording", "line"),
    [
        ("Sprache aus", "Ab jetzt antworte ich nur schriftlich."),
        ("¡Desactivar la voz!", "A partir de ahora responderé solo por escrito."),
        ("SESİ KAPAT", "Bundan sonra yalnızca yazılı yanıt vereceğim."),
        ("आवाज़ बंद करें", "अब से उत्तर केवल लिखित रूप में"),
        ("nouvelle conversation", "Reprenons depuis le début."),
        ("שיחה חדשה", "נתחיל מחדש."),
    ],
)
def test_commands_are_obeyed_in_the_language_they_are_given_in(
    deployment: Deployment, wording: str, line: str
) -> None:
    user = deployment.user()
    deployment.twilio.say(user, wording)
    assert deployment.answers(user, 1)[0].body.startswith(line)
    assert not deployment.asked(user)


def test_codes_and_numbers_are_read_as_a_person_would_and_written_as_they_are(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "When is my invoice due?")
    deployment.twilio.wait_for_voice(user)
    assert deployment.answers(user, 1)[0].body == CODE
    assert " ".join(piece.text for piece in deployment.synthesised()) == (
        "Your invoice I N V, 2024, 0 0 1 2 3 of March 1, 2024 is due: 1234 dollars 50, "
        "less 15 percent."
    )


@pytest.mark.parametrize("transcript", [".", "…", "♪", "*music*", "(laughs)", "[Musik] …"])
def test_sounds_without_words_ask_to_repeat(deployment: Deployment, transcript: str) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(transcript))
    assert deployment.answers(user, 1)[0].body.startswith("Sorry, I couldn't hear what you said.")
    assert not deployment.asked(user)


def test_key_terms_go_along_with_each_transcription(start_speaking: StartDeployment) -> None:
    with start_speaking(STT_KEYTERMS="FiberPlus, Acme Router 5") as deployment:
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("Where is my order?"))
        deployment.twilio.wait_for_voice(user)
        (transcription,) = deployment.sandbox.elevenlabs.transcriptions
        assert transcription.fields["keyterms"] == ["FiberPlus", "Acme Router 5"]
        deployment.check()


def test_no_key_terms_are_sent_where_none_are_set(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Where is my order?"))
    deployment.twilio.wait_for_voice(user)
    assert "keyterms" not in deployment.sandbox.elevenlabs.transcriptions[-1].fields


def test_a_key_term_that_the_model_refuses_stops_the_start(deployment: Deployment) -> None:
    complaint = start_in_vain(deployment, "web", {"STT_KEYTERMS": "FiberPlus, a<b"})
    assert "STT_KEYTERMS must not hold any of < > { } [ ] \\" in complaint
    assert "a<b" not in complaint
