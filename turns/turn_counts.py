"""Counts what became of each turn."""

from __future__ import annotations

import time

import structlog

from core.errors import BridgeError
from core.models import Answer, Kind, Outcome, Turn
from metrics import Metrics

log = structlog.get_logger(__name__)

UNKNOWN_LANGUAGE = "unknown"


def count_text_sent(metrics: Metrics, turn: Turn, answer: Answer, *, sending: float) -> None:
    """Count a turn whose text was just sent, which took ``sending`` seconds; log its time.

    The times are those of the agent's answers only: commands and apologies are quicker.
    """
    total = time.time() - turn.message.received_at
    log.info(f"⏱️ Total processing time: {total:.2f}s")
    if answer.outcome is Outcome.APOLOGY:
        count_unanswered(metrics, turn)
        return
    _count_kind(metrics, turn, answer.outcome)
    metrics.count("turns_answered")
    if answer.outcome is not Outcome.ANSWER:
        return
    metrics.note("answered")
    metrics.record_time("total_time", total)
    metrics.record_time("overhead_time", total - answer.waited - sending)
    metrics.count_label("languages", answer.language or UNKNOWN_LANGUAGE)
    if turn.message.kind is not Kind.VOICE:
        metrics.note("text answered")
        metrics.record_time("text_turn_time", total)
    else:
        metrics.note("voice answered")
        if not answer.aloud:
            metrics.record_time("voice_turn_time", total)


def count_voice_sent(metrics: Metrics, turn: Turn, answer: Answer) -> None:
    """Count a voice note that was just sent."""
    metrics.count("voice_notes_sent")
    metrics.note("voice sent")
    if turn.message.kind is Kind.VOICE and answer.outcome is Outcome.ANSWER:
        metrics.record_time("voice_turn_time", time.time() - turn.message.received_at)


def count_unanswered(metrics: Metrics, turn: Turn) -> None:
    """Count a turn that ended with an apology, or with nothing."""
    _count_kind(metrics, turn, Outcome.APOLOGY)
    metrics.count("turns_failed")


def count_turn_error(metrics: Metrics, error: Exception) -> None:
    """Count the error because of which a turn has no answer."""
    metrics.count_error(error)
    if not (isinstance(error, BridgeError) and error.by_sender):
        metrics.note("turn failed")


def _count_kind(metrics: Metrics, turn: Turn, outcome: Outcome) -> None:
    if outcome is Outcome.COMMAND:
        metrics.count("commands")
    elif turn.message.kind is Kind.VOICE:
        metrics.count("voice_turns")
    elif turn.message.kind is not Kind.UNSUPPORTED:
        metrics.count("text_turns")
