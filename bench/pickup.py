"""Pick-up latency: how long a turn waits for an idle worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from bench.load_generator import LoadGenerator
from bench.table import Row, Table
from bench.target import Target, single_process, wait_until, web_and_workers
from sandbox.faults import Fault
from sandbox.postgres import Postgres

# The agent takes this long for the first of two questions, so that the second has to wait for it.
FIRST_SECONDS = 0.2


def measure_pickup(
    messages: int, folder: Path, server: Postgres, load_generator: LoadGenerator
) -> Table:
    """Post single messages to an idle bridge, then ``messages`` pairs of the same sender."""
    rows: dict[str, Row] = {}
    with single_process(folder) as target:
        rows |= _rows("SQLite", target, messages, load_generator)
    with web_and_workers(folder, server, workers=2) as target:
        rows |= _rows("PostgreSQL", target, messages, load_generator)
    return Table("Pick-up", ("p50 ms", "p95 ms"), rows)


def _rows(
    label: str, target: Target, messages: int, load_generator: LoadGenerator
) -> dict[str, Row]:
    for text in target.texts(messages):
        load_generator.post(target.url, [text], 1).result()
        target.wait_until_idle()
    # Workers publish their metrics every two seconds.
    wait_until(lambda: target.metrics()["queue_time"]["count"] >= messages)
    queue_time = target.metrics()["queue_time"]
    gaps = [_gap_seconds(target, user) for user in target.users[:messages]]
    return {
        f"{label}: webhook until the turn begins": (
            queue_time["p50"] * 1000,
            queue_time["p95"] * 1000,
        ),
        f"{label}: first answer until the next question": _percentiles(gaps),
    }


def _gap_seconds(target: Target, user: str) -> float:
    """From when Twilio accepts a sender's first answer until the agent gets the second question."""
    twilio, recorder = target.sandbox.twilio, target.sandbox.recorder
    questions, answers = len(recorder.calls("agentforce", "ask")), len(twilio.messages(user))
    target.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=FIRST_SECONDS))
    for _ in range(2):
        twilio.say(user, "hello")
    first_answer = twilio.wait_for_messages(user, answers + 2)[answers]
    second_question = recorder.calls("agentforce", "ask")[questions + 1]
    return second_question.at - first_answer.at


def _percentiles(seconds: Sequence[float]) -> Row:
    """p50 and p95 in milliseconds."""
    cuts = quantiles(seconds, n=20, method="inclusive")
    return cuts[9] * 1000, cuts[18] * 1000
