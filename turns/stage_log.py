"""Logs and times the stages of a turn."""

from __future__ import annotations

import structlog

from core.errors import BridgeError
from metrics import Metrics

log = structlog.get_logger(__name__)


def log_stage(metrics: Metrics, stage: str, name: str, seconds: float) -> None:
    """Log how long a stage took, in the words that operators search for, and record it."""
    metrics.record_time(stage, seconds)
    log.info(f"⏱️ {name} time: {seconds:.2f}s")


def log_failure(what: str, error: Exception) -> None:
    """Log an error in one line if it is one of ours, otherwise with its traceback."""
    if isinstance(error, BridgeError):
        log.error(f"{what}: {type(error).__name__}: {error}")
    else:
        log.exception(f"{what} unexpectedly", error=type(error).__name__)
