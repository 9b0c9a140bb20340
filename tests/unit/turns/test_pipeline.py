"""The stages of a turn, with stand-ins for the parts that call providers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from core.errors import AgentDown, AgentUnavailable, BridgeError, MediaMissing
from core.models import AgentReply, AgentSession, Answer, Inbound, Kind, Outcome, Turn
from core.settings import Settings
from metrics import Metrics
from sandbox import CREDENTIALS
from speech.synthesis import Reply
from storage.agent_sessions import AgentSessionTable
from storage.database import Database, StorageError
from storage.engine import open_sqlite
from storage.preferences import PreferenceTable
from tests.unit.claiming import Unclaimed
from tests.unit.conftest import notices_of
from text.markdown import to_speech
from text.phrases import Phrases
from turns.agent_sessions import AgentSessions
from turns.answers import AnswerWriter
from turns.asking import AgentAsker
from turns.commands import Commands
from turns.pipeline import Pipeline
from turns.questions import Question, QuestionReader
from turns.reply_delivery import ReplyDelivery

PHRASES = Phrases()
ADDRESSES = {
    "PUBLIC_URL": "https://bot.example.com",
    "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
}


class Questions:
    """Reads each message as the question that a test sets."""

    def __init__(self) -> None:
        self.question = Question("Where is my order?", "en")
        self.error: Exception | None = None
        self.reads = 0

    def read(self, message: Inbound, language: str | None) -> Question:
        self.reads += 1
        if self.error:
            raise self.error
        return self.question


class Agent:
    """Answers each question in the same way; a test can make it slow or let it fail."""

    def __init__(self) -> None:
        self.reply = AgentReply("It is on its **way**.")
        self.error: Exception | None = None
        self.before_answer: Callable[[], None] = lambda: None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.sessions: list[str] = []
        self.questions: list[str] = []

    def start_session(self, sender: str) -> Future[AgentSession]:
        self.sessions.append(sender)
        session: Future[AgentSession] = Future()
        session.set_result(AgentSession("session", 0.0))
        return session

    def ask(self, turn: Turn, question: Question, session: AgentSession, synthesis: Any) -> Any:
        self.questions.append(question.text)
        assert self.may_answer.wait(10)
        self.before_answer()
        if self.error:
            raise self.error
        return self.reply


class Synthesis:
    """A voice note that is being made."""

    def __init__(self, language: str | None) -> None:
        self.language = language
        self.spoken = ""

    def finish(self, markdown: str) -> None:
        self.spoken = markdown


class Replies:
    """Records voice notes, and messages other than the answer."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.error: Exception | None = None
        self.noticed = threading.Event()
        self.typing = 0
        self.syntheses: list[Synthesis] = []

    def start_voice_note(self, language: str | None) -> Synthesis:
        self.syntheses.append(Synthesis(language))
        return self.syntheses[-1]

    def show_typing(self, turn: Turn) -> None:
        self.typing += 1

    def send_notice(self, turn: Turn, part: str, key: str) -> bool:
        if self.error:
            raise self.error
        self.notices.append(key)
        self.noticed.set()
        return True


class Bench:
    """A pipeline and its stand-ins."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.questions, self.agent, self.replies = Questions(), Agent(), Replies()
        self.metrics = Metrics()
        self.preferences = PreferenceTable(database=database)
        self.session_table = AgentSessionTable(database=database)
        self.syntheses = self.replies.syntheses
        self.threads = ThreadPoolExecutor(4)
        self._database = database
        self._settings = Settings(**(CREDENTIALS | ADDRESSES | settings))
        self.pipeline = self._pipeline()

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            settings=self._settings,
            metrics=self.metrics,
            preferences=self.preferences,
            questions=cast(QuestionReader, self.questions),
            commands=Commands(
                claims=Unclaimed(),
                sessions=cast(AgentSessions, None),
                preferences=self.preferences,
                phrases=PHRASES,
                voice_replies=self._settings.VOICE_REPLIES,
            ),
            agent=cast(AgentAsker, self.agent),
            answers=AnswerWriter(
                phrases=PHRASES,
                metrics=self.metrics,
                transcript_echo=self._settings.TRANSCRIPT_ECHO,
                handoff_contact=self._settings.HANDOFF_CONTACT,
            ),
            replies=cast(ReplyDelivery, self.replies),
            notices=notices_of(self._database, PHRASES),
            threads=self.threads,
        )

    def answer(self, kind: Kind = Kind.TEXT) -> Reply | None:
        """The reply to a message of the sender ana."""
        return self.pipeline.answer(Turn(1, Inbound(sid="SM1", sender="ana", kind=kind)))

    def text(self, kind: Kind = Kind.TEXT) -> str:
        reply = self.answer(kind)
        assert reply
        return reply.answer.text

    def count(self, counter: str) -> int:
        return self.metrics.snapshot().counters[counter]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_sqlite(str(tmp_path))
    yield database
    database.close()


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def spoken(text: str = "Where is my order?", language: str = "en") -> Question:
    return Question(text, language, spoken=True, waited=1.0)


def test_a_text_is_answered_in_whatsapp_marks_and_not_spoken(bench: Bench) -> None:
    reply = bench.answer()
    assert reply
    assert (reply.answer.text, reply.answer.language) == ("It is on its *way*.", "en")
    assert (reply.answer.aloud, reply.synthesis, bench.syntheses) == ("", None, [])
    assert bench.agent.questions == ["Where is my order?"]
    assert bench.replies.typing == 1


def test_the_answer_to_a_voice_note_is_spoken_while_the_agent_writes(bench: Bench) -> None:
    bench.questions.question = spoken(language="de")
    reply = bench.answer(Kind.VOICE)
    assert reply
    (synthesis,) = bench.syntheses
    assert cast(Any, reply.synthesis) is synthesis
    assert (synthesis.language, synthesis.spoken) == ("de", "It is on its **way**.")
    assert reply.answer.waited >= 1.0


@pytest.mark.parametrize(
    ("policy", "preference", "is_spoken", "has_voice"),
    [
        ("mirror", None, False, False),
        ("mirror", None, True, True),
        ("mirror", True, False, True),
        ("mirror", False, True, False),
        ("always", None, False, True),
        ("always", False, True, False),
        ("never", True, True, False),
    ],
)
def test_who_gets_a_voice_note(
    database: Database, policy: str, preference: bool | None, is_spoken: bool, has_voice: bool
) -> None:
    """The sender's own order counts more than the policy, unless that is "never"."""
    bench = Bench(database, VOICE_REPLIES=policy)
    if preference is not None:
        bench.preferences.save_voice("ana", preference)
    if is_spoken:
        bench.questions.question = spoken()
    bench.answer()
    assert bool(bench.syntheses) == has_voice


def test_the_transcript_is_shown_where_the_setting_says_so(database: Database) -> None:
    bench = Bench(database, TRANSCRIPT_ECHO="true")
    bench.questions.question = spoken("Where is it?")
    assert bench.text() == "🎤 _Where is it?_\n\nIt is on its *way*."
    assert bench.syntheses[0].spoken == "It is on its **way**."


def test_a_reaction_gets_no_answer(bench: Bench) -> None:
    assert bench.answer(Kind.SILENT) is None
    assert (bench.replies.typing, bench.agent.sessions, bench.questions.reads) == (0, [], 0)


def test_an_unsupported_message_gets_a_notice_and_starts_no_session(bench: Bench) -> None:
    assert bench.text(Kind.UNSUPPORTED) == PHRASES.translate("unsupported", None)
    assert bench.agent.sessions == []


def test_a_command_is_carried_out_without_the_agent(bench: Bench) -> None:
    bench.questions.question = Question("voice on", "en")
    assert bench.text() == PHRASES.translate("voice_on", "en")
    assert bench.preferences.find("ana").voice is True
    assert bench.agent.questions == []


@pytest.mark.parametrize("error", [MediaMissing(), AgentUnavailable(), ValueError("a fault")])
def test_a_failure_becomes_an_apology_in_the_senders_language(
    bench: Bench, error: Exception
) -> None:
    bench.preferences.save_language("ana", "ar")
    bench.questions.question = Question("أين طلبي؟", "ar")
    if isinstance(error, MediaMissing):
        bench.questions.error = error
    else:
        bench.agent.error = error
    phrase = error.phrase if isinstance(error, BridgeError) else BridgeError.phrase
    reply = bench.answer()
    assert reply
    assert reply.answer == Answer(PHRASES.translate(phrase, "ar"), "ar", outcome=Outcome.APOLOGY)
    assert bench.metrics.snapshot().errors == {type(error).__name__: 1}


def test_a_recording_is_transcribed_once_although_the_database_fails_before_the_question(
    bench: Bench,
) -> None:
    """The runner tries the turn again; a second transcription would be paid for."""
    bench.questions.question = spoken()
    bench.agent.error = OperationalError("UPDATE", {}, Exception("no route"))
    with pytest.raises(StorageError):
        bench.answer(Kind.VOICE)
    bench.agent.error = None
    assert bench.text(Kind.VOICE) == "It is on its *way*."
    assert bench.questions.reads == 1


def test_a_database_that_fails_after_the_question_does_not_repeat_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The apology comes in the default language; an error would make the runner ask again."""
    bench.agent.error = AgentDown()

    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("no route"))

    bench.agent.before_answer = lambda: monkeypatch.setattr(PreferenceTable, "find", fail)
    assert bench.text() == PHRASES.translate("agent_failed", None)
    assert len(bench.agent.questions) == 1


def test_the_sender_is_told_once_when_the_agent_takes_long(database: Database) -> None:
    bench = Bench(database, STILL_WORKING_AFTER="0.01")
    bench.agent.may_answer.clear()
    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(bench.text)
        assert bench.replies.noticed.wait(10)
        bench.agent.may_answer.set()
        assert text.result(10) == "It is on its *way*."
    assert bench.replies.notices == ["still_working"]
    assert bench.count("still_working_sent") == 1


def test_a_turn_that_hangs_ends_with_an_apology_at_its_deadline(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turns.pipeline.GRACE_SECONDS", 0.0)
    bench = Bench(database, TURN_DEADLINE="0.05")
    bench.agent.may_answer.clear()
    assert bench.text() == PHRASES.translate("agent_failed", None)
    bench.agent.may_answer.set()


def test_the_senders_language_is_stored_when_it_changes(bench: Bench) -> None:
    for language in ("ar", None, "en"):
        bench.questions.question = Question("?", language)
        bench.answer()
        assert bench.preferences.find("ana").language == (language or "ar")


@pytest.mark.parametrize(
    ("reply", "key"),
    [
        (AgentReply("", escalated=True), "escalated"),
        (AgentReply("", ended=True), "session_ended"),
        (AgentReply("", failed=True), "action_failed"),
        (AgentReply(""), "no_answer"),
        (AgentReply("<svg width='9'><circle r='4'/></svg>"), "no_answer"),
    ],
)
def test_an_empty_reply_says_what_happened(bench: Bench, reply: AgentReply, key: str) -> None:
    bench.agent.reply = reply
    found = bench.answer()
    assert found
    # Where the agent had nothing to say at all, nobody was answered.
    is_apology = key in ("no_answer", "action_failed")
    outcome = Outcome.APOLOGY if is_apology else Outcome.ANSWER
    assert (found.answer.text, found.answer.outcome) == (PHRASES.translate(key, "en"), outcome)
    assert bench.metrics.snapshot().errors == ({"AnswerEmpty": 1} if is_apology else {})
    assert bench.count("escalations") == int(reply.escalated)


def test_our_sentence_is_not_part_of_a_program_that_was_cut_off(bench: Bench) -> None:
    bench.agent.reply = AgentReply("Type this:\n\n```\nreset", ended=True)
    ended = PHRASES.translate("session_ended", "en")
    assert bench.text() == f"Type this:\n\n```\nreset\n```\n\n{ended}"


@pytest.mark.parametrize("program", ["```\nreset", "- First:\n  ```\n  reset", "> ~~~\n> reset"])
def test_our_sentence_is_spoken_after_a_program_that_was_cut_off(
    bench: Bench, program: str
) -> None:
    bench.questions.question = spoken()
    bench.agent.reply = AgentReply(f"Type this:\n\n{program}", ended=True)
    bench.answer(Kind.VOICE)
    ended = PHRASES.translate("session_ended", "en")
    heard = to_speech(bench.syntheses[0].spoken)
    assert heard.startswith("Type this:")
    assert heard.endswith(ended)
    assert "reset" not in heard


def test_a_handover_names_the_contact_of_the_setting(database: Database) -> None:
    bench = Bench(database, HANDOFF_CONTACT="help@example.com")
    bench.agent.reply = AgentReply("", escalated=True)
    assert "help@example.com" in bench.text()


def test_an_answer_of_the_notices_has_no_voice(bench: Bench) -> None:
    reply = bench.answer(Kind.UNSUPPORTED)
    assert reply
    notice = PHRASES.translate("unsupported", None)
    assert reply.answer == Answer(notice, None, outcome=Outcome.NOTICE)


def test_a_failed_turn_is_counted_once_although_its_apology_is_repeated(bench: Bench) -> None:
    """The caller repeats the apology while the database fails."""
    turn = Turn(1, Inbound(sid="SM1", sender="ana", kind=Kind.TEXT))
    bench.replies.error = StorageError("down")
    for _ in range(3):
        with pytest.raises(StorageError):
            bench.pipeline.apologise(turn, RuntimeError("a defect"))
    bench.replies.error = None
    bench.pipeline.apologise(turn, RuntimeError("a defect"))
    found = bench.metrics.snapshot()
    assert (found.counters["turns_failed"], found.counters["text_turns"]) == (1, 1)
    assert found.errors == {"RuntimeError": 1}
