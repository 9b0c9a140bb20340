"""One turn, top to bottom: what a sender said, what the agent answers, what the sender gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from functools import partial

import structlog
from cachetools import LRUCache

from core.deadline import Deadline, remaining_time
from core.errors import (
    AgentUnavailable,
    BridgeError,
    DeadlineExceeded,
    SendError,
    SendRefused,
    TurnSuperseded,
)
from core.models import AgentReply, AgentSession, Answer, Inbound, Kind, Preferences, Turn
from core.settings import Settings
from media import VoiceNoteLoader
from metrics import Metrics
from speech.elevenlabs import Speech
from speech.synthesis import Reply, StreamingSynthesis
from storage.claims import Claims
from storage.store import STALE_SECONDS, Store, StoreError
from text.markdown import paragraphs, to_whatsapp
from text.phrases import Command, Phrases
from turns.agent_sessions import AgentSessions
from turns.answer_cache import AnswerCache
from turns.notices import Notices
from turns.prewarming import Prewarmer
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery

log = structlog.get_logger(__name__)


# What runs into the deadline itself knows better what to say.
GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Question:
    """What to ask the agent, in which language (ISO 639-1), and whether it was spoken.

    ``waited`` is how long the turn has waited for providers so far, in seconds.
    """

    text: str
    language: str | None
    spoken: bool = False
    waited: float = 0.0


class Pipeline:
    """Runs turns; one of a sender at a time."""

    def __init__(
        self,
        *,
        whatsapp: WhatsApp,
        delivery: Delivery,
        claims: Claims,
        sessions: AgentSessions,
        answer_cache: AnswerCache,
        prewarmer: Prewarmer,
        voice_note_loader: VoiceNoteLoader,
        speech: Speech,
        synthesis_of: Callable[[str | None], StreamingSynthesis],
        phrases: Phrases,
        notices: Notices,
        store: Store,
        metrics: Metrics,
        settings: Settings,
        answers: Executor,
        background: Executor,
    ) -> None:
        self._whatsapp = whatsapp
        self._delivery = delivery
        self._claims = claims
        self._sessions = sessions
        self._answer_cache = answer_cache
        self._prewarmer = prewarmer
        self._voice_note_loader = voice_note_loader
        self._speech = speech
        # Begins the voice note of an answer in that language.
        self._synthesis_of = synthesis_of
        self._phrases = phrases
        self._notices = notices
        self._store = store
        self._metrics = metrics
        self._settings = settings
        # Threads of their own, so that no turn waits for a thread that waits for a turn.
        self._answers = answers
        self._background = background
        # What was heard in turns that the database then holds up: nobody pays for that again.
        self._heard: LRUCache[int, Question] = LRUCache(settings.TURN_THREADS)

    def answer(self, turn: Turn) -> Reply | None:
        """What to send: the agent's answer, or an apology; ``None`` where nothing is to be said.

        Raises ``StoreError`` before the agent was asked.
        """
        self._metrics.record_time("queue_time", time.time() - turn.message.received_at)
        if turn.message.kind is Kind.SILENT:
            log.info("Nothing to answer")
            return None
        self._background.submit(self._whatsapp.show_typing, turn.message.sid)
        deadline = Deadline(self._settings.TURN_DEADLINE)
        with deadline.applied():
            reply = self._answers.submit(self._answer, turn)
        try:
            return self._awaited(turn, reply, deadline)
        except (StoreError, TurnSuperseded):
            raise
        except Exception as error:
            self._metrics.count("turns_failed")
            self._metrics.count_error(error)
            self._log_failure("❌ Turn failed", error)
            phrase = error.phrase if isinstance(error, BridgeError) else BridgeError.phrase
            return Reply(self._notices.answer(turn.message.sender, phrase))

    def deliver(self, turn: Turn, reply: Reply) -> None:
        """Send the answer; where a former attempt began that, go on where it was.

        Raises ``StoreError`` or ``SendError``; then it is to be called again.
        """
        try:
            self._send(turn, reply)
        except SendError as error:
            self._metrics.count_error(error)
            if not self._is_final(turn, error):
                raise
            self._log_failure("❌ Answer not sent", error)
            self._send_line(turn, "apology", "failed")

    def apologise(self, turn: Turn, error: Exception) -> None:
        """Tell the sender that something went wrong, the operator what. Raises ``StoreError``."""
        self._metrics.count("turns_failed")
        self._metrics.count_error(error)
        self._log_failure("❌ Turn failed", error)
        self._send_line(turn, "apology", "failed")

    def was_sent(self, turn: Turn) -> bool:
        """Whether the answer, or its beginning, is known to be sent. Raises ``StoreError``."""
        return self._delivery.text_sent(turn)

    def _is_final(self, turn: Turn, error: SendError) -> bool:
        """Whether sending again is of no use: Twilio said no, or it has got too late."""
        late = time.time() - turn.message.received_at > STALE_SECONDS
        return late or isinstance(error, SendRefused)

    def _awaited(self, turn: Turn, reply: Future[Reply], deadline: Deadline) -> Reply:
        """The reply, with a word to the sender if it takes long, within the deadline."""
        patience = self._settings.STILL_WORKING_AFTER
        waited = time.time() - turn.message.received_at
        # A turn that begins late may be done in a moment nevertheless.
        quiet = max(patience - waited, patience / 4)
        wait([reply], timeout=min(quiet, deadline.remaining() + GRACE_SECONDS))
        if not reply.done() and deadline.remaining():
            self._say_still_working(turn)
        wait([reply], timeout=deadline.remaining() + GRACE_SECONDS)
        if not reply.done():
            # Whatever holds it has a limit of its own; nobody waits for that.
            reply.cancel()
            raise DeadlineExceeded
        return reply.result()

    def _say_still_working(self, turn: Turn) -> None:
        try:
            if self._send_line(turn, "notice", "still_working"):
                self._metrics.count("still_working_sent")
        except StoreError as error:
            # The agent is being asked; whatever happens, nobody must begin that anew.
            log.warning("Sender could not be told", error=type(error).__name__)

    def _answer(self, turn: Turn) -> Reply:
        message = turn.message
        if message.kind is Kind.UNSUPPORTED:
            return Reply(self._notices.answer(message.sender, "unsupported"))
        session = self._prewarmer.prewarm(message.sender)
        known = self._store.preferences(message.sender)
        question = self._heard.get(turn.id) or self._question(message, known.language)
        self._heard[turn.id] = question
        self._remember(message.sender, question.language, known)
        command = self._phrases.command(question.text)
        if command:
            # A new conversation may have begun elsewhere meanwhile.
            self._claims.confirm(turn)
            return Reply(self._obey(command, message, question, session))
        aloud = self._speaks(question, known.voice)
        ready = time.monotonic()
        agent_session = _started(session)
        synthesis = self._synthesis_of(question.language) if aloud else None
        ask = partial(self._asked, turn, agent_session, question.text, synthesis)
        reply = self._answer_cache.ask(message.sender, question.text, question.language, ask)
        self._heard.pop(turn.id, None)
        waited = question.waited + time.monotonic() - ready
        answer = self._worded(question, reply, aloud=aloud, waited=waited)
        if synthesis:
            synthesis.finish(answer.aloud)
        return Reply(answer, synthesis)

    def _asked(
        self, turn: Turn, session: AgentSession, text: str, synthesis: StreamingSynthesis | None
    ) -> AgentReply:
        """The agent's answer; while it is written it is spoken."""
        self._claims.confirm(turn)
        self._claims.mark_asked(turn)
        started = time.monotonic()
        try:
            reply = self._sessions.ask(turn.message.sender, session, text, synthesis)
        except Exception:
            if synthesis:
                synthesis.discard()
            raise
        self._log_stage("agentforce_time", "Agentforce", time.monotonic() - started)
        return reply

    def _question(self, message: Inbound, known: str | None) -> Question:
        if message.kind is Kind.VOICE:
            self._metrics.count("voice_notes_received")
            return self._hear(message, known)
        if message.kind is Kind.LOCATION:
            return Question(self._phrases.translate("location", known, place=message.text), known)
        return Question(message.text, self._phrases.detect_language(message.text, known))

    def _remember(self, sender: str, language: str | None, known: Preferences) -> None:
        """Note the language if it is another, or if the note would get too old to be kept."""
        renewed_after = self._settings.RETENTION_HOURS * 3600 / 10
        if language and (language != known.language or time.time() - known.used_at > renewed_after):
            self._store.remember_language(sender, language)

    def _hear(self, message: Inbound, known: str | None) -> Question:
        recording = self._voice_note_loader.load(message.media_url)
        self._log_stage("download_time", "Download", recording.download_time)
        self._metrics.record_time("convert_time", recording.convert_time)
        started = time.monotonic()
        transcript = self._speech.transcribe(recording.pcm)
        stt_time = time.monotonic() - started
        self._log_stage("stt_time", "STT", stt_time)
        return Question(
            text=transcript.text,
            language=transcript.language or known,
            spoken=True,
            waited=recording.download_time + stt_time,
        )

    def _obey(
        self, command: Command, message: Inbound, question: Question, session: Future[AgentSession]
    ) -> Answer:
        said: str = command
        if command == "new_conversation":
            # The session being warmed may be the one to end.
            session.exception()
            self._sessions.end(message.sender, "UserRequest")
        elif command == "voice_on" and self._settings.VOICE_REPLIES == "never":
            said = "voice_unavailable"
        else:
            self._store.prefer_voice(message.sender, command == "voice_on")
        return Answer(self._phrases.translate(said, question.language), question.language)

    def _worded(
        self, question: Question, reply: AgentReply, *, aloud: bool, waited: float
    ) -> Answer:
        if reply.escalated:
            self._metrics.count("escalations")
            log.info("Agent hands over to a person")
        words = paragraphs([reply.text, *self._remarks(reply, question.language)])
        spoken = words if aloud else ""
        if question.spoken and self._settings.TRANSCRIPT_ECHO:
            words = paragraphs([f"🎤 _{question.text}_", words])
        return Answer(to_whatsapp(words), question.language, spoken, waited)

    def _remarks(self, reply: AgentReply, language: str | None) -> list[str]:
        """What has to be said beside, or in place of, the agent's own words."""
        keys = []
        if reply.escalated:
            keys.append("escalated")
        elif reply.ended:
            keys.append("session_ended")
        elif not reply.text:
            keys.append("action_failed" if reply.failed else "no_answer")
        return [self._phrases.translate(key, language) for key in keys]

    def _speaks(self, question: Question, ordered: bool | None) -> bool:
        policy = self._settings.VOICE_REPLIES
        if policy == "never":
            return False
        if ordered is not None:
            return ordered
        return policy == "always" or question.spoken

    def _send(self, turn: Turn, reply: Reply) -> None:
        started = time.time()
        self._delivery.send_text(turn, reply.answer.text)
        sent = time.time()
        self._metrics.count("turns_answered")
        total = sent - turn.message.received_at
        self._metrics.record_time("overhead_time", total - reply.answer.waited - (sent - started))
        self._log_stage("total_time", "Total processing", total)
        if reply.answer.aloud:
            self._speak(turn, reply)

    def _speak(self, turn: Turn, reply: Reply) -> None:
        """The text has arrived; a voice note that fails is for the operator to know only."""
        started = time.monotonic()
        try:
            if self._delivery.voice_sent(turn):
                return
            self._delivery.send_voice(turn, self._note(reply))
        except (StoreError, TurnSuperseded):
            raise
        except Exception as error:
            self._metrics.count("voice_notes_failed")
            self._metrics.count_error(error)
            self._log_failure("Voice note not sent", error)
            return
        self._metrics.count("voice_notes_sent")
        self._metrics.record_time("voice_reply_time", time.monotonic() - started)

    def _note(self, reply: Reply) -> bytes:
        """The voice note, in Ogg/Opus."""
        answer = reply.answer
        with Deadline(self._settings.TURN_DEADLINE).applied():
            synthesis = reply.synthesis
            if not synthesis:
                synthesis = self._synthesis_of(answer.language)
                synthesis.finish(answer.aloud)
            note = synthesis.voice_note()
        self._log_stage("tts_time", "TTS", time.monotonic() - synthesis.finished_at)
        return note

    def _send_line(self, turn: Turn, part: str, key: str) -> bool:
        """Send one of our own sentences beside the answer; whether Twilio took it."""
        try:
            line = self._notices.answer(turn.message.sender, key).text
            self._delivery.send_line(turn, part, line)
        except SendError as error:
            log.warning("Sender could not be told", line=key, error=str(error))
            return False
        return True

    def _log_stage(self, stage: str, name: str, seconds: float) -> None:
        """Record the time and write the line that operators match (docs/upgrading.md)."""
        self._metrics.record_time(stage, seconds)
        log.info(f"⏱️ {name} time: {seconds:.2f}s")

    def _log_failure(self, what: str, error: Exception) -> None:
        if isinstance(error, BridgeError):
            log.error(f"{what}: {type(error).__name__}: {error}")
        else:
            log.exception(f"{what} unexpectedly", error=type(error).__name__)


def _started(session: Future[AgentSession]) -> AgentSession:
    """The session, in time; fails with what kept it from starting."""
    try:
        return session.result(remaining_time())
    except TimeoutError:
        raise AgentUnavailable("no session in time") from None
