"""A service that serves the dashboard with made-up figures."""

from __future__ import annotations

import math
import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, render_template, request
from werkzeug.serving import make_server

from web.pages import POLICY

Json = dict[str, Any]

# Tuesday, 24 November 2026, 13:07:30 UTC.
NOW = 1795525650.0
GUIDE = "https://example.com/docs/first-bad-day.md"
STEPS = {"hour": (60, 60), "day": (900, 96), "week": (7200, 84)}
NO_LATENCY = {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0}


class FakeDashboard:
    """What ``/dashboard/state`` and ``/dashboard/history`` answer; ``asked`` are the windows."""

    def __init__(self) -> None:
        self.state: Json = state()
        self.histories: dict[str, Json] = {}
        self.asked: list[str] = []
        self.status = 200
        self.url = ""

    def show(self, state: Json, rate: float = 0.0) -> None:
        """Shows ``state``, and for each window a history of ``rate`` messages an hour."""
        self.state, self.status = state, 200
        self.histories = {window: history(window, rate) for window in STEPS}

    def page(self) -> Response:
        nonce = secrets.token_urlsafe(8)
        page = render_template("dashboard.html", nonce=nonce, release="v12")
        return Response(page, headers={"Content-Security-Policy": POLICY.format(nonce=nonce)})

    def answer_state(self) -> tuple[Json, int]:
        return self.state, self.status

    def answer_history(self) -> tuple[Json, int]:
        self.asked.append(request.args["window"])
        return self.histories.get(request.args["window"], {}), self.status


@contextmanager
def serve() -> Iterator[FakeDashboard]:
    """A running service; it stops at the end."""
    fake = FakeDashboard()
    app = Flask("fake", root_path=".", static_folder=None, template_folder="web/dashboard")
    app.add_url_rule("/dashboard", view_func=fake.page)
    app.add_url_rule("/dashboard/state", view_func=fake.answer_state)
    app.add_url_rule("/dashboard/history", view_func=fake.answer_history)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/dashboard"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def verdict(level: str, title: str, detail: str = "", link: str = "") -> Json:
    return {"level": level, "title": title, "detail": detail, "link": link}


def provider(name: str, title: str, state: str = "working", **changes: object) -> Json:
    used = state != "unused"
    return {
        "name": name,
        "title": title,
        "state": state,
        "last_success_at": NOW - 12 if used else None,
        "last_failure_at": None,
        "error": "",
        "advice": "",
        "link": f"https://status.example.com/{name}",
    } | changes


def providers(**changes: Json) -> list[Json]:
    titles = {"twilio": "Twilio", "salesforce": "Salesforce", "elevenlabs": "ElevenLabs"}
    return [provider(name, title, **changes.get(name, {})) for name, title in titles.items()]


def error(name: str, count: int, age: float, advice: str) -> Json:
    link = f"{GUIDE}#{name.lower()}"
    return {"name": name, "count": count, "last_at": NOW - age, "advice": advice, "link": link}


def checklist(*, done: bool = True, failed: bool = False) -> Json:
    results = [
        ("twilio_account", "Twilio account", "ok", "The account is active.", ""),
        ("webhook", "Webhook address", "ok", "Twilio posts to this service.", ""),
        ("salesforce_token", "Salesforce token", "ok", "A token with all scopes.", ""),
        ("speech_key", "ElevenLabs key", "ok", "It may transcribe and speak.", ""),
        ("opus", "Opus", "skipped", "The plan is not known yet.", ""),
    ]
    if failed:
        hint = "Copy the consumer secret again: Setup → External Client App Manager → Settings."
        results[2] = (*results[2][:2], "failed", "Salesforce refuses the secret.", hint)
        results[3] = (*results[3][:2], "warning", "The key may not transcribe.", "Edit the key.")
    titles = ["A message came in", "A text was answered", "A voice note was answered"]
    fields = ("name", "title", "state", "finding", "hint")
    return {
        "checked_at": NOW - 3600,
        "results": [dict(zip(fields, each, strict=True)) for each in results],
        "firsts": [{"title": each, "at": NOW - 86400 if done else None} for each in titles],
    }


def health(**changes: object) -> Json:
    return {
        "healthy": True,
        "database": True,
        "workers": 2,
        "waiting": 0,
        "running": 1,
        "oldest_waiting": 0.0,
        "clouds_down": [],
    } | changes


def state(**changes: object) -> Json:
    """A service that does well, but for ``changes``."""
    return {
        "now": NOW,
        "release": "v12",
        "uptime": 90000.0,
        "verdict": verdict("good", "Messages are answered"),
        "health": health(),
        "last_message_at": NOW - 10,
        "last_answer_at": NOW - 4,
        "providers": providers(),
        "refused_webhooks": {
            "count": 0,
            "last_at": None,
            "is_over": True,
            "expected_url": "https://bot.example/",
        },
        "errors": [],
        "delivery_errors": [],
        "checklist": checklist(),
    } | changes


def amber() -> Json:
    """ElevenLabs refuses the key; texts are answered."""
    refused = {
        "state": "refused",
        "last_success_at": NOW - 7300,
        "last_failure_at": NOW - 42,
        "error": "SpeechRefused",
        "advice": "The key, its permissions or the plan do not allow it.",
    }
    advice = "The key, its permissions or the plan do not allow it."
    return state(
        verdict=verdict(
            "warn",
            "ElevenLabs refuses our credentials",
            "Voice notes cannot be understood; texts are answered.",
            f"{GUIDE}#credentials",
        ),
        providers=providers(elevenlabs=refused),
        errors=[error("SpeechRefused", 4, 42, advice)],
        delivery_errors=[
            {
                "code": "63016",
                "count": 1,
                "last_at": NOW - 700,
                "advice": "The sender wrote more than 24 hours ago.",
                "link": "https://www.twilio.com/docs/api/errors/63016",
            }
        ],
    )


def red() -> Json:
    """Nobody is answered: Salesforce refuses the secret, and webhooks are refused."""
    refused = {
        "state": "refused",
        "last_success_at": None,
        "last_failure_at": NOW - 8,
        "error": "AgentMisconfigured",
        "advice": "Salesforce does not take the consumer key and secret.",
    }
    down = {
        "state": "down",
        "last_success_at": NOW - 900,
        "last_failure_at": NOW - 3,
        "error": "SendUnreachable",
        "advice": "No connection; see the status page.",
    }
    return state(
        verdict=verdict(
            "bad",
            "Nobody is answered",
            "Each of the last 57 messages got an apology, because Salesforce refuses our secret.",
            f"{GUIDE}#nobody-is-answered",
        ),
        last_message_at=NOW - 70,
        last_answer_at=None,
        providers=providers(salesforce=refused, twilio=down, elevenlabs={"state": "unused"}),
        refused_webhooks={
            "count": 3,
            "last_at": NOW - 61,
            "is_over": False,
            "expected_url": "https://my-very-long-application-name-0123456789.herokuapp.com/",
        },
        errors=[error("AgentMisconfigured", 57, 8, "Salesforce refuses key or secret.")],
        checklist=checklist(done=False, failed=True),
        health=health(waiting=12, running=2, oldest_waiting=14.2),
    )


def ready() -> Json:
    """A first start: nothing has come yet."""
    return state(
        verdict=verdict("good", "Ready", "No message has come yet. Write one from your phone."),
        last_message_at=None,
        last_answer_at=None,
        providers=providers(**{name: {"state": "unused"} for name in ("twilio", "elevenlabs")}),
        checklist=checklist(done=False),
        health=health(running=0, workers=1),
        uptime=40.0,
    )


def history(window: str, rate: float = 0.0) -> Json:
    """``rate`` messages an hour at noon, fewer at night; 0 is a history without anything."""
    step, slots = STEPS[window]
    end = (NOW // step + 1) * step
    dice = random.Random(19)
    points = [_point(end - back * step, step, rate, dice) for back in range(slots, 0, -1)]
    return {
        "window": window,
        "from": points[0]["at"],
        "to": end,
        "step": step,
        "points": points,
        "total": _total(points),
        "costs": _costs(points, priced=window != "hour"),
    }


def _point(at: float, step: float, rate: float, dice: random.Random) -> Json:
    daylight = max(0.0, math.sin(math.pi * ((at / 3600) % 24 - 5) / 16))
    messages = round(rate * step / 3600 * daylight * dice.uniform(0.5, 1.3))
    voice_notes, commands = round(0.3 * messages), int(messages > 8)
    failed = round(0.15 * messages) if dice.random() < 0.15 else 0
    load = dice.uniform(1, 1.4)
    texts = messages - voice_notes - commands
    return {
        "at": at,
        "messages": messages,
        "texts": texts,
        "voice_notes": voice_notes,
        "commands": commands,
        "answered": messages - failed,
        "failed": failed,
        "text_latency": _latency(texts, 2.4 * load),
        "voice_latency": _latency(voice_notes, 4.3 * load),
        "waiting": messages // 9,
        "running": min(messages, 1 + messages // 4),
        "workers": 0 if not rate else 2,
    }


def _latency(count: int, median: float) -> Json:
    if not count:
        return NO_LATENCY
    return {"count": count, "p50": median, "p95": 1.5 * median, "p99": 1.9 * median}


def _total(points: list[Json]) -> Json:
    counted = ("messages", "texts", "voice_notes", "commands", "answered", "failed")
    total: Json = {name: sum(point[name] for point in points) for name in counted}
    total |= {
        "text_latency": _latency(total["texts"], 2.44),
        "voice_latency": _latency(total["voice_notes"], 4.31),
        "stages": [],
        "failures": [],
        "deliveries": dict.fromkeys(("delivered", "read", "undelivered", "failed"), 0),
        "delivery_errors": [],
        "languages": [],
        "caches": dict.fromkeys(CACHES, 0),
        "limits": [],
    }
    return total | _details(total) if total["messages"] else total


CACHES = (
    "speech_characters_saved",
    "speech_characters",
    "speech_hits",
    "speech_misses",
    "answer_hits",
    "answer_misses",
)
# Name, title, begin, median, share and whether nobody waits for it.
STAGES = (
    ("queue_time", "Queue", 0.0, 0.004, 0.001, False),
    ("session_time", "Session", 0.004, 0.82, 0.0, True),
    ("download_time", "Download", 0.004, 0.46, 0.09, False),
    ("convert_time", "Conversion", 0.464, 0.03, 0.006, False),
    ("stt_time", "Transcription", 0.494, 1.25, 0.25, False),
    ("agentforce_time", "Agent", 1.744, 2.17, 0.43, False),
    ("send_time", "Text to Twilio", 3.914, 0.21, 0.04, False),
    ("tts_time", "Speech", 3.914, 1.0, 0.18, False),
)


def _details(total: Json) -> Json:
    return {
        "stages": [
            _latency(total["answered"], median)
            | {"name": name, "title": title, "begin": begin, "share": share, "beside": beside}
            for name, title, begin, median, share, beside in STAGES
        ],
        "failures": [
            error("AgentBusy", total["failed"], 0, "the limit of Agentforce"),
            error("SpeechRefused", 1, 0, "the key or the plan does not allow it"),
        ],
        "deliveries": {
            "delivered": 2 * total["answered"],
            "read": total["answered"],
            "undelivered": 2,
            "failed": 0,
        },
        "delivery_errors": [
            {"code": "63016", "count": 2, "advice": "More than 24 hours.", "link": GUIDE}
        ],
        "languages": [
            {"language": "en", "count": total["messages"] // 2},
            {"language": "ar", "count": total["messages"] // 3},
            {"language": "pt", "count": 3},
        ],
        "caches": dict(zip(CACHES, (8962, 750, 96, 8, 12, 60), strict=True)),
        "limits": [{"name": "agent_busy", "title": "Agentforce: too many requests", "count": 4}],
    }


def _costs(points: list[Json], *, priced: bool) -> Json:
    messages = sum(point["messages"] for point in points)
    if not messages:
        return {
            "currency": "USD",
            "lines": [],
            "total": None,
            "conversations": 0,
            "per_conversation": None,
        }
    amounts = [
        ("Speech", 9712, "credits", 1.23),
        ("Transcription", 5400.5, "seconds", 0.6),
        ("Questions", messages, "questions", 2 * messages / 10),
        ("Messages", 2 * messages, "messages", 2 * messages * 0.005),
    ]
    lines = [
        {"title": title, "amount": amount, "unit": unit, "cost": cost if priced else None}
        for title, amount, unit, cost in amounts
    ]
    total = sum(cost for *_, cost in amounts) if priced else None
    conversations = messages // 4 or 1
    return {
        "currency": "USD",
        "lines": lines,
        "total": total,
        "conversations": conversations,
        "per_conversation": total / conversations if total is not None else None,
    }
