"""Where the time of turns goes, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metrics import MetricsSnapshot


@dataclass(frozen=True)
class Stage:
    """``after`` names the stages that it waits for.

    ``beside``: it is mostly done before its turn needs it, so nothing waits for it.
    """

    name: str
    title: str
    after: tuple[str, ...] = ()
    beside: bool = False


# In the order of a turn.
TURN = (
    Stage("queue_time", "Queue"),
    Stage("session_time", "Session", ("queue_time",), beside=True),
    Stage("download_time", "Download", ("queue_time",)),
    Stage("convert_time", "Conversion", ("download_time",)),
    Stage("stt_time", "Transcription", ("convert_time",)),
    Stage("agentforce_time", "Agent", ("queue_time", "stt_time")),
    Stage("send_time", "Text to Twilio", ("agentforce_time",)),
    Stage("tts_time", "Speech", ("agentforce_time",)),
)


def stages(total: MetricsSnapshot) -> list[dict[str, Any]]:
    """The stages that were timed, with the begin (seconds) of each in a typical turn.

    ``share`` is the fraction of the time of all turns that a stage took; 0 for one that is done
    beside the others.
    """
    ends: dict[str, float] = {}
    found = []
    spent = sum(total.stages[stage.name].total for stage in TURN if not stage.beside)
    for stage in TURN:
        histogram = total.stages[stage.name]
        begin = max((ends[name] for name in stage.after), default=0.0)
        ends[stage.name] = begin + histogram.percentile(50)
        if histogram.count:
            found.append(
                {
                    "name": stage.name,
                    "title": stage.title,
                    "count": histogram.count,
                    "p50": histogram.percentile(50),
                    "p95": histogram.percentile(95),
                    "p99": histogram.percentile(99),
                    "share": 0.0 if stage.beside or not spent else histogram.total / spent,
                    "begin": begin,
                    "beside": stage.beside,
                }
            )
    return found
