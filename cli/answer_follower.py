"""Waits for the answer to a message, and says how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cli.own_sentences import failed_stage, is_interim
from cli.progress import Progress, explain
from cli.sent_messages import SentMessage
from whatsapp.error_codes import TRANSIENT, UNPLAYABLE

POLL_SECONDS = 0.5
# So long after the text a voice note is waited for, which may never come: see VOICE_REPLIES.
VOICE_SECONDS = 60.0
# So long after a message was listed the next one is waited for: a long text comes in several, which
# the service sends one after the other.
QUIET_SECONDS = 3.0
# So long after an error was counted an apology is waited for.
APOLOGY_SECONDS = 10.0
# With several processes, what one has counted is shown up to two seconds later.
REPORT_SECONDS = 3.0


@dataclass(frozen=True)
class Outcome:
    """How it ended, in a sentence or two. ``good``: the answer was delivered."""

    good: bool
    sentence: str


class AnswerFollower:
    """``expects_voice``: the answer is to be spoken too."""

    def __init__(self, *, progress: Progress, expects_voice: bool) -> None:
        self._progress = progress
        self._expects_voice = expects_voice

    def follow(self, seconds: float) -> Outcome:
        """Wait until the answer is delivered, or something failed, or ``seconds`` are over."""
        while True:
            self._progress.look()
            outcome = self._judge()
            if outcome:
                return outcome
            if self._progress.elapsed() > seconds:
                return self._give_up(seconds)
            time.sleep(POLL_SECONDS)

    def _judge(self) -> Outcome | None:
        """How it ended; ``None`` if more is to come."""
        texts = [each for each in self._messages if not each.spoken and not is_interim(each.text)]
        if not texts:
            return self._judge_silence()
        for text in texts:
            if stage := failed_stage(text.text):
                return self._failed_at(stage)
        for message in self._messages:
            if message.undelivered and not self._comes_again(message):
                kind = "voice note" if message.spoken else "text"
                sentence = f"{self._answered()}, {kind} not delivered: {explain(message)}."
                return Outcome(False, sentence)
        if self._expects_voice and not any(each.spoken for each in self._messages):
            return self._judge_missing_voice()
        if any(map(self._is_pending, self._messages)):
            return None
        is_quiet = self._progress.since_last_message() >= QUIET_SECONDS
        return self._success() if is_quiet else None

    def _judge_silence(self) -> Outcome | None:
        """The same while there is no answer: it may be known that none will come."""
        counters = self._progress.figures.counters
        if counters["messages_limited"] and not counters["messages_received"]:
            return self._failure(
                "Not accepted: a limit for senders is used up, or ALLOWED_SENDERS does not have "
                "this phone. The service says so once, and then nothing."
            )
        alone = self._progress.figures.of_one_message
        if alone and self._seconds_since("error") > APOLOGY_SECONDS:
            return self._failure("No answer was sent.")
        return None

    def _judge_missing_voice(self) -> Outcome | None:
        if self._progress.figures.counters["voice_notes_failed"]:
            return self._failure(f"{self._answered()}, but not spoken.")
        if self._seconds_since("text") > VOICE_SECONDS:
            return self._failure(f"{self._answered()}, but no voice note came; see VOICE_REPLIES.")
        return None

    def _success(self) -> Outcome:
        voice = self._progress.first_seen("voice note")
        note = f", voice note after {voice:.1f} s" if voice else ""
        return Outcome(True, f"{self._answered()}{note}, delivered.")

    def _failed_at(self, stage: str) -> Outcome | None:
        is_counted = bool(self._progress.figures.errors) or not self._progress.shows_figures
        if not is_counted and self._seconds_since("text") < REPORT_SECONDS:
            return None
        return self._failure(f"Failed at: {stage}.")

    def _failure(self, sentence: str) -> Outcome:
        errors = self._progress.figures.describe_errors()
        counted = f" The service counted {'; '.join(errors)}." if errors else ""
        return Outcome(False, f"{sentence}{counted}")

    def _give_up(self, seconds: float) -> Outcome:
        if self._progress.first_seen("text") is None:
            return self._failure(f"No answer within {seconds:g} s; the service's log says why.")
        if self._expects_voice and self._progress.first_seen("voice note") is None:
            return self._failure(f"{self._answered()}, but not spoken within {seconds:g} s.")
        if not any(map(self._is_pending, self._messages)):
            return self._success()
        return self._failure(
            f"{self._answered()}, but not delivered within {seconds:g} s. Is the phone on?"
        )

    @property
    def _messages(self) -> list[SentMessage]:
        return self._progress.messages

    def _is_pending(self, message: SentMessage) -> bool:
        return not message.delivered and message is self._tries(message)[-1]

    def _comes_again(self, message: SentMessage) -> bool:
        """Whether the service sends an undelivered message once more, or has done so."""
        return message is self._tries(message)[0] and message.code in (*UNPLAYABLE, *TRANSIENT)

    def _tries(self, message: SentMessage) -> list[SentMessage]:
        """The message and its second try, in their order."""
        return [
            each
            for each in self._messages
            if (each.spoken, each.text) == (message.spoken, message.text)
        ]

    def _seconds_since(self, about: str) -> float:
        seen = self._progress.first_seen(about)
        return 0.0 if seen is None else self._progress.elapsed() - seen

    def _answered(self) -> str:
        """``Answered in 3.1 s``, as the service measured it, or else as it was seen here."""
        figures = self._progress.figures
        measured = figures.time("total_time") if figures.of_one_message else None
        seconds = measured or self._progress.first_seen("text") or self._progress.elapsed()
        return f"Answered in {seconds:.1f} s"
