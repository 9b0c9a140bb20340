"""Runs the checks after each start, beside the path of all messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from checks.checklist import run
from checks.report import Checks
from core.models import CheckResult, CheckState

log = structlog.get_logger(__name__)

# How soon checks that failed are run again, so that what was mended is not reported any longer.
REPEAT_SECONDS = 300.0


class StartCheck:
    """``build`` makes the checks; it is called in the thread that runs them.

    As long as one fails, all are run again every ``REPEAT_SECONDS``. They only read, so the thread
    ends with the process.
    """

    def __init__(self, build: Callable[[], Sequence[Checks]]) -> None:
        self._build = build
        self._results: tuple[CheckResult, ...] = ()
        self._checked_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def results(self) -> tuple[float | None, Sequence[CheckResult]]:
        """When the checks were done last (epoch seconds), and the results; ``None`` until then."""
        return self._checked_at, self._results

    def to_json(self) -> dict[str, object] | None:
        """The part ``check`` of ``GET /health``; ``None`` until the checks are done."""
        checked_at, results = self.results()
        if checked_at is None:
            return None
        return {
            "at": round(checked_at, 3),
            "failed": _names(results, CheckState.FAILED),
            "warnings": _names(results, CheckState.WARNING),
        }

    def _run(self) -> None:
        try:
            while self._has_failed():
                time.sleep(REPEAT_SECONDS)
        except Exception:
            log.exception("Check not run")

    def _has_failed(self) -> bool:
        """Run all checks; returns whether one failed."""
        before, results = self._results, tuple(run(self._build()))
        self._results, self._checked_at = results, time.time()
        failed = _names(results, CheckState.FAILED)
        if not before or failed != _names(before, CheckState.FAILED):
            _log(results)
        return bool(failed)


def _log(results: Sequence[CheckResult]) -> None:
    failed, warnings = (
        " ".join(_names(results, state)) for state in (CheckState.FAILED, CheckState.WARNING)
    )
    if failed:
        log.error(
            "Check: something does not work; flask --app app check says what to do",
            failed=failed,
            **({"warnings": warnings} if warnings else {}),
        )
    elif warnings:
        log.warning("Check: all works; flask --app app check has advice", warnings=warnings)
    else:
        log.info("Check: all works")


def _names(results: Sequence[CheckResult], state: CheckState) -> list[str]:
    return [result.name for result in results if result.state is state]
