"""How long a turn waits for a worker that has nothing else to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from bench.arrivals import Arrivals
from bench.site import Site, many_processes, one_process, wait_until
from bench.table import Row, Table
from sandbox.faults import Fault
from sandbox.postgres import Postgres

# How long the first of two questions takes, so that the second surely waits for it.
FIRST_SECONDS = 0.2


def pickup(messages: int, folder: Path, server: Postgres, arrivals: Arrivals) -> Table:
    """One message at a time to an idle bridge, then ``messages`` pairs of one sender."""
    rows: dict[str, Row] = {}
    with one_process(folder) as site:
        rows |= _waits("SQLite", site, messages, arrivals)
    with many_processes(folder, server, workers=2) as site:
        rows |= _waits("PostgreSQL", site, messages, arrivals)
    return Table("Pick-up", ("p50 ms", "p95 ms"), rows)


def _waits(label: str, site: Site, messages: int, arrivals: Arrivals) -> dict[str, Row]:
    for text in site.texts(messages):
        arrivals.post(site.url, [text], 1).result()
        site.wait_until_done()
    # Workers report every two seconds.
    wait_until(lambda: site.figures()["queue_time"]["count"] >= messages)
    queue_time = site.figures()["queue_time"]
    return {
        f"{label}: webhook until the turn begins": (
            queue_time["p50"] * 1000,
            queue_time["p95"] * 1000,
        ),
        f"{label}: first answer until the next question": _percentiles(_gaps(site, messages)),
    }


def _gaps(site: Site, pairs: int) -> list[float]:
    return [_gap(site, user) for user in site.users[:pairs]]


def _gap(site: Site, user: str) -> float:
    """Seconds from a sender's first answer at Twilio until the agent is asked the second."""
    twilio, recorder = site.sandbox.twilio, site.sandbox.recorder
    asked, answered = len(recorder.calls("agentforce", "ask")), len(twilio.messages(user))
    site.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=FIRST_SECONDS))
    for _ in range(2):
        twilio.say(user, "hello")
    first = twilio.wait_for_messages(user, answered + 2)[answered]
    return recorder.calls("agentforce", "ask")[asked + 1].at - first.at


def _percentiles(seconds: Sequence[float]) -> Row:
    cuts = quantiles(seconds, n=20, method="inclusive")
    return cuts[9] * 1000, cuts[18] * 1000
