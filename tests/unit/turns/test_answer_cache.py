"""Which questions are answered from the cache, and which sessions never use it."""

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
OPENING_HOURS = "When are you open?"
PERSONAL = "Where is my parcel 4711?"


class NumberedAgent:
    """An agent that numbers its replies, behind a cache of public answers.

    ``meanwhile`` is called with the sender while the agent answers.
    """

    def __init__(self, database: Database) -> None:
        self.sessions = AgentSessionTable(database=database, tracks_privacy=True)
        self.answers = AnswerTable(database=database, lifetime=HOUR)
        self.metrics = Metrics()
        self.asked: list[str] = []
        self.reply = AgentReply("Reply {}")
        self.meanwhile: Callable[[str], None] = lambda sender: None
        self.cache = self.build_cache()

    def build_cache(
        self, *, first: bool = False, agent_id: str = "0Xx", enabled: bool = True
    ) -> AnswerCache:
        """The cache of another process on the same database."""
        patterns = [regex.compile("when are you open|hello")]
        return AnswerCache(
            sessions=self.sessions,
            answers=self.answers,
            public=PublicQuestions(first=first, patterns=patterns),
            metrics=self.metrics,
            agent_id=agent_id,
            enabled=enabled,
        )

    def begin_sessions(self, *senders: str) -> None:
        """Give each sender a new session in place of their old one."""
        for sender in senders:
            session = self.sessions.find(sender)
            name = f"{session.id}+" if session else sender
            put_session(self.sessions, sender, AgentSession(name, START))

    def ask(self, sender: str, question: str = OPENING_HOURS, language: str | None = "en") -> str:
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

    def hits_and_misses(self) -> tuple[int, int]:
        counters = self.metrics.snapshot().counters
        return counters["answer_cache_hits"], counters["answer_cache_misses"]


@pytest.fixture
def agent(database: Database, clock: Clock) -> NumberedAgent:
    agent = NumberedAgent(database)
    agent.begin_sessions("ana", "ben", "cleo")
    return agent


def test_a_repeated_public_question_is_answered_from_the_cache(
    agent: NumberedAgent, clock: Clock
) -> None:
    assert agent.ask("ana") == "Reply 1"
    clock.now += 90
    assert agent.ask("ben", "when are you OPEN") == "Reply 1"
    clock.now += 10
    assert agent.ask("ana") == "Reply 1"
    assert agent.asked == ["ana"]
    assert agent.hits_and_misses() == (2, 1)
    age = agent.metrics.snapshot().stages["answer_cache_age"]
    assert (age.count, age.smallest, age.largest) == (2, 90.0, 100.0)


def test_a_disabled_cache_asks_the_agent_each_time(agent: NumberedAgent) -> None:
    agent.cache = agent.build_cache(enabled=False)
    assert [agent.ask("ana"), agent.ask("ben")] == ["Reply 1", "Reply 2"]
    agent.cache = agent.build_cache()
    assert agent.ask("cleo") == "Reply 3"


def test_each_language_and_agent_has_its_own_answer(agent: NumberedAgent) -> None:
    assert [agent.ask("ana", language=code) for code in ("en", "ar", None, "ar")] == [
        "Reply 1",
        "Reply 2",
        "Reply 3",
        "Reply 2",
    ]
    agent.cache = agent.build_cache(agent_id="0Xy")
    assert agent.ask("ben") == "Reply 4"


def test_an_expired_answer_is_asked_for_again(agent: NumberedAgent, clock: Clock) -> None:
    agent.ask("ana")
    clock.now += HOUR - 1
    assert agent.ask("ben") == "Reply 1"
    clock.now += 2
    assert agent.ask("ben") == "Reply 2"
    clock.now += HOUR - 1
    assert agent.ask("cleo") == "Reply 2"


def test_a_session_with_a_personal_question_never_uses_the_cache(agent: NumberedAgent) -> None:
    """Not even for public questions, until a new session begins."""
    agent.ask("ana", PERSONAL)
    assert agent.ask("ana") == "Reply 2"
    assert agent.ask("ben") == "Reply 3"
    assert agent.ask("ana") == "Reply 4"
    assert agent.hits_and_misses() == (0, 1)
    agent.begin_sessions("ana")
    assert agent.ask("ana") == "Reply 3"


def test_using_a_session_further_leaves_it_personal(agent: NumberedAgent) -> None:
    agent.ask("ana", PERSONAL)
    agent.sessions.mark_used("ana", AgentSession("ana", START))
    agent.ask("ben")
    assert agent.ask("ana") == "Reply 3"


def test_a_question_that_is_not_declared_public_is_never_cached(agent: NumberedAgent) -> None:
    assert [agent.ask(sender, PERSONAL) for sender in ("ana", "ben")] == ["Reply 1", "Reply 2"]


def test_the_first_question_of_a_session_may_be_public(agent: NumberedAgent) -> None:
    """It counts as asked even if the cache answered it and the agent never saw it."""
    agent.cache = agent.build_cache(first=True)
    assert agent.ask("ana", "How are you?") == "Reply 1"
    assert agent.ask("ben", "How are you?") == "Reply 1"
    for sender in ("ana", "ben"):
        assert agent.sessions.privacy(sender) == SessionPrivacy.PUBLIC
        agent.ask(sender, PERSONAL)
        assert agent.sessions.privacy(sender) == SessionPrivacy.PRIVATE
    assert agent.asked == ["ana", "ana", "ben"]


def test_a_public_question_uses_up_being_the_first(agent: NumberedAgent) -> None:
    agent.cache = agent.build_cache(first=True)
    agent.ask("ana", "hello")
    agent.ask("ana", "How are you?")
    assert agent.sessions.privacy("ana") == SessionPrivacy.PRIVATE
    assert agent.ask("ben", "How are you?") == "Reply 3"


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
def test_only_ordinary_replies_are_cached(agent: NumberedAgent, reply: AgentReply) -> None:
    agent.reply = reply
    agent.ask("ana")
    agent.reply = AgentReply("Reply {}")
    assert agent.ask("ben") == "Reply 2"
    assert agent.ask("cleo") == "Reply 2"


@pytest.mark.parametrize(
    ("question", "privacy"),
    [(PERSONAL, SessionPrivacy.PRIVATE), (OPENING_HOURS, SessionPrivacy.PUBLIC)],
)
def test_a_question_is_recorded_before_the_agent_is_asked(
    agent: NumberedAgent, question: str, privacy: SessionPrivacy
) -> None:
    """So the record is complete if the process dies or the agent fails meanwhile."""

    def fail(sender: str) -> None:
        assert agent.sessions.privacy(sender) == privacy
        raise AgentFailed

    agent.meanwhile = fail
    with pytest.raises(AgentFailed):
        agent.ask("ana", question)
    assert agent.sessions.privacy("ana") == privacy
    agent.meanwhile = lambda sender: None
    assert agent.ask("ben") == "Reply 2"


def test_the_successor_of_a_forgotten_personal_session_is_personal(agent: NumberedAgent) -> None:
    """Agentforce reports that it forgot the session; the question is then asked in a new one."""

    def replace(sender: str) -> None:
        agent.sessions.delete(sender)
        agent.begin_sessions(sender)

    agent.meanwhile = replace
    agent.ask("ana", PERSONAL)
    agent.meanwhile = lambda sender: None
    assert agent.sessions.privacy("ana") == SessionPrivacy.PRIVATE
    agent.ask("ana")
    assert agent.ask("ben") == "Reply 3"


def test_a_sender_without_a_session_is_not_answered_from_the_cache(agent: NumberedAgent) -> None:
    agent.ask("ana")
    assert agent.ask("dora") == "Reply 2"


def test_the_agents_answer_is_returned_even_if_it_cannot_be_cached(
    agent: NumberedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("away"))

    def break_down(_: str) -> None:
        monkeypatch.setattr(agent.sessions, "raise_privacy", fail)
        monkeypatch.setattr(agent.answers, "save", fail)

    agent.meanwhile = break_down
    assert agent.ask("ana") == "Reply 1"
    with pytest.raises(StorageError):
        agent.ask("ben")
    assert agent.asked == ["ana"]


def test_sessions_count_as_personal_where_questions_are_not_recorded(
    agent: NumberedAgent, database: Database
) -> None:
    """As before the cache was enabled, or in an old process beside a new one."""
    unrecorded = AgentSessionTable(database=database)
    unrecorded.insert("eve", AgentSession("eve", START))
    assert (agent.sessions.privacy("eve"), agent.sessions.privacy("ana")) == (
        SessionPrivacy.PRIVATE,
        SessionPrivacy.EMPTY,
    )
    agent.sessions.mark_used("ana", AgentSession("ana", START))
    assert agent.sessions.privacy("ana") == SessionPrivacy.EMPTY
    unrecorded.mark_used("ana", AgentSession("ana", START))
    assert agent.sessions.privacy("ana") == SessionPrivacy.PRIVATE


def test_the_oldest_answers_beyond_the_limit_are_purged(database: Database, clock: Clock) -> None:
    answers = AnswerTable(database=database, lifetime=HOUR, max_answers=2)
    for key in "abca":
        clock.now += 1
        answers.save(key, key)
    answers.purge(before=START)
    assert [bool(answers.find(key)) for key in "abc"] == [True, False, True]
    assert answers.find("a") == StoredAnswer("a", 0.0)


@pytest.mark.parametrize(("lifetime", "before"), [(10.0, START - 1), (HOUR, START + 10)])
def test_answers_are_purged_after_their_lifetime_or_the_retention(
    database: Database, clock: Clock, lifetime: float, before: float
) -> None:
    answers = AnswerTable(database=database, lifetime=lifetime)
    answers.save("old", "old")
    clock.now += 11
    answers.save("new", "new")
    answers.purge(before=before)
    patient = AnswerTable(database=database, lifetime=HOUR)
    assert [bool(patient.find(key)) for key in ("old", "new")] == [False, True]
