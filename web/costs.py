"""What the turns of some time cost, by the prices of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.settings import Settings
from metrics import HOUR


def costs(counters: Mapping[str, int], settings: Settings) -> dict[str, Any]:
    """Amounts, and their costs as far as there is a price.

    ``total`` adds up what has a price; it is ``None`` if nothing has.
    """
    messages = counters["messages_received"] + counters["messages_sent"]
    conversations = counters["conversations"]
    credits, seconds = counters["speech_credits"], counters["transcribed_seconds"]
    lines = [
        _line("Speech", credits, "credits", credits / 1000, settings.PRICE_PER_1000_CREDITS),
        _line(
            "Transcription",
            seconds,
            "seconds",
            seconds / HOUR,
            settings.PRICE_PER_TRANSCRIBED_HOUR,
        ),
        _one("Questions", counters["questions_asked"], "questions", settings.PRICE_PER_QUESTION),
        _one("Conversations", conversations, "conversations", settings.PRICE_PER_CONVERSATION),
        _one("WhatsApp messages", messages, "messages", settings.PRICE_PER_MESSAGE),
    ]
    known = [line["cost"] for line in lines if line["cost"] is not None]
    total = sum(known) if known else None
    return {
        "currency": settings.CURRENCY,
        "lines": lines,
        "total": total,
        "conversations": conversations,
        "per_conversation": total / conversations if total is not None and conversations else None,
    }


def _one(title: str, amount: int, unit: str, price: float | None) -> dict[str, Any]:
    return _line(title, amount, unit, amount, price)


def _line(title: str, amount: int, unit: str, priced: float, price: float | None) -> dict[str, Any]:
    """``price`` is that of one of ``priced``."""
    cost = None if price is None else priced * price
    return {"title": title, "amount": amount, "unit": unit, "cost": cost}
