"""Whatever is posted, the service answers; nobody reads it in the log, and nothing is left over.

``make fuzz`` posts 100,000 to the running server.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import structlog
from flask.testing import FlaskClient
from hypothesis import HealthCheck, event, given, settings

from sandbox import CREDENTIALS
from tests.fuzz.bodies import addresses, bodies, said
from tests.fuzz.quiet_bridge import create_app
from tests.leaks import Known
from web.request_limits import BODY_LIMIT

SETTINGS = {
    "SALESFORCE_INSTANCE_URL": "http://127.0.0.1:9",
    "PUBLIC_URL": "http://127.0.0.1:8000",
    "UNSIGNED_LOCAL_WEBHOOKS": "true",
    "KEEP_WARM": "false",
    "LOG_LEVEL": "DEBUG",
}
FORM = "application/x-www-form-urlencoded"
# 403 where another account is named.
ANSWERS = {"/": (200, 400, 403), "/status": (204, 400, 403)}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the service logs; other tests want logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(**options: Any) -> None:
        # Loggers would keep how they are set up now.
        original(**options | {"cache_logger_on_first_use": False})

    original = structlog.configure
    monkeypatch.setattr(structlog, "configure", configure)
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def client(
    log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    for name, value in {**CREDENTIALS, **SETTINGS, "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("app.build_web", None)
    app = create_app()
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(log)
    yield app.test_client()
    app.extensions["bridge"].close(5)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(address=addresses(), body=bodies())
def test_any_body_is_answered(
    client: FlaskClient, log: io.StringIO, address: str, body: bytes
) -> None:
    logged_before = log.tell()
    answer = client.post(address, data=body, content_type=FORM)
    allowed = ANSWERS[address.partition("?")[0]] if len(body) <= BODY_LIMIT else (413,)
    assert answer.status_code in allowed
    event(f"answered with {answer.status_code}")
    written = log.getvalue()[logged_before:] + answer.text
    fields = dict(parse_qsl(body.decode(errors="replace"), errors="werkzeug.url_quote"))
    sender = fields.get("From", "")
    known = Known(secrets=[sender] if len(sender) > 8 else [], texts=said(body))
    assert not known.leaks_in(written)
    report = client.get("/health").get_json()
    assert (report["waiting"], report["running"]) == (0, 0)
