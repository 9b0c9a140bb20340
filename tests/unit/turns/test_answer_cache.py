"""Which questions are answered without the agent, and in which sessions none ever is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import regex
from sqlalchemy.exc import OperationalError

from core.errors import AgentFailed
from core.models import AgentReply, AgentSession, SessionPrivacy
from metrics import Metrics
from storage.agent_sessions import AgentSessionTable
from storage.answers import AnswerTable, StoredAnswer
from storage.database import Database, StorageError
from tests.unit.conftest import START, Clock, put_session
from turns.answer_cache import AnswerCache
from turns.public_questions import PublicQuestions

HOUR = 3600.0
OPENING = "When are you open?"
OWNED = "Where is my parcel 4711?"


class Deployment:
    """Senders, an agent that numbers its replies, and the cache between them."""

    def __init__(self, database: Database) -> None:
        self.sessions = AgentSessionTable(database=database, tracks_privacy=True)
        self.answers = AnswerTable(database=database, lifetime=HOUR)
        self.metrics = Metrics()
        self.asked: list[str] = []
        self.reply = AgentReply("Reply {}")
        self.meanwhile: Callable[[str], None] = lambda sender: None
        self.cache = self.another()

    def another(
        self, *, first: bool = False, agent_id: str = "0Xx", enabled: bool = True
    ) -> AnswerCache:
        """A cache of another process on the same database."""
        patterns = [regex.compile("when are you open|hello")]
        return AnswerCache(
            sessions=self.sessions,
            answers=self.answers,
            public=PublicQuestions(first=first, patterns=patterns),
            metrics=self.metrics,
            agent_id=agent_id,
            enabled=enabled,
        )

    def begin(self, *senders: str) -> None:
        """A session each, in place of the one they had."""
        for sender in senders:
            session = self.sessions.find(sender)
            name = f"{session.id}+" if session else sender
            put_session(self.sessions, sender, AgentSession(name, START))

    def ask(self, sender: str, question: str = OPENING, language: str | None = "en") -> str:
        return self.cache.ask(
            sender, question, language, lambda: self._agent(sender, question)
        ).text

    def _agent(self, sender: str, question: str) -> AgentReply:
        self.asked.append(sender)
        self.meanwhile(sender)
        return AgentReply(
            self.reply.text.format(len(self.asked)),
            self.reply.escalated,
            self.reply.ended,
            self.reply.failed,
            self.reply.asks,
        )

    def counted(self) -> tuple[int, int]:
        counters = self.metrics.snapshot().counters
        return counters["answer_cache_hits"], counters["answer_cache_misses"]


@pytest.fixture
def deployment(database: Database, clock: Clock) -> Deployment:
    deployment = Deployment(database)
    deployment.begin("ana", "ben", "cleo")
    return deployment


def test_whoever_asks_the_same_gets_the_same_without_the_agent(
    deployment: Deployment, clock: Clock
) -> None:
    assert deployment.ask("ana") == "Reply 1"
    clock.now += 90
    assert deployment.ask("ben", "when are you OPEN") == "Reply 1"
    clock.now += 10
    assert deployment.ask("ana") == "Reply 1"
    assert deployment.asked == ["ana"]
    assert deployment.counted() == (2, 1)
    age = deployment.metrics.snapshot().stages["answer_cache_age"]
    assert (age.count, age.smallest, age.largest) == (2, 90.0, 100.0)


def test_switched_off_the_agent_is_asked_each_time(deployment: Deployment) -> None:
    deployment.cache = deployment.another(enabled=False)
    assert [deployment.ask("ana"), deployment.ask("ben")] == ["Reply 1", "Reply 2"]
    deployment.cache = deployment.another()
    assert deployment.ask("cleo") == "Reply 3"


def test_another_language_or_agent_is_another_answer(deployment: Deployment) -> None:
    assert [deployment.ask("ana", language=code) for code in ("en", "ar", None, "ar")] == [
        "Reply 1",
        "Reply 2",
        "Reply 3",
        "Reply 2",
    ]
    deployment.cache = deployment.another(agent_id="0Xy")
    assert deployment.ask("ben") == "Reply 4"


def test_after_its_time_it_is_asked_again(deployment: Deployment, clock: Clock) -> None:
    deployment.ask("ana")
    clock.now += HOUR - 1
    assert deployment.ask("ben") == "Reply 1"
    clock.now += 2
    assert deployment.ask("ben") == "Reply 2"
    clock.now += HOUR - 1
    assert deployment.ask("cleo") == "Reply 2"


def test_a_session_that_said_something_personal_never_takes_part(deployment: Deployment) -> None:
    """Not even with what is public, until a new session begins."""
    deployment.ask("ana", OWNED)
    assert deployment.ask("ana") == "Reply 2"
    assert deployment.ask("ben") == "Reply 3"
    assert deployment.ask("ana") == "Reply 4"
    assert deployment.counted() == (0, 1)
    deployment.begin("ana")
    assert deployment.ask("ana") == "Reply 3"


def test_a_session_that_is_used_further_stays_personal(deployment: Deployment) -> None:
    deployment.ask("ana", OWNED)
    deployment.sessions.mark_used("ana", AgentSession("ana", START))
    deployment.ask("ben")
    assert deployment.ask("ana") == "Reply 3"


def test_what_is_not_declared_public_is_never_kept(deployment: Deployment) -> None:
    assert [deployment.ask(sender, OWNED) for sender in ("ana", "ben")] == ["Reply 1", "Reply 2"]


def test_the_first_question_of_a_session_may_be_public(deployment: Deployment) -> None:
    """Also where it is answered without the agent, who knows nothing of it."""
    deployment.cache = deployment.another(first=True)
    assert deployment.ask("ana", "How are you?") == "Reply 1"
    assert deployment.ask("ben", "How are you?") == "Reply 1"
    for sender in ("ana", "ben"):
        assert deployment.sessions.privacy(sender) == SessionPrivacy.PUBLIC
        deployment.ask(sender, OWNED)
        assert deployment.sessions.privacy(sender) == SessionPrivacy.PRIVATE
    assert deployment.asked == ["ana", "ana", "ben"]


def test_a_first_question_is_not_first_again_after_a_public_one(deployment: Deployment) -> None:
    deployment.cache = deployment.another(first=True)
    deployment.ask("ana", "hello")
    deployment.ask("ana", "How are you?")
    assert deployment.sessions.privacy("ana") == SessionPrivacy.PRIVATE
    assert deployment.ask("ben", "How are you?") == "Reply 3"


@pytest.mark.parametrize(
    "reply",
    [
        AgentReply(""),
        AgentReply("A colleague takes over", escalated=True),
        AgentReply("Bye", ended=True),
        AgentReply("Something broke", failed=True),
        AgentReply("Which branch?", asks=True),
    ],
)
def test_only_ordinary_replies_are_kept(deployment: Deployment, reply: AgentReply) -> None:
    deployment.reply = reply
    deployment.ask("ana")
    deployment.reply = AgentReply("Reply {}")
    assert deployment.ask("ben") == "Reply 2"
    assert deployment.ask("cleo") == "Reply 2"


@pytest.mark.parametrize(
    ("question", "noted"), [(OWNED, SessionPrivacy.PRIVATE), (OPENING, SessionPrivacy.PUBLIC)]
)
def test_what_is_asked_is_noted_before(
    deployment: Deployment, question: str, noted: SessionPrivacy
) -> None:
    """A process that dies while it asks has left nothing unsaid; nor has an agent that fails."""

    def fail(sender: str) -> None:
        assert deployment.sessions.privacy(sender) == noted
        raise AgentFailed

    deployment.meanwhile = fail
    with pytest.raises(AgentFailed):
        deployment.ask("ana", question)
    assert deployment.sessions.privacy("ana") == noted
    deployment.meanwhile = lambda sender: None
    assert deployment.ask("ben") == "Reply 2"


def test_a_session_that_was_forgotten_makes_its_successor_personal(deployment: Deployment) -> None:
    """Agentforce says so when it is asked; the question is then put in another one."""

    def replace(sender: str) -> None:
        deployment.sessions.delete(sender)
        deployment.begin(sender)

    deployment.meanwhile = replace
    deployment.ask("ana", OWNED)
    deployment.meanwhile = lambda sender: None
    assert deployment.sessions.privacy("ana") == SessionPrivacy.PRIVATE
    deployment.ask("ana")
    assert deployment.ask("ben") == "Reply 3"


def test_without_a_session_nothing_is_known_of(deployment: Deployment) -> None:
    deployment.ask("ana")
    assert deployment.ask("dora") == "Reply 2"


def test_a_database_that_fails_after_the_agent_was_asked_does_no_harm(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("away"))

    def break_down(_: str) -> None:
        monkeypatch.setattr(deployment.sessions, "raise_privacy", fail)
        monkeypatch.setattr(deployment.answers, "save", fail)

    deployment.meanwhile = break_down
    assert deployment.ask("ana") == "Reply 1"
    with pytest.raises(StorageError):
        deployment.ask("ben")
    assert deployment.asked == ["ana"]


def test_sessions_count_as_personal_where_nobody_notes_what_is_asked(
    deployment: Deployment, database: Database
) -> None:
    """The cache was switched on meanwhile; or an old process asked in a new one's session."""
    careless = AgentSessionTable(database=database)
    careless.insert("eve", AgentSession("eve", START))
    assert (deployment.sessions.privacy("eve"), deployment.sessions.privacy("ana")) == (
        SessionPrivacy.PRIVATE,
        SessionPrivacy.EMPTY,
    )
    deployment.sessions.mark_used("ana", AgentSession("ana", START))
    assert deployment.sessions.privacy("ana") == SessionPrivacy.EMPTY
    careless.mark_used("ana", AgentSession("ana", START))
    assert deployment.sessions.privacy("ana") == SessionPrivacy.PRIVATE


def test_no_more_answers_are_kept_than_their_bound(database: Database, clock: Clock) -> None:
    answers = AnswerTable(database=database, lifetime=HOUR, most=2)
    for key in "abca":
        clock.now += 1
        answers.save(key, key)
    answers.purge(before=START)
    assert [bool(answers.find(key)) for key in "abc"] == [True, False, True]
    assert answers.find("a") == StoredAnswer("a", 0.0)


@pytest.mark.parametrize(("lifetime", "before"), [(10.0, START - 1), (HOUR, START + 10)])
def test_answers_go_when_their_time_or_that_of_all_is_over(
    database: Database, clock: Clock, lifetime: float, before: float
) -> None:
    answers = AnswerTable(database=database, lifetime=lifetime)
    answers.save("old", "old")
    clock.now += 11
    answers.save("new", "new")
    answers.purge(before=before)
    patient = AnswerTable(database=database, lifetime=HOUR)
    assert [bool(patient.find(key)) for key in ("old", "new")] == [False, True]
