"""The checks after a start are repeated until none fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from checks import start as checks_start
from checks.report import Check, Checks
from checks.start import StartCheck
from core.models import CheckResult
from tests.sandbox.waiting import wait_until

VOICE = Check("voice", "Voice")
WRONG, WELL = VOICE.fail("is unknown", "look at it"), VOICE.ok("exists")


def test_what_was_mended_is_not_reported_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_start, "REPEAT_SECONDS", 0.01)
    results = iter([WRONG, WRONG, WELL])

    def build() -> list[Checks]:
        def check() -> Iterator[CheckResult]:
            yield next(results)

        return [check]

    start_check = StartCheck(build)
    assert start_check.to_json() is None
    with capture_logs() as logs:
        start_check.start()
        wait_until(lambda: start_check.results()[1] == (WELL,), "nothing fails any more")
        wait_until(lambda: len(logs) == 2, "both findings are in the log")
    assert [entry.get("failed") for entry in logs] == ["voice", None]
    assert next(results, None) is None
    assert (start_check.to_json() or {})["failed"] == []
