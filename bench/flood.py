"""How much strangers' requests slow signed ones down: ``python -m bench.flood``.

Signed texts come at a steady rate, now alone, now beside a flood. Of forged ones each figure is the
median of so many runs, and what counts is their ratio; of costly ones (``bench.hostile``) there is
one run each, on a service of its own. ``--quick`` measures once and shortly. Nothing is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench import hostile
from bench.arrivals import Answers, Arrivals
from bench.forgers import Flood
from bench.hostile import Requests
from bench.site import Site, one_process
from bench.table import Row, Table, median_of
from sandbox.twilio.webhook import sign

# Signed and forged requests a second.
SIGNED_RATE = 20
FORGED_RATE = 1000
# A fifth.
MARK = 120

COSTLY_RATE = 50
COSTLY: Mapping[str, Requests] = {
    "lengths with leading zeros": hostile.PADDED_LENGTHS,
    "blanks in headers": hostile.RUNS_OF_BLANKS,
    "large bodies": hostile.COSTLY_BODIES,
}
COSTLY_MARK_MS = 300

_COLUMNS = ("p50 ms", "p95 ms", "p50 % of alone", "p95 % of alone", "refused/s")


def forged(site: Site) -> bytes:
    """A message whose signature has the right form, as whoever read Twilio's documents sends it."""
    form = site.sandbox.twilio.forms.text(site.users[0], "hello")
    body = urlencode(form).encode()
    head = [
        "POST / HTTP/1.1",
        f"Host: {urlsplit(site.url).netloc}",
        "Content-Type: application/x-www-form-urlencoded",
        f"X-Twilio-Signature: {sign(f'{site.url}/', form, 'a guess')}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def slowdown(site: Site, arrivals: Arrivals, seconds: float) -> Table:
    """Signed texts alone, beside a flood on kept connections, beside one that always connects."""
    rows: dict[str, Row] = {}
    alone = _answered(site, arrivals, seconds)
    rows["alone"] = _row(alone, alone, 0)
    for label, kept_alive in (("connections kept", True), ("new connections", False)):
        port = urlsplit(site.url).port or 0
        flood = Flood(port=port, requests=[forged(site)], rate=FORGED_RATE, kept_alive=kept_alive)
        with flood.rising():
            before = flood.refused
            beside = _answered(site, arrivals, seconds)
            rows[label] = _row(beside, alone, (flood.refused - before) / seconds)
    title = f"{SIGNED_RATE} signed texts a second beside {FORGED_RATE} forged ones"
    return Table(title, _COLUMNS, rows)


def beside_costly(site: Site, arrivals: Arrivals, requests: Requests, seconds: float) -> Row:
    """Signed texts beside requests that cost a server much; ``inf`` where one is not answered."""
    port = urlsplit(site.url).port or 0
    texts = site.texts(round(SIGNED_RATE * seconds))
    with Flood(port=port, requests=requests, rate=COSTLY_RATE, held=True).rising():
        found = arrivals.post(site.url, texts, SIGNED_RATE).result()
    return tuple(found.percentile(percent) * 1000 for percent in (50, 95, 99))


def costly(folder: Path, arrivals: Arrivals, seconds: float) -> Table:
    """Each kind beside a service of its own: what it holds up stays so for a while."""
    rows: dict[str, Row] = {}
    for label, requests in COSTLY.items():
        with one_process(folder) as site:
            _answered(site, arrivals, len(site.users) / SIGNED_RATE)
            rows[label] = beside_costly(site, arrivals, requests, seconds)
    title = f"{SIGNED_RATE} signed texts a second beside {COSTLY_RATE} costly requests"
    return Table(title, ("p50 ms", "p95 ms", "p99 ms"), rows)


def _answered(site: Site, arrivals: Arrivals, seconds: float) -> Answers:
    answers = arrivals.post(site.url, site.texts(round(SIGNED_RATE * seconds)), SIGNED_RATE)
    found = answers.result()
    site.wait_until_done()
    return found


def _row(answers: Answers, alone: Answers, refused: float) -> Row:
    times = [answers.percentile(percent) for percent in (50, 95)]
    before = [alone.percentile(percent) for percent in (50, 95)]
    ratios = [100 * time / other for time, other in zip(times, before, strict=True)]
    return (*(time * 1000 for time in times), *ratios, refused)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="once, and shortly")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    runs, seconds = (1, 2.0) if given.quick else (given.runs, 5.0)
    arrivals = Arrivals()
    with tempfile.TemporaryDirectory() as folder, one_process(Path(folder)) as site:
        # Everybody gets their session, and every pool its threads.
        _answered(site, arrivals, len(site.users) / SIGNED_RATE)
        found = median_of([slowdown(site, arrivals, seconds) for _ in range(runs)])
    print(found)
    worst = max(row[2] for row in found.rows.values())
    print(f"At most {MARK} % at p50: {'met' if worst <= MARK else 'not met'}.")
    with tempfile.TemporaryDirectory() as folder:
        found = costly(Path(folder), arrivals, seconds)
    arrivals.close()
    print(found)
    worst = max(row[-1] for row in found.rows.values())
    print(f"At most {COSTLY_MARK_MS} ms at p99: {'met' if worst <= COSTLY_MARK_MS else 'not met'}.")


if __name__ == "__main__":
    main()
