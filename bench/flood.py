"""How much a flood of unsigned requests slows signed webhooks: ``python -m bench.flood``.

Signed texts arrive at a steady rate, first alone, then during a flood. For forged requests the
figures are medians of several runs, and the ratios are what counts. Expensive requests
(``bench.hostile``) are measured once each, with a new service for each kind. ``--quick`` measures
once and for a shorter time. Nothing is written to a file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench import hostile
from bench.flood_client import Flood
from bench.hostile import Requests
from bench.load_generator import LoadGenerator, ResponseTimes
from bench.table import Row, Table, median_of
from bench.target import Target, single_process
from sandbox.twilio.webhook import sign

# Requests per second.
SIGNED_RATE = 20
FORGED_RATE = 1000
# The target: signed texts take at most a fifth longer at p50.
MAX_PERCENT = 120

EXPENSIVE_RATE = 50
EXPENSIVE: Mapping[str, Requests] = {
    "lengths with leading zeros": hostile.PADDED_LENGTHS,
    "blanks in headers": hostile.RUNS_OF_BLANKS,
    "large bodies": hostile.EXPENSIVE_BODIES,
}
MAX_MS_DURING_EXPENSIVE = 300

_COLUMNS = ("p50 ms", "p95 ms", "p50 % of alone", "p95 % of alone", "refused/s")


def forged_request(target: Target) -> bytes:
    """A message with a well-formed but wrong signature."""
    form = target.sandbox.twilio.forms.text(target.users[0], "hello")
    body = urlencode(form).encode()
    head = [
        "POST / HTTP/1.1",
        f"Host: {urlsplit(target.url).netloc}",
        "Content-Type: application/x-www-form-urlencoded",
        f"X-Twilio-Signature: {sign(f'{target.url}/', form, 'a guess')}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def measure_forged(target: Target, load_generator: LoadGenerator, seconds: float) -> Table:
    """Signed texts alone, and during floods with kept and with new connections."""
    rows: dict[str, Row] = {}
    alone = _post_signed(target, load_generator, seconds)
    rows["alone"] = _row(alone, alone, 0)
    for label, keep_alive in (("connections kept", True), ("new connections", False)):
        flood = Flood(
            port=_port(target),
            requests=[forged_request(target)],
            rate=FORGED_RATE,
            keep_alive=keep_alive,
        )
        with flood.running():
            refused_before = flood.refused
            during_flood = _post_signed(target, load_generator, seconds)
            refused_per_second = (flood.refused - refused_before) / seconds
        rows[label] = _row(during_flood, alone, refused_per_second)
    title = f"{SIGNED_RATE} signed texts a second beside {FORGED_RATE} forged ones"
    return Table(title, _COLUMNS, rows)


def measure_during_expensive(
    target: Target, load_generator: LoadGenerator, requests: Requests, seconds: float
) -> Row:
    """p50, p95 and p99 of signed texts in ms during a flood of ``requests``."""
    texts = target.texts(round(SIGNED_RATE * seconds))
    flood = Flood(port=_port(target), requests=requests, rate=EXPENSIVE_RATE, leave_open=True)
    with flood.running():
        times = load_generator.post(target.url, texts, SIGNED_RATE).result()
    return tuple(times.percentile(percent) * 1000 for percent in (50, 95, 99))


def measure_expensive(folder: Path, load_generator: LoadGenerator, seconds: float) -> Table:
    """A row for each kind of expensive request.

    Each kind gets a new service, because a slow request may block the service for a while.
    """
    rows: dict[str, Row] = {}
    for label, requests in EXPENSIVE.items():
        with single_process(folder) as target:
            _warm_up(target, load_generator)
            rows[label] = measure_during_expensive(target, load_generator, requests, seconds)
    title = f"{SIGNED_RATE} signed texts a second beside {EXPENSIVE_RATE} costly requests"
    return Table(title, ("p50 ms", "p95 ms", "p99 ms"), rows)


def _warm_up(target: Target, load_generator: LoadGenerator) -> None:
    """Let every user write once, so that sessions exist and pools have all their threads."""
    _post_signed(target, load_generator, len(target.users) / SIGNED_RATE)


def _post_signed(target: Target, load_generator: LoadGenerator, seconds: float) -> ResponseTimes:
    texts = target.texts(round(SIGNED_RATE * seconds))
    times = load_generator.post(target.url, texts, SIGNED_RATE).result()
    target.wait_until_idle()
    return times


def _row(times: ResponseTimes, alone: ResponseTimes, refused: float) -> Row:
    seconds = [times.percentile(percent) for percent in (50, 95)]
    alone_seconds = [alone.percentile(percent) for percent in (50, 95)]
    ratios = [100 * each / other for each, other in zip(seconds, alone_seconds, strict=True)]
    return (*(each * 1000 for each in seconds), *ratios, refused)


def _port(target: Target) -> int:
    return urlsplit(target.url).port or 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure once, for a shorter time")
    parser.add_argument("--runs", type=int, default=5, help="runs with forged requests")
    arguments = parser.parse_args()
    runs, seconds = (1, 2.0) if arguments.quick else (arguments.runs, 5.0)
    load_generator = LoadGenerator()
    with tempfile.TemporaryDirectory() as folder, single_process(Path(folder)) as target:
        _warm_up(target, load_generator)
        forged = median_of([measure_forged(target, load_generator, seconds) for _ in range(runs)])
    print(forged)
    worst = max(row[2] for row in forged.rows.values())
    print(f"At most {MAX_PERCENT} % at p50: {_verdict(worst <= MAX_PERCENT)}.")
    with tempfile.TemporaryDirectory() as folder:
        expensive = measure_expensive(Path(folder), load_generator, seconds)
    load_generator.close()
    print(expensive)
    worst = max(row[-1] for row in expensive.rows.values())
    verdict = _verdict(worst <= MAX_MS_DURING_EXPENSIVE)
    print(f"At most {MAX_MS_DURING_EXPENSIVE} ms at p99: {verdict}.")


def _verdict(met: bool) -> str:
    return "met" if met else "not met"


if __name__ == "__main__":
    main()
