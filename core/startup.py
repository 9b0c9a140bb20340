"""What every process of the service does first."""

from __future__ import annotations

from core.core_dumps import forbid_dumping
from core.logs import configure_logging
from core.process_limits import check_limits
from core.settings import Settings, warn_of_missing_address, warn_of_names


def prepare_process(settings: Settings) -> None:
    """Set up the log, warn of odd settings, and protect the memory of this process.

    Raises ``SettingsError`` if the limits of the machine are too low for the settings.
    """
    configure_logging(level=settings.LOG_LEVEL, form=settings.LOG_FORMAT)
    warn_of_names()
    warn_of_missing_address(settings)
    check_limits(settings.TURN_THREADS)
    if not settings.DUMPABLE:
        forbid_dumping()
