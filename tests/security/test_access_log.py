"""What gunicorn would log of requests: paths of voice notes, clients' addresses.

On Heroku ``GUNICORN_CMD_ARGS`` switches its access log on, whatever gunicorn.conf.py says.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage.engine import FILE_NAME
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.security.raw import request, status

# Another address of this machine, which nothing else uses.
CLIENT = "127.9.8.7"
ROUTED_CLIENT = "203.0.113.77"
QUERY = "tenant=nobody-is-to-read-this"
GONE = "0" * 32
HEADERS = [
    ("Host", "localhost"),
    ("X-Forwarded-For", ROUTED_CLIENT),
    ("User-Agent", "Visitor"),
]
# What gunicorn itself refuses, and would quote.
MALFORMED = (
    f"GET /malformed-version?{QUERY} HTTP/9.9",
    f"get /malformed-method?{QUERY} HTTP/1.1",
    f"GET malformed-target?{QUERY} HTTP/1.1",
    "GET /malformed HTTP/1.1\r\nmalformed header: x",
)


@pytest.mark.parametrize(
    "arguments",
    [
        "--access-logfile -",
        "--access-logfile - --log-level debug --access-logformat '%(h)s %(r)s'",
        "--access-logfile - --log-syslog --log-syslog-to udp://127.0.0.1:9",
        "--access-logfile - --statsd-host 127.0.0.1:9",
        "--access-logfile {file}",
    ],
    ids=["as Heroku sets it", "debug", "syslog", "statsd", "file"],
)
def test_no_log_line_describes_a_request(
    start_deployment: StartDeployment, arguments: str, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    file.touch()
    arguments = arguments.format(file=file)
    with start_deployment(GUNICORN_CMD_ARGS=arguments, LOG_LEVEL="DEBUG") as deployment:
        token = _visit(deployment)
        _fail(deployment)
        for line in MALFORMED:
            assert status(deployment.bridge.port, request(line, HEADERS), CLIENT) >= 400
        log = deployment.log() + file.read_text(encoding="utf-8")
    assert "Total processing time" in log
    for secret in (token, GONE, CLIENT, ROUTED_CLIENT, QUERY, "malformed", "Visitor", "GET /"):
        assert secret not in log


def _visit(deployment: Deployment) -> str:
    """Take a voice turn and fetch every page; returns the voice note's token."""
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Thanks"))
    address = deployment.twilio.wait_for_voice(user).media_url
    assert address is not None
    note = urlsplit(address).path
    for path in (note, "/metrics", "/health", "/dashboard", "/"):
        sent = request(f"GET {path}?{QUERY} HTTP/1.1", HEADERS)
        assert status(deployment.bridge.port, sent, CLIENT) == 200
    return note.rpartition("/")[-1].partition(".")[0]


def _fail(deployment: Deployment) -> None:
    """Make a request fail with a 500."""
    with sqlite3.connect(deployment.bridge.state_dir / FILE_NAME) as file:
        file.executescript("DROP TABLE voice_notes")
    sent = request(f"GET /media/{GONE}.ogg?{QUERY} HTTP/1.1", HEADERS)
    assert status(deployment.bridge.port, sent, CLIENT) == 500
